# The machine as an IP, in ip/; build.tcl does this first. Alone, in this folder:
#
#     vivado -mode batch -source package_ip.tcl
#
# The wrapper's attributes say which ports are which interface; this adds what they cannot say.

set here [file dirname [file normalize [info script]]]
source [file join $here settings.tcl]
set ip_folder [file join $here ip]
set ip_vlnv einchip:ip:$ip_top

file delete -force $ip_folder
create_project -force einchip_ip [file join $here build ip_project] -part $part
add_files -norecurse [list \
    [file join $here rtl einchip_top.v] \
    [file join $here rtl $ip_top.v]]
set_property top $ip_top [current_fileset]
update_compile_order -fileset sources_1

ipx::package_project -root_dir $ip_folder -vendor einchip -library ip -taxonomy /UserIP \
    -import_files -force
set core [ipx::current_core]
foreach {name value} [list \
    name $ip_top \
    version $ip_version \
    core_revision $ip_revision \
    display_name einchip \
    description "Accelerator of tensor-network-compressed recurrent networks" \
    supported_families {zynq Production artix7 Production zynquplus Production} \
    ipi_drc {ignore_freq_hz true} \
] {
    set_property $name $value $core
}

# The registers, as the host sees them.
set map [ipx::get_memory_maps -quiet s_axi -of_objects $core]
if {$map eq ""} {
    set map [ipx::add_memory_map s_axi $core]
}
set block [ipx::get_address_blocks -quiet reg0 -of_objects $map]
if {$block eq ""} {
    set block [ipx::add_address_block reg0 $map]
}
set_property base_address 0 $block
set_property range [expr {$control_bytes}] $block
set_property width 32 $block
set_property usage register $block
set_property slave_memory_map_ref s_axi [ipx::get_bus_interfaces s_axi -of_objects $core]

# External memory, as the machine sees it; an aperture would keep memory out of it.
set space [ipx::get_address_spaces -quiet m_axi -of_objects $core]
if {$space eq ""} {
    set space [ipx::add_address_space m_axi $core]
}
ipx::remove_segment -quiet m_axi:APERTURE_0 $space
set_property range $memory_space_bytes $space
set_property width $memory_bits $space
set_property master_address_space_ref m_axi [ipx::get_bus_interfaces m_axi -of_objects $core]

ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
