"""The order of a program: list scheduling by estimated starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from einchip.mapper.ops import Op
from einchip.program import Unit

#: Cycles from one unit's completion to another's first action.
HANDOVER = 3


def dependencies(ops: Sequence[Op]) -> list[dict[int, int]]:
    """Return for each operation the earlier ones it must follow, each with the latency to wait.

    A read waits for the write before it; a write only stays behind earlier reads and writes where
    both are the array's, since these are in order.
    """
    found: list[dict[int, int]] = []
    for j, op in enumerate(ops):
        needs: dict[int, int] = {}
        for i, earlier in enumerate(ops[:j]):
            if earlier.writes & op.reads:
                needs[i] = earlier.result_latency + HANDOVER
            elif (earlier.reads | earlier.writes) & op.writes:
                same = earlier.unit == op.unit
                needs[i] = 0 if same else earlier.result_latency + HANDOVER
        found.append(needs)
    return found


def schedule(ops: Sequence[Op], ready: Mapping[str, int] | None = None) -> list[Op]:
    """Return the operations in the order of their estimated starts.

    Of those whose predecessors are placed, the one that can start first comes next; ties keep the
    given order. `ready` says when buffers that come from outside can first be read.
    """
    needs = dependencies(ops)
    end: dict[int, int] = {}
    free = dict.fromkeys(Unit, 0)
    waiting = list(range(len(ops)))
    able: dict[int, int] = {}  # what may come next, and from when on its operands are there
    order: list[int] = []
    while len(order) < len(ops):
        for k in [k for k in waiting if needs[k].keys() <= end.keys()]:
            waiting.remove(k)
            able[k] = _there(k, ops, needs[k], end, ready or {})
        starts = {k: max(free[ops[k].unit], there) for k, there in able.items()}
        chosen = min(able, key=lambda k: (starts[k], ops[k].unit, k))
        end[chosen] = starts[chosen] + ops[chosen].cycles
        free[ops[chosen].unit] = end[chosen]
        del able[chosen]
        order.append(chosen)
    return [ops[k] for k in order]


def _there(
    k: int,
    ops: Sequence[Op],
    needs: Mapping[int, int],
    end: Mapping[int, int],
    ready: Mapping[str, int],
) -> int:
    """Return from when on an operation can start, as far as those that it follows let it."""
    written = set().union(*(ops[i].writes for i in needs))
    times = [0, *(end[i] + wait for i, wait in needs.items())]
    times += [ready[b] for b in ops[k].reads if b in ready and b not in written]
    return max(times)
