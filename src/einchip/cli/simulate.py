"""`einchip simulate`."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from einchip.cli.common import (
    EnergyTable,
    Json,
    Latency,
    Source,
    command,
    console,
    energy_table,
    require_writable,
    runs_of,
    say,
    write_json,
)

#: Most time steps of a sequence that is only timed.
MAX_STEPS: Final = 1 << 24


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
            metavar="N",
            help="time one sequence of this length instead",
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Cycles, stalls by cause and energy of a compiled model.

    Examples
    --------
    einchip compile examples/japanese_vowels/mpo.safetensors -o build/mpo
    einchip simulate build/mpo --json figures.json
    einchip simulate build/mpo --steps 1000 --energy cacti28
    """
    from einchip import api
    from einchip.compiler import report
    from einchip.energy.sensitivity import study

    require_writable(json_file)
    compiled, prices = api.open_compiled(source), energy_table(table)
    made = compiled.folder
    with console.status("simulating"):
        found = compiled.simulate(n_steps, latency)
    total, results = found.counters, found.runs
    studied = study(total, made.arch, prices, made.run)
    steps = found.n_steps
    compared: dict[str, Any] = {}
    against = ""
    if found.bound_cycles is not None:
        compared = {"bound_cycles": found.bound_cycles, "ratio": found.ratio}
        against = f", bound {found.bound_cycles:,.0f}, ratio {found.ratio:.3f}"
    batch = made.manifest.batch
    runs = runs_of(len(results), batch)
    say(
        f"{made.manifest.model} on {made.arch.name}: {runs}, {steps} steps, "
        f"{total['cycles']:,} cycles ({total['cycles'] / steps:,.0f} a step)"
        f"{against}"
    )
    console.print(report.activity(total))
    console.print(studied, markup=False)
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
        "energy_pj": studied.energy.by_component,
        **studied.to_json(),
    }
    write_json(json_file, content)
