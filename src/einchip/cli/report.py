"""`einchip report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from einchip.cli.common import (
    OUTPUT,
    Data,
    EnergyTable,
    Json,
    Latency,
    Source,
    command,
    console,
    energy_table,
    fail,
    require_writable,
    say,
    write,
    write_figures,
)
from einchip.cli.inputs import data_of, load_data

if TYPE_CHECKING:
    from einchip.report import Report
    from einchip.report.accuracy import Given


@command
def report(
    source: Source,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="the page (.html)", rich_help_panel=OUTPUT
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="what was compiled, for accuracy and error"),
    ] = None,
    data: Data = None,
    n_sequences: Annotated[
        int, typer.Option("--sequences", min=1, metavar="N", help="of the test set to run")
    ] = 16,
    table: EnergyTable = "horowitz45",
    latency: Latency = 8,
    json_file: Json = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="write every table as a .csv file", rich_help_panel=OUTPUT
        ),
    ] = None,
) -> None:
    """A compiled model in one HTML file: where its cycles and energy go, and why.

    Examples
    --------
    einchip compile examples/japanese_vowels/mpo.safetensors -o build/mpo
    einchip report build/mpo -o report.html --json report.json --csv tables
    """
    from einchip.compiler import folder
    from einchip.report.gather import Asked, gather, read_mapped

    check_outputs(output, json_file, csv)
    if model is None and data is not None:
        fail("--data: found no --model with it, expected both; name the model that was compiled")
    made, prices = folder.read(source), energy_table(table)
    if made.arch.serial:
        fail(
            f"{source}: found a serial machine, expected one whose units run beside each other, of "
            "which a report says who waits for whom; einchip simulate has its cycles by cause"
        )
    mapped = read_mapped(source, made)
    given = None if model is None else load_given(model, data, n_sequences)
    called = ["einchip", *sys.argv[1:]]
    with console.status("") as status:
        asked = Asked(source, made, prices, latency, called, given)
        found = gather(asked, mapped, lambda text: status.update(escape(text)))
        if output is not None:
            write_page(found, output)
    if csv is not None:
        write_tables(found, csv)
    write_figures(json_file, lambda: found.model_dump_json(indent=1))
    h = found.headline
    say(
        f"{source}: {h.model} on {h.machine}: {h.cycles:,} cycles, bound {h.bound_cycles:,}, ratio "
        f"{h.ratio:.3f}, {h.energy_pj / 1e3:,.3f} nJ"
    )
    say(found.bottleneck.sentence)


def check_outputs(output: Path | None, json_file: Path | None, csv: Path | None) -> None:
    """Fail early where nothing is asked for, or something could not be written."""
    if output is None and json_file is None and csv is None:
        fail("-o, --json, --csv: found none of them, expected at least one; name a file to write")
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        fail(f"{output}: found no suffix of HTML, expected .html; name another file")
    for path in (output, json_file):
        require_writable(path)
    if output is not None and json_file is not None and output.resolve() == json_file.resolve():
        fail(f"{output}: found page and figures in one file, expected two; name another")
    if csv is not None:
        if csv.exists() and not csv.is_dir():
            fail(f"{csv}: found a file, expected a folder; name another")
        require_writable(csv / "headline.csv" if csv.is_dir() else csv)
    if output is not None:
        require_plots()


def require_plots() -> None:
    """Fail where the libraries of the page are not installed."""
    try:
        import jinja2  # noqa: F401
        import plotly  # noqa: F401
    except ImportError as error:
        fail(f"-o: found no {error.name}, expected it for the page; pip install 'einchip[report]'")


def load_given(model: Path, data: Path | None, n_sequences: int) -> Given:
    """Return the model with labelled data, those beside it if none are named."""
    from einchip.models import Sequences, load_model
    from einchip.report.accuracy import Given

    loaded, source = load_model(model), data_of(model, data)
    if source is None:
        fail(f"{model}: found no .npz with sequences beside it, expected one; name it by --data")
    train, test = (load_data(source, loaded, split) for split in ("train", "test"))
    few = Sequences(test.sequences[:n_sequences], test.labels[:n_sequences])
    return Given(str(model), loaded, str(source), train, few)


def write_page(found: Report, path: Path) -> None:
    """Write the page."""
    from einchip.report.page import page

    write(path, page(found))


def write_tables(found: Report, target: Path) -> None:
    """Write every table that has rows into a folder."""
    from einchip.report.tables import tables

    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        fail(f"{target}: cannot write: {error.strerror}")
    for name, table in tables(found).items():
        if table.rows:
            write(target / f"{name}.csv", table.csv())
