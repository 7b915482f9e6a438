"""`einchip quantise`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from einchip.cli.common import (
    OUTPUT,
    Arch,
    Data,
    Json,
    ModelFile,
    Overrides,
    architecture,
    command,
    console,
    require_model_path,
    require_writable,
    say,
    write,
    write_json,
)
from einchip.cli.inputs import data_of, load_data, stand_in

if TYPE_CHECKING:
    from einchip.compiler.quantisation import Noise


@command
def quantise(
    model: ModelFile,
    arch: Arch = "small",
    overrides: Overrides = None,
    data: Data = None,
    n_sequences: Annotated[
        int, typer.Option("--sequences", min=1, metavar="N", help="of the test set to run")
    ] = 16,
    n_steps: Annotated[
        int,
        typer.Option("--steps", min=1, max=4096, metavar="N", help="of what stands in for data"),
    ] = 32,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="the model with its scales",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json_file: Json = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="the error by time step (.svg)", rich_help_panel=OUTPUT),
    ] = None,
) -> None:
    """What 8 and 16 bits cost a model: by tensor, by accumulator, by time step.

    Examples
    --------
    einchip quantise examples/japanese_vowels/mpo.safetensors --plot error.svg
    """
    from einchip.compiler import quantisation
    from einchip.compiler import quantisation_table as tables
    from einchip.compiler.compiled import compile_model
    from einchip.models import load_model, save_model

    machine = architecture(arch, overrides)
    require_writable(json_file)
    require_writable(plot)
    require_model_path(output, json_file, plot)
    loaded = load_model(model)
    source = data_of(model, data)
    if source is None:
        calibration = sequences = stand_in(loaded, n_steps)
        say("no data: one random sequence stands in")
    else:
        calibration = load_data(source, loaded, "train").sequences
        sequences = load_data(source, loaded, "test").sequences[:n_sequences]
    with console.status("") as status:
        found = quantisation.noise(
            loaded, machine, calibration, sequences, lambda t: status.update(escape(t))
        )
    name = f"{loaded.spec.name} on {machine.name}"
    report(name, found)
    if output is not None:
        made = compile_model(loaded, machine, calibration)
        save_model(quantisation.with_scales(loaded, made), output)
        say(f"{output}: {loaded.spec.name} with scales for {machine.data_bits} bit")
    if plot is not None:
        write(plot, tables.plot(found, f"{name}: root mean square error of the answer"))
    content = {
        "model": loaded.spec.name,
        "arch": machine.model_dump(),
        "widths": [n.to_json() for n in found],
    }
    write_json(json_file, content)


def report(name: str, found: Sequence[Noise]) -> None:
    """Print the tables, and a line for each width."""
    from einchip.compiler import quantisation_table as tables

    for table in (tables.tensor_table, tables.sum_table, tables.step_table):
        console.print(table(found))
    for n in found:
        answer = f"answers {tables.decibels(n.answer_snr_db)} dB"
        say(f"{name}, {n.data_bits} bit: {answer}; {tables.drift(n.steps)}")
