"""Energy from counters: how often each action happened, times what a cited table charges for it.

What is charged, by component, in actions of the machine:

* array: one multiply-add per MAC (an inner product's tree has as many additions as its MACs).
* X, Y: each element read or written is its share of an access that takes all lanes of a memory of
  the scratchpad's size.
* drain: per result, one addition of `acc_bits` in each level of the adder tree (where the fold has
  blocks), one for the addend and one for the rounding.
* activations: a 16-bit multiplication, two 16-bit additions and two 16-bit table entries each, the
  table as a memory of 512 bytes. RELU is part of the rounding.
* vector: for an element of a cell its 16-bit multiplications, and 32-bit additions: one for each
  gate's part and each rounded product (the rounding), for each sum, and for the result's rounding
  (`CELLS`). The counters do not tell the elements of one cell from those of another, or from copied
  ones. The dearest cell that the program holds (without a program: of all) is charged `vector_ops`
  times, or the one dearest by its activations `activations` / ACTIVATIONS times, whichever is less:
  an upper bound, and exact where one kind of cell is alone with either no copies or no activations
  on the drain path.
* sequencer: eight 128-bit words read from program memory per instruction, the longest there is: an
  upper bound.
* external memory: every beat, in its own line, the program's included.

`NOT_MODELLED` is what the tables have no figure for; it is printed with every result. Every counter
and every instruction is charged or is in a list of what is not, with the reason (`actions`); what
is in neither is an error. `sensitivity` says which coefficient decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table as RichTable

from einchip.arch import Architecture, clog2
from einchip.energy.actions import CELLS, NOT_MODELLED, cells_of, check_counters
from einchip.energy.table import EnergyError, Table, load, tables
from einchip.numeric import SEGMENTS, WIDE_BITS
from einchip.program import WORD_BITS, WORD_BYTES, Contract, Program, Vector

__all__ = ["NOT_MODELLED", "Energy", "EnergyError", "Line", "Table", "energy", "load", "tables"]

EXTERNAL: Final = "external memory"
_SUM_BITS: Final = 32
_TABLE_BYTES: Final = 2 * (2 * SEGMENTS)


@dataclass(frozen=True)
class Line:
    """One component's actions: how many, of what, at how many pJ each."""

    component: str
    action: str
    count: int
    each_pj: float

    @property
    def total_pj(self) -> float:
        """The energy of the actions in pJ."""
        return self.count * self.each_pj


@dataclass(frozen=True)
class Energy:
    """The energy of a run; `print` it with rich for a table."""

    table: Table
    cycles: int
    lines: tuple[Line, ...]

    @property
    def by_component(self) -> dict[str, float]:
        """PJ per component, external memory included."""
        found: dict[str, float] = {}
        for line in self.lines:
            found[line.component] = found.get(line.component, 0.0) + line.total_pj
        return found

    @property
    def chip_pj(self) -> float:
        """PJ on the chip."""
        return sum(e for component, e in self.by_component.items() if component != EXTERNAL)

    @property
    def external_pj(self) -> float:
        """PJ of external memory."""
        return self.by_component[EXTERNAL]

    @property
    def total_pj(self) -> float:
        """PJ of everything that is modelled."""
        return self.chip_pj + self.external_pj

    def __rich__(self) -> RenderableType:
        return Group(self.grid(), *self.notes())

    def grid(self, decides: Sequence[str] | None = None) -> RichTable:
        """Return the lines as a table; `decides` has what is said of each in a last column."""
        title = f"Energy, table {self.table.name} ({self.table.origin().process()})"
        grid = RichTable(title=title, padding=(0, 1, 0, 0))
        for name in ("component", "action"):
            grid.add_column(name, overflow="fold")
        for name in ("count", "pJ each", "nJ", "%"):
            grid.add_column(name, justify="right")
        if decides is not None:
            grid.add_column("decides")
        for line, more in zip(self.lines, decides or [""] * len(self.lines), strict=True):
            grid.add_row(
                line.component, line.action, f"{line.count:,}", f"{line.each_pj:.4g}",
                *self._share(line.total_pj), *([] if decides is None else [more]),
            )  # fmt: skip
        grid.add_section()
        for name, pj in (("on the chip", self.chip_pj), ("in all", self.total_pj)):
            grid.add_row(name, "", "", "", *self._share(pj))
        return grid

    def notes(self) -> list[str]:
        """Return what has to be said with the figures: source, readings, what is missing."""
        without = "" if self.table.leakage else ", leakage (the table has none)"
        return [
            f"source: {self.table.source}",
            *self.table.notes(),
            f"not modelled: {NOT_MODELLED}{without}",
        ]

    def _share(self, pj: float) -> tuple[str, str]:
        part = 100 * pj / self.total_pj if self.total_pj else 0.0
        return f"{pj / 1000:,.3f}", f"{part:.1f}"


