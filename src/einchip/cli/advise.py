"""`einchip advise`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as RichTable

from einchip.cli.common import (
    Arch,
    Budget,
    EnergyTable,
    Json,
    Objective,
    Overrides,
    Workloads,
    architecture,
    command,
    console,
    energy_table,
    fail,
    objective_name,
    require_writable,
    say,
    write_json,
)

if TYPE_CHECKING:
    from einchip.mapper.advice import Advice


@command
def advise(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="WORD", help="in names of workloads; else all")
    ] = None,
    file: Workloads = None,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="inputs at once")] = 1,
    arch: Arch = "base",
    overrides: Overrides = None,
    objective: Objective = "cycles",
    prices: EnergyTable = "horowitz45",
    budget: Budget = 10.0,
    json_file: Json = None,
) -> None:
    """Which form of a matrix to take: compressed, merged, dense or rebuilt.

    Examples
    --------
    einchip advise --batch 16
    einchip advise --file FILE.yaml --arch nano --objective energy
    """
    from einchip.mapper.advice import advise as compare
    from einchip.network import NetworkError
    from einchip.workloads import Refused, network_of, published, read

    machine, table = architecture(arch, overrides), energy_table(prices)
    aim = objective_name(objective)
    require_writable(json_file)
    entries = published() if file is None else read(file)
    matrices = [
        m for e in entries for m in e.matrices if not names or any(n in m.name for n in names)
    ]
    if not matrices:
        fail(f"NAMES: found no workload with {' or '.join(names or [])} in its name")
    found = []
    for matrix in matrices:
        if isinstance(matrix, Refused):
            fail(matrix.message)
        try:
            with console.status("searching contraction trees"):
                advice = compare(network_of(matrix.spec), machine, "x", batch, aim, table, budget)
        except NetworkError as error:
            fail(f"{matrix.name}: {error}")
        show(matrix.name, advice)
        found.append({"name": matrix.name, **advice.to_json()})
    write_json(json_file, found)


def show(name: str, advice: Advice) -> None:
    """Print the ways as a table, and the sentence."""
    grid = RichTable(title=name)
    grid.add_column("way")
    for title in (advice.unit, "load, cycles", "MACs", "weights on the chip", "fits"):
        grid.add_column(title, justify="right")
    for way in advice.ways:
        grid.add_row(
            way.name, f"{way.cost:,.0f}", f"{way.load_cycles:,.0f}", f"{way.macs:,}",
            f"{way.weights:,}", "yes" if way.fits else "no",
        )  # fmt: skip
    console.print(grid)
    say(advice.sentence)
