"""CONTRACTs of a step: lanes and tails from its fold, loops from the layouts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

from einchip.mapper.errors import MappingError
from einchip.mapper.factors import Lanes, Run, runs
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


class _Axis(NamedTuple):
    """Indices that a step takes as one: their size, lanes, and blocks of lanes beyond those."""

    chain: tuple[str, ...]
    size: int
    lanes: int = 1
    blocks: int = 1
    passes: bool = False  # blocks pass in time while X is held
    reach: int = 0

    @property
    def runs(self) -> list[Run]:
        """The runs of its values, each a CONTRACT."""
        return runs(self.size, self.lanes, self.blocks, not self.passes, self.reach)

    def strides(self, layouts: Iterable[Layout], step: int) -> tuple[int, ...]:
        """Return how far values `step` apart lie in each tensor."""
        return tuple(step * v.stride(self.chain[0]) for v in layouts)


def axes(step: Step) -> list[_Axis]:
    """Return the indices of a step, those that factors take as one together."""
    fold = step.fold
    lanes = {f.chain: f.count for f in (*fold.m, *fold.n, *fold.k, *fold.b)}
    blocks = {f.chain: f.count for f in (*fold.h, *fold.q)}
    passing = {f.chain: f.reach for f in fold.q}
    used = dict.fromkeys((*lanes, *blocks))
    taken = {i for chain in used for i in chain}
    chains = [*used, *((i,) for i in step.extents if i not in taken)]
    return [
        _Axis(
            c,
            prod(step.extents[i] for i in c),
            lanes.get(c, 1),
            blocks.get(c, 1),
            c in passing,
            passing.get(c, 0),
        )
        for c in chains
    ]


class _Loops(NamedTuple):
    """The loops of a CONTRACT: while X is held, those that reduce, the others."""

    holding: list[Loop]
    reducing: list[Loop]
    tiling: list[Loop]


def contracts(step: Step, x: Layout, y: Layout, z: Layout) -> list[Contract]:
    """Return the CONTRACTs of one execution, all bases relative to those of the three tensors.

    Raises MappingError where the reductions need more loops than the array has.
    """
    layouts, every = (x, y, z), axes(step)
    found: list[Contract] = []
    for parts in itertools.product(*(a.runs for a in every)):
        loops = _Loops([], [], [])
        for a, run in zip(every, parts, strict=True):
            if a.passes:
                loops.holding.append(Loop(run.blocks, a.strides(layouts, run.lanes)))
            outer = Loop(run.iterations, a.strides(layouts, run.lanes * run.blocks))
            (loops.tiling if _is_output(step, a, z) else loops.reducing).append(outer)
        base = tuple(
            sum(at)
            for at in zip(
                *(a.strides(layouts, r.start) for a, r in zip(every, parts, strict=True)),
                strict=True,
            )
        ) or (0, 0, 0)
        chosen = {a.chain: r for a, r in zip(every, parts, strict=True)}
        merged = _Loops(*(merge(group) for group in loops))
        found += _nests(step, layouts, chosen, merged, base)
    return found


def _is_output(step: Step, axis: _Axis, z: Layout) -> bool:
    return axis.chain[0] in z.strides or step.extents[axis.chain[0]] == 1


def _nests(
    step: Step,
    layouts: tuple[Layout, Layout, Layout],
    chosen: Mapping[tuple[str, ...], Run],
    loops: _Loops,
    base: tuple[int, ...],
) -> list[Contract]:
    """Return one CONTRACT, or several where the tile loops are more than the array has."""
    inner = [*loops.holding, *loops.reducing]
    room = ARRAY_LOOPS - len(inner)
    if room < 0:
        raise MappingError(
            f"{step.name}: found {len(inner)} loops of reduced and held indices, expected at most "
            f"{ARRAY_LOOPS}; merge indices that always appear together"
        )
    kept, offsets = unroll(loops.tiling, room, len(layouts))
    nest = pad_loops([*inner, *kept], ARRAY_LOOPS, 3)
    plain = replace(
        _lanes(step, layouts, chosen),
        n_hold=len(loops.holding),
        n_reduce=len(loops.reducing),
        loop_count=tuple(n.count for n in nest),
        loop_x=tuple(n.strides[0] for n in nest),
        loop_y=tuple(n.strides[1] for n in nest),
        loop_z=tuple(n.strides[2] for n in nest),
    )
    starts = [[b + o for b, o in zip(base, at, strict=True)] for at in offsets]
    return [replace(plain, x_base=x, y_base=y, z_base=z, d_base=z) for x, y, z in starts]


def _lanes(
    step: Step,
    layouts: tuple[Layout, Layout, Layout],
    chosen: Mapping[tuple[str, ...], Run],
) -> Contract:
    """Return a CONTRACT with the lane fields set."""
    x, y, z = layouts

    def pair(factors: Lanes) -> list[tuple[int, str]]:
        given = [(chosen[f.chain].lanes, f.index) for f in factors]
        return given + [(1, "")] * (2 - len(given))

    (nm0, m0), (nm1, m1) = pair(step.fold.m)
    (nn0, n0), (nn1, n1) = pair(step.fold.n)
    (nk0, k0), (nk1, k1) = pair(step.fold.k)
    nb, b = pair(step.fold.b)[0]
    nh, h, apart = 1, "", 0
    for f in step.fold.h:
        nh, h, apart = chosen[f.chain].blocks, f.index, chosen[f.chain].lanes
    return Contract(
        nm0=nm0, nm1=nm1, nn0=nn0, nn1=nn1, nk0=nk0, nk1=nk1, nb=nb, nh=nh,
        xs_m0=x.stride(m0), xs_m1=x.stride(m1), xs_k0=x.stride(k0), xs_k1=x.stride(k1),
        xs_b=x.stride(b), xs_h=apart * x.stride(h),
        ys_n0=y.stride(n0), ys_n1=y.stride(n1), ys_k0=y.stride(k0), ys_k1=y.stride(k1),
        ys_b=y.stride(b),
        zs_m0=z.stride(m0), zs_m1=z.stride(m1), zs_n0=z.stride(n0), zs_n1=z.stride(n1),
        zs_b=z.stride(b), zs_h=apart * z.stride(h),
    )  # fmt: skip
