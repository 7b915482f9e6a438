"""From a model to the machine: scales, programs, memory images, and folders that hold them.

calibrate   float runs in the mapper's contraction order, and the power-of-two scales they call for
compiled    a model on a machine: programs, weights, how to give it sequences and read its answer
folder      what `einchip compile` writes, and reads again
report      accuracy, cycles, bound and energy of a model over real sequences
"""
