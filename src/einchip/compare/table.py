"""All rows of one workload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

from einchip import energy
from einchip.arch import ADDRESSABLE, Architecture
from einchip.compare import analytic, orders
from einchip.compare.baselines import (
    ANY,
    BASELINES,
    COPIED_TREES,
    DENSE_RESIDENT,
    GAINS,
    OURS,
    OURS_SLICED,
    Baseline,
    Layouts,
    Order,
)
from einchip.compare.build import Built, build, dense
from einchip.compare.measure import Measured, measure, run
from einchip.mapper import MappingError, map_network, tree
from einchip.mapper.network_search import TREES, tree_costs
from einchip.mapper.tree import Node
from einchip.models import MatrixSpec, ModelError
from einchip.network import Network, NetworkError
from einchip.program import ProgramError
from einchip.roofline import roofline
from einchip.workloads.catalogue import Refused, Workload
from einchip.workloads.figures import INPUT, network_of

#: Index of the inputs of a batch.
BATCH = "batch"


@dataclass(frozen=True)
class Row:
    """Figures of one baseline; None where it has none, and `error` says why it could not run.

    `roomy`: it does not fit the machine, and ran on one with the deepest scratchpads that
    instructions can address.
    """

    key: str
    cycles: int | None = None
    steady_cycles: int | None = None
    chip_cycles: int | None = None
    copy_cycles: int | None = None
    macs: int | None = None
    words: int | None = None
    external_bytes: int | None = None
    energy_pj: float | None = None
    tree: str = ""
    error: str = ""
    roomy: bool = False

    @classmethod
    def of(cls, key: str, node: Node, found: Measured, roomy: bool) -> Row:
        """Return the row of a measured mapping."""
        return cls(key, **asdict(found), tree=node.text(), roomy=roomy)

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data; what it has not is left out."""
        return {k: v for k, v in vars(self).items() if v is not None and v is not False and v != ""}


