"""The boards and what was built for them: `python -m einchip.fpga.targets.page > docs/boards.md`.

python -m einchip.fpga.targets.page build     # builds all and writes fpga/results first
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from einchip.arch import PRESETS
from einchip.fpga.host_link.spi import LEVEL_CYCLES, MIN_CYCLES, max_sck_hz
from einchip.fpga.targets.boards import TARGETS, Target
from einchip.fpga.targets.families import KINDS, SPRAM
from einchip.fpga.targets.flow import NAMES, Built, DoesNotFitError, build, read, rtl_hash

#: The committed reports.
RESULTS: Final = Path(__file__).parents[1] / "results"
_HEAD: Final = f"""\
# Boards

<!-- Written by `python -m einchip.fpga.targets.page`. Do not edit. -->

    pip install 'einchip[fpga,host]'
    einchip build --target ulx3s -o build/ulx3s
    einchip run MODEL --arch {TARGETS["ulx3s"].arch} --device serial:/dev/ttyUSB0@BAUD
    einchip build --target ulx3s --link spi -o build/ulx3s-spi

`build` writes the bitstream (`top.bit`, `top.bin` or `top.fs`), `report.json`, the design as
Verilog without clock and pins (`system.v`), and what the tools read; load the bitstream with
openFPGALoader. A machine that the part has no room for is refused after synthesis, with what is
missing. Timing must be met at the board's clock, or `build` fails. What was built before is kept
under `build/targets`. The host link is described in `einchip.link`: frames with CRC over the serial
line or SPI, repeated where one is lost. A bitstream has one of them.

**No bitstream was loaded on a board.** The whole path from the driver to the machine is tested in
simulation (`tests/fpga/board`): the board's system under Verilator, its serial line and SPI
pseudo-terminals, bytes lost and changed, resets, and a cable that is pulled.

The figures are those with the serial line. LUTs, registers, DSP blocks and block RAM are those
used, of those that the part has. A DSP block multiplies 18 x 18 bits (iCE40: 16 x 16). Families
differ in what a LUT and a block RAM hold. On iCE40 the memory is SPRAM, of 32 KiB each.

"""
_SPI: Final = f"""\
## SPI

The host is the controller, in mode 0 or 3 (eight bits, high one first; chip select is low during a
transfer). SCK is sampled with the board's clock: it keeps each level for at least {LEVEL_CYCLES}
cycles, and so does chip select before the first edge and between transfers; its highest frequency
is 1/{MIN_CYCLES} of the clock. Signals are of 3.3 V, CIPO is driven during transfers only; connect
ground, too. Pins are those of the connector, or of the part.

"""
_SPI_COLUMNS: Final = ("target", "SCK at most", "connector", "CS", "COPI", "CIPO", "SCK")
_COLUMNS: Final = (
    "target", "board", "family", "machine", "memory", "clock", "reached", "LUT4", "FF", "DSP",
    "block RAM", "links", "built with",
)  # fmt: skip


def current(target: Target) -> str:
    """Return the hash of today's RTL of a board with its usual machine."""
    return rtl_hash(target, PRESETS[target.arch])


def page(results: Mapping[str, Built], hashes: Mapping[str, str]) -> str:
    """Return the page in Markdown; figures of an RTL that is not today's are marked as stale.

    `hashes` has `current` of every board with a result.
    """
    notes = [f"* `{name}`: {target.note}" for name, target in TARGETS.items() if target.note]
    rows = [*_rows(results, hashes), "", *notes, "", _SPI + "\n".join(_spi_rows())]
    return _HEAD + "\n".join(rows) + "\n"


def _spi_rows() -> Iterator[str]:
    yield f"| {' | '.join(_SPI_COLUMNS)} |"
    yield "|" + "---|" * len(_SPI_COLUMNS)
    for name, target in TARGETS.items():
        if (pins := target.spi) is not None:
            highest = f"{max_sck_hz(target.clock_hz) / 1e6:g} MHz"
            cells = (name, highest, pins.place, pins.cs, pins.copi, pins.cipo, pins.sck)
            yield f"| {' | '.join(cells)} |"


def _rows(results: Mapping[str, Built], hashes: Mapping[str, str]) -> Iterator[str]:
    yield f"| {' | '.join(_COLUMNS)} |"
    yield "|" + "---|" * len(_COLUMNS)
    for name, target in TARGETS.items():
        front = f"| {name} | {target.title} | {target.family.title} | {target.arch}"
        front += f" | {target.memory_bytes >> 10} KiB"
        clock = f"{target.clock_hz / 1e6:g} MHz"
        if built := results.get(name):
            cells = [_used(built, kind) for kind in KINDS]
            if SPRAM in built.resources:
                cells[-1] += f"; {_used(built, SPRAM)} {NAMES[SPRAM]}"
            tools = ", ".join(
                f"{k} {v}" for k, v in built.tools.items() if not k.startswith("amaranth")
            )
            stale = "" if built.rtl_hash == hashes[name] else ", **stale: of an earlier RTL**"
            reached = f"{built.reached_mhz:g} MHz"
        else:
            cells, tools, stale, reached = [""] * len(KINDS), "not built", "", ""
        links = ", ".join(map(str, target.links.values()))
        yield f"{front} | {clock} | {reached} | {' | '.join(cells)} | {links} | {tools}{stale} |"


def _used(built: Built, kind: str) -> str:
    used, there = built.resources[kind]
    return f"{used:,} of {there:,}"


def results() -> dict[str, Built]:
    """Return the committed reports by target."""
    return {path.stem: read(path) for path in sorted(RESULTS.glob("*.json"))}


def make() -> None:
    """Build every board with its usual machine, and write its report to `RESULTS`.

    What does not fit gets none, and is said on the standard error.
    """
    RESULTS.mkdir(exist_ok=True)
    for name, target in TARGETS.items():
        path = RESULTS / f"{name}.json"
        progress = partial(print, f"{name}:", file=sys.stderr)
        try:
            built = build(target, PRESETS[target.arch], Path("build") / name, progress=progress)
        except DoesNotFitError as error:
            progress(str(error))
            path.unlink(missing_ok=True)
        else:
            path.write_text(json.dumps(built.to_json(), indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["build"]:
        make()
    built = results()
    print(page(built, {name: current(TARGETS[name]) for name in built}), end="")
