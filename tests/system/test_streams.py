"""Random streams end to end: mapper, then reference = simulator = RTL = `numpy.einsum`."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from einchip import check, reference
from einchip.arch import Architecture
from einchip.mapper import MappingError
from einchip.mapper.stream import Stream, map_stream
from einchip.network import Network
from einchip.reference import Memory
from einchip.sim import simulate
from einchip.verify.machine import RtlMachine, RtlResult, Start, Work, words_that_differ
from tests.system.compare import machine
from tests.system.machines import MACHINES

#: Streams per machine: on every change, and at night.
N_STREAMS, N_NIGHTLY = 20, 200
#: Machines of every fold, with and without a window.
NAMES: Final = ("nano", "small", "flex", "inner", "outer")
MOST_MACS: Final = 20_000


def random_train(seed: int) -> Network:
    """Return an input and a TT-matrix of 1 to 3 cores, ranks 1 to 6, batch 1 or more."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    ranks = [1, *(int(r) for r in rng.integers(1, 7, n - 1)), 1]
    sizes = {f"r{k}": r for k, r in enumerate(ranks)} | {"b": int(rng.integers(1, 5))}
    for k in range(n):
        sizes |= {f"i{k}": int(rng.integers(1, 10)), f"o{k}": int(rng.integers(1, 10))}
    inputs, outputs = (tuple(f"{kind}{k}" for k in range(n)) for kind in "io")
    cores = {f"G{k}": (f"r{k}", f"i{k}", f"o{k}", f"r{k + 1}") for k in range(n)}
    return Network({"x": (*inputs, "b"), **cores}, sizes, (*outputs, "b"))


@dataclass(frozen=True)
class Case:
    """A stream of a few executions with integers that no step takes beyond the data width."""

    seed: int
    stream: Stream

    @property
    def n(self) -> int:
        return 1 + self.seed % 5

    @cached_property
    def values(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Weights with at most one 1 or -1 for all but one index, and inputs of ones."""
        network, rng = self.stream.network, np.random.default_rng(self.seed)
        weights = {
            name: rng.choice([-1, 0, 0, 0, 0, 0, 0, 1], network.shape(name))
            for name in network.tensors
            if name != "x"
        }
        return weights, rng.choice([-1, 0, 0, 1], (self.n, *network.shape("x")))

    @property
    def memory(self) -> Memory:
        memory = Memory.empty(self.stream.arch, self.stream.external_bytes(self.n))
        memory.external[:] = self.stream.pack(*self.values)
        return memory

    @property
    def starts(self) -> list[Start]:
        made = self.stream.programs()
        return [Start(p, self.stream.host(self.n)) for p in (made.setup, made.run)]

    @cached_property
    def expected(self) -> Memory:
        """What the reference leaves."""
        memory = self.memory
        for start in self.starts:
            reference.run(start.program, self.stream.arch, memory, start.host)
        return memory


def cases_of(arch: Architecture, n: int) -> list[Case]:
    """Return the first `n` cases that fit a machine and whose values fit its data width."""
    found: list[Case] = []
    for seed in range(20 * n):
        try:
            case = Case(seed, map_stream(random_train(seed), arch, "x"))
            _ = case.memory
        except MappingError:
            continue
        weights, inputs = case.values
        wanted = [case.stream.network.contract({**weights, "x": x}) for x in inputs]
        if case.stream.macs <= MOST_MACS and max(np.abs(w).max() for w in wanted) < 64:
            found.append(case)
        if len(found) == n:
            break
    return found


def differences(c: Case, found: RtlResult) -> Iterator[str]:
    """Yield a line for each difference between the witnesses, and from `numpy.einsum`."""
    arch, memory = c.stream.arch, c.memory
    weights, inputs = c.values
    wanted = [c.stream.network.contract({**weights, "x": x}) for x in inputs]
    if not np.array_equal(c.stream.unpack(c.expected.external, c.n), wanted):
        yield f"seed {c.seed}: the reference differs from numpy.einsum"
    for start, rtl in zip(c.starts, found.runs, strict=True):
        yield from (f"seed {c.seed}: {v}" for v in check.verify(start.program, arch, start.host))
        run = simulate(start.program, arch, memory=memory, host=start.host, check_races=True)
        for name, value in run.counters.items():
            if rtl.counters[name] != value:
                yield f"seed {c.seed}: {name}: {value}, RTL {rtl.counters[name]}"
        if rtl.error or run.error:
            yield f"seed {c.seed}: stops with {run.error}, RTL {rtl.error}"
    for who, left in (("simulator", memory), ("RTL", found.memory)):
        for space, places in words_that_differ(c.expected, left).items():
            if places:
                yield f"seed {c.seed}: {who}: {space}[{places[0]}] differs from the reference"


def all_differences(cases: list[Case], rtl: RtlMachine) -> list[str]:
    """Run cases on the RTL in one process and return what differs."""
    results = rtl.run_all([Work(c.starts, c.memory) for c in cases])
    return [line for c, r in zip(cases, results, strict=True) for line in differences(c, r)]


def agree(name: str, n: int, native_cache: Path) -> None:
    arch = MACHINES[name]
    cases = cases_of(arch, n)
    assert len(cases) == n
    assert all_differences(cases, machine(arch, native_cache)) == []


@pytest.mark.parametrize("name", NAMES)
def test_random_streams_agree(name: str, native_cache: Path) -> None:
    agree(name, N_STREAMS, native_cache)


@pytest.mark.nightly
@pytest.mark.parametrize("name", [n for n in MACHINES if n != "base"])
def test_many_random_streams_agree(name: str, native_cache: Path) -> None:
    agree(name, N_NIGHTLY, native_cache)
