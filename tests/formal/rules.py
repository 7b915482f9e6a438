"""Named properties of a design: what it keeps, what its surroundings keep, what can happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

from amaranth import Const, Module, Mux, Signal, Value


class Rule(NamedTuple):
    """What is 1 in every cycle in which a rule holds (a cover: in one cycle at least); in words."""

    value: Value
    text: str


@dataclass
class Rules:
    """Properties by name.

    Attributes
    ----------
    asserts : what the design under proof keeps.
    invariants : the same, of its registers; an induction needs them, users do not.
    assumes : what its surroundings keep.
    covers : what can happen, so that no proof is about nothing.
    """

    asserts: dict[str, Rule] = field(default_factory=dict)
    invariants: dict[str, Value] = field(default_factory=dict)
    assumes: dict[str, Rule] = field(default_factory=dict)
    covers: dict[str, Rule] = field(default_factory=dict)


def implies(condition: Value, consequence: Value) -> Value:
    """Return whether `consequence` holds where `condition` does; both are one bit."""
    return ~condition | consequence


def past(m: Module, value: Value, name: str) -> Signal:
    """Return a value as it was in the cycle before."""
    before = Signal(len(value), name=name)
    m.d.sync += before.eq(value)
    return before


class Channel:
    """A channel of AXI, with the rules of its source (IHI 0022, A3.2.1).

    Attributes
    ----------
    valid : something is offered.
    moves : it is transferred in this cycle.
    """

    def __init__(self, m: Module, name: str, valid: Value, ready: Value, payload: Value) -> None:
        self.valid = valid
        self.moves = valid & ready
        waits = past(m, valid & ~ready, f"{name}_waits")
        same = payload == past(m, payload, f"{name}_before")
        self._name = name
        self._stays, self._stable = implies(waits, valid), implies(waits & valid, same)

    def rules(self) -> dict[str, Rule]:
        """Return what the source of this channel keeps."""
        name, long = self._name, self._name.upper()
        return {
            f"{name}_stays": Rule(self._stays, f"{long}VALID stays 1 until {long}READY is 1"),
            f"{name}_stable": Rule(self._stable, f"what {long} offers stays as it is until then"),
        }


class Queue:
    """Numbers in the order in which they came; `depth` is never exceeded where rules hold.

    Attributes
    ----------
    count : how many there are.
    items : the numbers, the oldest first; those from `count` on mean nothing.
    """

    def __init__(
        self, m: Module, name: str, depth: int, *, put: Value, item: Value, take: Value
    ) -> None:
        self.count = Signal(range(depth + 1), name=f"{name}_count")
        self.items = [Signal(len(item), name=f"{name}_{k}") for k in range(depth)]
        place = Signal.like(self.count, name=f"{name}_place")
        m.d.comb += place.eq(self.count - take)
        m.d.sync += self.count.eq(place + put)
        for k, (own, after) in enumerate(zip_longest(self.items, self.items[1:])):
            moved = Mux(take, Const(0) if after is None else after, own)
            m.d.sync += own.eq(Mux(put & (place == k), item, moved))

    @property
    def first(self) -> Value:
        """Return the oldest number."""
        return self.items[0]

    def holds(self, others: Sequence[Value]) -> Value:
        """Return whether those that there are equal `others`."""
        same: Value = Const(1)
        for k, (own, other) in enumerate(zip(self.items, others, strict=True)):
            same = same & implies(k < self.count, own == other)
        return same
