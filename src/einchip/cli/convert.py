"""`einchip import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer
from rich.markup import escape

from einchip.cli import complete
from einchip.cli.common import (
    Json,
    ModelOutput,
    command,
    console,
    fail,
    loaded,
    not_one_of,
    require_model_path,
    say,
    write_json,
)

if TYPE_CHECKING:
    from einchip.models.importers import Options
    from einchip.models.spec import LinearSpec, RecurrentSpec


def one_of(option: str, value: str | None, allowed: Any) -> Any:
    """Return the value of an option, or fail; `allowed` is a Literal type."""
    choices = get_args(allowed)
    if value is not None and value not in choices:
        fail(not_one_of(option, value, choices))
    return value


def names(text: str | None) -> tuple[str, ...]:
    """Return the names of a comma-separated list."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def activations(entries: list[str] | None) -> dict[str, Any]:
    """Return the activation of each layer that --activation names."""
    from einchip.models.spec import Activation

    found = {}
    for entry in entries or []:
        name, equals, kind = (part.strip() for part in entry.partition("="))
        if not (name and equals):
            fail(f"--activation: found {entry!r}, expected NAME=relu, tanh, sigmoid or none")
        found[name] = one_of(f"--activation: {name}", kind, Activation)
    return found


def described(layer: RecurrentSpec | LinearSpec) -> str:
    """Return what a layer is, in words."""
    from einchip.models.spec import RecurrentSpec

    if not isinstance(layer, RecurrentSpec):
        return f"linear {layer.input_size} -> {layer.out_size}"
    both = ", both directions" if layer.bidirectional else ""
    return f"{layer.cell} {layer.input_size} -> {layer.hidden_size}{both}"


def save(source: Path, options: Options, output: Path, json_file: Path | None) -> None:
    """Import a model, save it, and say what it is and what was assumed."""
    from einchip.models import Model, save_model
    from einchip.models.importers import import_model

    with console.status(escape(f"reading {source}")):
        found = loaded(source, lambda: import_model(source, options))
        model = loaded(source, lambda: Model(found.spec, dict(found.tensors)))
    save_model(model, output)
    parts = "; ".join(described(layer) for layer in found.spec.layers)
    n_weights = sum(array.size for array in found.tensors.values())
    say(f"{output}: {parts}; {n_weights:,} weights; output {found.spec.output}")
    for note in found.notes:
        say(f"  {note}")
    write_json(
        json_file,
        {
            "source": str(source),
            "output": str(output),
            "model": found.spec.model_dump(mode="json", exclude_none=True),
            "weights": n_weights,
            "notes": list(found.notes),
        },
    )


def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help=".onnx, .keras, .pt, .pth, .safetensors, .npz")
    ],
    output: ModelOutput,
    framework: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="of a plain file: pytorch or keras",
            autocompletion=complete.names(lambda: ("pytorch", "keras")),
        ),
    ] = None,
    order: Annotated[
        str | None, typer.Option(help="modules in the order in which they run", metavar="NAME,..")
    ] = None,
    activation: Annotated[
        list[str] | None,
        typer.Option(help="activation behind a linear layer", metavar="NAME=KIND"),
    ] = None,
    rnn_activation: Annotated[
        str | None, typer.Option(metavar="NAME", help="of a plain RNN: tanh or relu")
    ] = None,
    gru_reset: Annotated[
        str | None, typer.Option(metavar="WHEN", help="after or before the hidden matrix")
    ] = None,
    embedding: Annotated[
        str | None, typer.Option(help="matrices that are lookup tables", metavar="NAME,..")
    ] = None,
    returns: Annotated[str | None, typer.Option(metavar="WHAT", help="last or sequence")] = None,
    value: Annotated[
        str | None, typer.Option(metavar="NAME", help="tensor of an ONNX graph that is the output")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="name of the model")] = None,
    json_file: Json = None,
) -> None:
    """Turn a model of PyTorch, ONNX or Keras into einchip's file; says what it had to assume.

    Examples
    --------
    einchip import model.onnx -o model.safetensors
    """
    from einchip.models.importers import Framework, Options
    from einchip.models.spec import Output, Reset, RnnActivation

    require_model_path(output, json_file)
    options = Options(
        name=name,
        framework=one_of("--framework", framework, Framework),
        order=names(order),
        activations=activations(activation),
        rnn_activation=one_of("--rnn-activation", rnn_activation, RnnActivation),
        gru_reset=one_of("--gru-reset", gru_reset, Reset),
        output=cast("Output | None", one_of("--returns", returns, Output)),
        value=value,
        embeddings=names(embedding),
    )
    save(source, options, output, json_file)


command(import_, "import")
