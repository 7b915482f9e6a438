"""What a user tells an importer that its source does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from einchip.models.errors import model_error
from einchip.models.spec import Activation, Output, Reset, RnnActivation

Framework = Literal["pytorch", "keras"]


@dataclass(frozen=True)
class Options:
    """Answers to what a source leaves open; None means not given.

    Attributes:
        name: name of the model; None for the file's.
        framework: whose names and gate orders files of plain arrays have.
        order: modules in the order in which they run; the others are left out.
        activations: activation behind a linear module, by its name.
        rnn_activation: activation of plain recurrent layers.
        gru_reset: reset gate of GRUs whose weights do not tell.
        output: what the model returns.
        value: name of the tensor of an ONNX graph that is the model's output.
        embeddings: modules of one matrix that are lookup tables.
    """

    name: str | None = None
    framework: Framework | None = None
    order: Sequence[str] = ()
    activations: Mapping[str, Activation] = field(default_factory=dict)
    rnn_activation: RnnActivation | None = None
    gru_reset: Reset | None = None
    output: Output | None = None
    value: str | None = None
    embeddings: Sequence[str] = ()


def refuse(where: object, options: Options, *names: str) -> None:
    """Raise ModelError for the first of the named options that was given: the source says it."""
    for name in names:
        if getattr(options, name):
            raise model_error(
                where,
                f"option {name}",
                getattr(options, name),
                "no such option, since the file says it",
                "leave the option out",
            )
