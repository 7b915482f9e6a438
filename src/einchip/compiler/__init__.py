"""From a model to the machine: scales, programs, memory images, and folders that hold them.

problem        what the mapper is asked for a model: its matrices as networks, its weights
evaluate       float runs in the mapper's contraction order
calibrate      the power-of-two scales that they call for; `scales` finds that of one tensor
compiled       a model on a machine: programs, weights, sequences in, answers out
folder         what `einchip compile` writes, and reads again
contraction    any einsum with data, without a model
bound          the roofline of a whole model, and the sizes of its matrices
report         accuracy, cycles, bound and energy of a model over real sequences
quantisation   what 8 and 16 bits cost; `quantisation_table` prints and plots it
"""
