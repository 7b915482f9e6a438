"""`einchip compile`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from einchip.cli.common import Arch, Data, Overrides, architecture, command, console, runs_of, say
from einchip.cli.inputs import data_of, load_data, stand_in

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from einchip.arch import Architecture
    from einchip.models import Model

#: Most time steps of the sequence that stands in where a model comes without data.
MAX_STEPS: Final = 1 << 16
#: Most sequences side by side (`einchip.mapper.problem.MAX_BATCH`, which takes long to import).
MAX_BATCH: Final = 64


def with_merged_weights(model: Model, machine: Architecture, batch: int) -> Model:
    """Return a model with merged weights, and say what was merged."""
    from einchip.compiler.merged import merge_model

    with console.status("searching contraction trees"):
        changed, merged = merge_model(model, machine, batch)
    for name, weights in merged.items():
        sets = "; ".join(f"{m.name} ({m.elements:,} elements)" for m in weights)
        say(f"{name}: merged beforehand: {sets}")
    if not merged:
        say("no weights are worth merging")
    return changed


@command
def compile(
    model: Annotated[Path, typer.Argument(help="a .safetensors or .yaml model")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder to write")],
    arch: Arch = "small",
    overrides: Overrides = None,
    data: Data = None,
    n_sequences: Annotated[
        int, typer.Option("--sequences", min=1, help="sequences to put into the folder")
    ] = 8,
    n_steps: Annotated[
        int,
        typer.Option(
            "--steps", min=1, max=MAX_STEPS, help="time steps of the stand-in without data"
        ),
    ] = 1,
    merge: Annotated[
        bool, typer.Option("--merge", help="merge each matrix's weights where that is quicker")
    ] = False,
    batch: Annotated[
        int,
        typer.Option(
            "--batch", min=1, max=MAX_BATCH, help="sequences of equal lengths that run side by side"
        ),
    ] = 1,
) -> None:
    """Map and quantise a model: programs, memory image, mapping."""
    from einchip.compiler import compiled, folder
    from einchip.models import load_model

    machine = architecture(arch, overrides)
    folder.check_target(output)
    loaded_model = load_model(model)
    if merge:
        loaded_model = with_merged_weights(loaded_model, machine, batch)
    source = data_of(model, data)
    calibration: Sequence[ArrayLike]
    sequences: Sequence[ArrayLike]
    if source is None:
        calibration = sequences = stand_in(loaded_model, n_steps, batch)
        what = "tokens" if loaded_model.spec.embedding else "standard normal values"
        many = "one random sequence" if batch == 1 else f"{batch} random sequences"
        say(f"no data: {many} of {what} {'stands' if batch == 1 else 'stand'} in")
    else:
        calibration = load_data(source, loaded_model, "train").sequences
        sequences = load_data(source, loaded_model, "test").sequences[:n_sequences]
    with console.status(escape(f"mapping {loaded_model.spec.name} to {machine.name}")):
        made = compiled.compile_model(loaded_model, machine, calibration, batch)
        manifest = folder.write(made, sequences, output)
    runs = runs_of(len(manifest.sequences), batch)
    say(
        f"{output}: {loaded_model.spec.name} on {machine.name}: {runs}, "
        f"{made.mapping.macs:,} MACs a step, "
        f"bound {manifest.bound_cycles_per_step:,.0f} cycles a step, "
        f"{made.programs.run.n_words} words, {len(made.image):,} bytes of weights"
    )
    again = made.mapping.reloaded_bytes
    if again:
        say(
            f"not all weights fit {machine.name} at one time: every run loads {again:,} bytes of "
            f"them, {again // machine.port_bytes:,} cycles of the memory port"
        )
