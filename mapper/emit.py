"""CONTRACTs of a step: lanes and tails from its fold, loops from the layouts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from einchip.mapper.errors import MappingError
from einchip.mapper.lanes import Factor
from einchip.mapper.layout import Layout
from einchip.mapper.plan import Step
from einchip.program import ARRAY_LOOPS, Contract

#: Greatest count of a temporal loop.
MAX_COUNT = (1 << 16) - 1


@dataclass(frozen=True)
class Loop:
    """A temporal loop: its count, and its strides in each tensor."""

    count: int
    strides: tuple[int, ...]

    def then(self, outer: Loop) -> Loop | None:
        """Return this loop with `outer` around it as one loop, or None."""
        fits = all(o == self.count * s for s, o in zip(self.strides, outer.strides, strict=True))
        count = self.count * outer.count
        return Loop(count, self.strides) if fits and count <= MAX_COUNT else None


def merge(loops: Iterable[Loop]) -> list[Loop]:
    """Return as few loops as do the same, small strides innermost."""
    rest = sorted((n for n in loops if n.count > 1), key=lambda n: n.strides)
    while True:
        for inner, outer in itertools.permutations(rest, 2):
            merged = inner.then(outer)
            if merged:
                rest.remove(inner)
                rest.remove(outer)
                rest.append(merged)
                break
        else:
            return sorted(rest, key=lambda n: n.strides)


class Run(NamedTuple):
    """A part of an index: first value, iterations in time, lanes."""

    start: int
    iterations: int
    lanes: int


def runs(size: int, count: int) -> list[Run]:
    """Return the full lanes of an index and, where `count` does not divide it, the tail."""
    full = Run(0, size // count, count)
    rest = size % count
    return [full, Run(size - rest, 1, rest)] if rest else [full]


def pad_loops(loops: Sequence[Loop], number: int, width: int) -> list[Loop]:
    """Return exactly `number` loops, the added ones running once."""
    return [*loops, *(Loop(1, (0,) * width) for _ in range(number - len(loops)))]


def unroll(loops: list[Loop], room: int, width: int) -> tuple[list[Loop], list[tuple[int, ...]]]:
    """Return at most `room` loops, and the offsets at which to run them instead of the others."""
    by_count = sorted(loops, key=lambda n: n.count)
    excess = max(0, len(loops) - room)
    out, kept = by_count[:excess], sorted(by_count[excess:], key=lambda n: n.strides)
    offsets = [
        tuple(
            sum(at * n.strides[t] for at, n in zip(where, out, strict=True)) for t in range(width)
        )
        for where in itertools.product(*(range(n.count) for n in out))
    ]
    return kept, offsets


def contracts(step: Step, x: Layout, y: Layout, z: Layout) -> list[Contract]:
    """Return the CONTRACTs of one execution, all bases relative to those of the three tensors.

    Raises MappingError where the reductions need more loops than the array has.
    """
    layouts = (x, y, z)
    lanes = {f.index: f.count for f in (*step.fold.x_lanes, *step.fold.n)}
    laned = [i for i in lanes if step.extents.get(i, 1) > 1]
    found: list[Contract] = []
    for parts in itertools.product(*(runs(step.extents[i], lanes[i]) for i in laned)):
        chosen = dict(zip(laned, parts, strict=True))
        reducing: list[Loop] = []
        tiling: list[Loop] = []
        for i, size in step.extents.items():
            run = chosen.get(i, Run(0, size, 1))
            loop = Loop(run.iterations, tuple(v.stride(i) * lanes.get(i, 1) for v in layouts))
            (tiling if _is_output(step, i, z) else reducing).append(loop)
        base = tuple(sum(r.start * v.stride(i) for i, r in chosen.items()) for v in layouts)
        found += _nests(step, layouts, chosen, (merge(reducing), merge(tiling)), base)
    return found


def _is_output(step: Step, index: str, z: Layout) -> bool:
    return index in z.strides or step.extents[index] == 1


def _nests(
    step: Step,
    layouts: tuple[Layout, Layout, Layout],
    chosen: dict[str, Run],
    loops: tuple[list[Loop], list[Loop]],
    base: tuple[int, ...],
) -> list[Contract]:
    """Return one CONTRACT, or several where the tile loops are more than the array has."""
    reducing, tiling = loops
    room = ARRAY_LOOPS - len(reducing)
    if room < 0:
        raise MappingError(
            f"{step.name}: found {len(reducing)} loops of reduced indices, expected at most "
            f"{ARRAY_LOOPS}; merge indices that always appear together"
        )
    kept, offsets = unroll(tiling, room, len(layouts))
    nest = pad_loops([*reducing, *kept], ARRAY_LOOPS, 3)
    plain = replace(
        _lanes(step, layouts, chosen),
        n_reduce=len(reducing),
        loop_count=tuple(n.count for n in nest),
        loop_x=tuple(n.strides[0] for n in nest),
        loop_y=tuple(n.strides[1] for n in nest),
        loop_z=tuple(n.strides[2] for n in nest),
    )
    starts = [[b + o for b, o in zip(base, at, strict=True)] for at in offsets]
    return [replace(plain, x_base=x, y_base=y, z_base=z, d_base=z) for x, y, z in starts]


def _lanes(step: Step, layouts: tuple[Layout, Layout, Layout], chosen: dict[str, Run]) -> Contract:
    """Return a CONTRACT with the lane fields set."""
    x, y, z = layouts

    def pair(factors: tuple[Factor, ...]) -> list[tuple[int, str]]:
        given = [(chosen[f.index].lanes, f.index) for f in factors]
        return given + [(1, "")] * (2 - len(given))

    (nm0, m0), (nm1, m1) = pair(step.fold.m)
    (nn0, n0), (nn1, n1) = pair(step.fold.n)
    (nk0, k0), (nk1, k1) = pair(step.fold.k)
    nb, b = pair(step.fold.b)[0]
    return Contract(
        nm0=nm0, nm1=nm1, nn0=nn0, nn1=nn1, nk0=nk0, nk1=nk1, nb=nb,
        xs_m0=x.stride(m0), xs_m1=x.stride(m1), xs_k0=x.stride(k0), xs_k1=x.stride(k1),
        xs_b=x.stride(b),
        ys_n0=y.stride(n0), ys_n1=y.stride(n1), ys_k0=y.stride(k0), ys_k1=y.stride(k1),
        ys_b=y.stride(b),
        zs_m0=z.stride(m0), zs_m1=z.stride(m1), zs_n0=z.stride(n0), zs_n1=z.stride(n1),
        zs_b=z.stride(b),
    )  # fmt: skip
