"""What a mapping says of itself: steps for a calibrator, loop nests for readers, JSON for tools."""

from __future__ import annotations

import string
from collections.abc import Iterable
from math import prod
from typing import Any, NamedTuple

from einchip.arch import Architecture
from einchip.mapper.emit import axes
from einchip.mapper.factors import Factor, Shape
from einchip.mapper.lanes import candidates
from einchip.mapper.plan import Part, Step


class Contraction(NamedTuple):
    """One step as a calibrator needs it: `result = einsum(left, right) + addend`.

    An operand whose name begins with "@one" is the scalar 1.
    """

    left: str
    right: str
    result: str
    einsum: str
    addend: str


def contractions(part: Part) -> list[Contraction]:
    """Return the steps of a part in an order in which operands come before results."""
    return [Contraction(s.left, s.right, s.name, _einsum(part, s), s.addend) for s in part.steps]


def _einsum(part: Part, step: Step) -> str:
    terms = [part.tensors[n].indices for n in (step.left, step.right, step.name)]
    letters = dict(
        zip(dict.fromkeys(i for t in terms for i in t), string.ascii_letters, strict=False)
    )
    left, right, result = ("".join(letters[i] for i in t) for t in terms)
    return f"{left},{right}->{result}"


def utilisation(part: Part, step: Step, arch: Architecture) -> float:
    """Return the part of the array's multipliers that a full issue of a step uses."""
    return step.fold.macs / arch.n_pes


def n_folds(part: Part, step: Step, arch: Architecture) -> int:
    """Return how many folds of a step were weighed, in the orientation that it was given."""
    x, y, z = (part.tensors[n].indices for n in (step.x, step.y, step.name))
    return len(candidates(Shape.of(x, y, z, step.extents), arch, bool(step.addend)).candidates)


def describe(part: Part, arch: Architecture) -> list[dict[str, Any]]:
    """Return the steps of a part as plain data."""
    return [
        {
            "result": s.name,
            "left": s.left,
            "right": s.right,
            "x": s.x,
            "y": s.y,
            "z_space": "XY"[part.tensors[s.name].space],
            "einsum": _einsum(part, s),
            "executions": s.executions,
            "macs": s.macs,
            "cycles": s.cycles * s.executions,
            "utilisation": round(utilisation(part, s, arch), 4),
            "lanes": {
                group: {f.name: f.count for f in getattr(s.fold, group)} for group in "mnkbhq"
            },
        }
        for s in part.steps
    ]


def layouts(part: Part) -> dict[str, dict[str, Any]]:
    """Return where and how every tensor of a part lies, as plain data."""
    return {
        t.name: {
            "space": "XY"[t.space],
            "strides": dict(t.layout.strides),
            "elements": t.layout.elements,
            "extent": t.layout.extent,
            "slices": part.slicing.count if t.sliced else 1,
        }
        for t in part.tensors.values()
    }


def explain(part: Part, arch: Architecture) -> str:
    """Return the loop nests of a part as text."""
    return "\n".join(line for s in part.steps for line in _nest(part, s, arch))


def _nest(part: Part, step: Step, arch: Architecture) -> Iterable[str]:
    """Yield a step's loop nest: tiles, reductions in time, lanes."""
    z = part.tensors[step.name]
    loops = [
        (a.chain[0] in z.indices, f"{'*'.join(reversed(a.chain))} in {times}")
        for a in axes(step)
        if (times := -(-a.size // (a.lanes * a.blocks))) > 1
    ]
    outer = [text for kept, text in loops if kept]
    inner = [text for kept, text in loops if not kept]
    operands = f"{_access(part, step.x)} * {_access(part, step.y)}"
    yield (
        f"{_access(part, step.name)} in {'XY'[z.space]}: {step.macs} MACs, "
        f"{step.cycles * step.executions} cycles, {utilisation(part, step, arch):.0%} of the array"
    )
    if step.executions > 1:
        yield f"  slice {part.slicing.index} in {step.executions}"
    yield f"  for {', '.join(outer) or 'one tile'}:"
    if inner:
        yield f"    sum over {', '.join(inner)}:"
    yield f"      {operands}{f' + {step.addend}' if step.addend else ''}"
    rows, columns = _lanes(step.fold.m), _lanes(step.fold.n)
    shared = f", summed {_lanes(step.fold.k)}" if step.fold.k else ""
    shared += f", side by side {_lanes(step.fold.b)}" if step.fold.b else ""
    shared += f", held {_lanes(step.fold.h)}" if step.fold.h else ""
    shared += f" while {_lanes(step.fold.q)} pass" if step.fold.q else ""
    yield f"      rows {rows}, columns {columns}{shared}"


def _access(part: Part, name: str) -> str:
    return f"{name}[{','.join(part.tensors[name].indices)}]"


def _lanes(factors: tuple[Factor, ...]) -> str:
    text = " x ".join(f"{f.name}:{f.count}" for f in factors)
    return f"{text} ({prod(f.count for f in factors)})" if text else "1"
