# The commands of Vivado that the project's scripts call, as procedures that record their calls.
#
# `command NAME {OPTIONS} {BODY}` makes one. OPTIONS are those that are used here of the command in
# UG835, "Vivado Design Suite Tcl Command Reference Guide"; one with a value has a `=`. Others are
# errors, as in Vivado, and so is every command that is not here. In the body, $options is a
# dictionary and $values what stands without a name; it returns what the command would.
#
# What the commands see is in the array `state`, which a test may change beforehand:
#   version, board_parts, board_file_part, catalogue (IPs of Xilinx), period (ns, of each clock),
#   stats,KIND (slacks, ns), progress,RUN

array set state {
    version 2023.2
    board_parts {
        tul.com.tw:pynq-z2:part0:1.0
        xilinx.com:kv260_som:part0:1.2 xilinx.com:kv260_som:part0:1.10
        xilinx.com:kv260_som:part0:1.4 xilinx.com:zcu104:part0:1.1
    }
    board_file_part {}
    catalogue {
        processing_system7 zynq_ultra_ps_e proc_sys_reset smartconnect clk_wiz jtag_axi
        axi_bram_ctrl blk_mem_gen
    }
    period {}
    stats,WNS 0.125 stats,WHS 0.031 stats,TPWS 0.000
    progress,synth_1 100% progress,impl_1 100%
    repository {} part {} project {} folder {}
}
set calls {}
namespace eval ipx {}

proc command {name names body} {
    proc $name args [subst -nocommands {
        global state
        lassign [parse $name {$names} \$args] options values
        lappend ::calls [list $name \$options \$values]
        $body
    }]
}

proc parse {name names arguments} {
    set options {}
    set values {}
    while {[llength $arguments] > 0} {
        set arguments [lassign $arguments word]
        if {![regexp {^-[a-z_]} $word]} {
            lappend values $word
        } elseif {$word in $names} {
            dict set options $word 1
        } elseif {"$word=" in $names} {
            if {[llength $arguments] == 0} {
                error "$name: option $word without a value"
            }
            set arguments [lassign $arguments value]
            dict set options $word $value
        } else {
            error "$name: unknown option $word"
        }
    }
    return [list $options $values]
}

proc touch {path} {
    file mkdir [file dirname $path]
    close [open $path w]
    return $path
}

# Writes the calls: three groups of a call's name, options and values.
proc written_calls {} {
    set records {}
    foreach call $::calls {
        lassign $call name options values
        lappend records [join [list $name [join $options \x1f] [join $values \x1f]] \x1e]
    }
    return [join $records \x1d]
}

# --- Projects and files
command version {-short} {return $state(version)}
command create_project {-part= -force} {
    set state(project) [lindex $values 0]
    set state(folder) [lindex $values 1]
    set state(part) [dict get $options -part]
    file mkdir $state(folder)
    return $state(project)
}
command current_project {} {return $state(project)}
command close_project {} {set state(project) {}; return}
command get_board_parts {-quiet} {
    return [lsearch -all -inline -glob $state(board_parts) [lindex $values 0]]
}
command add_files {-fileset= -norecurse} {
    foreach file [lindex $values 0] {
        if {![file exists $file]} {error "add_files: found no file $file"}
    }
    return [lindex $values 0]
}
command current_fileset {} {return sources_1}
command update_compile_order {-fileset=} {return}
command get_files {} {return [lindex $values 0]}
command set_property {-dict=} {
    if {[dict exists $options -dict]} {
        if {[llength [dict get $options -dict]] % 2 || [lindex $values 0] eq ""} {
            error "set_property: found $values, expected pairs and an object"
        }
        return
    }
    lassign $values name value object
    if {[llength $values] != 3 || $object eq ""} {
        error "set_property: found $values, expected a name, a value and an object"
    }
    if {$name eq "board_part" && $state(board_file_part) ne ""} {
        set state(part) $state(board_file_part)
    }
    if {$name eq "ip_repo_paths"} {set state(repository) $value}
    return
}
command get_property {} {
    lassign $values name object
    switch -glob $name {
        part {return $state(part)}
        PROGRESS {return $state(progress,$object)}
        STATUS {return "$object Failed"}
        DIRECTORY {return [file join $state(folder) $state(project).runs $object]}
        PERIOD {return $object}
        STATS.* {return $state(stats,[string range $name 6 end])}
    }
    error "get_property: unknown property $name"
}

