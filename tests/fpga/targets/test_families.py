"""fpga.targets.families: cells and reports as the tools wrote them, repaired netlists.

`reports` has what Yosys and nextpnr found for the link and the memory (8 KiB) of a board, and two
multipliers of 16 x 16 and 8 x 8 bits. The expected figures were counted by hand from Yosys' cells.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from amaranth import Module, Signal
from amaranth.back import rtlil  # type: ignore[attr-defined] # its stubs lack it
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.fpga import synth
from einchip.fpga.host_link.memory import AxiMemory
from einchip.fpga.place import critical_path
from einchip.fpga.targets.families import (
    GW2A_18,
    KINDS,
    LFE5U_25F,
    LIFCL_40,
    SPRAM,
    UP5K,
    Part,
)
from einchip.fpga.targets.families.family import signals
from einchip.fpga.targets.families.nexus import SYNTHESIS, without_tied_carries
from einchip.hw.serial_memory import SINGLE_PORT
from tests.fpga.needs import needs_yosys
from tests.fpga.targets.tools import netlist_of

REPORTS = Path(__file__).parent / "reports"
PARTS = {"ecp5": LFE5U_25F, "ice40": UP5K, "gowin": GW2A_18, "nexus": LIFCL_40}
COUNTED = {
    "ecp5": {"lut": 888 + 2 * 118, "ff": 546, "dsp": 2, "block_ram": 5},
    "ice40": {"lut": 870, "ff": 31 + 20 + 270 + 197, "dsp": 2, "block_ram": 1, "spram": 2},
    "gowin": {"lut": 456 + 354 + 257 + 129 + 252, "ff": 545 + 293, "dsp": 2, "block_ram": 5},
    "nexus": {"lut": 623 + 4 + 2 * (125 + 73), "ff": 433, "dsp": 2, "block_ram": 5},
}
#: What nextpnr itself says. (Of Gowin, 252 carries in chains take the places of 292 registers.)
USED = {
    "ecp5": {"lut": 1194, "ff": 498, "dsp": 2, "block_ram": 5},
    "ice40": {"lut": 1249, "ff": 518, "dsp": 2, "block_ram": 1, "spram": 2},
    "gowin": {"lut": 1540 + 292, "ff": 545 + 292, "dsp": 2, "block_ram": 5},
    "nexus": {"lut": 1024, "ff": 433, "dsp": 2, "block_ram": 5},
}
#: Its names of what a family has, in the order of `Family.kinds`. A logic cell of iCE40 has a LUT
#: and a register.
AVAILABLE = {
    "ecp5": ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD"),
    "ice40": (*["ICESTORM_LC"] * 2, *(f"ICESTORM_{kind}" for kind in ("DSP", "RAM", "SPRAM"))),
    "gowin": ("LUT4", "DFF", "MULT18X18", "BSRAM"),
    "nexus": ("OXIDE_COMB", "OXIDE_FF", "MULT18_CORE", "OXIDE_EBR"),
}
FAMILIES = pytest.mark.parametrize(("name", "part"), PARTS.items(), ids=PARTS)


def recorded(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a netlist of the recorded cells, and nextpnr's report."""
    data = json.loads((REPORTS / f"{name}.json").read_text())
    return netlist_of(data["netlist"]), data["report"]


@FAMILIES
def test_cells_of_yosys_are_counted_by_kind(name: str, part: Part) -> None:
    netlist, _ = recorded(name)
    assert part.family.count(netlist) == COUNTED[name]


@FAMILIES
def test_a_report_of_nextpnr_is_read(name: str, part: Part) -> None:
    netlist, report = recorded(name)
    found = part.family.resources(report, part.family.count(netlist), part)
    assert {kind: used for kind, (used, _) in found.items()} == USED[name]


@FAMILIES
def test_luts_are_no_more_than_nextpnr_uses(name: str, part: Part) -> None:
    """So that nothing is refused that would fit."""
    netlist, _ = recorded(name)
    assert part.family.count(netlist)["lut"] <= USED[name]["lut"]


@FAMILIES
def test_a_part_has_what_nextpnr_says(name: str, part: Part) -> None:
    _, report = recorded(name)
    there = [report["utilization"][cell]["available"] for cell in AVAILABLE[name]]
    assert dict(part.has) == dict(zip(part.family.kinds, there, strict=True))
    assert part.family.kinds[: len(KINDS)] == KINDS


