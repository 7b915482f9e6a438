"""What the RTL keeps to itself: signals and memories by the names of their variables.

Invariants of an induction speak of registers that are no ports. Nothing is added to the RTL for
them: while a design is elaborated, the local variables of its components' methods are noted. (Names
in the netlist would not do: Amaranth does not know the name of every variable.)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from amaranth import Const, Signal, Value
from amaranth.hdl import Elaboratable, Fragment
from amaranth.lib import wiring
from amaranth.lib.data import View
from amaranth.lib.memory import Memory


class Inside:
    """The variables of each component of a design, by the name of the component's class.

    Parameters
    ----------
    design
        Elaborated here, once; `fragment` is the result.
    kinds
        The classes whose variables are noted.
    """

    def __init__(self, design: wiring.Component, kinds: Sequence[str]) -> None:
        self._kinds = kinds
        self._components: dict[str, Any] = {}
        self._noted: dict[tuple[str, str], list[Any]] = {}
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            self.fragment = elaborated(design)
        finally:
            sys.settrace(before)

    def component(self, kind: str) -> Any:
        """Return the only component of a class."""
        return self._components[kind]

    def values(self, kind: str, name: str) -> list[Any]:
        """Return all that a variable of a component has been, in order: a loop gives it several."""
        return self._noted[kind, name]

    def value(self, kind: str, name: str) -> Any:
        """Return what a variable has been, which is one signal, or the rows of a memory."""
        [only] = self.values(kind, name)
        return only

    def _enter(self, frame: FrameType, event: str, _: object) -> Any:
        """Follow the methods of components, but for those of Amaranth's own."""
        component = frame.f_locals.get("self")
        if not isinstance(component, wiring.Component):
            return None
        if frame.f_globals["__name__"].startswith("amaranth."):
            return None
        kind = type(component).__name__
        self._components[kind] = component
        return self._note if kind in self._kinds else None

    def _note(self, frame: FrameType, event: str, _: object) -> Any:
        kind = type(frame.f_locals["self"]).__name__
        for name, variable in frame.f_locals.items():
            noted = self._noted.setdefault((kind, name), [])
            if isinstance(variable, Signal | View):
                if not any(variable is one for one in noted):
                    noted.append(variable)
            elif isinstance(variable, Memory) and not noted:
                noted.append(list(_rows(variable)))
        return self._note


def elaborated(design: Elaboratable) -> Fragment:
    """Return a design with all that it is made of."""
    return Fragment.get(design, None)  # type: ignore[no-untyped-call]


def _rows(memory: Any) -> Iterator[Any]:
    """Yield what stands in each row of a memory that is not elaborated yet."""
    for k in range(memory.depth):
        port = memory.read_port(domain="comb")
        port.addr = Const(k, len(Value.cast(port.addr)))
        yield port.data
