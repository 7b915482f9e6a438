"""Random networks end to end: mapper, then reference = simulator = RTL = `numpy.einsum`."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einchip import check, reference
from einchip.arch import PRESETS, Architecture
from einchip.mapper import CompiledNetwork, MappingError, compile_network
from einchip.network import Network
from einchip.reference import Memory
from einchip.sim import Run, simulate
from einchip.verify.machine import RtlMachine, RtlResult, Start, Work, words_that_differ
from tests.system.compare import machine

#: Networks per machine: on every change, and at night (five machines: 350, 3,500).
N_NETWORKS, N_NIGHTLY = 70, 700
#: Greatest number of multiply-adds of the whole sum, so that the RTL is done in a moment.
MAX_PRODUCTS = 200_000
PRESET = pytest.mark.parametrize("arch", PRESETS.values(), ids=PRESETS)


def random_network(seed: int) -> Network:
    """Return a network of 2 to 6 tensors, sizes 1 to 33: hyperedges, outer products, scalars."""
    rng = np.random.default_rng(seed)
    sizes: dict[str, int] = {}
    for k in range(rng.integers(1, 8)):
        room = MAX_PRODUCTS // prod(sizes.values())
        sizes[f"i{k}"] = int(rng.integers(1, max(2, min(33, room) + 1)))
    names = list(sizes)

    def some(of: list[str]) -> tuple[str, ...]:
        return tuple(rng.permutation(of)[: rng.integers(0, min(4, len(of)) + 1)].tolist())

    tensors = {f"T{k}": some(names) for k in range(rng.integers(2, 7))}
    used = sorted({i for t in tensors.values() for i in t})
    output = some(used) if rng.random() < 0.8 else ()
    return Network(tensors, {i: sizes[i] for i in used}, output)


@dataclass(frozen=True)
class Case:
    """A compiled network with integers small enough that no step leaves the data width."""

    seed: int
    compiled: CompiledNetwork
    arrays: dict[str, np.ndarray]

    @property
    def arch(self) -> Architecture:
        return self.compiled.mapping.arch

    @property
    def memory(self) -> Memory:
        memory = Memory.empty(self.arch, self.compiled.external_bytes)
        memory.external[:] = self.compiled.pack(self.arrays)
        return memory

    @property
    def starts(self) -> list[Start]:
        """Setup and the program itself."""
        made = self.compiled
        return [Start(program, made.host) for program in (made.setup, made.program)]

    @cached_property
    def expected(self) -> Memory:
        """What the reference leaves."""
        memory = self.memory
        for start in self.starts:
            reference.run(start.program, self.arch, memory, start.host)
        return memory


def small_integers(compiled: CompiledNetwork, seed: int) -> dict[str, np.ndarray]:
    """Return ones, minus ones and zeros; the zeros as many as it takes for all steps to fit."""
    network, arch = compiled.mapping.network, compiled.mapping.arch
    limit = (1 << arch.data_bits - 1) - 1
    rng = np.random.default_rng(seed)
    values = {n: rng.choice([-1, 1], network.shape(n)) for n in network.tensors}
    order = {n: rng.random(network.shape(n)) for n in network.tensors}
    for density in (1.0, 0.5, 0.2, 0.1, 0.03, 0.01):
        arrays = {n: np.where(order[n] < density, v, 0) for n, v in values.items()}
        known = dict(arrays)
        for step in compiled.mapping.steps:
            pair = [np.ones(()) if n.startswith("@one") else known[n] for n in step[:2]]
            known[step.result] = np.einsum(step.einsum, *pair)
        if max(np.abs(known[s.result]).max(initial=0) for s in compiled.mapping.steps) <= limit:
            return arrays
    return {n: np.zeros_like(v) for n, v in values.items()}


def case(seed: int, arch: Architecture) -> Case | None:
    """Return the case of a seed; None where the network does not fit the machine."""
    try:
        compiled = compile_network(random_network(seed), arch)
    except MappingError:
        return None
    return Case(seed, compiled, small_integers(compiled, seed))


def differences(c: Case, found: RtlResult) -> Iterator[str]:
    """Yield a line for each difference between the witnesses, and from `numpy.einsum`."""
    network, arch = c.compiled.mapping.network, c.arch
    result = c.compiled.unpack(c.expected.external)
    if not np.array_equal(result, network.contract(c.arrays)):
        yield f"seed {c.seed}: the reference differs from numpy.einsum"
    memory = c.memory
    runs: list[Run] = []
    for start in c.starts:
        yield from (f"seed {c.seed}: {v}" for v in check.verify(start.program, arch, start.host))
        runs.append(simulate(start.program, arch, memory=memory, host=start.host, check_races=True))
    for who, left in (("simulator", memory), ("RTL", found.memory)):
        for space, places in words_that_differ(c.expected, left).items():
            if places:
                yield f"seed {c.seed}: {who}: {space}[{places[0]}] differs from the reference"
    for run, rtl in zip(runs, found.runs, strict=True):
        for name, value in run.counters.items():
            if rtl.counters[name] != value:
                yield f"seed {c.seed}: {name}: {value}, RTL {rtl.counters[name]}"
        if rtl.error or run.error:
            yield f"seed {c.seed}: stops with {run.error}, RTL {rtl.error}"


def all_differences(cases: list[Case], rtl: RtlMachine) -> list[str]:
    """Run cases on the RTL in one process and return what differs."""
    results = rtl.run_all([Work(c.starts, c.memory) for c in cases])
    return [line for c, r in zip(cases, results, strict=True) for line in differences(c, r)]


def cases_of(arch: Architecture, n: int) -> list[Case]:
    """Return the first `n` cases that fit a machine."""
    found: list[Case] = []
    for seed in range(10 * n):
        made = case(seed, arch)
        if made is not None:
            found.append(made)
        if len(found) == n:
            break
    return found


@PRESET
def test_random_networks_agree(arch: Architecture, native_cache: Path) -> None:
    cases = cases_of(arch, N_NETWORKS)
    assert len(cases) == N_NETWORKS
    assert all_differences(cases, machine(arch, native_cache)) == []


@pytest.mark.nightly
@PRESET
def test_many_random_networks_agree(arch: Architecture, native_cache: Path) -> None:
    cases = cases_of(arch, N_NIGHTLY)
    assert len(cases) == N_NIGHTLY
    assert all_differences(cases, machine(arch, native_cache)) == []


@settings(max_examples=10)
@given(seed=st.integers(1_000_000, 2_000_000))
def test_random_network_agrees_and_shrinks(seed: int, native_cache: Path) -> None:
    made = case(seed, PRESETS["nano"])
    if made is not None:
        assert all_differences([made], machine(PRESETS["nano"], native_cache)) == []


def test_most_cases_hold_more_than_zeros() -> None:
    cases = cases_of(PRESETS["nano"], 40)
    assert sum(c.compiled.unpack(c.expected.external).any() for c in cases) > 20
