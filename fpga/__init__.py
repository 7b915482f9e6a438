"""FPGA targets: board tops, host bridges, the build flow and its recorded results."""
