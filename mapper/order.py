"""The order of a phase's loop, improved by prediction.

List scheduling (`schedule`) estimates one time step. The loop overlaps steps, and what the array
loses is mostly the latency between two contractions of which one reads the other's result; a third
one between them hides it. So single operations are moved to other places of the order, as far as
what they read and write allows, and a move stays where the predicted cycles of a time step
(`timeline`) become fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from einchip.mapper.ops import Op
from einchip.mapper.schedule import dependencies
from einchip.program import Unit

#: Orders of one phase that are predicted at most, and places by which an operation is moved.
MAX_ORDERS, MAX_MOVE = 48, 4
#: Longer loops are left as they are: a bubble is little of them, and predictions take long.
MAX_OPERATIONS = 40

Order = tuple[int, ...]


def improved(ops: Sequence[Op], cost: Callable[[Order], float]) -> Order:
    """Return an order of the operations with the least cost found, by single moves.

    `cost` is that of an order of positions in `ops`.
    """
    best = tuple(range(len(ops)))
    if len(ops) > MAX_OPERATIONS:
        return best
    needs = [frozenset(n) for n in dependencies(ops)]
    vector = {k for k, o in enumerate(ops) if o.unit is Unit.VECTOR}
    best = early(best, needs, vector)
    least, tried = cost(best), {best}
    while len(tried) < MAX_ORDERS:
        for moved in moves(best, needs):
            order = early(moved, needs, vector)
            if order in tried or len(tried) >= MAX_ORDERS:
                continue
            tried.add(order)
            found = cost(order)
            if found < least:
                best, least = order, found
                break
        else:
            break
    return best


def early(order: Order, needs: Sequence[frozenset[int]], chosen: Collection[int]) -> Order:
    """Return the order with the chosen operations right behind the last that they must follow.

    The vector unit's, whose slot is free: what follows them in the program is then predicted
    with their reads.
    """
    found = list(order)
    for k in [k for k in order if k in chosen]:
        found.remove(k)
        found.insert(max((found.index(i) + 1 for i in needs[k]), default=0), k)
    return tuple(found)


def moves(order: Order, needs: Sequence[frozenset[int]]) -> Iterator[Order]:
    """Yield the orders in which one operation stands elsewhere, near places first."""
    for distance in range(1, MAX_MOVE + 1):
        for at in range(len(order) - distance):
            for first, last in ((at, at + distance), (at + distance, at)):
                rest = [*order[:first], *order[first + 1 :]]
                found = (*rest[:last], order[first], *rest[last:])
                if allowed(found, needs):
                    yield found


def allowed(order: Order, needs: Sequence[frozenset[int]]) -> bool:
    """Tell whether every operation stands behind those that it must follow."""
    place = {k: p for p, k in enumerate(order)}
    return all(place[i] < place[k] for k in order for i in needs[k])
