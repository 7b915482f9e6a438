"""What a compressed matrix costs in a stream of executions, and where the cycles go.

A time step's input part, or a batch, is the same network executed for one input after the other
with its weights on the chip. `cycles` is what one execution adds to a long stream, transfers of
inputs and results included: the difference of two runs of the simulator. `cold_cycles` is one
execution alone, from the first beat of its input to the last of its result.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Final

from einchip.arch import Architecture
from einchip.mapper import MappingError, map_network
from einchip.mapper.stream import Stream, map_stream
from einchip.models import ModelError
from einchip.network import Network, NetworkError
from einchip.program import TOKENS, Contract, ProgramError, Unit
from einchip.roofline import roofline
from einchip.sim import Run, simulate
from einchip.workloads.batches import divisors
from einchip.workloads.catalogue import Refused, Workload
from einchip.workloads.figures import INPUT, network_of
from einchip.workloads.layers import Layer, LayerFigures, measure_layer

#: Executions before a stream is steady, and those over which it is measured.
WARM_UP: Final = 8
MEASURED: Final = 16
#: A batch is not divided further where it is this near its bound.
NEAR: Final = 1.02
#: Causes of cycles beyond the bound.
CAUSES: Final = ("fold", "drain", "port", "dependency", "dma", "fill")


@dataclass(frozen=True)
class StreamFigures:
    """Figures of one matrix for `batch` inputs, weights and program on the chip.

    Attributes
    ----------
    micro_batch : inputs of one execution; batch / micro_batch of them follow one another.
    macs : multiply-adds of the mapped tree, weight-only steps (done once) left out.
    bound_cycles : the roofline (`einchip.roofline`) of the whole batch.
    cycles : simulated, per batch in a long stream.
    ratio : cycles / bound_cycles.
    loss : cycles - bound_cycles by cause; they add up. `fold`: issues beyond the bound (negative
        where weights merged once save more than lanes lose); `drain`: both accumulator sets in
        use; `port`: a read port taken; `dependency`: waiting for an earlier step; `dma`: waiting
        for a transfer; `fill`: set-up of lanes, fetch.
    copy_cycles : cycles of explicit copies.
    cold_cycles : one batch alone; None where it needs more memory than there is.
    mapping_s : seconds of the search.
    """

    name: str
    format: str
    batch: int
    micro_batch: int
    macs: int
    bound_cycles: int
    cycles: float
    loss: Mapping[str, float]
    copy_cycles: float
    cold_cycles: int | None
    mapping_s: float

    @property
    def ratio(self) -> float:
        """Cycles over bound."""
        return self.cycles / self.bound_cycles

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {**asdict(self), "ratio": round(self.ratio, 4)}


def batched(network: Network, batch: int) -> Network:
    """Return a network for `batch` inputs side by side: an index more of input and output."""
    if batch == 1:
        return network
    name = "batch"
    while name in network.sizes:
        name += "_"
    tensors = {k: ((*v, name) if k == INPUT else v) for k, v in network.tensors.items()}
    return Network(tensors, {**network.sizes, name: batch}, (*network.output, name))


def map_batch(network: Network, arch: Architecture, batch: int, bound: int) -> tuple[int, Stream]:
    """Return the quickest (inputs of one execution, stream) for a batch.

    Raises MappingError where no part of the batch fits.
    """
    best: tuple[float, int, Stream] | None = None
    failed: MappingError | None = None
    for n in divisors(batch):
        try:
            stream = map_stream(batched(network, n), arch, INPUT)
        except MappingError as error:
            failed = error
            continue
        predicted = stream.predicted * (batch // n)
        if best is None or predicted < best[0]:
            best = (predicted, n, stream)
        if best[0] <= bound * NEAR:
            break
    if best is None:
        raise failed or MappingError("batch: found 0 inputs, expected at least 1")
    return best[1], best[2]


def measure_stream(
    workload: Workload, arch: Architecture, batch: int = 1, cold: bool = True
) -> StreamFigures | Refused:
    """Map and simulate a stream of a workload's executions; what does not fit is refused."""
    try:
        return _measured(workload, arch, batch, cold)
    except (MappingError, ModelError, NetworkError, ProgramError) as error:
        return Refused(workload.name, " ".join(str(error).split()))


