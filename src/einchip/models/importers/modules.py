"""Named modules put in order: what state dicts of PyTorch and weights of Keras have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from einchip.models.errors import model_error
from einchip.models.importers.options import Options
from einchip.models.importers.stages import Embedding, Imported, Linear, Recurrent, Stage, assemble

#: A module and what it becomes: the layers of a stack, in order.
Modules = Mapping[str, Sequence[Stage | Embedding]]
MAX_SEARCHED_MODULES: Final = 8


def choose(where: object, names: Sequence[str], options: Options) -> list[str]:
    """Return the modules that `order` names, or all; raise ModelError for one that is not there."""
    for kind, chosen in (
        ("order", options.order),
        ("activation", tuple(options.activations)),
        ("embedding", options.embeddings),
    ):
        for name in chosen:
            if name not in names:
                advice = "correct the spelling"
                raise model_error(where, f"option {kind}", name, f"one of {list(names)}", advice)
    return list(options.order or names)


def chain(
    path: Path, modules: Modules, options: Options, notes: Sequence[str], ordered: bool
) -> Imported:
    """Chain modules into a model.

    The order is that of the option, else the file's (`ordered`), else the only one in which every
    module takes as many values as the one before it gives.

    Raises:
        ModelError: no order or several fit, or the chain has no recurrent or linear layer.
    """
    names, said = _order(path, modules, options, ordered)
    flat = [stage for name in names for stage in modules[name]]
    head = flat[0] if flat and isinstance(flat[0], Embedding) else None
    stages = [stage for stage in flat[head is not None :] if not isinstance(stage, Embedding)]
    if len(stages) != len(flat) - (head is not None):
        found = "an embedding behind another layer"
        raise model_error(path, "option embedding", found, "it first", "change --order")
    output = options.output or ("last" if _has_recurrent(stages) else "sequence")
    if options.output is None and _has_recurrent(stages):
        said.append("output: last step assumed (--returns sequence for every step)")
    return assemble(path, options.name or path.stem, stages, output, [*notes, *said], head)


def _has_recurrent(stages: Sequence[Stage]) -> bool:
    return any(isinstance(stage, Recurrent) for stage in stages)


def _order(
    path: Path, modules: Modules, options: Options, ordered: bool
) -> tuple[list[str], list[str]]:
    """Return the modules in order, and what there is to say about it."""
    names = list(modules)
    if options.order or len(names) < 2:
        return list(options.order or names), []
    if ordered:
        return names, [f"order: {', '.join(names)}, as in the file"]
    advice = "give the layers' order (--order NAME,NAME,..)"
    if len(names) > MAX_SEARCHED_MODULES:
        raise model_error(path, "order", f"{len(names)} modules", "their order", advice)
    chains = _chains(modules, (), names)
    first, second = next(chains, None), next(chains, None)
    if first is None or second is not None:
        if first is None:
            advice += "; say which are lookup tables (--embedding NAME)"
        found = f"{'several orders' if second else 'no order'} of {', '.join(names)} that fit"
        raise model_error(path, "order", found, "one", advice)
    return list(first), [f"order: {', '.join(first)}, the only one whose sizes fit"]


def _chains(modules: Modules, done: tuple[str, ...], left: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield every order of `left` behind `done` in which sizes fit."""
    if not left:
        yield done
    for name in left:
        stage = modules[name][0]
        if done and (
            isinstance(stage, Embedding) or modules[done[-1]][-1].out_size != stage.in_size
        ):
            continue
        yield from _chains(modules, (*done, name), [n for n in left if n != name])


def activation_notes(linears: Sequence[Linear], options: Options) -> list[str]:
    """Return what was assumed about activations behind linear layers."""
    silent = [s.name for s in linears if s.name not in options.activations]
    if not silent:
        return []
    return [f"activation: none assumed behind {', '.join(silent)} (--activation NAME=relu)"]