# --- IP packager
command ipx::package_project {
    -root_dir= -vendor= -library= -taxonomy= -import_files -force
} {set state(root) [dict get $options -root_dir]; return}
command ipx::current_core {} {return core}
command ipx::get_memory_maps {-quiet -of_objects=} {return}
command ipx::add_memory_map {} {return map:[lindex $values 0]}
command ipx::get_address_blocks {-quiet -of_objects=} {return}
command ipx::add_address_block {} {return [lindex $values 1]/[lindex $values 0]}
command ipx::get_bus_interfaces {-of_objects=} {return interface:[lindex $values 0]}
command ipx::get_address_spaces {-quiet -of_objects=} {return}
command ipx::add_address_space {} {return space:[lindex $values 0]}
command ipx::remove_segment {-quiet} {return}
command ipx::create_xgui_files {} {return}
command ipx::update_checksums {} {return}
command ipx::check_integrity {} {return}
command ipx::save_core {} {return [touch [file join $state(root) component.xml]]}
command update_ip_catalog {} {return}
command get_ipdefs {-all -quiet} {
    lassign [split [lindex $values 0] :] vendor library name
    if {$vendor eq "xilinx.com" && $name in $state(catalogue)} {
        return [list $vendor:$library:$name:9.1 $vendor:$library:$name:10.0]
    }
    foreach folder $state(repository) {
        if {$vendor eq "einchip" && [file exists [file join $folder component.xml]]} {
            return $vendor:$library:$name:1.0
        }
    }
    return
}

# --- Block designs
command create_bd_design {} {return [lindex $values 0]}
command create_bd_cell {-type= -vlnv=} {return [lindex $values 0]}
command create_bd_port {-dir= -type= -freq_hz=} {return [lindex $values 0]}
command get_bd_ports {} {return [lindex $values 0]}
command get_bd_pins {} {return [lindex $values 0]}
command get_bd_intf_pins {} {return [lindex $values 0]}
command get_bd_addr_spaces {} {return [lindex $values 0]}
command get_bd_addr_segs {-quiet} {
    set name [lindex $values 0]
    if {$name ne "ps/SAXIGP2/*"} {return $name}
    return {/ps/SAXIGP2/HP0_DDR_HIGH /ps/SAXIGP2/HP0_DDR_LOW /ps/SAXIGP2/HP0_QSPI}
}
command connect_bd_net {} {return}
command connect_bd_intf_net {} {return}
command apply_bd_automation {-rule= -config=} {return}
command assign_bd_address {-offset= -range= -target_address_space= -force} {return}
command exclude_bd_addr_seg {-target_address_space=} {return}
command regenerate_bd_layout {} {return}
command validate_bd_design {} {return}
command save_bd_design {} {
    set handoff [file join $state(folder) $state(project).gen sources_1 bd system hw_handoff]
    touch [file join $handoff system.hwh]
    return
}
command make_wrapper {-files= -top} {
    return [touch [file join $state(folder) system_wrapper.v]]
}

# --- Runs and reports
command get_runs {} {return [lindex $values 0]}
command launch_runs {-to_step= -jobs=} {
    if {[dict exists $options -to_step] && [dict get $options -to_step] eq "write_bitstream"} {
        set results [file join $state(folder) $state(project).runs [lindex $values 0]]
        touch [file join $results system_wrapper.bit]
    }
    return
}
command wait_on_run {} {return}
command open_run {} {return}
command close_design {} {return}
command get_clocks {} {return $state(period)}
command report_utilization {-file=} {return [touch [dict get $options -file]]}
command report_timing_summary {-file=} {return [touch [dict get $options -file]]}
command write_hw_platform {-fixed -include_bit -force -file=} {
    return [touch [dict get $options -file]]
}

# --- Constraints
command get_ports {} {return [lindex $values 0]}
command set_false_path {-from= -to=} {return}