@dataclass(frozen=True)
class Comparison:
    """All rows of one workload, and the ratios of those that differ in one thing."""

    name: str
    format: str
    n_inputs: int
    n_outputs: int
    batch: int
    bound_cycles: int
    rows: tuple[Row, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def row(self, key: str) -> Row | None:
        """Return a row, or None where the baseline is not defined for the format."""
        return next((r for r in self.rows if r.key == key), None)

    @property
    def gains(self) -> dict[str, float]:
        """Return steady cycles over steady cycles for the pairs of `GAINS` that both ran."""
        found = {}
        for gain in GAINS:
            slow, quick = self.row(gain.slow), self.row(gain.quick)
            if slow and quick and slow.steady_cycles and quick.steady_cycles:
                found[gain.key] = slow.steady_cycles / quick.steady_cycles
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        rows = [r.to_json() for r in self.rows]
        facts = {"facts": dict(self.facts)} if self.facts else {}
        return {**vars(self), "rows": rows, "gains": self.gains} | facts

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Comparison:
        """Read what `to_json` wrote."""
        kept = {k: v for k, v in found.items() if k not in ("rows", "gains")}
        return cls(**kept, rows=tuple(Row(**r) for r in found["rows"]))


def batched(network: Network, batch: int) -> Network:
    """Return the network with an index of `batch` inputs, the slowest of input and output."""
    if batch == 1:
        return network
    if BATCH in network.sizes:
        raise NetworkError(f"index {BATCH}: found it in the matrix, expected another name for it")
    tensors = {**network.tensors, INPUT: (BATCH, *network.tensors[INPUT])}
    return Network(tensors, {**network.sizes, BATCH: batch}, (BATCH, *network.output))


class _Workload:
    """One network and its trees, which several rows share."""

    def __init__(
        self, spec: MatrixSpec, arch: Architecture, table: energy.Table, batch: int
    ) -> None:
        self.spec, self.arch, self.table, self.batch = spec, arch, table, batch
        self.network = batched(network_of(spec), batch)
        self.built: dict[str, Built] = {}

    def rows(self, baselines: Sequence[Baseline]) -> list[Row]:
        """Return the rows of those baselines that are defined for the format."""
        defined = (b for b in baselines if not b.formats or self.spec.format in b.formats)
        return [self.row(b) for b in defined]

    def row(self, baseline: Baseline) -> Row:
        """Return a row; what cannot run says why."""
        try:
            if baseline.layouts is Layouts.ANALYTIC:
                return self.analytic(baseline)
            if baseline.key == OURS_SLICED:
                return self.sliced(baseline.key)
            return self.executed(baseline)
        except (MappingError, NetworkError, ProgramError) as error:
            return Row(baseline.key, error=" ".join(str(error).split()))

    def analytic(self, baseline: Baseline) -> Row:
        """Return a row of formulas."""
        best = analytic.cheapest(self.network, self.arch, baseline.modes)
        port = -(-self.moved() * self.arch.element_bytes // self.arch.port_bytes)
        return Row(
            baseline.key, steady_cycles=max(int(best.cost), port), chip_cycles=int(best.cost),
            macs=tree.macs(best.node, self.network), tree=best.node.text(),
        )  # fmt: skip

    def executed(self, baseline: Baseline) -> Row:
        """Return the row of a program; where it does not fit, with room unless it is dense or ours.

        Raises MappingError where it does not fit.
        """
        try:
            return self.executed_on(self.arch, baseline)
        except MappingError:
            if baseline.order is Order.NONE or baseline.key == OURS:
                raise
        depth = ADDRESSABLE // self.arch.lanes
        return self.executed_on(self.arch.override(x_depth=depth, y_depth=depth), baseline)

    def executed_on(self, arch: Architecture, baseline: Baseline) -> Row:
        built = self.build(baseline, arch)
        found = measure(built, arch, self.table)
        return Row.of(baseline.key, built.node, found, arch is not self.arch)

    def moved(self) -> int:
        """Return the elements of input and result."""
        network = self.network
        return network.size(network.tensors[INPUT]) + network.size(network.output)

    def sliced(self, key: str) -> Row:
        """Return the cold execution whose input may come in slices."""
        weights = [name for name in self.network.tensors if name != INPUT]
        mapping = map_network(self.network, self.arch, resident=weights, streamed=INPUT)
        found = run(mapping.emit().run, self.arch)
        spent = energy.energy(found.counters, self.arch, self.table).total_pj
        return Row(
            key, cycles=found.cycles, macs=found.counters["macs"], energy_pj=spent,
            tree=mapping.part.tree,
        )  # fmt: skip

    def build(self, baseline: Baseline, arch: Architecture) -> Built:
        """Return a baseline's mapping."""
        if baseline.order is Order.NONE:
            resident = baseline.key == DENSE_RESIDENT
            n_inputs, n_outputs = self.spec.in_size, self.spec.out_size
            return dense(n_inputs, n_outputs, self.batch, arch, resident)
        if baseline.key == OURS:
            return self.ours()
        copies = baseline.layouts is Layouts.COPIES
        return build(self.network, arch, self.trees(baseline), baseline.modes, INPUT, copies)

    def ours(self) -> Built:
        """Return our mapping, found once."""
        if "ours" not in self.built:
            trees = tree.search(self.network, *tree_costs(self.network, self.arch), keep=TREES)
            self.built["ours"] = build(self.network, self.arch, trees, ANY, INPUT)
        return self.built["ours"]

    def trees(self, baseline: Baseline) -> list[tree.Ranked]:
        """Return the trees that a baseline may take."""
        network = self.network
        match baseline.order:
            case Order.OURS:
                node = self.ours().node
            case Order.CORES:
                node = orders.in_order(network, INPUT)
            case Order.LAST_FIRST:
                node = orders.last_core_first(network, INPUT)
            case Order.LEAST_MACS:
                node = orders.least_macs(network)
            case _:
                costs = tree_costs(network, self.arch, baseline.modes)
                return tree.search(network, *costs, keep=COPIED_TREES)
        return [tree.Ranked(0.0, node)]


def compare(
    workload: Workload | Refused,
    arch: Architecture,
    table: energy.Table,
    batch: int = 1,
    baselines: Sequence[Baseline] = BASELINES,
    facts: Mapping[str, Any] | None = None,
) -> Comparison | Refused:
    """Compare a workload's baselines; a matrix that makes no network is refused."""
    if isinstance(workload, Refused):
        return workload
    try:
        found = _Workload(workload.spec, arch, table, batch)
        line = roofline(found.network, arch, INPUT)
        rows = tuple(found.rows(baselines))
    except (ModelError, NetworkError) as error:
        return Refused(workload.name, " ".join(str(error).split()))
    spec = workload.spec
    return Comparison(
        workload.name, spec.format, prod(spec.in_modes), prod(spec.out_modes), batch,
        line.cycles, rows, facts or {},
    )  # fmt: skip
