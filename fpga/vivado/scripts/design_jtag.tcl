# The block design without a processor: a host on the JTAG cable reaches the registers and the
# memory, which is block RAM; the clock is made from an oscillator of 100 MHz.

create_bd_port -dir I -type clk -freq_hz 100000000 sys_clock
create_bd_port -dir I -type rst reset_n
set_property CONFIG.POLARITY ACTIVE_LOW [get_bd_ports reset_n]
create_bd_port -dir O stopped

add_cell clock xilinx.com:ip:clk_wiz \
    PRIM_IN_FREQ 100.000 CLKOUT1_REQUESTED_OUT_FREQ $mhz USE_RESET false USE_LOCKED true
# PROTOCOL 0 is AXI4, with bursts.
add_cell jtag xilinx.com:ip:jtag_axi PROTOCOL 0 M_AXI_ADDR_WIDTH 32 M_AXI_DATA_WIDTH 32
add_cell ram_control xilinx.com:ip:axi_bram_ctrl \
    PROTOCOL AXI4 DATA_WIDTH $memory_bits SINGLE_PORT_BRAM 1
# Width and depth come from the controller and its range of addresses.
add_cell ram xilinx.com:ip:blk_mem_gen

add_machine clock/clk_out1 port:reset_n 1 2 2
connect_pins port:sys_clock clock/clk_in1
connect_pins clock/clk_out1 jtag/aclk ram_control/s_axi_aclk
connect_pins clock/locked resets/dcm_locked
connect_pins resets/peripheral_aresetn jtag/aresetn ram_control/s_axi_aresetn
connect_pins core/interrupt port:stopped
connect_buses jtag/M_AXI control/S00_AXI
connect_buses control/M01_AXI memory/S01_AXI
connect_buses memory/M00_AXI ram_control/S_AXI
connect_buses ram_control/BRAM_PORTA ram/BRAM_PORTA

map_memory jtag/Data core/s_axi/reg0 $control_base $control_bytes
map_memory jtag/Data ram_control/S_AXI/Mem0 $memory_base $memory_bytes
map_memory core/m_axi ram_control/S_AXI/Mem0 $memory_base $memory_bytes
