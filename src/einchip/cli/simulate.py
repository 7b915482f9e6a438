"""`einchip simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
    from einchip.compiler.folder import Folder
    from einchip.sim import Run


def simulated(source: Path, made: Folder, latency: int) -> list[tuple[int, Run]]:
    """Return time steps and run of every sequence, each on a machine that has just been set up."""
    from einchip.sim import simulate as simulate_program

    found = []
    for number, (n_steps, _) in enumerate(made.sequences):
        memory, host = made.memory(number), made.host(n_steps)
        for program in (made.setup, made.run):
            last = simulate_program(program, made.arch, memory=memory, host=host, latency=latency)
            if last.error:
                fail(f"{source}: the machine stopped with {last.error[0].name}; compile again")
        found.append((n_steps, last))
    return found


@command
def simulate(
    source: Source,
    table: EnergyTable = "horowitz45",
    latency: Latency = 8,
    json_file: Json = None,
) -> None:
    """Cycles, stalls by cause and energy of a compiled model."""
    from einchip import energy
    from einchip.compiler import folder, report

    require_writable(json_file)
    made, prices = folder.read(source), energy_table(table)
    with console.status("simulating"):
        results = simulated(source, made, latency)
    total = {name: sum(r.counters[name] for _, r in results) for name in results[0][1].counters}
    spent = energy.energy(total, made.arch, prices, made.run)
    steps = sum(n for n, _ in results)
    bound = sum(s.bound_cycles for s in made.manifest.sequences)
    batch = made.manifest.batch
    runs = runs_of(len(results), batch)
    say(
        f"{made.manifest.model} on {made.arch.name}: {runs}, {steps} steps, "
        f"{total['cycles']:,} cycles ({total['cycles'] / steps:,.0f} a step), "
        f"bound {bound:,.0f}, ratio {total['cycles'] / bound:.3f}"
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
        "bound_cycles": bound,
        "ratio": total["cycles"] / bound,
        "energy_table": prices.name,
        "energy_pj": spent.by_component,
    }
    write_json(json_file, content)
