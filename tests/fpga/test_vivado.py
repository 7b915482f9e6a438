"""Projects for Vivado without Vivado: its commands are recorded, and the records are checked.

What is known of Xilinx' IPs and of AXI (IHI 0022) stands here in tables written by hand, not taken
from the code; Vivado itself has confirmed none of it.
The transfers of the machine are not looked at here: the benches of tests/bench drive its ports,
which the wrapper only renames.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from einchip.arch import PRESETS, Architecture
from einchip.fpga.synth import Resources
from einchip.fpga.vivado import BOARDS, Board, VivadoError, boards, estimate, project, wrapper
from einchip.fpga.vivado.estimates import MARK, Estimate
from einchip.hw import generate
from einchip.registers import ADDRESS_BITS
from einchip.verify import verilator
from einchip.verify.machine import generated
from einchip.verify.ports import read_ports
from tests.fpga.needs import needs_yosys

NANO = PRESETS["nano"]
COMMANDS = Path(__file__).parent / "vivado_commands.tcl"
PAGE = (Path(__file__).parents[2] / "docs" / "vivado.md").read_text()
HEADER = "/* the registers */\n"


@pytest.fixture(scope="module")
def nano_rtl(native_cache: Path) -> str:
    return generated(NANO, native_cache).read_text()


@pytest.fixture
def quick(nano_rtl: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every machine have the Verilog of `nano`, which takes seconds to write."""
    monkeypatch.setattr(generate, "verilog", lambda arch: nano_rtl)


# --- Scripts, and what they call -----------------------------------------------------------------


class TclError(Exception):
    """What a script ended with."""


class Call(NamedTuple):
    """A command of Vivado with its options, and what stands in it without a name."""

    name: str
    options: dict[str, str]
    values: list[str]


def in_python(script: str) -> None:
    import tkinter

    try:
        tkinter.Tcl().eval(script)
    except tkinter.TclError as error:
        raise TclError(str(error)) from None


