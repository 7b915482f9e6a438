"""The page of the model's errors: of units that were left out, and of what boards' builds take.

python -m einchip.fpga.fit.page > docs/fit.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from einchip.arch import PRESETS
from einchip.fpga.fit.measure import FAMILIES, MEMORY_BYTES, Case, boards, read, stale
from einchip.fpga.fit.model import FITTED, Model
from einchip.fpga.fit.units import SYSTEM, UNITS, Design
from einchip.fpga.targets.boards import TARGETS
from einchip.fpga.targets.families import ECP5, KINDS
from einchip.fpga.targets.families.family import FULL
from einchip.fpga.targets.flow import NAMES, Built
from einchip.fpga.targets.page import results

#: What each kind is called in a table's head.
_HEADS: Final = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "block_ram": "block RAM"}
#: Where the line begins that says what is stale.
STALE: Final = "Stale"

_HEAD = """\
# Sizing

<!-- Written by `python -m einchip.fpga.fit.page`. Do not edit. -->

    einchip fit --target ulx3s                                # its own machine, and the largest
    einchip fit --target ulx3s --arch nano --set x_window=256
    einchip fit MODEL --target ulx3s                          # and how fast a model runs on them

`fit` estimates in a second what a machine takes on a board: LUTs and registers by a model, with its
error; DSP blocks, block RAM and SPRAM exactly. A machine fits that takes up to {limits} of the LUTs
and {registers} of the registers (place and route needs some room), and no more DSP blocks, block
RAMs and SPRAMs than there are. On Gowin GW2A carries and LUT RAM take the places of registers, too.
The largest one is looked for among the presets and, with fold `hybrid` and elements of 8 bits, all
powers of two of rows, columns, lanes and depth between theirs: the most processing elements, then
lanes, then elements of the scratchpads. Where a machine does not fit, `fit` names what is lacking
and the fewest halvings that help, and ends with status 1. `--json FILE` has every figure, by unit.

With a model, `fit` compiles it as `build` does and simulates its first test sequence with the
board's memory, at the board's clock; the serial line is not counted. Whether a machine reaches
that clock only `build` tells; what the committed build reaches is shown.

## The model

Each unit of the machine, and the board's memory and host link, was mapped alone by Yosys, for
machines of {lanes} lanes and {pes} processing elements, with elements of 8 and 16 bits. A unit's
LUTs and registers are a sum of what it has of lanes, banks, columns, processing elements and their
bits (`einchip.fpga.fit.features`), with coefficients that are not negative. All units together take
{lut:.3f} of the LUTs and {ff:.3f} of the registers of their sum, by machines of {systems}, which
were mapped whole with {memory} KiB of memory.

For other families than ECP5, machines of two lanes were measured, whose ratio to ECP5 stands for
all machines'; the error that `fit` states has, besides the units' mean errors, what this ratio is
off between 8 and 16 bits (array and vector unit). iCE40 has no LUT RAM: there, accumulators of the
folds `flex` and `ip` take more than estimated, and block RAM of the array's small memories is taken
from what was measured.

`make fit` measures what is missing or stale. The measurements are in `fpga/fit/units.json`.

## Errors

Of each unit, mapped for ECP5, from a model that was fitted without that machine:
"""


@dataclass(frozen=True)
class Compared:
    """A board's build, and what was estimated for it, by kind."""

    target: str
    built: Built
    estimated: Mapping[str, int]

    def error(self, kind: str) -> float:
        """Return the estimate's relative error."""
        return self.estimated[kind] / self.built.resources[kind][0] - 1


def compared(model: Model, builds: Mapping[str, Built], rtl: Mapping[str, str]) -> list[Compared]:
    """Return the builds of presets by the RTL that was measured, with their estimates.

    `rtl` is `measure.boards`.
    """
    found = []
    for name, built in builds.items():
        if rtl.get(name) == built.rtl_hash and built.arch in PRESETS:
            target = TARGETS[name]
            design = Design(PRESETS[built.arch], target.memory_bytes)
            found.append(Compared(name, built, model.estimate(design, target.part).used))
    return found


def accuracy(rows: Sequence[Compared]) -> str:
    """Return in a line how far estimates are from builds."""
    if not rows:
        return "No board was built of the RTL that was measured, to compare estimates with."
    of = {kind: ", ".join(f"{r.error(kind):+.0%} {r.target}" for r in rows) for kind in FITTED}
    return "Estimates against builds: " + "; ".join(f"{NAMES[k]} {of[k]}" for k in FITTED)


def page(model: Model, whole: Sequence[Compared], old: Sequence[Case]) -> str:
    """Return the page in Markdown; `old` are the measurements that are stale."""
    arrays = [d.arch for d in model.measured[ECP5.title, "array"]]
    systems = [f"{d.arch.rows} x {d.arch.cols}" for d in model.measured[ECP5.title, SYSTEM]]
    head = _HEAD.format(
        limits=_limits(),
        registers=f"{FULL:.0%}",
        lanes=_span(a.lanes for a in arrays),
        pes=_span(a.n_pes for a in arrays),
        systems=" and ".join(systems),
        memory=MEMORY_BYTES >> 10,
        **model.together,
    )
    parts = [head, *_units(model), "", *_builds(whole), *_stale(old)]
    return "\n".join(parts) + "\n"


def _limits() -> str:
    """Return the share of LUTs that may be taken, and the families that allow less."""
    usual = max(part.full for part in FAMILIES.values())
    less = ", ".join(f"{f.full:.0%} on {n}" for n, f in FAMILIES.items() if f.full < usual)
    return f"{usual:.0%}{less and f' ({less})'}"


def _span(values: Iterable[int]) -> str:
    found = sorted(set(values))
    return f"{found[0]} to {found[-1]}"


def _units(model: Model) -> Iterator[str]:
    """Yield the table of the units' errors."""
    kinds = " | ".join(f"{_HEADS[kind]}: mean | largest" for kind in FITTED)
    yield f"| unit | measured | {kinds} |"
    yield "|---|---:|" + "---:|---:|" * len(FITTED)
    for unit in UNITS:
        errors = [model.fits[unit, kind].errors for kind in FITTED]
        cells = " | ".join(f"{e.mean:.1%} | {e.worst:.1%}" for e in errors)
        yield f"| {unit} | {len(model.measured[ECP5.title, unit])} | {cells} |"


def _builds(rows: Sequence[Compared]) -> Iterator[str]:
    """Yield the table of builds."""
    if not rows:
        yield "No board was built of the RTL that was measured: `make boards`."
        return
    yield "Of whole boards, against what nextpnr placed and routed ([boards](boards.md)):"
    yield ""
    kinds = " | ".join(f"{_HEADS[kind]}: estimated | built | error" for kind in KINDS)
    yield f"| target | machine | {kinds} |"
    yield "|---|---|" + "---:|---:|---:|" * len(KINDS)
    for row in rows:
        cells = " | ".join(
            f"{row.estimated[k]:,} | {row.built.resources[k][0]:,} | {row.error(k):+.1%}"
            for k in KINDS
        )
        yield f"| {row.target} | {row.built.arch} | {cells} |"


def _stale(old: Sequence[Case]) -> Iterator[str]:
    if old:
        units = ", ".join(sorted({case.unit for case in old}))
        yield ""
        yield f"{STALE}: {len(old)} measurements are of an earlier RTL ({units}); `make fit`."


if __name__ == "__main__":
    rows = read()
    model = Model(rows)
    print(page(model, compared(model, results(), boards()), stale(rows)), end="")
