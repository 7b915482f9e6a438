"""`einchip simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from einchip.cli.common import (
    EnergyTable,
    Json,
    Latency,
    Source,
    command,
    console,
    energy_table,
    fail,
    require_writable,
    runs_of,
    say,
    write_json,
)

if TYPE_CHECKING:
    from einchip.compiler.compiled import Places
    from einchip.compiler.folder import Folder
    from einchip.sim import Run

#: Most time steps of a sequence that is only timed.
MAX_STEPS: Final = 1 << 24


def simulated(source: Path, made: Folder, places: Places, n_steps: int, latency: int) -> Run:
    """Return the run of a sequence on a machine that has just been set up, without values."""
    from einchip.sim import simulate as simulate_program

    for program in (made.setup, made.run):
        last = simulate_program(
            program,
            made.arch,
            host=places.host(n_steps),
            external_bytes=places.size,
            latency=latency,
            timeline=False,
        )
        if last.error:
            fail(f"{source}: the machine stopped with {last.error[0].name}; compile again")
    return last


@command
def simulate(
    source: Source,
    table: EnergyTable = "horowitz45",
    latency: Latency = 8,
    n_steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=1,
            max=MAX_STEPS,
            help="time one sequence of so many time steps, not those of the folder; no bound",
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Cycles, stalls by cause and energy of a compiled model."""
    from einchip import energy
    from einchip.compiler import folder, report

    require_writable(json_file)
    made, prices = folder.read(source), energy_table(table)
    with console.status("simulating"):
        if n_steps is None:
            jobs = [(n, made.places) for n, _ in made.sequences]
        else:
            jobs = [(n_steps, made.places_for(n_steps))]
        results = [(n, simulated(source, made, p, n, latency)) for n, p in jobs]
    total = {name: sum(r.counters[name] for _, r in results) for name in results[0][1].counters}
    spent = energy.energy(total, made.arch, prices, made.run)
    steps = sum(n for n, _ in results)
    compared: dict[str, Any] = {}
    against = ""
    if n_steps is None:
        bound = sum(s.bound_cycles for s in made.manifest.sequences)
        compared = {"bound_cycles": bound, "ratio": total["cycles"] / bound}
        against = f", bound {bound:,.0f}, ratio {total['cycles'] / bound:.3f}"
    batch = made.manifest.batch
    runs = runs_of(len(results), batch)
    say(
        f"{made.manifest.model} on {made.arch.name}: {runs}, {steps} steps, "
        f"{total['cycles']:,} cycles ({total['cycles'] / steps:,.0f} a step)"
        f"{against}"
    )
    console.print(report.activity(total))
    console.print(spent, markup=False)
    content = {
        "model": made.manifest.model,
        "arch": made.arch.model_dump(),
        "batch": batch,
        "sequences": [
            {"n_steps": n, "cycles": r.cycles, "counters": r.counters} for n, r in results
        ],
        "counters": total,
        **compared,
        "energy_table": prices.name,
        "energy_pj": spent.by_component,
    }
    write_json(json_file, content)