@FAMILIES
def test_a_path_is_given_by_signals(name: str, part: Part) -> None:
    netlist, report = recorded(name)
    path = signals(netlist, critical_path(report))
    assert path[0].startswith("system.bridge.")
    assert not any(kind in cell for cell in path for kind in ("LUT", "DFF", "FD1P3", "SB_", "CCU2"))


def test_carries_that_are_tied_to_0_begin_a_chain_on_nexus() -> None:
    netlist = netlist_of({"VLO": 1, "CCU2": 4, "LUT4": 1})
    cells = netlist["modules"]["top"]["cells"]
    cells["VLO_0"]["connections"] = {"Z": [7]}
    for k, carry in enumerate(([7], ["0"], [8])):
        cells[f"CCU2_{k}"]["connections"] = {"CIN": carry, "S0": [9]}
        cells[f"CCU2_{k}"]["port_directions"] = {"CIN": "input", "S0": "output"}
    cells["LUT4_0"]["connections"] = {"A": [7]}
    without_tied_carries(netlist)
    left = [cells[f"CCU2_{k}"]["connections"].get("CIN") for k in range(4)]
    assert left == [None, None, [8], None]
    assert "CIN" not in cells["CCU2_0"]["port_directions"]
    assert cells["CCU2_2"]["port_directions"] == {"CIN": "input", "S0": "output"}
    assert cells["CCU2_0"]["connections"] == {"S0": [9]}
    assert cells["LUT4_0"]["connections"] == {"A": [7]}


class Words(wiring.Component):
    """512 words of 16 bits, of which bytes are written, as a memory of one port."""

    address: Signal
    enabled: Signal
    written: Signal
    read: Signal

    def __init__(self) -> None:
        super().__init__({"address": In(9), "enabled": In(2), "written": In(16), "read": Out(16)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = Memory(shape=16, depth=512, init=[], attrs={SINGLE_PORT: "1"})
        read, write = words.read_port(), words.write_port(granularity=8)
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(~self.enabled.any()),
            write.addr.eq(self.address),
            write.en.eq(self.enabled),
            write.data.eq(self.written),
            self.read.eq(read.data),
        ]
        return m


def counted(design: Any, part: Part, folder: Path) -> dict[str, int]:
    """Return what Yosys maps a component to."""
    (folder / "top.il").write_text(rtlil.convert(design, name=synth.TOP, emit_src=False))
    script = f"read_rtlil top.il; {part.family.synthesis}; write_json top.json"
    synth.run([synth.find(), "-q", "-l", "log", "-p", script], folder, "top.json", "log")
    return part.family.count(json.loads((folder / "top.json").read_text()))


@needs_yosys
@FAMILIES
def test_a_memory_of_one_port_is_spram_where_the_family_has_some(
    name: str, part: Part, tmp_path: Path
) -> None:
    found = counted(Words(), part, tmp_path)
    expected = {"dsp": 0} | ({"block_ram": 0, SPRAM: 1} if name == "ice40" else {"block_ram": 1})
    assert {kind: n for kind, n in found.items() if kind not in ("lut", "ff")} == expected


@needs_yosys
def test_64_kib_of_external_memory_are_two_sprams(tmp_path: Path) -> None:
    found = counted(AxiMemory(1 << 16, 2, UP5K.family.memory_ports), UP5K, tmp_path)
    assert (found["block_ram"], found[SPRAM]) == (0, 2)
    assert found["lut"] < 200
    assert found["ff"] < 50


SHARED = """
module top(input clk, input signed [7:0] a, b, c, output signed [15:0] p, q, output [7:0] seen);
  reg signed [7:0] shared;
  reg signed [15:0] p, q;
  always @(posedge clk) begin
    shared <= a;
    p <= shared * b;
    q <= shared * c;
  end
  assign seen = shared;
endmodule
"""


@needs_yosys
def test_a_register_of_two_multipliers_and_an_output_stays_on_nexus(tmp_path: Path) -> None:
    """`synth_nexus` alone moves it into both multipliers, and the output is left without."""
    (tmp_path / "top.v").write_text(SHARED)
    script = f"read_verilog top.v; {SYNTHESIS}; write_json top.json"
    command = [synth.find(), "-q", "-p", script]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    netlist = json.loads((tmp_path / "top.json").read_text())
    counted = LIFCL_40.family.count(netlist)
    assert (counted["ff"], counted["dsp"]) == (8 + 2 * 16, 2)
    assert counted["lut"] == 0
