"""hw.vector: results against einchip.reference, every cycle against the rules of docs/timing.md."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from einchip import numeric, reference
from einchip.accesses import vector_accesses
from einchip.arch import PRESETS, Architecture
from einchip.program import (
    Cell,
    Copy,
    Fill,
    Gru,
    GruReset,
    GruUpdate,
    Lstm,
    Peephole,
    Read,
    Vector,
    is_built,
)  # fmt: skip
from einchip.reference import Memory
from tests.hw.vector_bench import NO_REGISTERS, PORTS, Inputs, Outputs, run

NANO = PRESETS["nano"].override(x_depth=256, y_depth=512)
SMALL = PRESETS["small"].override(x_depth=512, y_depth=256)
MACHINES = [a.override(data_bits=bits) for a in (NANO, SMALL) for bits in (8, 16)]
REGIONS = 4  # of each scratchpad: an instruction's sources, target and state lie in different ones
MOST_VECTORS = 12  # whose packed weights fit the smallest region
KINDS: tuple[type[Vector], ...] = (*get_args(Cell), Copy, Fill)


def random_memory(arch: Architecture, rng: np.random.Generator) -> Memory:
    """Return scratchpads full of numbers."""
    low, high = numeric.limits(arch.data_bits)
    x, y = (rng.integers(low, high, arch.capacity(s), endpoint=True) for s in (0, 1))
    return Memory(x, y, bytearray())


def factors(n: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return two counts whose product is at most n."""
    first = int(rng.integers(1, n + 1))
    return first, int(rng.integers(1, n // first + 1))


def draw(arch: Architecture, kind: type[Vector], rng: np.random.Generator) -> Vector:
    """Return an instruction whose addresses may be anywhere in four regions."""
    nl0, nl1 = factors(arch.lanes, rng)
    counts: tuple[int, ...] = (99,)
    while math.prod(counts) > MOST_VECTORS:
        counts = tuple(int(n) for n in rng.choice([1, 1, 2, 3], 4))
    src_l0, dst_l0 = (int(s) for s in rng.integers(1, 4, 2))
    regions = [int(r) for r in rng.permutation(REGIONS)]
    spaces = [int(s) for s in rng.integers(0, 2, REGIONS)]
    src, dst, cell, aux = (
        arch.capacity(space) // REGIONS * region
        for space, region in zip(spaces, regions, strict=True)
    )
    packed = Read("packed") in kind.READS
    fracs = {f"{n}_frac": int(rng.integers(16)) for n in ("gate", "cell", "hidden", "aux")}
    return kind(
        wait=int(rng.choice([0, 0, 1, 6])),
        signal=int(rng.integers(1 << 16)),
        nl0=nl0,
        nl1=nl1,
        loop_count=counts,
        loop_src=tuple(int(s) for s in rng.integers(0, 12, 4)),
        loop_dst=tuple(int(s) for s in rng.integers(0, 12, 4)),
        src_space=spaces[0],
        src_base=src + int(rng.integers(8)),
        src_l0=src_l0,
        src_l1=int(rng.integers(0, 16)),
        dst_space=spaces[1],
        dst_base=dst + int(rng.integers(8)),
        dst_l0=dst_l0,
        dst_l1=dst_l0 * nl0 + int(rng.integers(4)),
        gate_stride=int(rng.integers(0, 20)),
        cell_space=spaces[2],
        cell_base=cell + arch.lanes * int(rng.integers(4)),
        value=int(rng.integers(1 << 16)),
        aux_space=spaces[3],
        aux_base=aux + (arch.lanes * int(rng.integers(3)) if packed else int(rng.integers(8))),
        **fracs,
    )


def never(t: int) -> Inputs:
    """No contention, all tokens there."""
    return Inputs()


def contention(share: float, rng: np.random.Generator) -> Callable[[int], Inputs]:
    """Each port is taken, each token missing, nothing offered, with this probability a cycle."""

    def pattern(t: int) -> Inputs:
        ready = tuple(bool(b) for b in rng.random(len(PORTS)) >= share)
        tokens = int(rng.choice([0, 1, 6, 7, 7]))
        return Inputs(ready, tokens, bool(rng.random() >= share))

    return pattern


def bursts(rng: np.random.Generator) -> Callable[[int], Inputs]:
    """Ports are free or taken for up to 40 cycles at a time."""
    free_from = np.zeros(len(PORTS), dtype=int)
    taken_from = rng.integers(1, 40, len(PORTS))

    def pattern(t: int) -> Inputs:
        for p in np.flatnonzero(taken_from <= t):
            free_from[p] = t + rng.integers(1, 40)
            taken_from[p] = free_from[p] + rng.integers(1, 40)
        return Inputs(tuple(bool(b) for b in free_from <= t))

    return pattern


@pytest.mark.parametrize("stalls", ["never", "some", "most", "bursts"])
@pytest.mark.parametrize(
    "arch", MACHINES, ids=[f"{a.lanes} lanes, {a.data_bits} bits" for a in MACHINES]
)
def test_memory_equals_the_reference_and_cycles_the_rules(arch: Architecture, stalls: str) -> None:
    check(arch, stalls)


@pytest.mark.parametrize("cells", [(), ("lstm",), ("peephole", "gru_before"), ("gru",)])
def test_with_fewer_cells_the_rules_are_the_same(cells: tuple[str, ...]) -> None:
    check(NANO.override(cells=cells), "some")


def check(arch: Architecture, stalls: str) -> None:
    """Run every instruction that a machine executes."""
    rng = np.random.default_rng([arch.lanes, arch.data_bits, len(stalls)])
    pattern = {
        "never": never,
        "some": contention(0.2, rng),
        "most": contention(0.7, rng),
        "bursts": bursts(rng),
    }[stalls]
    kinds = [kind for kind in KINDS if is_built(kind, arch)]
    drawn = [draw(arch, kinds[k], rng) for k in (*rng.permutation(len(kinds)), 0, 1)]
    program = [twin for i in drawn for twin in twins(i, arch, rng)]
    memory = random_memory(arch, rng)
    expected = memory.copy()
    for i in program:
        reference.run_vector(i, NO_REGISTERS, arch, expected)
    run(arch, program, memory, pattern)
    np.testing.assert_array_equal(memory.x, expected.x)
    np.testing.assert_array_equal(memory.y, expected.y)


def twins(i: Vector, arch: Architecture, rng: np.random.Generator) -> list[Vector]:
    """Return an instruction, and up to three that overlap it, or would if they were alike."""
    found = [i]
    for _ in range(int(rng.integers(4))):
        counts = tuple(int(n) for n in rng.permutation(i.loop_count))
        found.append(
            replace(
                i, overlaps=1, wait=int(rng.choice([0, 0, 1])), signal=int(rng.integers(1 << 16)),
                loop_count=counts, gate_frac=int(rng.choice([i.gate_frac, i.gate_frac, 3])),
                nl0=int(rng.choice([i.nl0, i.nl0, 1])),
                **{f"{n}_base": getattr(i, f"{n}_base") + arch.lanes * int(rng.integers(3))
                   for n in ("src", "dst", "cell", "aux")},
            )
        )  # fmt: skip
    return found if disjoint(found, arch) else [i]


def disjoint(program: Sequence[Vector], arch: Architecture) -> bool:
    """Tell whether no instruction reads what an earlier one writes."""
    touched: list[tuple[set[tuple[int, int]], set[tuple[int, int]]]] = []
    for i in program:
        reads, writes = (
            {(a.space, int(n)) for a in part for n in a.addresses().ravel()}
            for part in vector_accesses(i, NO_REGISTERS, arch)
        )
        if any(written & reads for _, written in touched):
            return False
        touched.append((reads, writes))
    return True


def when(seen: list[Outputs], name: str) -> list[int]:
    """Return the cycles in which an output is there."""
    return [t for t, now in enumerate(seen) if now[name]]


@pytest.mark.parametrize("arch", [MACHINES[0], MACHINES[1]], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize(
    ("kind", "reads"),
    [(Lstm, 4), (Peephole, 7), (Gru, 6), (GruReset, 1), (GruUpdate, 2)],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_one_vector_of_a_cell_takes_its_reads_and_the_latency(
    arch: Architecture, kind: type[Vector], reads: int
) -> None:
    """`reads` besides the planes of the state."""
    i = kind(
        wait=1, signal=2, nl0=4, src_l0=1, dst_l0=1, dst_base=64, cell_base=128, dst_space=1,
        aux_base=192,
    )  # fmt: skip
    seen = run(arch, [i], random_memory(arch, np.random.default_rng(0)), never)
    (launch,), (end,) = when(seen, "take"), when(seen, "give")
    planes = arch.cell_planes
    assert launch == 1 + arch.setup_cycles + 1
    assert end == launch + (reads + planes) + kind.LATENCY
    assert end == len(seen) - 1


@pytest.mark.parametrize("kind", [Copy, Fill])
def test_alone_copies_and_fills_move_a_vector_a_cycle(kind: type[Copy] | type[Fill]) -> None:
    i = kind(
        wait=1,
        signal=2,
        nl0=4,
        loop_count=(20, 1, 1, 1),
        loop_src=(4, 0, 0, 0),
        loop_dst=(8, 0, 0, 0),
        src_l0=1,
        dst_l0=2,
        dst_base=128,
        dst_space=1,
    )
    seen = run(NANO, [i], random_memory(NANO, np.random.default_rng(0)), never)
    (launch,), (end,) = when(seen, "take"), when(seen, "give")
    assert end == launch + i.vectors + kind.LATENCY


#: Changes after which an instruction is not alike any more.
UNLIKE: dict[str, dict[str, Any]] = {
    "does not overlap": {"overlaps": 0},
    "other lanes": {"nl0": 3},
    "other strides of lanes": {"dst_l0": 2},
    "other gates": {"gate_stride": 8},
    "another format": {"hidden_frac": 5},
    "another scratchpad": {"cell_space": 0},
}


@pytest.mark.parametrize("change", ["", *UNLIKE])
def test_alike_instructions_read_while_the_one_before_writes(change: str) -> None:
    """The second one begins behind the first one's reads, the third one behind its last write."""
    arch = NANO
    first = Lstm(
        wait=1, signal=2, nl0=4, src_l0=1, dst_l0=1, loop_count=(5, 1, 1, 1), dst_base=96,
        loop_src=(4, 0, 0, 0), loop_dst=(4, 0, 0, 0), dst_space=1, cell_space=1, cell_base=256,
    )  # fmt: skip
    later = [
        replace(first, overlaps=1, src_base=64 * k, dst_base=96 + 32 * k, cell_base=256 + 64 * k)
        for k in (1, 2)
    ]
    later = [replace(i, **UNLIKE.get(change, {})) for i in later]
    if change not in ("", "does not overlap"):
        later[1] = replace(later[1], overlaps=0)
    seen = run(arch, [first, *later], random_memory(arch, np.random.default_rng(0)), never)
    launches, ends = when(seen, "take"), when(seen, "give")
    reads, last = 5 * 4, Lstm.LATENCY  # the state, in Y, is read beside the gates
    assert ends[0] == launches[0] + reads + last
    if change:
        assert launches[1:] == [ends[0] + 1, ends[1] + 1]
        return
    assert launches[1] == launches[0] + reads + 1
    assert launches[2] == max(launches[1] + reads, ends[0]) + 1
    assert ends[1:] == [launches[1] + reads + last, launches[2] + reads + last]


@pytest.mark.parametrize("arch", [MACHINES[0], MACHINES[1]], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("at", [1, 9, 16, 30, 41])
@pytest.mark.parametrize("kind", [Lstm, Peephole, Gru], ids=lambda kind: kind.__name__)
def test_after_a_stop_nothing_is_left(arch: Architecture, at: int, kind: type[Vector]) -> None:
    rng = np.random.default_rng(at)
    memory = random_memory(arch, rng)
    first = kind(
        nl0=4, loop_count=(6, 1, 1, 1), src_l0=1, dst_l0=1, dst_base=64, cell_base=128, aux_base=192
    )
    after = [draw(arch, kind, rng), draw(arch, Copy, rng), draw(arch, kind, rng)]
    expected: list[Memory] = []

    def pattern(t: int) -> Inputs:
        if t == at + 1:
            expected.append(memory.copy())
        return Inputs(stop=t == at, offer=t == 0 or t > at)

    run(arch, [first, *after], memory, pattern)
    for i in after:
        reference.run_vector(i, NO_REGISTERS, arch, expected[0])
    np.testing.assert_array_equal(memory.x, expected[0].x)
    np.testing.assert_array_equal(memory.y, expected[0].y)
