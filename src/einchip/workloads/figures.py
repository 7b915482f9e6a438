"""What a compressed matrix costs on a machine, for one input with its weights on the chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table as RichTable
from rich.text import Text

from einchip import energy
from einchip.arch import Architecture
from einchip.mapper import MappingError, map_network
from einchip.mapper.network import NetworkMapping
from einchip.models import MatrixSpec, ModelError, matrix_network, n_weights
from einchip.network import Network, NetworkError
from einchip.program import ProgramError
from einchip.roofline import roofline
from einchip.sim import simulate
from einchip.workloads.catalogue import Refused, Workload

#: Name of the input vector in a workload's network.
INPUT = "x"


@dataclass(frozen=True)
class Figures:
    """Figures of one workload for one input; setup (loading weights and program) is left out.

    Attributes
    ----------
    weights : of the compressed matrix.
    macs_naive : multiply-adds with the cores taken in their order.
    macs : those of the contraction tree with the least.
    macs_mapped : those of the tree that was mapped, which is the quickest, not the smallest one.
    weights_stored : elements on the chip: those weights, or what they were merged into.
    bound_cycles : the roofline of the weights as they are (`einchip.roofline`).
    bound_merged_cycles : the roofline with weights merged beforehand where that helps.
    cycles : of the simulator, from the load of the input to the store of the result.
    energy_pj : of these cycles, external memory included.
    """

    name: str
    format: str
    weights: int
    macs_naive: int
    macs: int
    macs_mapped: int
    weights_stored: int
    bound_cycles: int
    bound_merged_cycles: int
    cycles: int
    energy_pj: float

    @property
    def ratio(self) -> float:
        """Cycles over the bound that no machine of this size is below."""
        return self.cycles / self.bound_merged_cycles

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return dict(vars(self))


def network_of(spec: MatrixSpec) -> Network:
    """Return the matrix applied to the input `x`. Raises ModelError, NetworkError."""
    matrix = matrix_network(spec)
    if INPUT in matrix.tensors:
        raise NetworkError(f"tensors: found a tensor called {INPUT}, expected another name for it")
    return Network({INPUT: matrix.inputs, **matrix.tensors}, matrix.sizes, matrix.outputs)


def map_workload(spec: MatrixSpec, arch: Architecture, *, merge: bool = True) -> NetworkMapping:
    """Map a matrix with its weights resident. Raises MappingError, ModelError, NetworkError."""
    network = network_of(spec)
    weights = [name for name in network.tensors if name != INPUT]
    return map_network(network, arch, resident=weights, streamed=INPUT, merge=merge)


def measure(
    workload: Workload | Refused, arch: Architecture, table: energy.Table, merge: bool = True
) -> Figures | Refused:
    """Map and simulate a workload; what does not fit the machine is refused."""
    if isinstance(workload, Refused):
        return workload
    try:
        return _figures(workload, arch, table, merge)
    except (MappingError, ModelError, NetworkError, ProgramError) as error:
        return Refused(workload.name, " ".join(str(error).split()))


def _figures(workload: Workload, arch: Architecture, table: energy.Table, merge: bool) -> Figures:
    spec, network = workload.spec, network_of(workload.spec)
    mapping = map_workload(spec, arch, merge=merge)
    line = roofline(network, arch, INPUT)
    merged = roofline(network, arch, INPUT, mapping.merging.sets(network))
    stored = mapping.stored_network
    run = simulate(mapping.emit().run, arch, fetch=False, timeline=False)
    if run.error:
        raise ProgramError(f"the machine stops with {run.error[0].name}")
    return Figures(
        name=workload.name,
        format=spec.format,
        weights=n_weights(spec),
        macs_naive=mapping.macs_naive,
        macs=line.macs,
        macs_mapped=mapping.macs,
        weights_stored=sum(stored.size(t) for n, t in stored.tensors.items() if n != INPUT),
        bound_cycles=line.cycles,
        bound_merged_cycles=merged.cycles,
        cycles=run.cycles,
        energy_pj=energy.energy(run.counters, arch, table).total_pj,
    )


#: Column titles of the printed table.
TITLES = (
    "format", "weights", "MACs naive", "best", "stored", "bound", "merged", "cycles",
    "ratio", "energy, nJ",
)  # fmt: skip


def cells(row: Figures) -> list[str]:
    """Return what the table says of a workload, behind its name."""
    numbers = (
        row.weights, row.macs_naive, row.macs, row.weights_stored, row.bound_cycles,
        row.bound_merged_cycles, row.cycles,
    )  # fmt: skip
    return [
        row.format,
        *(f"{n:,}" for n in numbers),
        f"{row.ratio:.2f}",
        f"{row.energy_pj / 1000:,.1f}",
    ]


@dataclass(frozen=True)
class Table:
    """Rows for the terminal; `print` it with rich."""

    rows: Sequence[Figures | Refused]
    arch: Architecture
    energy_table: str

    def __rich__(self) -> RichTable:
        a = self.arch
        grid = RichTable(title=Text(f"{a.name}: {a.rows} x {a.cols} PEs, {a.data_bits} bit"))
        grid.add_column("workload", no_wrap=True)
        for title in TITLES:
            grid.add_column(title, justify="left" if title == "format" else "right", no_wrap=True)
        for row in self.rows:
            if isinstance(row, Figures):
                grid.add_row(Text(row.name), *cells(row))
        grid.caption = (
            "one input, weights and program on the chip, transfers of input and result included; "
            f"energy by {self.energy_table}, external memory included"
        )
        return grid
