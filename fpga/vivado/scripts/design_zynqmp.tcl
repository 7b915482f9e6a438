# The block design for Zynq UltraScale+: the processor's HPM0_FPD reaches the registers, the machine
# reaches its memory by HP0_FPD, both at the clock pl_clk0.

set ps [add_cell ps xilinx.com:ip:zynq_ultra_ps_e]
apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset "1"} $ps
# M_AXI_GP0 is HPM0_FPD, GP1 HPM1_FPD, GP2 HPM0_LPD; S_AXI_GP2 is HP0_FPD.
configure_cell $ps \
    PSU__USE__M_AXI_GP0 1 PSU__USE__M_AXI_GP1 0 PSU__USE__M_AXI_GP2 0 \
    PSU__MAXIGP0__DATA_WIDTH 32 \
    PSU__USE__S_AXI_GP2 1 PSU__SAXIGP2__DATA_WIDTH $memory_bits \
    PSU__FPGA_PL0_ENABLE 1 PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ $mhz \
    PSU__USE__IRQ0 1

add_machine ps/pl_clk0 ps/pl_resetn0 1 1 1
connect_pins ps/pl_clk0 ps/maxihpm0_fpd_aclk ps/saxihp0_fpd_aclk
connect_pins core/interrupt ps/pl_ps_irq0
connect_buses ps/M_AXI_HPM0_FPD control/S00_AXI
connect_buses memory/M00_AXI ps/S_AXI_HP0_FPD

map_memory ps/Data core/s_axi/reg0 $control_base $control_bytes
map_memory core/m_axi ps/SAXIGP2/HP0_DDR_LOW $memory_base $memory_bytes
# The rest of what HP0 reaches is not the machine's. Left unassigned it would only be warned of.
foreach segment [get_bd_addr_segs -quiet ps/SAXIGP2/*] {
    if {![string match */HP0_DDR_LOW $segment]} {
        if {[catch {exclude_bd_addr_seg -target_address_space [get_bd_addr_spaces core/m_axi] \
            [get_bd_addr_segs $segment]} why]} {
            puts "einchip: $segment is left unassigned: $why"
        }
    }
}
