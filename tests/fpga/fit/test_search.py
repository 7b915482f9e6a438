"""The largest machine that fits, and the smallest change; the oracle is a search of everything."""

from dataclasses import replace

import pytest

from einchip.arch import PRESETS, ArchError, Architecture
from einchip.fpga.fit.model import committed
from einchip.fpga.fit.search import (
    DROPPED,
    HALVED,
    change,
    differences,
    family,
    largest,
    size,
)
from einchip.fpga.fit.units import Design
from einchip.fpga.targets.boards import TARGETS
from einchip.fpga.targets.families import ECP5, KINDS, LFE5U_25F, LFE5U_85F, UP5K, Part

MODEL = committed()
PARTS = (LFE5U_25F, LFE5U_85F)
MEMORY = 1 << 15


def fits(arch: Architecture, part: Part, memory_bytes: int = MEMORY) -> bool:
    return not MODEL.estimate(Design(arch, memory_bytes), part).lacking


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.name)
def test_a_machine_that_fits_still_fits_with_less_of_anything(part: Part) -> None:
    n = 0
    for arch in family():
        for name in (*HALVED, *DROPPED):
            try:
                smaller = arch.override(**{name: getattr(arch, name) // 2})
            except ArchError:
                continue
            before, after = (MODEL.estimate(Design(a, MEMORY), part).used for a in (arch, smaller))
            assert all(after[kind] <= before[kind] for kind in KINDS), (arch, name)
            n += 1
    assert n > len(family())


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_larger_than_the_largest_fits(name: str) -> None:
    target = TARGETS[name]
    found = largest(MODEL, target.part, target.memory_bytes)
    fitting = [arch for arch in family() if fits(arch, target.part, target.memory_bytes)]
    if found is None:
        assert not fitting
    else:
        assert size(found.design.arch) == max(map(size, fitting))
        for kind in KINDS:
            assert found.used[kind] <= found.allowed(kind)


def test_all_presets_are_candidates() -> None:
    assert set(PRESETS.values()) <= set(family())
    sizes = [size(arch)[0] for arch in family()]
    assert sizes == sorted(sizes, reverse=True)


def test_one_halving_is_found_where_one_is_enough() -> None:
    nano = PRESETS["nano"]
    estimate = MODEL.estimate(Design(nano, MEMORY), LFE5U_85F)
    tight = replace(LFE5U_85F, has=dict(LFE5U_85F.has) | {"block_ram": estimate.used["block_ram"]})
    deeper = nano.override(y_depth=4096)
    before = MODEL.estimate(Design(deeper, MEMORY), tight)
    assert before.lacking == ("block_ram",)
    after = change(MODEL, before)
    assert after is not None
    # two banks of the other scratchpad would give as much; the largest machine is kept
    assert differences(deeper, after) in ({"y_depth": (4096, 2048)}, {"x_depth": (2048, 1024)})
    assert fits(after, tight)


def test_lanes_take_rows_columns_and_port_with_them() -> None:
    small = PRESETS["small"]
    logic = MODEL.estimate(Design(PRESETS["nano"].override(x_window=256), MEMORY), LFE5U_85F).used
    has = dict(LFE5U_85F.has) | {kind: int(logic[kind] / ECP5.full) + 1 for kind in ("lut",)}
    tight = replace(LFE5U_85F, has=has)
    after = change(MODEL, MODEL.estimate(Design(small, MEMORY), tight))
    assert after is not None
    assert fits(after, tight)
    assert after.lanes < small.lanes
    assert max(after.rows, after.cols, after.port_elements) <= after.lanes


def test_no_change_is_found_where_none_is_near() -> None:
    small = MODEL.estimate(Design(PRESETS["small"], MEMORY), UP5K)
    assert set(small.lacking) == set(KINDS)
    assert change(MODEL, small) is None


def test_another_fold_is_a_change() -> None:
    flex = PRESETS["nano"].override(fold="flex")
    has = MODEL.estimate(Design(PRESETS["nano"], MEMORY), LFE5U_85F).used["lut"] / ECP5.full
    tight = replace(LFE5U_85F, has=dict(LFE5U_85F.has) | {"lut": int(has) + 1})
    before = MODEL.estimate(Design(flex, MEMORY), tight)
    assert before.lacking == ("lut",)
    after = change(MODEL, before)
    assert after is not None
    assert differences(flex, after) == {"fold": ("flex", "hybrid"), "accumulators": (16, 2)}
