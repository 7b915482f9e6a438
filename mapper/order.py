"""The order of a phase's loop, improved by prediction.

List scheduling (`schedule`) estimates one time step. The loop overlaps steps, and what the array
loses is mostly the latency between two contractions of which one reads the other's result; a third
one between them hides it. So single operations are moved to other places of the order, as far as
what they read and write allows, and a move stays where the predicted cycles of a time step
(`timeline`) become fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from einchip.mapper.ops import Op
from einchip.mapper.schedule import dependencies

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
    least, tried = cost(best), {best}
    while len(tried) < MAX_ORDERS:
        for order in moves(best, needs):
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