def energy(
    counters: Mapping[str, int],
    arch: Architecture,
    table: Table | str,
    program: Program | None = None,
) -> Energy:
    """Return the energy of a run with these counters on `arch`, by a table or by its name.

    `program` is what ran: it tells which cells there were. Raises EnergyError for an action for
    which the table has no coefficient, for an instruction or a counter that is not modelled, and
    for a counter that is missing.
    """
    if isinstance(table, str):
        table = load(table)
    check_counters(counters)
    lines = [
        *_array(counters, arch, table),
        *_scratchpads(counters, arch, table),
        *_functions(counters, table, program),
        *_sequencer(counters, arch, table),
        *_external(counters, arch, table),
        *_leakage(counters, table),
    ]
    return Energy(table, counters["cycles"], tuple(lines))


def _array(n: Mapping[str, int], arch: Architecture, table: Table) -> list[Line]:
    additions = (clog2(arch.cols) if arch.blocks else 0) + 2
    return [
        Line("array", "MAC", n["macs"], table.mac_pj(arch.data_bits, arch.acc_bits)),
        Line(
            "drain", f"{additions} additions", n["drained"], additions * table.add_pj(arch.acc_bits)
        ),
    ]


def _scratchpads(n: Mapping[str, int], arch: Architecture, table: Table) -> list[Line]:
    lines = []
    for space, name in enumerate("XY"):
        size = arch.capacity(space) * arch.element_bytes
        for action in ("read", "write"):
            each = table.sram_pj(size, arch.data_bits, write=action == "write")
            count = n[f"{name.lower()}_{action}s"]
            lines.append(Line(f"scratchpad {name}", f"{action} of an element", count, each))
    return lines


def _functions(n: Mapping[str, int], table: Table, program: Program | None) -> list[Line]:
    multiply, add = table.multiply_pj(WIDE_BITS), table.add_pj(WIDE_BITS)
    lookup = table.sram_pj(_TABLE_BYTES, 2 * WIDE_BITS)
    lines = [Line("activations", "evaluation", n["activations"], multiply + 2 * add + lookup)]
    costs = {
        cell: CELLS[cell].multiplications * multiply
        + CELLS[cell].additions * table.add_pj(_SUM_BITS)
        for cell in cells_of(program)
    }
    if costs:
        lines.append(_update(n, costs))
    return lines


def _update(n: Mapping[str, int], costs: Mapping[type[Vector], float]) -> Line:
    """Return the lesser of two upper bounds: by elements, and by activations."""
    dearest = max(costs, key=lambda cell: costs[cell])
    by_element = Line("vector", f"{_name(dearest)} element", n["vector_ops"], costs[dearest])
    shares = {cell: costs[cell] / cell.ACTIVATIONS for cell in costs}
    dearest = max(shares, key=lambda cell: shares[cell])
    action = f"1/{dearest.ACTIVATIONS} {_name(dearest)} element"
    by_activation = Line("vector", action, n["activations"], shares[dearest])
    nearly = by_element.total_pj * (1 - 1e-9)  # of one kind without copies they are the same
    return by_activation if by_activation.total_pj < nearly else by_element


def _name(cell: type[Vector]) -> str:
    return cell.__name__.upper()


def _sequencer(n: Mapping[str, int], arch: Architecture, table: Table) -> list[Line]:
    each = table.sram_pj(arch.program_words * WORD_BYTES, Contract.WORDS * WORD_BITS)
    return [Line("sequencer", f"{Contract.WORDS} words", n["instructions"], each)]


def _external(n: Mapping[str, int], arch: Architecture, table: Table) -> list[Line]:
    bits = 8 * arch.port_bytes
    return [
        Line(EXTERNAL, "beat read", n["dma_read_beats"], table.dram_pj(bits)),
        Line(EXTERNAL, "beat written", n["dma_write_beats"], table.dram_pj(bits, write=True)),
    ]


def _leakage(n: Mapping[str, int], table: Table) -> list[Line]:
    """Charge a power per cycle: mW / MHz = nJ."""
    if table.leakage is None:
        return []
    each = 1000 * table.leakage.power / table.leakage.clock_mhz
    return [Line("leakage", "cycle", n["cycles"], each)]
