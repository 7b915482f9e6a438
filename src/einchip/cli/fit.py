"""`einchip fit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.markup import escape
from rich.table import Table

from einchip.cli.common import (
    FAILED,
    BoardArch,
    Data,
    Json,
    Overrides,
    TargetName,
    architecture,
    command,
    console,
    fail,
    require_writable,
    say,
    write_json,
)

if TYPE_CHECKING:
    from einchip.arch import Architecture
    from einchip.fpga.fit.model import Estimate, Model
    from einchip.fpga.targets import Built, Target


class Timed(NamedTuple):
    """A model's first test sequence on a machine, by the simulator."""

    model: str
    n_steps: int
    cycles: int

    def seconds(self, clock_hz: float) -> float:
        """Return how long it takes."""
        return self.cycles / clock_hz

    def to_json(self, clock_hz: float) -> dict[str, Any]:
        """Return the figures at a clock as plain data."""
        seconds = self.seconds(clock_hz)
        return {
            "model": self.model,
            "n_steps": self.n_steps,
            "cycles": self.cycles,
            "microseconds": seconds * 1e6,
            "inferences_per_second": 1 / seconds,
        }


def timed(model: Path, machine: Architecture, board: Target, data: Path | None) -> list[Timed]:
    """Compile models for a machine on a board, and time a sequence of each.

    Fails where one does not fit the machine or the board's memory.
    """
    from einchip.api import time_sequence
    from einchip.cli.build import jobs_of
    from einchip.fpga.host_link.memory import LATENCY

    found, latency = [], LATENCY[board.family.memory_ports]
    for job in jobs_of(model, machine, board, data):
        n_steps, _ = job.folder.sequences[0]
        with console.status(escape(f"simulating {job.folder.manifest.model}")):
            run = time_sequence(job.folder, job.folder.places, n_steps, latency)
        found.append(Timed(job.folder.manifest.model, n_steps, run.cycles))
    return found


def refusal(model: Model, board: Target, estimate: Estimate) -> str:
    """Return what is lacking, and the smallest change that fits."""
    from einchip.fpga.fit.search import change, differences
    from einchip.fpga.targets.flow import amounts

    over = amounts(estimate.used, estimate.part, estimate.lacking)
    most = ", ".join(f"{estimate.allowed(k):,}" for k in estimate.lacking)
    smaller = change(model, estimate)
    arch = estimate.design.arch
    if smaller is None:
        what = "no machine that is a few halvings smaller does; choose another board"
    else:
        pairs = differences(arch, smaller).items()
        what = ", ".join(f"{name} {a} to {b}" for name, (a, b) in pairs) + " would"
    return (
        f"{board.name}: found {over} in {arch.name}, expected at most {most} to fit "
        f"{estimate.part.name}; {what}"
    )


def clock_of(board: Target, arch: Architecture, built: Built | None) -> str:
    """Return the board's clock, and what nextpnr found that its committed build reaches."""
    from einchip.fpga.fit import measure

    text = f"{board.clock_hz / 1e6:g} MHz"
    if built is None:
        return text
    name = "" if built.config_hash == f"{arch.config_hash:#010x}" else f"{built.arch} "
    other = "" if measure.boards().get(board.name) == built.rtl_hash else " (of another RTL)"
    return f"{text}; {name}reaches {built.reached_mhz:g} MHz{other}"


def fields(arch: Architecture) -> str:
    """Return the fields of a machine that matter for its size."""
    from einchip.arch import CELLS

    parts = [f"{arch.rows} x {arch.cols} PEs, {arch.lanes} lanes", f"fold {arch.fold}"]
    parts += [f"{name} {getattr(arch, name)}" for name in ("x_depth", "y_depth")]
    parts += [f"{'xy'[space]}_window {arch.window(space)}" for space in arch.windows]
    parts += [f"cells {arch.cell_names}"] if arch.cells != CELLS else []
    return ", ".join([*parts, f"{arch.data_bits} bits", f"port {arch.port_bytes} bytes"])


def summary(
    board: Target,
    built: Built | None,
    model: Model,
    estimates: dict[str, Estimate],
    times: dict[str, list[Timed]],
) -> Table:
    """Return estimates as a table, a column each."""
    from einchip.fpga.fit.model import FITTED

    table = Table("", *map(escape, estimates))
    table.add_row("machine", *(fields(e.design.arch) for e in estimates.values()))
    for kind in board.family.kinds:
        cells = []
        for e in estimates.values():
            error = f" ± {model.error(e, kind):.0%}" if kind in FITTED else ""
            cells.append(f"{e.used[kind]:,}{error} of {e.part.has[kind]:,} ({e.share(kind):.0%})")
        table.add_row(kind, *cells)
    table.add_row("clock", *(clock_of(board, e.design.arch, built) for e in estimates.values()))
    if any(beyond := [", ".join(model.beyond(e.design)) for e in estimates.values()]):
        table.add_row("more than in any machine measured", *beyond)
    for k, first in enumerate(next(iter(times.values()), [])):
        cells = [said(times[e][k], board) if e in times else "" for e in estimates]
        table.add_row(escape(first.model), *cells)
    return table


def said(one: Timed, board: Target) -> str:
    """Return a model's time on a board for people."""
    seconds = one.seconds(board.clock_hz)
    return (
        f"{one.cycles:,} cycles for {one.n_steps} steps: {seconds * 1e6:,.1f} µs, "
        f"{1 / seconds:,.0f} inferences/s"
    )


@command
def fit(
    target: TargetName,
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="one, or a folder of them: how fast")
    ] = None,
    arch: BoardArch = None,
    overrides: Overrides = None,
    data: Data = None,
    json_file: Json = None,
) -> None:
    """What a machine takes on a board, estimated in a second; or the largest one that fits.

    Without --arch and --set: the board's own machine, and the largest of those between the presets.
    Exit status 1 where a machine does not fit.

    Examples
    --------
    einchip fit --target ulx3s
    einchip fit model.safetensors --target ulx3s --arch nano
    """
    from einchip.fpga import targets
    from einchip.fpga.fit import measure
    from einchip.fpga.fit.model import FITTED, committed
    from einchip.fpga.fit.page import accuracy, compared
    from einchip.fpga.fit.search import largest
    from einchip.fpga.fit.units import Design
    from einchip.fpga.targets.page import results

    board = targets.find(target)
    require_writable(json_file)
    machine = architecture(arch or board.arch, overrides)
    fitted, builds = committed(), results()
    built = builds.get(board.name)
    with console.status("estimating"):
        own = fitted.estimate(Design(machine, board.memory_bytes), board.part)
        estimates = {machine.name: own}
        if arch is None and not overrides:
            found = largest(fitted, board.part, board.memory_bytes)
            estimates |= {"the largest that fits": found} if found else {}
    times = {
        name: timed(model, e.design.arch, board, data) if model is not None else []
        for name, e in estimates.items()
        if not e.lacking
    }
    console.print(summary(board, built, fitted, estimates, times))
    whole = compared(fitted, builds, measure.boards())
    say(accuracy(whole))
    write_json(
        json_file,
        {
            "target": board.name,
            "part": board.part.name,
            "clock_hz": board.clock_hz,
            "built": None if built is None else built.to_json(),
            "errors_of_builds": {
                row.target: {kind: row.error(kind) for kind in FITTED} for row in whole
            },
            "machines": [
                {
                    **fitted.to_json(e),
                    "models": [t.to_json(board.clock_hz) for t in times.get(name, [])],
                }
                for name, e in estimates.items()
            ],
        },
    )
    if own.lacking:
        fail(refusal(fitted, board, own), FAILED)
