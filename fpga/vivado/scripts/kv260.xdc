# KV260: no pin of the programmable logic is used. Clock and reset come from the processor, whose
# IP brings their constraints; memory and interrupt are the processor's.
