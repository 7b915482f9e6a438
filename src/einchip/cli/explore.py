"""`einchip explore`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from einchip.cli.common import (
    FAILED,
    Data,
    EnergyTable,
    Json,
    command,
    console,
    energy_table,
    fail,
    require_writable,
    say,
    write,
    write_json,
)
from einchip.cli.inputs import data_of, load_splits, models_of, stand_in

if TYPE_CHECKING:
    from einchip.energy import Table
    from einchip.explore.domain import Domain
    from einchip.explore.engine import Engine
    from einchip.explore.explorer import Explorer
    from einchip.explore.point import Context, Subject
    from einchip.explore.space import Space

#: Exit status of what Ctrl-C ended.
INTERRUPTED: Final = 130
#: Seconds over which the speed is averaged that the remaining time is told by.
SPEED_SECONDS: Final = 600
#: As wide as any table, to measure one on.
WIDE: Final = Console(width=10_000)
#: How many points of the same kind are said one by one.
MAX_SAID: Final = 3


def subject_of(path: Path, data: Path | None, steps: int) -> Subject:
    """Return a model with its data, or a random sequence where there are none."""
    from einchip.explore.point import Subject
    from einchip.models import load_model

    model, source = load_model(path), data_of(path, data)
    if source is None:
        return Subject(path.stem, model, stand_in(model, steps), None, (steps,))
    train, test = load_splits(source, model)
    lengths = tuple(len(s) for s in test.sequences)
    return Subject(path.stem, model, train.sequences, test, lengths)


def context_of(space: Space, models: list[Path], data: Path | None, table: Table) -> Context:
    """Return what all points share. Fails where two models have one name."""
    from einchip.explore.point import Context, code_digest
    from einchip.fpga import targets

    paths = [path for model in models for path in models_of(model)]
    subjects = [subject_of(path, data, space.steps) for path in paths]
    names = [s.name for s in subjects]
    for name in names:
        if names.count(name) > 1:
            fail(f"MODELS: found {name} twice, expected different names")
    return Context(
        subjects={s.digest: s for s in subjects},
        table=table,
        target=targets.find(space.target).name,
        must_fit=space.must_fit,
        fixed_sequences=space.fixed_sequences,
        code=code_digest(),
    )


def engine_of(context: Context, scheduler: str | None, jobs: int | None) -> Engine:
    """Return who evaluates."""
    if scheduler is not None and jobs is not None:
        fail("--jobs: found it beside --scheduler, whose workers are as many as were started")
    if scheduler is not None:
        from einchip.explore.dask_engine import DaskCluster

        with console.status("looking for the scheduler"):
            return DaskCluster(context, scheduler)
    from einchip.explore.engine import Processes

    return Processes(context, jobs or os.cpu_count() or 1)


def explored(explorer: Explorer) -> bool:
    """Explore, with a bar on a terminal; return whether Ctrl-C ended it."""
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal,
        speed_estimate_period=SPEED_SECONDS,
    ) as bar:  # fmt: skip
        task = bar.add_task("evaluating", total=None)

        def progress() -> None:  # what is known already says nothing about the time that is left
            left = explorer.expected - explorer.n_cached
            bar.update(task, total=left, completed=explorer.n_evaluated)

        try:
            with explorer.engine:
                explorer.run(progress)
        except KeyboardInterrupt:
            return True
    return False


def report(explorer: Explorer, domain: Domain, found: dict[str, Any]) -> None:
    """Print the front, then say what was not evaluated, or to no good."""
    from einchip.explore.results import count, table

    if count(found, "ok"):
        grid = table(found)
        wanted = Measurement.get(WIDE, WIDE.options, grid).maximum
        Console(width=max(console.width, wanted), stderr=console.stderr).print(grid)
    for path in explorer.cache.damaged:
        say(f"{path}: damaged; its point was evaluated again")
    skipped = explorer.search.skipped
    if skipped:
        most = max(skipped, key=lambda reason: skipped[reason])
        say(f"{sum(skipped.values())} combinations are no points, such as: {most}")
    for status in ("infeasible", "failed"):
        points = [(p, o) for p, o in explorer.done if o.status == status]
        for point, outcome in points[:MAX_SAID]:
            fields = ", ".join(f"{k} {v}" for k, v in domain.varied(point).items())
            say(f"{status}: {fields}: {outcome.reason}")
        if len(points) > MAX_SAID:
            say(f"{status}: {len(points) - MAX_SAID} more")
    say(
        f"{len(explorer.done)} points: {explorer.n_evaluated} evaluated, {explorer.n_cached} known "
        f"before; {count(found, 'infeasible')} infeasible, {count(found, 'failed')} failed"
    )


@command
def explore(
    space_file: Annotated[Path, typer.Argument(metavar="SPACE", help="what to vary (.yaml)")],
    models: Annotated[
        list[Path], typer.Argument(metavar="MODELS...", help="models, or folders of them")
    ],
    objective: Annotated[
        str, typer.Option(help="what is to be small, one or more of docs/explore.md's")
    ] = "cycles,energy,area",
    budget: Annotated[
        int, typer.Option(min=1, max=10**6, help="points, those known before among them")
    ] = 100,
    data: Data = None,
    prices: EnergyTable = "horowitz45",
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="processes [default: one a core]")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="evaluate on this Dask cluster: tcp://HOST:PORT"),
    ] = None,
    cache: Annotated[
        Path, typer.Option(help="the folder that results are kept in, and looked up in")
    ] = Path("build/explore"),
    json_file: Json = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="write every point to this file")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="draw the points and the front into this .svg or .html")
    ] = None,
) -> None:
    """Search machines and formats for the best in several ways at once.

    Each of MODELS is one way to do the same thing: a point is a machine with one of them. Run the
    same command again to go on after Ctrl-C. Exit status 1 where some points failed, or none is
    feasible.

    Examples
    --------
    einchip explore examples/explore/space.yaml examples/japanese_vowels
    """
    from einchip.explore import objectives, results
    from einchip.explore.cache import Cache
    from einchip.explore.domain import Domain
    from einchip.explore.explorer import Explorer
    from einchip.explore.search import search_of
    from einchip.explore.space import read

    for path in (json_file, csv_file, plot):
        require_writable(path)
    space = read(space_file)
    context = context_of(space, models, data, energy_table(prices))
    with_data = all(s.test is not None for s in context.subjects.values())
    goals = objectives.chosen(objective, with_data, space.fixed_sequences)
    check_plot(plot, len(goals))
    domain = Domain(space_file, space, {d: s.name for d, s in context.subjects.items()})
    search, kept = search_of(domain, len(goals)), Cache(cache)
    engine = engine_of(context, scheduler, jobs)
    explorer = Explorer(context, goals, search, engine, kept, budget)
    interrupted = explored(explorer)
    found = results.content(explorer, domain, interrupted)
    report(explorer, domain, found)
    save(found, json_file, csv_file, plot)
    if interrupted:
        say(f"stopped; what is done is kept in {cache}: run the same command to go on")
        raise typer.Exit(INTERRUPTED)
    if results.count(found, "failed"):
        fail("some points failed, by no fault of theirs: run the same command to try again", FAILED)
    if not results.count(found, "ok"):
        fail(f"{space_file}: found no feasible point, expected at least one; widen it", FAILED)


def check_plot(plot: Path | None, n_objectives: int) -> None:
    """Fail early where nothing could be drawn."""
    if plot is None:
        return
    if plot.suffix not in (".svg", ".html"):
        fail(f"--plot: found {plot.name}, expected a name that ends in .svg or .html")
    if n_objectives < 2:
        fail("--plot: found one objective, expected at least two to draw one against the other")


def save(
    found: dict[str, Any], json_file: Path | None, csv_file: Path | None, plot: Path | None
) -> None:
    """Write the files that were asked for."""
    from einchip.explore.plot import html, svg
    from einchip.explore.results import to_csv

    write_json(json_file, found)
    if csv_file is not None:
        write(csv_file, to_csv(found))
    if plot is not None:
        write(plot, svg(found) if plot.suffix == ".svg" else html(found))