def _measured(workload: Workload, arch: Architecture, batch: int, cold: bool) -> StreamFigures:
    network = network_of(workload.spec)
    whole = batched(network, batch)
    bound = roofline(whole, arch, INPUT).cycles
    start = time.perf_counter()
    micro, stream = map_batch(network, arch, batch, bound)
    seconds = time.perf_counter() - start
    each = batch // micro
    run = stream.programs().run
    runs = [
        simulate(run, arch, fetch=False, host=stream.host(n), timeline=n > WARM_UP)
        for n in (WARM_UP, WARM_UP + MEASURED)
    ]
    for r in runs:
        if r.error:
            raise ProgramError(f"the machine stops with {r.error[0].name}")
    counters = {k: (runs[1].counters[k] - n) / MEASURED * each for k, n in runs[0].counters.items()}
    cycles = (runs[1].cycles - runs[0].cycles) / MEASURED * each
    return StreamFigures(
        name=workload.name,
        format=workload.spec.format,
        batch=batch,
        micro_batch=micro,
        macs=stream.macs * each,
        bound_cycles=bound,
        cycles=cycles,
        loss=_loss(counters, cycles, bound, runs[1]),
        copy_cycles=counters["vector_issue"],
        cold_cycles=_cold(whole, arch) if cold else None,
        mapping_s=round(seconds, 2),
    )


def _cold(network: Network, arch: Architecture) -> int | None:
    """Return the cycles of one execution alone, None where it does not fit."""
    weights = [n for n in network.tensors if n != INPUT]
    try:
        mapping = map_network(network, arch, resident=weights, streamed=INPUT)
    except MappingError:
        return None
    return simulate(mapping.emit().run, arch, fetch=False, timeline=False).cycles


def _loss(counters: Mapping[str, float], cycles: float, bound: float, run: Run) -> dict[str, float]:
    """Split the cycles beyond the bound by what the array did in them."""
    transfers = dma_share(run) * counters["array_stall_token"]
    found = {
        "drain": counters["array_stall_drain"],
        "port": counters["array_stall_port"],
        "dependency": counters["array_stall_token"] - transfers,
        "dma": transfers,
        "fill": counters["array_stall_setup"] + counters["array_idle"],
    }
    found["fold"] = cycles - bound - sum(found.values())
    return {cause: round(found[cause], 3) for cause in CAUSES}


def dma_share(run: Run) -> float:
    """Return which part of the array's waits for tokens is for transfers.

    Of every CONTRACT the token that came last decides; its wait is counted from the end of the
    CONTRACT before it, stalls left out, so that only the proportion is meant.
    """
    given: list[list[tuple[int, Unit | None]]] = [[(-1, None)] * n for n in run.given[-1]]
    phase = [e for e in run.timeline if e.phase == len(run.given) - 1]  # SYNC clears all tokens
    for done in sorted(
        (e for e in phase if e.completion is not None), key=lambda e: e.completion or 0
    ):
        for t in _bits(done.instruction.signal):
            given[t].append((done.completion or 0, done.unit))
    taken = [0] * TOKENS
    waits: Counter[bool] = Counter()
    free = 0
    for e in phase:
        if not isinstance(e.instruction, Contract):
            continue
        came = []
        for t in _bits(e.instruction.wait):
            came.append(given[t][taken[t]])
            taken[t] += 1
        if came:
            last, unit = max(came, key=lambda c: c[0])
            if last + 1 >= e.launch:
                waits[unit is not Unit.ARRAY] += max(0, e.launch - free)
        free = e.launch + _slots(e.instruction)
    return waits[True] / max(1, waits.total())


def _slots(i: Contract) -> int:
    """Return for how many cycles a CONTRACT issues."""
    return i.first_slots + i.tiles * i.tile_iterations * i.iteration_slots


def _bits(mask: int) -> Iterable[int]:
    return (t for t in range(TOKENS) if mask >> t & 1)


# --- many ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Summary:
    """How near the bound the rows of one run are."""

    rows: int
    within_110: int
    within_125: int
    worst: float
    geometric_mean: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Summary:
        """Return the summary of some ratios, at least one."""
        mean = prod(ratios) ** (1 / len(ratios))
        return cls(
            len(ratios), sum(r <= 1.10 for r in ratios), sum(r <= 1.25 for r in ratios),
            round(max(ratios), 4), round(mean, 4),
        )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One row to measure: a matrix in a stream, or a whole layer in a sequence."""

    workload: Workload | Layer | Refused
    arch: Architecture
    batch: int
    cold: bool

    def figures(self) -> StreamFigures | LayerFigures | Refused:
        """Measure it."""
        if isinstance(self.workload, Refused):
            return self.workload
        if isinstance(self.workload, Layer):
            return measure_layer(self.workload, self.arch)
        return measure_stream(self.workload, self.arch, self.batch, self.cold)


def with_port(arch: Architecture, port_bytes: int) -> Architecture:
    """Return a machine with another memory port. Raises ArchError."""
    return arch if port_bytes == arch.port_bytes else arch.override("--port", port_bytes=port_bytes)


def measure_all(
    cases: Sequence[Case], jobs: int
) -> Iterable[StreamFigures | LayerFigures | Refused]:
    """Yield the figures of all cases in order, measured by `jobs` processes."""
    if jobs == 1:
        yield from (case.figures() for case in cases)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(Case.figures, cases)
