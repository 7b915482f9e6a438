"""What the flow must know of a part family, and of a part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from einchip.fpga.host_link.memory import Ports
from einchip.fpga.place import utilisation
from einchip.fpga.targets.families.clock import Clock, Oscillator

#: Kinds of resources that figures are given of, of every family. A `dsp` multiplies 16 x 16 or
#: 18 x 18 bits.
KINDS: Final = ("lut", "ff", "dsp", "block_ram")
#: Large memories of one port, not initialised, which some families have: for memories with the
#: attribute `hw.serial_memory.SINGLE_PORT`.
SPRAM: Final = "spram"
#: Share of a part's LUTs and registers that it can usually be filled to.
FULL: Final = 0.85

Cells = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Family:
    """A part family: how a design becomes a bitstream for it.

    Attributes
    ----------
    title : for people.
    synthesis : commands of Yosys, from a design whose top is `synth.TOP` to the family's cells.
    cells : what each cell of the netlist takes, by kind; regular expressions over whole names.
        These kinds the family has: `KINDS`, and some have `SPRAM`.
    used : what each cell of nextpnr's report takes, likewise. A kind that is not here is not
        reported, and what `cells` says holds.
    repair : changes Yosys' netlist in place, before nextpnr reads it.
    constraints : the file of pins and clocks that Amaranth's platform writes.
    nextpnr, packer : names under which the programs are looked for, in this order.
    place, pack : their arguments, besides those that say the part.
    bitstream : the file that the packer writes.
    clock : the component that makes other frequencies than the oscillator's; None: there is none.
    packages : Python packages that the programs come with.
    oscillator : the component that takes the oscillator's frequency.
    products : the blocks that a product takes, by the bits of its wider factor: of the least
        number there that is not less.
    alone : LUTs that cells take which have none of their own, on the average of what was built: of
        a register's place that LUT is of no use whose output is not the register's input.
    full : share of a part's LUTs from which on its being full is what keeps nextpnr from placing
        and routing.
    memory_ports : of the memory in place of external memory.
    """

    title: str
    synthesis: str
    cells: Cells
    used: Cells
    repair: Callable[[dict[str, Any]], object]
    constraints: str
    nextpnr: tuple[str, ...]
    place: tuple[str, ...]
    packer: tuple[str, ...]
    pack: tuple[str, ...]
    bitstream: str
    clock: Callable[[Any, float, float], Clock] | None
    packages: tuple[str, ...]
    oscillator: Callable[[Any, float, float], Clock] = Oscillator
    products: Mapping[int, float] = field(default_factory=lambda: {16: 1})
    alone: Mapping[str, float] = field(default_factory=dict)
    full: float = FULL
    memory_ports: Ports = 2

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of resources that figures are given of."""
        return tuple(self.cells)

    def product_blocks(self, bits: int) -> float:
        """Return the `dsp` that a product takes whose wider factor has so many bits."""
        return self.products[min(most for most in self.products if bits <= most)]

    def count(self, netlist: Mapping[str, Any]) -> dict[str, int]:
        """Return what the cells of a flat netlist of Yosys take, by kind, at least."""
        return self.takes(cell_counts(netlist))

    def expected(self, cells: Mapping[str, int]) -> dict[str, int]:
        """Return what so many cells of each type will take, by kind, placed as is usual."""
        found = self.takes(cells)
        return found | {"lut": found["lut"] + _sum(self.alone, cells)}

    def takes(self, cells: Mapping[str, int]) -> dict[str, int]:
        """Return what so many cells of each type take, by kind, at least."""
        return {kind: _sum(weights, cells) for kind, weights in self.cells.items()}

    def resources(
        self, report: Mapping[str, Any], counted: Mapping[str, int], part: Part
    ) -> dict[str, tuple[int, int]]:
        """Return what is used, and what the part has, by kind, from a report of nextpnr.

        `counted` is what `count` returned.
        """
        cells = {name: used for name, (used, _) in utilisation(report).items()}
        used = {kind: _sum(self.used[kind], cells) for kind in self.used}
        return {kind: (used.get(kind, counted[kind]), part.has[kind]) for kind in self.kinds}


@dataclass(frozen=True)
class Part:
    """A part of a family.

    Attributes
    ----------
    place, pack : arguments of nextpnr and of the packer that say which one it is.
    has : resources by kind.
    """

    name: str
    family: Family
    place: tuple[str, ...]
    pack: tuple[str, ...]
    has: Mapping[str, int]

    def room(self, kind: str) -> float:
        """Return how much of a kind may be used: from there on the part is full."""
        return {"lut": self.family.full, "ff": FULL}.get(kind, 1.0) * self.has[kind]


def unchanged(netlist: dict[str, Any]) -> None:
    """Change nothing: the `repair` of families whose netlists need none."""


def signals(netlist: Mapping[str, Any], path: Iterable[str]) -> list[str]:
    """Return the signals that cells are named after, without the types that Yosys adds to them."""
    types = cell_counts(netlist)
    if not types:
        return list(path)
    added = "|".join(map(re.escape, sorted(types, key=len, reverse=True)))
    return [re.split(rf"_(?:{added})(?:_|$)", cell)[0] for cell in path]


def cell_counts(netlist: Mapping[str, Any]) -> Counter[str]:
    """Return how many cells of each type the top module of Yosys' netlist has."""
    return Counter(cell["type"] for cell in top_cells(netlist).values())


def top_cells(netlist: Mapping[str, Any]) -> Any:
    """Return the cells of the top module of Yosys' netlist."""
    (top,) = (m for m in netlist["modules"].values() if m["attributes"].get("top"))
    return top["cells"]


def _sum(weights: Mapping[str, float], cells: Mapping[str, int]) -> int:
    """Return what cells take, whole ones; regular expressions over whole names weigh them."""
    total = sum(
        weight * n
        for pattern, weight in weights.items()
        for name, n in cells.items()
        if re.fullmatch(pattern, name)
    )
    return -int(-total // 1)
