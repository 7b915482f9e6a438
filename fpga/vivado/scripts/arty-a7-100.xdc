# Pins of the Arty A7-100, after Digilent's "Arty A7 Reference Manual". JTAG has pins of its own.

# Oscillator of 100 MHz. The clocking wizard brings its constraint; a second one would replace it.
set_property -dict {PACKAGE_PIN E3 IOSTANDARD LVCMOS33} [get_ports sys_clock]
# Button RESET, low while it is pressed.
set_property -dict {PACKAGE_PIN C2 IOSTANDARD LVCMOS33} [get_ports reset_n]
# LED LD4: the interrupt; if enabled, lit from a stop of the machine until IRQ_CLEAR.
set_property -dict {PACKAGE_PIN H5 IOSTANDARD LVCMOS33} [get_ports stopped]

# Both are at no time related to the clock.
set_false_path -from [get_ports reset_n]
set_false_path -to [get_ports stopped]