def in_tclsh(script: str, folder: Path) -> None:
    path = folder / "script.tcl"
    path.write_text(script)
    done = subprocess.run(["tclsh", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TclError(done.stderr.split("\n    while executing")[0])


def has_tkinter() -> bool:
    try:
        import tkinter  # noqa: F401 # only whether it is there
    except ImportError:
        return False
    return True


needs_tcl = pytest.mark.skipif(
    not has_tkinter() and shutil.which("tclsh") is None,
    reason="needs Tcl: Python's tkinter, or tclsh",
)


def run(path: Path, prelude: str = "", *, tclsh: bool = False) -> list[Call]:
    """Run a script of a project, and return the commands that it called. Raises TclError."""
    records = path.with_suffix(".calls")
    script = (
        f"source {{{COMMANDS}}}\n{prelude}\nsource {{{path}}}\n"
        f"set file [open {{{records}}} w]\nputs -nonewline $file [written_calls]\nclose $file\n"
    )
    if tclsh or not has_tkinter():
        in_tclsh(script, path.parent)
    else:
        in_python(script)
    calls = []
    for record in records.read_text().split("\x1d"):
        name, options, values = record.split("\x1e")
        words = options.split("\x1f") if options else []
        pairs = dict(zip(words[::2], words[1::2], strict=True))
        calls.append(Call(name, pairs, values.split("\x1f")))
    return calls


def named(calls: Sequence[Call], name: str) -> list[Call]:
    return [call for call in calls if call.name == name]


def made_clock(mhz: float) -> str:
    """Return what lets Vivado find a clock, and that of the JTAG cable."""
    return f"set state(period) {{33.000 {1000 / mhz}}}"


def written(board: Board, folder: Path, arch: Architecture = NANO) -> Path:
    project.write_project(arch, board, folder, header=HEADER)
    return folder / "build.tcl"


# --- What is in a block design -------------------------------------------------------------------


@dataclass
class Pins:
    """Pins of a cell, by what they are: clock, reset (low), interrupt, and others by their use."""

    inputs: dict[str, str] = field(default_factory=dict)
    optional: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    masters: set[str] = field(default_factory=set)
    slaves: set[str] = field(default_factory=set)


def zynq7(config: Mapping[str, str]) -> Pins:
    assert config["PCW_EN_CLK0_PORT"] == config["PCW_EN_RST0_PORT"] == "1"
    pins = Pins(outputs={"FCLK_CLK0": "clock", "FCLK_RESET0_N": "reset"})
    for name in ("M_AXI_GP0", "M_AXI_GP1", "S_AXI_HP0"):
        if config[f"PCW_USE_{name}"] == "1":
            pins.inputs[f"{name}_ACLK"] = "clock"
            (pins.masters if name.startswith("M") else pins.slaves).add(name)
    if config["PCW_USE_FABRIC_INTERRUPT"] == config["PCW_IRQ_F2P_INTR"] == "1":
        pins.inputs["IRQ_F2P"] = "interrupt"
    return pins


def zynqmp(config: Mapping[str, str]) -> Pins:
    pins = Pins(outputs={"pl_clk0": "clock", "pl_resetn0": "reset"})
    assert config["PSU__FPGA_PL0_ENABLE"] == "1"
    for number, name in enumerate(("HPM0_FPD", "HPM1_FPD", "HPM0_LPD")):
        if config[f"PSU__USE__M_AXI_GP{number}"] == "1":
            pins.masters.add(f"M_AXI_{name}")
            pins.inputs[f"maxi{name.lower()}_aclk"] = "clock"
    if config["PSU__USE__S_AXI_GP2"] == "1":
        pins.slaves.add("S_AXI_HP0_FPD")
        pins.inputs["saxihp0_fpd_aclk"] = "clock"
    if config["PSU__USE__IRQ0"] == "1":
        pins.inputs["pl_ps_irq0"] = "interrupt"
    return pins


def smartconnect(config: Mapping[str, str]) -> Pins:
    return Pins(
        inputs={"aclk": "clock", "aresetn": "reset"},
        slaves={f"S{k:02}_AXI" for k in range(int(config["NUM_SI"]))},
        masters={f"M{k:02}_AXI" for k in range(int(config["NUM_MI"]))},
    )


def clock_wizard(config: Mapping[str, str]) -> Pins:
    assert config["USE_RESET"] == "false"
    assert config["USE_LOCKED"] == "true"
    return Pins(inputs={"clk_in1": "clock"}, outputs={"clk_out1": "clock", "locked": "locked"})


def bram_controller(config: Mapping[str, str]) -> Pins:
    assert config["SINGLE_PORT_BRAM"] == "1"
    inputs = {"s_axi_aclk": "clock", "s_axi_aresetn": "reset"}
    return Pins(inputs=inputs, slaves={"S_AXI"}, masters={"BRAM_PORTA"})


IPS: Final[Mapping[str, Callable[[Mapping[str, str]], Pins]]] = {
    "processing_system7": zynq7,
    "zynq_ultra_ps_e": zynqmp,
    "smartconnect": smartconnect,
    "clk_wiz": clock_wizard,
    "axi_bram_ctrl": bram_controller,
    "blk_mem_gen": lambda config: Pins(slaves={"BRAM_PORTA"}),
    "jtag_axi": lambda config: Pins(
        inputs={"aclk": "clock", "aresetn": "reset"}, masters={"M_AXI"}
    ),
    "proc_sys_reset": lambda config: Pins(
        inputs={"slowest_sync_clk": "clock", "ext_reset_in": "reset"},
        optional={"dcm_locked": "locked", "aux_reset_in": "reset", "mb_debug_sys_rst": "high"},
        outputs={
            "mb_reset": "high",
            "bus_struct_reset": "high",
            "peripheral_reset": "high",
            "interconnect_aresetn": "reset",
            "peripheral_aresetn": "reset",
        },
    ),
    "einchip_ip": lambda config: Pins(
        inputs={"aclk": "clock", "aresetn": "reset"},
        outputs={"interrupt": "interrupt"},
        slaves={"s_axi"},
        masters={"m_axi"},
    ),
}
#: The address space of a master, and the segment behind a slave.
SPACES: Final = {
    "core/m_axi": "core/m_axi",
    "jtag/M_AXI": "jtag/Data",
    "ps/M_AXI_GP0": "ps/Data",
    "ps/M_AXI_HPM0_FPD": "ps/Data",
}
SEGMENTS: Final = {
    "core/s_axi": "core/s_axi/reg0",
    "ram_control/S_AXI": "ram_control/S_AXI/Mem0",
    "ps/S_AXI_HP0": "ps/S_AXI_HP0/HP0_DDR_LOWOCM",
    "ps/S_AXI_HP0_FPD": "ps/SAXIGP2/HP0_DDR_LOW",
}
#: Where a processor's master may have slaves: first address and bytes (UG585, UG1085).
WINDOWS: Final = {
    "zynq7": (0x4000_0000, 0x4000_0000),
    "zynqmp": (0xA000_0000, 0x1000_0000),
    "jtag": (0, 1 << 32),
}


@dataclass
class Design:
    """The block design that some calls make."""

    cells: dict[str, Pins] = field(default_factory=dict)
    ips: dict[str, str] = field(default_factory=dict)
    config: dict[str, dict[str, str]] = field(default_factory=dict)
    ports: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, calls: Sequence[Call]) -> Design:
        design = cls()
        for call in named(calls, "create_bd_cell"):
            design.ips[call.values[0]] = call.options["-vlnv"].split(":")[2]
            design.config[call.values[0]] = {}
        for call in named(calls, "set_property"):
            if "-dict" in call.options and call.values[0] in design.ips:
                words = re.findall(r"\{[^}]*\}|\S+", call.options["-dict"])
                pairs = zip(words[::2], words[1::2], strict=True)
                for name, value in pairs:
                    design.config[call.values[0]][name.removeprefix("CONFIG.")] = value
        for name, ip in design.ips.items():
            design.cells[name] = IPS[ip](design.config[name])
        for call in named(calls, "create_bd_port"):
            kind = {"clk": "clock", "rst": "reset", "": ""}[call.options.get("-type", "")]
            design.ports[call.values[0]] = (call.options["-dir"], kind)
        return design

    def ends(self, group: str) -> dict[str, str]:
        """Return pins with their kinds, or interfaces, of all cells."""
        pins = {name: getattr(cell, group) for name, cell in self.cells.items()}
        return {
            f"{name}/{pin}": its[pin] if isinstance(its, dict) else ""
            for name, its in pins.items()
            for pin in its
        }


def check_nets(design: Design, calls: Sequence[Call]) -> None:
    """Every input has one driver of its kind, and so has every port that is an output."""
    inputs, drivers = design.ends("inputs"), design.ends("outputs")
    drivers |= {name: kind for name, (way, kind) in design.ports.items() if way == "I"}
    sinks = {name: kind for name, (way, kind) in design.ports.items() if way == "O"}
    required = inputs | sinks
    allowed = required | design.ends("optional")
    driven: dict[str, str] = {}
    for call in named(calls, "connect_bd_net"):
        driver, *ends = call.values
        assert driver in drivers, driver
        assert ends, driver
        for end in ends:
            assert end in allowed, end
            assert end not in driven, end
            assert allowed[end] in ("", drivers[driver]), (driver, end)
            driven[end] = driver
    assert required.keys() <= driven.keys(), sorted(required.keys() - driven.keys())
    clocks = {driven[end] for end, kind in inputs.items() if kind == "clock"}
    if any(ip == "clk_wiz" for ip in design.ips.values()):
        clocks.remove("sys_clock")
        assert driven["resets/dcm_locked"] == "clock/locked"
    assert len(clocks) == 1
    loads = {driver for driver in driven.values() if drivers[driver] == "interrupt"}
    assert loads == {"core/interrupt"}


def check_buses(design: Design, calls: Sequence[Call]) -> dict[str, str]:
    """Every interface is connected once, master to slave; return the slave of each master."""
    masters, slaves = design.ends("masters"), design.ends("slaves")
    found = [call.values for call in named(calls, "connect_bd_intf_net")]
    pairs = [(master, slave) for master, slave in found]
    assert sorted(master for master, _ in pairs) == sorted(masters)
    assert sorted(slave for _, slave in pairs) == sorted(slaves)
    return dict(pairs)


def reached(design: Design, to: Mapping[str, str], master: str) -> set[str]:
    """Return the slaves that a master reaches through interconnects."""
    slave = to[master]
    cell = slave.split("/")[0]
    if design.ips[cell] != "smartconnect":
        return {slave}
    return set[str]().union(
        *(reached(design, to, f"{cell}/{name}") for name in design.cells[cell].masters)
    )


def check_addresses(
    design: Design, calls: Sequence[Call], to: Mapping[str, str], board: Board
) -> None:
    """Each master sees every slave that it reaches, at addresses of its own, in its window."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for call in named(calls, "assign_bd_address"):
        space, segment = call.options["-target_address_space"], call.values[0]
        assert segment not in found.setdefault(space, {})
        offset, size = int(call.options["-offset"], 0), int(call.options["-range"], 0)
        assert offset % size == 0
        assert size & (size - 1) == 0
        assert offset + size <= 1 << 32
        found[space][segment] = offset, size
    expected = {
        SPACES[master]: {SEGMENTS[slave] for slave in reached(design, to, master)}
        for master in to
        if master in SPACES
    }
    assert {space: set(segments) for space, segments in found.items()} == expected
    for segments in found.values():
        ranges = sorted(segments.values())
        for (low, size), (high, _) in pairwise(ranges):
            assert low + size <= high
    low, size = WINDOWS[board.design]
    for segments in found.values():
        if SEGMENTS["core/s_axi"] in segments:
            base, n_bytes = segments[SEGMENTS["core/s_axi"]]
            assert base == board.control_base
            assert n_bytes >= max(4096, 1 << ADDRESS_BITS)
            assert low <= base < base + n_bytes <= low + size


def check(calls: Sequence[Call], board: Board) -> Design:
    """Check the block design of a board, and return it."""
    design = Design.of(calls)
    check_nets(design, calls)
    check_addresses(design, calls, check_buses(design, calls), board)
    return design


# --- The build -----------------------------------------------------------------------------------


@needs_tcl
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_the_build_of_every_board_connects_all_and_runs_to_its_end(
    board: Board, tmp_path: Path
) -> None:
    calls = run(written(board, tmp_path), made_clock(board.default_mhz))
    check(calls, board)
    parts = {call.options["-part"] for call in named(calls, "create_project")}
    assert parts == {board.part}
    for call in named(calls, "add_files"):
        assert all(Path(name).is_file() for name in call.values[0].split())
    steps = [call.name for call in calls if call.name in ("validate_bd_design", "open_run")]
    steps += [c.options["-to_step"] for c in named(calls, "launch_runs") if "-to_step" in c.options]
    assert steps == ["validate_bd_design", "open_run", "write_bitstream"]
    results = {path.name for path in (tmp_path / "build").iterdir() if path.is_file()}
    handed_over = {"einchip.hwh", "einchip.xsa"} if board.board_part else set()
    assert results == {"einchip.bit", "timing.rpt", "utilisation.rpt"} | handed_over


@needs_tcl
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_without_any_one_connection_or_address_the_check_fails(
    board: Board, tmp_path: Path
) -> None:
    build = written(board, tmp_path)
    step = re.compile(r"^ *(?:connect_pins|connect_buses|map_memory) .*\n", re.MULTILINE)
    n_checked = 0
    for script in (build, tmp_path / "design.tcl"):
        text = script.read_text()
        for line in step.finditer(text):
            script.write_text(text[: line.start()] + text[line.end() :])
            calls = run(build, made_clock(board.default_mhz))
            with pytest.raises((AssertionError, KeyError)):
                check(calls, board)
            n_checked += 1
        script.write_text(text)
    assert n_checked >= 6 + 6


@needs_tcl
@pytest.mark.usefixtures("quick")
@pytest.mark.skipif(
    not has_tkinter() or shutil.which("tclsh") is None, reason="needs both tkinter and tclsh"
)
def test_both_interpreters_see_the_same(tmp_path: Path) -> None:
    board = BOARDS["pynq-z2"]
    build, prelude = written(board, tmp_path), made_clock(board.default_mhz)
    assert run(build, prelude) == run(build, prelude, tclsh=True)
    with pytest.raises(TclError, match=r"^clocks: found"):
        run(build, made_clock(1), tclsh=True)


@needs_tcl
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("stats,WNS -0.001", r"^timing: found WNS \(setup\) -0.001 ns, expected 0 or more; .*$"),
        ("stats,WHS -1.5", r"^timing: found WHS \(hold\) -1.5 ns"),
        ("stats,TPWS -0.2", r"^timing: found TPWS \(pulse width, total\) -0.2 ns"),
        ("stats,WNS {}", r"^timing: found no WNS \(setup\), expected a slack in ns"),
        ("stats,WNS inf?", r"^timing: found no WNS"),
        ("period {33.000 25.000}", r'^clocks: found "30.303 40.000" MHz, .* within 10 % of 50$'),
        ("progress,impl_1 37%", r'^impl_1: found status "impl_1 Failed"; see runme.log in /'),
    ],
)
def test_a_build_that_misses_its_clock_stops_before_the_bitstream(
    state: str, message: str, tmp_path: Path
) -> None:
    board = BOARDS["arty-a7-100"]
    build = written(board, tmp_path)
    with pytest.raises(TclError, match=message) as error:
        run(build, f"{made_clock(board.default_mhz)}\nset state({state.replace(' ', ') ', 1)}")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.bit"))


@needs_tcl
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("version 2020.1", r"^Vivado: found 2020.1, expected 2020.2 or newer$"),
        ("version beta", r"^Vivado: found beta, expected"),
        ("board_parts {}", r"^board files: found none of xilinx.com:zcu104:part0:\*, .* Store"),
        ("board_file_part xczu9eg", r"^board files: found part xczu9eg, expected xczu7ev-"),
        ("catalogue {}", r"^IP catalogue: found no xilinx.com:ip:zynq_ultra_ps_e;"),
        ("progress,synth_1 0%", r"^synth_1: found status"),
    ],
)
def test_what_is_missing_is_said_in_one_line(state: str, message: str, tmp_path: Path) -> None:
    board = BOARDS["zcu104"]
    build = written(board, tmp_path)
    with pytest.raises(TclError, match=message) as error:
        run(build, f"{made_clock(board.default_mhz)}\nset state({state.replace(' ', ') ', 1)}")
    assert "\n" not in str(error.value)


@needs_tcl
@pytest.mark.usefixtures("quick")
def test_the_newest_board_files_and_ips_are_taken(tmp_path: Path) -> None:
    board = BOARDS["kv260"]
    calls = run(written(board, tmp_path), made_clock(board.default_mhz) + "\n")
    chosen = [c.values[1] for c in named(calls, "set_property") if c.values[0] == "board_part"]
    assert chosen == ["xilinx.com:kv260_som:part0:1.10"]
    versions = {
        call.options["-vlnv"].split(":")[3]
        for call in named(calls, "create_bd_cell")
        if call.options["-vlnv"].startswith("xilinx.com:")
    }
    assert versions == {"10.0"}  # neither 9.1, nor by letters


@needs_tcl
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("port_bytes", [4, 8, 16])
def test_memory_ports_are_as_wide_as_the_machine_and_the_board_allow(
    port_bytes: int, tmp_path: Path
) -> None:
    arch = NANO.override(port_bytes=port_bytes, lanes=16)
    widths = {}
    for board in BOARDS.values():
        build = written(board, tmp_path / board.name, arch)
        config = check(run(build, made_clock(board.default_mhz)), board).config
        cell, name = {
            "zynq7": ("ps", "PCW_S_AXI_HP0_DATA_WIDTH"),
            "zynqmp": ("ps", "PSU__SAXIGP2__DATA_WIDTH"),
            "jtag": ("ram_control", "DATA_WIDTH"),
        }[board.design]
        widths[board.design] = int(config[cell][name])
    bits = 8 * port_bytes
    assert widths == {"zynq7": min(bits, 64), "zynqmp": bits, "jtag": bits}


@needs_tcl
@pytest.mark.usefixtures("quick")
def test_the_clock_asked_for_reaches_the_clock_generator(tmp_path: Path) -> None:
    for board in BOARDS.values():
        folder = tmp_path / board.name
        project.write_project(NANO, board, folder, frequency_mhz=62.5, header=HEADER)
        config = Design.of(run(folder / "build.tcl", made_clock(62.5))).config
        cell, name = {
            "zynq7": ("ps", "PCW_FPGA0_PERIPHERAL_FREQMHZ"),
            "zynqmp": ("ps", "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ"),
            "jtag": ("clock", "CLKOUT1_REQUESTED_OUT_FREQ"),
        }[board.design]
        assert config[cell][name] == "62.5"


@needs_tcl
@pytest.mark.usefixtures("quick")
def test_processors_are_set_up_by_the_board_files(tmp_path: Path) -> None:
    for board in (board for board in BOARDS.values() if board.board_part):
        calls = run(written(board, tmp_path / board.name), made_clock(board.default_mhz))
        (automation,) = named(calls, "apply_bd_automation")
        assert 'apply_board_preset "1"' in automation.options["-config"]
        names = [call.name for call in calls]
        assert names.index("apply_bd_automation") < names.index("connect_bd_net")
        if board.design == "zynq7":
            assert 'make_external "FIXED_IO, DDR"' in automation.options["-config"]
        else:  # the other segments behind HP0 are not the machine's
            excluded = [call.values[0] for call in named(calls, "exclude_bd_addr_seg")]
            assert excluded == ["/ps/SAXIGP2/HP0_DDR_HIGH", "/ps/SAXIGP2/HP0_QSPI"]


@needs_tcl
@pytest.mark.usefixtures("quick")
def test_the_ip_is_packaged_alone_with_its_address_map(tmp_path: Path) -> None:
    written(BOARDS["zcu104"], tmp_path)
    calls = run(tmp_path / "package_ip.tcl")
    (packaged,) = named(calls, "ipx::package_project")
    assert packaged.options["-root_dir"] == str(tmp_path / "ip")
    (added,) = named(calls, "add_files")
    files = [Path(name) for name in added.values[0].split()]
    assert [f.name for f in files] == [f"{generate.TOP}.v", f"{wrapper.MODULE}.v"]
    values = {
        (c.values[2], c.values[0]): c.values[1]
        for c in named(calls, "set_property")
        if len(c.values) == 3
    }
    assert values["core", "name"] == wrapper.MODULE
    assert values["core", "version"] == "1.0"
    assert 0 < int(values["core", "core_revision"]) < 1 << 31
    assert values["core", "supported_families"].split()[::2] == ["zynq", "artix7", "zynquplus"]
    assert values["map:s_axi/reg0", "range"] == str(max(4096, 1 << ADDRESS_BITS))
    assert values["map:s_axi/reg0", "usage"] == "register"
    assert values["interface:s_axi", "slave_memory_map_ref"] == "s_axi"
    assert values["space:m_axi", "range"] == str(1 << 32)
    assert values["space:m_axi", "width"] == str(8 * NANO.port_bytes)
    assert values["interface:m_axi", "master_address_space_ref"] == "m_axi"
    assert [c.name for c in calls][-2:] == ["ipx::save_core", "close_project"]
    assert (tmp_path / "ip" / "component.xml").exists()


#: Pins by the boards' manuals; every other board uses none.
PINS: Final = {"arty-a7-100": {"sys_clock": "E3", "reset_n": "C2", "stopped": "H5"}}


@needs_tcl
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_constraints_name_every_port_and_no_other(board: Board, tmp_path: Path) -> None:
    ports = Design.of(run(written(board, tmp_path), made_clock(board.default_mhz))).ports
    calls = run(tmp_path / f"{board.name}.xdc", "version -short")
    pins = {}
    for call in named(calls, "set_property"):
        values = call.options["-dict"].split()
        settings = dict(zip(values[::2], values[1::2], strict=True))
        assert settings.pop("IOSTANDARD") == "LVCMOS33"
        pins[call.values[0]] = settings.pop("PACKAGE_PIN")
        assert not settings
    assert pins == PINS.get(board.name, {})
    assert pins.keys() == ports.keys()


@needs_tcl
def test_names_of_machines_cannot_reach_tcl(tmp_path: Path) -> None:
    arch = NANO.override(name='a"]}[error reached]\nerror "$reached" \\')
    board = BOARDS["kv260"]
    path = tmp_path / "settings.tcl"
    path.write_text(project.settings(arch, board, 100.0))
    run(path, "version -short")


# --- The wrapper ---------------------------------------------------------------------------------

#: A signal's direction at the master, and its width; some widths depend on the bus.
Signals = dict[str, tuple[str, str | int]]
#: AXI4 and AXI4-Lite (IHI 0022, chapters A2, B1), by channel.
_ADDRESS: Final[Signals] = {
    "ADDR": ("output", "address"), "PROT": ("output", 3), "VALID": ("output", 1),
    "READY": ("input", 1),
}  # fmt: skip
_BURST: Final[Signals] = {
    "ID": ("output", "id"), "LEN": ("output", 8), "SIZE": ("output", 3), "BURST": ("output", 2),
    "LOCK": ("output", 1), "CACHE": ("output", 4), "QOS": ("output", 4), "REGION": ("output", 4),
}  # fmt: skip
_LITE: Final[dict[str, Signals]] = {
    "AW": {**_ADDRESS},
    "W": {
        "DATA": ("output", "data"), "STRB": ("output", "strobe"), "VALID": ("output", 1),
        "READY": ("input", 1),
    },
    "B": {"RESP": ("input", 2), "VALID": ("input", 1), "READY": ("output", 1)},
    "AR": {**_ADDRESS},
    "R": {
        "DATA": ("input", "data"), "RESP": ("input", 2), "VALID": ("input", 1),
        "READY": ("output", 1),
    },
}  # fmt: skip
_FULL: Final[dict[str, Signals]] = {
    "AW": {**_LITE["AW"], **_BURST},
    "W": {**_LITE["W"], "LAST": ("output", 1)},
    "B": {**_LITE["B"], "ID": ("input", "id")},
    "AR": {**_LITE["AR"], **_BURST},
    "R": {**_LITE["R"], "LAST": ("input", 1), "ID": ("input", "id")},
}
_OTHER: Final = {"output": "input", "input": "output"}
_PORT = re.compile(
    r'\(\* X_INTERFACE_INFO = "(?P<info>[^"]*)" \*\)\s*'
    r'(?:\(\* X_INTERFACE_PARAMETER = "(?P<parameters>[^"]*)" \*\)\s*)?'
    r"(?P<way>input|output) wire (?:\[(?P<high>\d+):0\] )?(?P<name>\w+)"
)


def expected_ports(port_bytes: int) -> dict[str, tuple[str, int, str]]:
    """Return direction, width and X_INTERFACE_INFO of every port, from the tables above."""
    single = "xilinx.com:signal:{0}:1.0 {1} {2}".format
    ports = {
        "aclk": ("input", 1, single("clock", "aclk", "CLK")),
        "aresetn": ("input", 1, single("reset", "aresetn", "RST")),
        "interrupt": ("output", 1, single("interrupt", "interrupt", "INTERRUPT")),
    }
    data = {"s_axi": 4, "m_axi": port_bytes}
    for bus, table in (("s_axi", _LITE), ("m_axi", _FULL)):
        widths = {"data": 8 * data[bus], "strobe": data[bus], "id": 1}
        widths["address"] = 32 if bus == "m_axi" else ADDRESS_BITS
        for channel, signals in table.items():
            for signal, (way, width) in signals.items():
                direction = way if bus == "m_axi" else _OTHER[way]
                bits = widths[width] if isinstance(width, str) else width
                info = f"xilinx.com:interface:aximm:1.0 {bus} {channel}{signal}"
                ports[f"{bus}_{channel}{signal}".lower()] = (direction, bits, info)
    return ports


@pytest.mark.parametrize("port_bytes", [4, 8, 16])
def test_ports_are_those_that_vivado_reads_as_axi(port_bytes: int) -> None:
    text = wrapper.verilog(NANO.override(port_bytes=port_bytes, lanes=16))
    header = text[: text.index(");\n")]
    found = {
        port["name"]: (port["way"], int(port["high"] or 0) + 1, port["info"])
        for port in _PORT.finditer(header)
    }
    assert found == expected_ports(port_bytes)
    assert len(re.findall(r"\b(?:input|output) wire\b", header)) == len(found)


def test_parameters_of_the_interfaces_are_those_of_the_machine() -> None:
    arch = NANO.override(port_bytes=8, lanes=8, burst_beats=32)
    found = {}
    for port in _PORT.finditer(wrapper.verilog(arch)):
        if port["parameters"]:
            (tag, bus), *pairs = (item.split() for item in port["parameters"].split(", "))
            assert tag == "XIL_INTERFACENAME"
            assert bus == port["info"].split()[1]
            assert bus not in found
            found[bus] = dict(pairs)
    assert found["aclk"] == {"ASSOCIATED_BUSIF": "s_axi:m_axi", "ASSOCIATED_RESET": "aresetn"}
    assert found["aresetn"] == {"POLARITY": "ACTIVE_LOW"}
    assert found["interrupt"] == {"SENSITIVITY": "LEVEL_HIGH"}
    assert found["s_axi"]["PROTOCOL"] == "AXI4LITE"
    memory = {"PROTOCOL": "AXI4", "DATA_WIDTH": "64", "ADDR_WIDTH": "32", "MAX_BURST_LENGTH": "32"}
    assert memory.items() <= found["m_axi"].items()


def test_every_port_of_the_machine_is_connected_to_the_one_of_its_name(nano_rtl: str) -> None:
    pins = dict(re.findall(r"^ +\.(\w+)\((~?\w+)\)", wrapper.verilog(NANO), re.MULTILINE))
    special = {"clk": "aclk", "rst": "~aresetn", "irq": "interrupt"}
    assert {name: pins[name] for name in special} == special
    core = read_ports(nano_rtl, generate.TOP)
    assert pins.keys() == core.keys()
    for name in pins.keys() - special.keys():
        assert pins[name] == name.replace("s_axil__", "s_axi_").replace("m_axi__", "m_axi_")


def test_what_the_machine_does_not_give_is_constant() -> None:
    text = wrapper.verilog(NANO)
    assigned = dict(re.findall(r"^ +assign (\w+) = \d+'d(\d+);", text, re.MULTILINE))
    values = {"id": "0", "lock": "0", "cache": "2", "prot": "0", "qos": "0", "region": "0"}
    assert assigned == {f"m_axi_{c}{name}": v for c in ("aw", "ar") for name, v in values.items()}


def test_wrapper_and_machine_pass_lint(nano_rtl: str) -> None:
    text = nano_rtl + wrapper.verilog(NANO)
    (warning,) = verilator.lint(text, top=wrapper.MODULE)
    assert "SYMRSVDWORD" in warning  # `interrupt` is a word of C++ compilers
    assert "'interrupt'" in warning
    cut = text.replace("[31:0] m_axi_awaddr", "[30:0] m_axi_awaddr")
    assert any("WIDTH" in line for line in verilator.lint(cut, top=wrapper.MODULE, waiver=None))


# --- Input that cannot be used -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "board", "mhz", "message"),
    [
        (
            PRESETS["base"],
            "pynq-z2",
            50.0,
            r"^pynq-z2: found 384 multipliers in base, expected at most the 220 DSP blocks of "
            r"xc7z020clg400-1; use fewer rows, cols or lanes$",
        ),
        (
            PRESETS["base"],
            "kv260",
            100.0,
            r"^kv260: found 9280 Kib of memory in base, expected at most 5184 Kib of block RAM",
        ),
        (
            NANO.override(x_depth=1 << 16, y_depth=1 << 15),
            "arty-a7-100",
            50.0,
            r"^arty-a7-100: found 3136 Kib of memory in nano, expected at most 2812 Kib",
        ),
        (
            PRESETS["pico"],
            "kv260",
            None,
            r"^kv260: found a memory port of 2 bytes in pico, expected at least 4, which AXI",
        ),
        (NANO, "kv260", 9.9, r"^clock: found 9.9 MHz, expected 10 to 250$"),
        (NANO, "kv260", float("nan"), r"^clock: found nan MHz"),
        (NANO, "zcu102", None, r"^target: found 'zcu102', .*; did you mean zcu104\?$"),
        (NANO, "PYNQ-Z2", None, r"did you mean pynq-z2\?$"),
        (NANO, "arty-a7", None, r"did you mean arty-a7-100\?$"),
        (NANO, "-", None, r"^target: found '-', expected one of pynq-z2, .*, zcu104$"),
    ],
)
def test_what_does_not_suit_is_one_line_and_nothing_is_written(
    arch: Architecture, board: str, mhz: float | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(VivadoError, match=message):
        project.write_project(arch, board, tmp_path / "new", frequency_mhz=mhz, header=HEADER)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_every_board_holds_the_machine_that_it_gets(board: Board) -> None:
    boards.check(PRESETS[board.arch], board, board.default_mhz)


def test_base_suits_the_board_that_has_room_for_it() -> None:
    boards.check(PRESETS["base"], BOARDS["zcu104"], 100.0)
    small = replace(BOARDS["zcu104"], block_rams=257)
    boards.check(PRESETS["base"].override(x_window=0, y_window=0), small, 100.0)


@pytest.mark.usefixtures("quick")
def test_the_header_comes_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "HEADER", tmp_path / "packaged.h")
    with pytest.raises(VivadoError, match=r"packaged.h: cannot read the file: No such file"):
        project.write_project(NANO, "kv260", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "packaged.h").write_text(HEADER)
    files = project.write_project(NANO, "kv260", tmp_path / "new")
    assert (tmp_path / "new" / "include" / "einchip_registers.h").read_text() == HEADER
    assert sorted(files) == sorted(p for p in (tmp_path / "new").rglob("*") if p.is_file())


# --- Figures -------------------------------------------------------------------------------------


def test_figures_of_yosys_say_what_they_are() -> None:
    figures = Resources("xilinx", 1234, 0, 0, 5678, 36, 10, 12, "0.70")
    line = str(Estimate("nano", BOARDS["pynq-z2"], figures))
    assert line.startswith("nano on PYNQ-Z2: 1,234 of 53,200 LUTs, 36 of 220 DSP blocks, ")
    assert line.endswith(f"; {MARK} (Yosys 0.70)")
    assert MARK == "estimate, Yosys, not placed"
    other = str(Estimate("nano", BOARDS["kv260"], figures))
    assert "(mapped to Xilinx 7, xck26-sfvc784-2LV-c has other cells)" in other


@needs_yosys
@pytest.mark.nightly
def test_nano_is_estimated_as_the_page_says(tmp_path: Path) -> None:
    found: Estimate = estimate(NANO, BOARDS["pynq-z2"], tmp_path)
    shown = re.search(r"`nano` takes about ([\d,]+) LUTs, ([\d,]+) flip-flops and (\d+) DSP", PAGE)
    assert shown is not None
    luts, ffs, dsps = (int(figure.replace(",", "")) for figure in shown.groups())
    assert found.resources.lut == pytest.approx(luts, rel=0.1)
    assert found.resources.ff == pytest.approx(ffs, rel=0.1)
    assert found.resources.dsp == dsps == boards.multipliers(NANO)


# --- The page ------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_the_page_has_the_boards_of_the_code(board: Board) -> None:
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{board.name}` |"))
    cells = [cell.strip() for cell in line.strip("| ").split("|")][1:]
    n_bytes = board.memory_bytes
    units = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
    memory = next(f"{n_bytes // unit} {name}" for unit, name in units if n_bytes >= unit)
    assert cells == [
        f"`{board.part}`",
        f"`{board.arch}`",
        f"{board.default_mhz:g}",
        f"{board.control_base:#x}",
        f"{board.memory_base:#x}, {memory}",
    ]


def test_the_page_names_every_file_of_a_project() -> None:
    names = ["build.tcl", "package_ip.tcl", "design.tcl", "settings.tcl", "BOARD.xdc"]
    names += ["rtl/einchip_top.v", "rtl/einchip_ip.v", "include/einchip_registers.h"]
    assert all(f"`{name}`" in PAGE for name in names)
