"""All rows of one workload."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import prod
from typing import Any

from einchip import energy
from einchip.arch import ADDRESSABLE, Architecture
from einchip.compare import analytic, orders
from einchip.compare.baselines import (
    BASELINES,
    COPIED_TREES,
    DENSE_RESIDENT,
    GAINS,
    OURS,
    Baseline,
    Layouts,
    Order,
    State,
)
from einchip.compare.build import Problem, cold, dense, dense_network, dense_tree, stream
from einchip.compare.measure import Measured, alone, cold_dense, one_after_the_other, run, steady
from einchip.mapper import MappingError, map_network, tree
from einchip.mapper.merge import Merging
from einchip.mapper.node import Node
from einchip.mapper.objectives import tree_costs
from einchip.mapper.stream import Stream, map_stream, stream_trees
from einchip.models import MatrixSpec, ModelError
from einchip.network import Network, NetworkError
from einchip.program import ProgramError
from einchip.roofline import roofline
from einchip.workloads.catalogue import Refused, Workload
from einchip.workloads.figures import INPUT, network_of

#: Index of the inputs of a batch.
BATCH = "batch"


#: Told which row is measured: its title, its number, and of how many.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """Figures of one baseline; None where it has none, and `error` says why it could not run.

    `cycles` are of one cold execution, `steady_cycles` of one of many; the other figures are of the
    steady state where there is one. `roomy`: what they are of does not fit the machine, and ran on
    one with the deepest scratchpads that instructions can address.
    """

    key: str
    cycles: int | None = None
    steady_cycles: int | None = None
    copy_cycles: int | None = None
    macs: int | None = None
    words: int | None = None
    external_bytes: int | None = None
    energy_pj: float | None = None
    tree: str = ""
    error: str = ""
    roomy: bool = False

    @classmethod
    def of(
        cls, key: str, node: Node, found: Measured, cycles: int | None, roomy: bool = False
    ) -> Row:
        """Return a row of the steady state, with the cycles of a cold execution."""
        figures = {k: v for k, v in asdict(found).items() if k != "cycles"}
        return cls(key, cycles, found.cycles, **figures, tree=node.text(), roomy=roomy)

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
    """One network, and what several of its rows share."""

    def __init__(
        self, spec: MatrixSpec, arch: Architecture, table: energy.Table, batch: int
    ) -> None:
        self.spec, self.arch, self.table, self.batch = spec, arch, table, batch
        self.network = batched(network_of(spec), batch)

    def rows(self, baselines: Sequence[Baseline], progress: Progress) -> Iterator[Row]:
        """Yield the rows of those baselines that are defined for the format."""
        defined = [b for b in baselines if not b.formats or self.spec.format in b.formats]
        for k, baseline in enumerate(defined):
            progress(baseline.title, k + 1, len(defined))
            yield self.row(baseline)

    def row(self, baseline: Baseline) -> Row:
        """Return a row; what cannot run says why."""
        try:
            return self.measured(baseline)
        except (MappingError, NetworkError, ProgramError) as error:
            return Row(baseline.key, error=" ".join(str(error).split()))

    def measured(self, baseline: Baseline) -> Row:
        """Return a row. Raises MappingError, NetworkError, ProgramError."""
        arch = self.arch.override(fold=baseline.fold)
        if baseline.state is State.FORMULA:
            return self.formula(baseline, arch)
        if baseline.state is State.ALONE:
            return self.alone(baseline, arch)
        if baseline.order is Order.NONE:
            return self.dense(baseline, arch)
        return self.streamed(baseline, arch)

    def formula(self, baseline: Baseline, arch: Architecture) -> Row:
        """Return a row of formulas."""
        weights = [name for name in self.network.tensors if name != INPUT]
        best = analytic.cheapest(self.network, arch, baseline.modes, weights)
        port = -(-self.moved() * arch.element_bytes // arch.port_bytes)
        return Row(
            baseline.key, steady_cycles=max(int(best.cost), port),
            macs=tree.macs(best.node, self.network), tree=best.node.text(),
        )  # fmt: skip

    def moved(self) -> int:
        """Return the elements of input and result."""
        network = self.network
        return network.size(network.tensors[INPUT]) + network.size(network.output)

    def alone(self, baseline: Baseline, arch: Architecture) -> Row:
        """Return one cold execution of ours, whose input may come in slices."""
        weights = [name for name in self.network.tensors if name != INPUT]
        mapping = map_network(self.network, arch, resident=weights, streamed=INPUT)
        found = alone(mapping.emit().run, arch, self.table)
        return Row(baseline.key, **asdict(found), tree=mapping.part.tree)

    def dense(self, baseline: Baseline, arch: Architecture) -> Row:
        """Return a row of the uncompressed matrix."""
        n_inputs, n_outputs = self.spec.in_size, self.spec.out_size
        resident = baseline.key == DENSE_RESIDENT
        built = dense(n_inputs, n_outputs, self.batch, arch, resident)
        if resident:
            network = dense_network(n_inputs, n_outputs, self.batch)
            trees = [tree.Ranked(0.0, dense_tree(network))]
            found = steady(stream(Problem(network, arch, trees, baseline.modes, "x")), self.table)
        else:
            found = one_after_the_other(built, arch, self.table)
        return Row.of(baseline.key, built.node, found, cold_dense(built, arch))

    def streamed(self, baseline: Baseline, arch: Architecture) -> Row:
        """Return a row of a stream, with more room where it does not fit, unless it is ours."""
        if baseline.key == OURS:
            found = self.ours
            return Row.of(OURS, found.root, steady(found, self.table), None)
        depth = ADDRESSABLE // arch.lanes
        larger = arch.override(x_depth=depth, y_depth=depth)
        best: Row | None = None
        cycles: int | None = None
        for machine in (arch, larger):
            with contextlib.suppress(MappingError):
                cycles = cycles or self.cold(self.problem(baseline, machine, cold=True))
            try:
                found = self.quickest(baseline, machine, cycles)
            except MappingError:
                if machine is larger:
                    raise
                continue
            best = Row.of(
                baseline.key, found.root, steady(found, self.table), cycles, machine is larger
            )
            break
        assert best
        return best

    def quickest(self, baseline: Baseline, arch: Architecture, cycles: int | None) -> Stream:
        """Return a stream; where one cold execution (`cycles`) is quicker, of its trees, too.

        Trees are chosen before copies, and those that are quickest then may want many.
        """
        found = stream(self.problem(baseline, arch))
        if cycles is None or found.predicted <= cycles:
            return found
        with contextlib.suppress(MappingError):
            other = stream(self.problem(baseline, arch, cold=True))
            found = min(found, other, key=lambda s: s.predicted)
        return found

    def cold(self, problem: Problem) -> int:
        """Return the cycles of one cold execution."""
        return run(cold(problem).cold.programs(None).run, problem.arch).cycles

    @cached_property
    def ours(self) -> Stream:
        """Our stream, found once."""
        return map_stream(self.network, self.arch.override(fold="flex"), INPUT)

    def problem(self, baseline: Baseline, arch: Architecture, cold: bool = False) -> Problem:
        """Return what a baseline may choose from."""
        trees = self.trees(baseline, arch, cold)
        copies = baseline.layouts is Layouts.COPIES
        return Problem(self.network, arch, trees, baseline.modes, INPUT, copies)

    def trees(self, baseline: Baseline, arch: Architecture, cold: bool) -> list[tree.Ranked]:
        """Return the trees that a baseline may take, searched ones for their state."""
        network = self.network
        match baseline.order:
            case Order.OURS:
                node = self.ours.root
            case Order.CORES:
                node = orders.in_order(network, INPUT)
            case Order.LAST_FIRST:
                node = orders.last_core_first(network, INPUT)
            case Order.LEAST_MACS:
                node = orders.least_macs(network)
            case _ if cold:
                costs = tree_costs(network, arch, baseline.modes)
                return tree.search(network, *costs, keep=COPIED_TREES)
            case _:
                hidden, paid = (
                    stream_trees(network, arch, INPUT, Merging(), drains, baseline.modes)
                    for drains in (False, True)
                )
                found = {t.node.text(): t for pair in zip(hidden, paid, strict=False) for t in pair}
                return list(found.values())[:COPIED_TREES]
        return [tree.Ranked(0.0, node)]


def _silent(*_: object) -> None:
    """Tell nothing."""


def compare(
    workload: Workload | Refused,
    arch: Architecture,
    table: energy.Table,
    batch: int = 1,
    baselines: Sequence[Baseline] = BASELINES,
    facts: Mapping[str, Any] | None = None,
    progress: Progress = _silent,
) -> Comparison | Refused:
    """Compare a workload's baselines; a matrix that makes no network is refused."""
    if isinstance(workload, Refused):
        return workload
    try:
        found = _Workload(workload.spec, arch, table, batch)
        line = roofline(found.network, arch, INPUT, steady=True)
        rows = tuple(found.rows(baselines, progress))
    except (ModelError, NetworkError) as error:
        return Refused(workload.name, " ".join(str(error).split()))
    spec = workload.spec
    return Comparison(
        workload.name, spec.format, prod(spec.in_modes), prod(spec.out_modes), batch,
        line.cycles, rows, facts or {},
    )  # fmt: skip
