"""`einchip compile`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from einchip.cli.common import (
    MAPPING,
    Arch,
    Data,
    Json,
    ModelFile,
    OutputFolder,
    Overrides,
    architecture,
    command,
    console,
    require_writable,
    runs_of,
    say,
    write_json,
)
from einchip.cli.inputs import data_of

if TYPE_CHECKING:
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
    model: ModelFile,
    output: OutputFolder,
    arch: Arch = "small",
    overrides: Overrides = None,
    data: Data = None,
    n_sequences: Annotated[
        int, typer.Option("--sequences", min=1, metavar="N", help="to put into the folder")
    ] = 8,
    n_steps: Annotated[
        int,
        typer.Option(
            "--steps", min=1, max=MAX_STEPS, metavar="N", help="of what stands in for data"
        ),
    ] = 1,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge", help="merge weights where that is quicker", rich_help_panel=MAPPING
        ),
    ] = False,
    batch: Annotated[
        int,
        typer.Option(
            "--batch",
            min=1,
            max=MAX_BATCH,
            metavar="N",
            help="sequences side by side",
            rich_help_panel=MAPPING,
        ),
    ] = 1,
    json_file: Json = None,
) -> None:
    """Map and quantise a model: programs, memory image, mapping.

    Examples
    --------
    einchip compile examples/japanese_vowels/mpo.safetensors -o build/mpo
    einchip simulate build/mpo
    """
    from einchip import api
    from einchip.compiler import folder
    from einchip.models import load_model

    machine = architecture(arch, overrides)
    folder.check_target(output)
    require_writable(json_file)
    loaded_model = load_model(model)
    if merge:
        loaded_model = with_merged_weights(loaded_model, machine, batch)
    source = data_of(model, data)
    if source is None:
        what = "tokens" if loaded_model.spec.embedding else "standard normal values"
        many = "one random sequence" if batch == 1 else f"{batch} random sequences"
        say(f"no data: {many} of {what} {'stands' if batch == 1 else 'stand'} in")
    with console.status(escape(f"mapping {loaded_model.spec.name} to {machine.name}")):
        found = api.compile(
            loaded_model,
            machine,
            source,
            batch=batch,
            n_sequences=n_sequences,
            n_steps=n_steps,
            output=output,
        )
    manifest, made = found.folder.manifest, found.mapped
    assert made is not None
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
    write_json(
        json_file,
        {
            "folder": str(output),
            "model": manifest.model,
            "arch": machine.model_dump(),
            "batch": batch,
            "n_steps": [s.n_steps for s in manifest.sequences],
            "macs_per_step": made.mapping.macs,
            "bound_cycles_per_step": manifest.bound_cycles_per_step,
            "program_words": made.programs.run.n_words,
            "weights_bytes": len(made.image),
            "reloaded_bytes_per_run": again,
            "fracs": manifest.fracs,
        },
    )
