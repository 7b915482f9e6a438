# The block design for Zynq 7000: the processor's GP0 reaches the registers, the machine reaches
# its memory by HP0, both at the clock FCLK_CLK0.

set ps [add_cell ps xilinx.com:ip:processing_system7]
apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 -config \
    {make_external "FIXED_IO, DDR" apply_board_preset "1" Master "Disable" Slave "Disable"} $ps
# HP0 has 32 or 64 bits; the interconnect halves wider beats.
configure_cell $ps \
    PCW_USE_M_AXI_GP0 1 PCW_USE_M_AXI_GP1 0 \
    PCW_USE_S_AXI_HP0 1 PCW_S_AXI_HP0_DATA_WIDTH [expr {min($memory_bits, 64)}] \
    PCW_EN_CLK0_PORT 1 PCW_EN_RST0_PORT 1 PCW_FPGA0_PERIPHERAL_FREQMHZ $mhz \
    PCW_USE_FABRIC_INTERRUPT 1 PCW_IRQ_F2P_INTR 1

add_machine ps/FCLK_CLK0 ps/FCLK_RESET0_N 1 1 1
connect_pins ps/FCLK_CLK0 ps/M_AXI_GP0_ACLK ps/S_AXI_HP0_ACLK
connect_pins core/interrupt ps/IRQ_F2P
connect_buses ps/M_AXI_GP0 control/S00_AXI
connect_buses memory/M00_AXI ps/S_AXI_HP0

map_memory ps/Data core/s_axi/reg0 $control_base $control_bytes
map_memory core/m_axi ps/S_AXI_HP0/HP0_DDR_LOWOCM $memory_base $memory_bytes
