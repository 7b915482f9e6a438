"""The checks of CONTRACTs by hw.resolver, fold by fold, against reference.check_fields.

(Other instructions and all addresses: tests/hw/test_sequencer.py.)
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from einchip import reference
from einchip.arch import PRESETS, Architecture
from einchip.hw.resolver import FIELD_CYCLES, Resolver
from einchip.program import WORD_BITS, Contract, Error, Unit
from tests.hw.array_bench import shape

NANO = PRESETS["nano"]
FLAT = NANO.override(cols=16, lanes=16)
FOLDS = [
    NANO,
    FLAT,
    NANO.override(fold="op"),
    FLAT.override(fold="op"),
    NANO.override(fold="flex", accumulators=8),
    FLAT.override(fold="flex", accumulators=64),
    NANO.override(fold="flex", accumulators=2),
    NANO.override(fold="ip", accumulators=8),
    FLAT.override(fold="ip"),
]
#: Where a CONTRACT's last word begins.
LAST = (Contract.WORDS - 1) * WORD_BITS
STRIDES = [s for s in Contract.layout() if s.stride]
LANE_COUNTS = ("nm0", "nm1", "nn0", "nn1", "nk0", "nk1", "nb", "nh")
CASES: list[dict[str, Any]] = [
    *({name: n} for name in LANE_COUNTS for n in (0, 1, 2, 127)),
    {"nh": 0}, {"nh": 4}, {"nh": 5}, {"nh": 2, "nn0": 2}, {"nh": 3, "nn0": 2}, {"nh": 127},
    {"nh": 2, "nk0": 2}, {"nh": 2, "nk0": 2, "nb": 2}, {"nh": 3, "nk0": 2}, {"nh": 2, "nb": 2},
    {"nh": 2, "nm0": 4}, {"nh": 2, "nm0": 5}, {"nh": 16}, {"nh": 17}, {"nh": 8, "nn1": 2},
    {"nk0": 4}, {"nk0": 2, "nk1": 2}, {"nk0": 3, "nk1": 2}, {"nk1": 127, "nk0": 127},
    {"nk0": 3, "nh": 4}, {"nk0": 3, "nm0": 2}, {"nk1": 4, "nn0": 2}, {"nb": 2},
    {"n_hold": 1}, {"n_hold": 2}, {"n_hold": 3}, {"n_hold": 3, "loop_count": (1, 1, 1, 1, 1, 1)},
    *({"n_hold": h, "loop_count": (a, b, 9, 1, 1, 1)} for h in (0, 1, 2) for a, b in (
        (1, 1), (4, 1), (1, 4), (2, 2), (4, 2), (2, 3), (5, 1), (8, 1), (8, 4), (32, 1), (1, 33),
        (32, 2), (0, 1), (1, 0), (65535, 65535), (1 << 15, 1 << 15), (257, 1), (4, 64), (4, 256),
    )),
    *({"n_hold": h, "n_reduce": n} for h in (1, 2) for n in (4, 5, 6, 7)),
    *(
        {s.name: tuple(n * (k == at) for k in range(s.n)) if s.n else n}
        for s in STRIDES for at in range(max(1, s.n)) for n in (8192, 16383, 16384, 1 << 19)
    ),
]  # fmt: skip


def in_reference(i: Contract, arch: Architecture) -> Error:
    """Return the reference's verdict."""
    try:
        reference.check_fields(i, arch, 0)
    except reference.MachineError as error:
        return Error(error.code)
    return Error.NONE


def in_hardware(contracts: list[Contract], arch: Architecture) -> list[Error]:
    """Return the resolver's verdicts."""
    dut = Resolver(arch)
    found: list[Error] = []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.unit, Unit.ARRAY)
        for i in contracts:
            code = int.from_bytes(i.encode(), "little")
            ctx.set(dut.words, code & ((1 << LAST) - 1))
            await ctx.tick().repeat(FIELD_CYCLES[Unit.ARRAY] - 1)
            ctx.set(dut.word, code >> LAST)
            ctx.set(dut.place, Contract.WORDS - 1)
            ctx.set(dut.arrives, 1)
            await ctx.tick()
            ctx.set(dut.words, code)
            ctx.set(dut.arrives, 0)
            found.append(Error(ctx.get(dut.fault.code)))

    sim: Any = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    return found


def near(rng: np.random.Generator, arch: Architecture) -> Contract:
    """Draw a CONTRACT that fits, and change up to two of its counts."""
    s = shape(rng, arch)
    names = (*LANE_COUNTS, "n_hold", "n_reduce")
    values = (*s.nm, *s.nn, *s.nk, s.nb, s.nh, s.n_hold, s.n_reduce)
    fields: dict[str, Any] = dict(zip(names, values, strict=True))
    counts = list(s.loops)
    for _ in range(int(rng.integers(0, 3))):
        change = int(rng.choice([-1, 1, 1, 2]))
        field = str(rng.choice([*names, "loop"]))
        if field == "loop":
            counts[int(rng.integers(0, 2))] *= max(1, change)
        else:
            fields[field] = max(0, min(fields[field] + change, 3 if field == "n_hold" else 7))
    return replace(Contract(**fields), loop_count=tuple(counts))


@pytest.mark.parametrize("arch", FOLDS, ids=lambda a: f"{a.fold}-{a.cols}-{a.accumulators}")
def test_checks_of_folds_are_those_of_the_reference(arch: Architecture) -> None:
    rng = np.random.default_rng(0)
    contracts = [*(Contract(**fields) for fields in CASES), *(near(rng, arch) for _ in range(500))]
    expected = [in_reference(i, arch) for i in contracts]
    for i, ours, theirs in zip(contracts, in_hardware(contracts, arch), expected, strict=True):
        assert ours == theirs, i
    assert min(expected.count(e) for e in (Error.NONE, Error.FIELD)) > 50
