"""`einchip compress` and `einchip finetune`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from einchip.cli import complete
from einchip.cli.common import (
    Json,
    ModelFile,
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
from einchip.cli.inputs import load_data

if TYPE_CHECKING:
    from rich.table import Table

    from einchip.models import MatrixSpec, Model
    from einchip.models.compress import MatrixReport, Plan
    from einchip.models.spec import Format

FORMATS: Final = ("lowrank", "mpo", "mps", "ht", "tr", "bt", "tucker", "cp", "kronecker", "dense")
#: Panels of the help.
AMOUNT: Final = "How much, one of"
WHICH: Final = "Which matrices"
NOISE: Final = "Against overfitting"


def whole_numbers(option: str, text: str | None) -> tuple[int, ...]:
    """Return the numbers of an option such as ``4,4,8``."""
    parts = [] if text is None else text.split(",")
    if not all(part.strip().isdecimal() and 0 < int(part) < 2**24 for part in parts):
        fail(f"{option}: found {text!r}, expected positive whole numbers such as 4,4,8")
    return tuple(int(part) for part in parts)


def plan_of(
    format_: str, targets: tuple[str | None, float | None, float | None], **fields: Any
) -> Plan:
    """Return the plan of the options, checked."""
    from einchip.models.compress import Plan, Target

    if format_ not in FORMATS:
        fail(not_one_of("--format", format_, FORMATS))
    if fields["gates"] not in ("joint", "separate"):
        fail(f"--gates: found {fields['gates']!r}, expected joint or separate")
    text, ratio, error = targets
    if format_ == "dense" and (text, ratio, error) == (None, None, None):
        ratio = 1.0
    ranks = whole_numbers("--rank", text)
    rank = None if not ranks else ranks[0] if len(ranks) == 1 else ranks
    return Plan(cast("Format", format_), Target(rank, ratio, error), **fields)


@command
def compress(
    model: ModelFile,
    output: ModelOutput,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help=", ".join(FORMATS),
            autocompletion=complete.names(lambda: FORMATS),
        ),
    ],
    rank: Annotated[
        str | None,
        typer.Option(metavar="R,..", help="of all bonds, or one each", rich_help_panel=AMOUNT),
    ] = None,
    ratio: Annotated[
        float | None,
        typer.Option(metavar="X", help="so many times fewer weights", rich_help_panel=AMOUNT),
    ] = None,
    error: Annotated[
        float | None,
        typer.Option(metavar="E", help="at most this relative error", rich_help_panel=AMOUNT),
    ] = None,
    in_modes: Annotated[
        str | None, typer.Option(help="factors of the input size", metavar="N,..")
    ] = None,
    out_modes: Annotated[
        str | None, typer.Option(help="of the output size; gates are slowest", metavar="N,..")
    ] = None,
    gates: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="joint, or separate: a network for each",
            autocompletion=complete.names(lambda: ("joint", "separate")),
        ),
    ] = "joint",
    blocks: Annotated[
        int, typer.Option(min=1, max=1024, metavar="N", help="terms of format bt")
    ] = 2,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="such as layers.0.hidden", rich_help_panel=WHICH),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="not these (layers.*)", rich_help_panel=WHICH),
    ] = None,
    json_file: Json = None,
) -> None:
    """Decompose a model's matrices: all, or those that --only and --keep choose.

    Examples
    --------
    einchip compress model.safetensors --format mpo --ratio 8 -o small.safetensors
    """
    from einchip.models import load_model, save_model
    from einchip.models.compress import compress_model

    plan = plan_of(
        format_,
        (rank, ratio, error),
        in_modes=whole_numbers("--in-modes", in_modes),
        out_modes=whole_numbers("--out-modes", out_modes),
        gates=gates,
        blocks=blocks,
        only=tuple(only or ()),
        keep=tuple(keep or ()),
    )
    require_model_path(output, json_file)
    found = load_model(model)
    with console.status("decomposing") as status:
        made, reports = loaded(
            model,
            lambda: compress_model(found, plan, lambda name: status.update(f"decomposing {name}")),
        )
        status.update("counting multiply-adds")
        rows = [figures(r) for r in reports]
    save_model(made, output)
    write_json(json_file, {"model": str(model), "output": str(output), "matrices": rows})
    for report in reports:
        say(f"{report.name}: {described(report.after)}")
    console.print(table(reports, rows))
    for report in reports:
        if report.warning:
            say(f"warning: {report.warning}")
    say(f"{output}: {n_values(made):,} values in all, {n_values(found):,} before")


def figures(report: MatrixReport) -> dict[str, Any]:
    """Return the figures of a matrix as JSON."""
    after = report.after
    return {
        "name": report.name,
        "format_before": report.before.format,
        "format": after.format,
        "in_modes": list(after.in_modes),
        "out_modes": list(after.out_modes),
        "ranks": after.model_dump(mode="json")["ranks"],
        "gates": after.gates,
        "dense_weights": report.dense_weights,
        "weights_before": report.weights_before,
        "weights": report.weights_after,
        "ratio": report.ratio,
        "error": report.error,
        "svd_rank": report.svd_rank,
        "svd_error": report.svd_error,
        "macs_before": macs(report.before, report.n_gates),
        "macs": macs(after, report.n_gates),
        "warning": report.warning,
    }


def macs(spec: MatrixSpec, n_gates: int) -> int:
    """Return the multiply-adds of one product with a vector in the best order."""
    from einchip.compiler.problem import network_of
    from einchip.roofline import Volumes, cheapest

    network = network_of(spec, "x", n_gates)
    volumes = Volumes(network)
    return int(cheapest(network, volumes, lambda a, b, _: volumes.of(a | b)).cost)


def n_values(model: Model) -> int:
    """Return how many values a model holds, biases too."""
    return sum(tensor.size for tensor in model.tensors.values())


def table(reports: Sequence[MatrixReport], rows: Sequence[dict[str, Any]]) -> Table:
    """Return the figures as a table."""
    from rich.table import Table

    made = Table()
    made.add_column("matrix", min_width=max(len(report.name) for report in reports))
    for head in ("weights", "before", "ratio", "error", "SVD's", "MACs", "before"):
        made.add_column(head, justify="right")
    for report, row in zip(reports, rows, strict=True):
        made.add_row(
            report.name,
            f"{row['weights']:,}",
            f"{row['weights_before']:,}",
            f"{row['ratio']:.2f}",
            f"{row['error']:.3f}",
            f"{row['svd_error']:.3f}",
            f"{row['macs']:,}",
            f"{row['macs_before']:,}",
        )
    return made


def described(spec: MatrixSpec) -> str:
    """Return format, modes and ranks as text."""
    ranks = spec.model_dump(mode="json")["ranks"]
    if isinstance(ranks, dict):
        ranks = "; ".join(f"{k} {_listed(v)}" for k, v in ranks.items() if k != "root")
    modes = f"{_listed(spec.in_modes)} -> {_listed(spec.out_modes)}"
    return f"{spec.format} {modes}" + (f": {_listed(ranks)}" if ranks else "")


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@command
def finetune(
    model: ModelFile,
    data: Annotated[Path, typer.Option(metavar="FILE", help="labelled sequences (.npz)")],
    output: ModelOutput,
    distill: Annotated[
        Path | None, typer.Option(help="a model whose outputs are learnt, too", metavar="TEACHER")
    ] = None,
    epochs: Annotated[
        int, typer.Option(min=0, max=100_000, metavar="N", help="times over it")
    ] = 100,
    rate: Annotated[
        float, typer.Option("--lr", min=1e-8, max=1.0, metavar="X", help="learning rate")
    ] = 0.005,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="sequences in one step")] = 32,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, metavar="N", help="of chance")] = 1,
    decay: Annotated[
        float,
        typer.Option(min=0.0, max=10.0, metavar="X", help="of weights", rich_help_panel=NOISE),
    ] = 0.01,
    noise: Annotated[
        float,
        typer.Option(min=0.0, max=1e3, metavar="X", help="on every value", rich_help_panel=NOISE),
    ] = 0.0,
    offset: Annotated[
        float,
        typer.Option(min=0.0, max=1e3, metavar="X", help="on a sequence", rich_help_panel=NOISE),
    ] = 0.0,
    dropout: Annotated[
        float,
        typer.Option(
            min=0.0, max=0.9, metavar="X", help="of the last state", rich_help_panel=NOISE
        ),
    ] = 0.0,
    smoothing: Annotated[
        float,
        typer.Option(min=0.0, max=0.9, metavar="X", help="of labels", rich_help_panel=NOISE),
    ] = 0.0,
    threads: Annotated[int, typer.Option(min=1, max=1024, metavar="N", help="of PyTorch")] = 1,
    json_file: Json = None,
) -> None:
    """Train a model on in its format: the train split is learnt, the test split is judged.

    Examples
    --------
    einchip finetune small.safetensors --data data.npz -o tuned.safetensors
    """
    from einchip.models import load_model, save_model

    require_model_path(output, json_file)
    start = load_model(model)
    teacher = None if distill is None else load_model(distill)
    train, test = load_data(data, start, "train"), load_data(data, start, "test")
    with console.status("loading PyTorch"):
        from einchip.models import finetune as training
        from einchip.models.finetune import Settings

    settings = Settings(
        epochs, rate, batch, seed, decay, noise, offset, dropout, smoothing, threads
    )
    with console.status("training") as status:

        def progress(epoch: int, loss: float) -> None:
            status.update(f"epoch {epoch} of {epochs}, loss {loss:.4f}")
            losses.append(loss)

        losses: list[float] = []
        made = training.finetune(start, train, settings, teacher, progress)
    save_model(made, output)
    scores: dict[str, float] = {}
    if start.spec.output == "last":
        scores = {"before": training.accuracy(start, test), "after": training.accuracy(made, test)}
        say(f"test accuracy {scores['before']:.2%} before, {scores['after']:.2%} after")
    if losses:
        say(f"{output}: {epochs} epochs, loss {losses[0]:.4f} in the first, {losses[-1]:.4f} last")
    write_json(json_file, {"settings": asdict(settings), "losses": losses, "accuracy": scores})
