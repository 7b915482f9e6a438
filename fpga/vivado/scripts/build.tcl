# From nothing to a bitstream, in this folder:
#
#     vivado -mode batch -source build.tcl
#
# Written for Vivado 2020.2 and newer. Everything is made in build/, anew with each run; results
# are build/einchip.bit, build/*.rpt and, with a processor, build/einchip.hwh and build/einchip.xsa.
# The script stops with an error where a step fails or the clock is missed.

set here [file dirname [file normalize [info script]]]
source [file join $here settings.tcl]
set build [file join $here build]
set jobs 4

# --- Steps of block designs, for design.tcl ----------------------------------------------------

# Returns the newest of the catalogue's IPs of a vendor, library and name.
proc newest_ip {ip} {
    set found [lsort -dictionary [get_ipdefs -all -quiet ${ip}:*]]
    if {[llength $found] == 0} {
        error "IP catalogue: found no $ip; use Vivado 2020.2 or newer, with the part installed"
    }
    return [lindex $found end]
}

# Adds a cell; settings are names and values.
proc add_cell {name ip args} {
    set cell [create_bd_cell -type ip -vlnv [newest_ip $ip] $name]
    configure_cell $cell {*}$args
    return $cell
}

# Sets names and values of a cell.
proc configure_cell {cell args} {
    set values {}
    foreach {name value} $args {
        lappend values CONFIG.$name $value
    }
    if {[llength $values] > 0} {
        set_property -dict $values $cell
    }
}

# Connects a pin, or a port that begins with "port:", to pins or ports.
proc connect_pins {from args} {
    set ends {}
    foreach name [list $from {*}$args] {
        if {[string match port:* $name]} {
            lappend ends [get_bd_ports [string range $name 5 end]]
        } else {
            lappend ends [get_bd_pins $name]
        }
    }
    connect_bd_net {*}$ends
}

# Connects a master's interface to a slave's.
proc connect_buses {master slave} {
    connect_bd_intf_net [get_bd_intf_pins $master] [get_bd_intf_pins $slave]
}

# Lets the masters of an address space see a segment of a slave.
proc map_memory {space segment base bytes} {
    assign_bd_address -offset $base -range $bytes \
        -target_address_space [get_bd_addr_spaces $space] [get_bd_addr_segs $segment] -force
}

# Adds the machine, `core`, and what every board has: resets, and one interconnect on each side of
# it, `control` and `memory`. Clock and reset source are pins; reset_in is low while it resets.
proc add_machine {clock reset_in control_masters control_slaves memory_masters} {
    global ip_vlnv
    add_cell core $ip_vlnv
    add_cell resets xilinx.com:ip:proc_sys_reset
    add_cell control xilinx.com:ip:smartconnect NUM_SI $control_masters NUM_MI $control_slaves
    add_cell memory xilinx.com:ip:smartconnect NUM_SI $memory_masters NUM_MI 1
    connect_pins $clock core/aclk control/aclk memory/aclk resets/slowest_sync_clk
    connect_pins $reset_in resets/ext_reset_in
    connect_pins resets/peripheral_aresetn core/aresetn
    connect_pins resets/interconnect_aresetn control/aresetn memory/aresetn
    connect_buses control/M00_AXI core/s_axi
    connect_buses core/m_axi memory/S00_AXI
}

# --- Steps of the build ------------------------------------------------------------------------

# Returns the newest installed board that a pattern names.
proc newest_board {pattern} {
    set found [lsort -dictionary [get_board_parts -quiet $pattern]]
    if {[llength $found] == 0} {
        error "board files: found none of $pattern, which set up the processor's memory and pins;\
            install them by the Vivado Store (menu Tools), or name their folder in the parameter\
            board.repoPaths"
    }
    return [lindex $found end]
}

# Makes a project of the board's part; board files must be of that very part.
proc create_board_project {name folder} {
    global part board_part
    create_project -force $name $folder -part $part
    if {$board_part ne ""} {
        set_property board_part [newest_board $board_part] [current_project]
    }
    set found [get_property part [current_project]]
    if {$found ne $part} {
        error "board files: found part $found, expected $part; install the board's own files"
    }
    set_property target_language Verilog [current_project]
}

# Runs a run up to a step, or to its end, and checks that it got there.
proc finish_run {name {step ""}} {
    global jobs
    if {$step eq ""} {
        launch_runs $name -jobs $jobs
    } else {
        launch_runs $name -to_step $step -jobs $jobs
    }
    wait_on_run $name
    if {[get_property PROGRESS [get_runs $name]] ne "100%"} {
        error "$name: found status \"[get_property STATUS [get_runs $name]]\"; see runme.log in\
            [get_property DIRECTORY [get_runs $name]]"
    }
}

# Stops where the routed design has no clock near the one asked for: constraints are missing.
proc check_clock {mhz} {
    set found {}
    foreach clock [get_clocks] {
        lappend found [format %.3f [expr {1000.0 / [get_property PERIOD $clock]}]]
    }
    foreach made $found {
        if {abs($made - $mhz) <= 0.1 * $mhz} {
            puts "einchip: clock of $made MHz, $mhz asked for"
            return
        }
    }
    error "clocks: found \"$found\" MHz, expected one within 10 % of $mhz"
}

# Stops where a path is too slow or too fast, or a pulse too short; nothing checked is no pass.
proc check_slack {run} {
    foreach {kind meaning} {WNS setup WHS hold TPWS {pulse width, total}} {
        set slack [get_property STATS.$kind [get_runs $run]]
        if {![string is double -strict $slack]} {
            error "timing: found no $kind ($meaning), expected a slack in ns; see build/timing.rpt"
        }
        if {$slack < 0} {
            error "timing: found $kind ($meaning) $slack ns, expected 0 or more; write the project\
                anew with a lower clock; see build/timing.rpt"
        }
        puts "einchip: $kind ($meaning) $slack ns"
    }
}

# --- The build ---------------------------------------------------------------------------------

if {![regexp {^\d+\.\d+} [version -short] vivado] || [package vcompare $vivado 2020.2] < 0} {
    error "Vivado: found [version -short], expected 2020.2 or newer"
}
file delete -force $build
file mkdir $build
source [file join $here package_ip.tcl]

create_board_project einchip [file join $build project]
set_property ip_repo_paths [list [file join $here ip]] [current_project]
update_ip_catalog
add_files -fileset constrs_1 -norecurse [list [file join $here $board.xdc]]

create_bd_design system
source [file join $here design.tcl]
regenerate_bd_layout
validate_bd_design
save_bd_design

add_files -norecurse [make_wrapper -files [get_files system.bd] -top]
set_property top system_wrapper [current_fileset]
update_compile_order -fileset sources_1

finish_run synth_1
finish_run impl_1
open_run impl_1
report_utilization -file [file join $build utilisation.rpt]
report_timing_summary -file [file join $build timing.rpt]
check_clock $mhz
check_slack impl_1
close_design
finish_run impl_1 write_bitstream

set results [get_property DIRECTORY [get_runs impl_1]]
file copy -force [file join $results system_wrapper.bit] [file join $build einchip.bit]
if {$board_part ne ""} {
    set handoff [file join $build project einchip.gen sources_1 bd system hw_handoff system.hwh]
    file copy -force $handoff [file join $build einchip.hwh]
    write_hw_platform -fixed -include_bit -force -file [file join $build einchip.xsa]
}
puts "einchip: [file join $build einchip.bit] is written"
