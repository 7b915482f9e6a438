"""Every executed baseline: values of `numpy.einsum`, folds of its modes, accesses in runs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable

import numpy as np
import pytest

from einchip import energy
from einchip.arch import PRESETS
from einchip.check import verify
from einchip.compare import BASELINES, GAINS, Baseline, Gain, compare, orders
from einchip.compare.baselines import Layouts, Order
from einchip.compare.build import Built, build, dense, dense_network, placed
from einchip.compare.measure import copy_cycles, period, repeated, run
from einchip.compare.table import Comparison, _Workload, batched
from einchip.compare.transposed import fold_with_copies
from einchip.mapper import MappingError, tree
from einchip.mapper.choose import Naming, Task
from einchip.mapper.lanes import Factor
from einchip.mapper.layout import Layout
from einchip.mapper.network_search import tree_costs
from einchip.mapper.plan import Slicing
from einchip.network import Network
from einchip.program import Copy
from einchip.reference import Host
from einchip.roofline import roofline
from einchip.workloads import Workload, network_of
from tests.compare.helpers import SPECS, WIDE, expected, small, spec, values
from tests.mapper.order import races

EXECUTED = [
    b
    for b in BASELINES
    if b.layouts is not Layouts.ANALYTIC and b.order is not Order.NONE and b.key != "ours-sliced"
]
TABLE = energy.load("horowitz45")


CASES = [(f, b) for f in SPECS for b in EXECUTED if not b.formats or f in b.formats]
EVERY = pytest.mark.parametrize(
    ("form", "baseline"), CASES, ids=[f"{form}-{baseline.key}" for form, baseline in CASES]
)


@functools.cache
def mapped(form: str, baseline: Baseline, batch: int = 1) -> Built:
    return _Workload(spec(form), WIDE, TABLE, batch).build(baseline, WIDE)


@EVERY
def test_programs_compute_the_values_of_einsum(form: str, baseline: Baseline) -> None:
    built = mapped(form, baseline)
    network = network_of(spec(form))
    arrays = small(network, 1)
    for found in values(built, network, arrays):
        np.testing.assert_array_equal(found, expected(network, arrays))
    programs = built.cold.programs(None)
    assert not [v for p in (programs.setup, programs.run) for v in verify(p, WIDE, Host())]
    assert races(programs.run, WIDE, Host()) == []


@pytest.mark.parametrize("key", ["outer", "inner", "ours"])
def test_a_batch_computes_the_values_of_einsum(key: str) -> None:
    baseline = next(b for b in BASELINES if b.key == key)
    network = batched(network_of(spec("mpo")), 3)
    arrays = small(network, 2)
    for found in values(mapped("mpo", baseline, 3), network, arrays):
        np.testing.assert_array_equal(found, expected(network, arrays))


@pytest.mark.parametrize(("batch", "resident"), [(1, True), (1, False), (5, True), (5, False)])
def test_the_dense_product_computes_the_values_of_einsum(batch: int, resident: bool) -> None:
    built = dense(60, 48, batch, WIDE, resident)
    n_outputs = 48 // built.times
    network = dense_network(60, n_outputs, batch)
    arrays = small(network, 3)
    for found in values(built, network, arrays):
        np.testing.assert_array_equal(found, expected(network, arrays))
    assert resident == (not built.part.slicing.index)


def test_dense_weights_that_do_not_fit_are_streamed_in_parts() -> None:
    arch = WIDE.override(x_depth=64, y_depth=64)
    built = dense(60, 48, 1, arch, False)
    assert built.part.slicing.count * built.times > 1
    with pytest.raises(MappingError, match="scratchpad"):
        dense(60, 48, 1, arch, True)


def offsets(layout: Layout, lanes: Iterable[Factor]) -> list[int]:
    """Return the offsets of an access, lane by lane."""
    ways = [[k * layout.stride(f.index) for k in range(f.count)] for f in lanes]
    return sorted(sum(at) for at in itertools.product(*ways))


@EVERY
def test_no_fold_is_outside_its_modes(form: str, baseline: Baseline) -> None:
    for step in mapped(form, baseline).part.steps:
        used = {g for g in "mnkb" if getattr(step.fold, g)}
        assert any(used <= set(mode) for mode in baseline.modes)


@EVERY
def test_with_fixed_layouts_every_access_to_an_intermediate_is_a_run(
    form: str, baseline: Baseline
) -> None:
    part = mapped(form, baseline).part
    if baseline.layouts is not Layouts.COPIES:
        assert not part.copies
        return
    for step in part.steps:
        fold = step.fold
        for name, lanes in (
            (step.x, fold.x_lanes), (step.y, fold.y_lanes), (step.name, fold.z_lanes),
        ):  # fmt: skip
            tensor = part.tensors[name]
            if not tensor.is_input:
                found = offsets(tensor.layout, lanes)
                assert found == list(range(len(found)))
    for name in {step.name for step in part.steps}:
        layout = part.tensors[name].layout
        assert layout.extent == layout.elements, "fixed layouts have no padding"


@pytest.mark.parametrize("gain", GAINS, ids=lambda g: g.key)
def test_the_rows_of_a_gain_differ_in_one_thing(gain: Gain) -> None:
    slow, quick = (
        next(b for b in BASELINES if b.key == getattr(gain, side)) for side in ("slow", "quick")
    )
    fields = ("order", "modes", "layouts")
    assert sum(getattr(slow, f) != getattr(quick, f) for f in fields) == 1


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda b: b.key)
def test_a_row_says_what_it_models_and_from_where(baseline: Baseline) -> None:
    assert baseline.models
    assert baseline.source or baseline.title.startswith(("ours", "dense"))
    if baseline.layouts is Layouts.ANALYTIC:
        assert baseline.models.startswith("analytic")


def test_fixed_orders_are_those_of_the_papers() -> None:
    found = {
        key: mapped(form, next(b for b in BASELINES if b.key == key)).node.text()
        for form, key in (("mpo", "tie"), ("mps", "ette"), ("mpo", "ours-cores"))
    }
    assert found["tie"] == "(((x G2) G1) G0)"
    assert found["ette"] == "((((((x G5) G4) G3) G2) G1) G0)"
    assert found["ours-cores"] == "(((x G0) G1) G2)"


@pytest.mark.parametrize("form", SPECS)
def test_the_order_of_least_macs_needs_those_of_the_roofline(form: str) -> None:
    """`roofline` finds the least by another search, which is held to an independent program."""
    network = network_of(spec(form))
    found = tree.macs(orders.least_macs(network), network)
    assert found == roofline(network, WIDE, "x").macs
    assert found <= tree.macs(orders.in_order(network, "x"), network)


@pytest.mark.parametrize("form", ["mpo", "ht", "cp"])
def test_two_executions_are_in_the_steady_state(form: str) -> None:
    """The oracle is the period of longer sequences."""
    network = network_of(spec(form))
    base = PRESETS["base"]
    trees = tree.search(network, *tree_costs(network, base), keep=1)
    standing = build(network, base, trees, ("mnkb",), "x").standing
    ends = []
    for n in (4, 5):
        steps = [e for e in repeated(standing, n, base).timeline if e.kind == "Contract"]
        ends.append(max(e.completion or 0 for e in steps))
    assert abs(period(repeated(standing, 2, base)) - (ends[1] - ends[0])) <= 2


def test_what_does_not_fit_is_given_room_and_says_so() -> None:
    arch = PRESETS["nano"].override(x_depth=64, y_depth=64)
    found = compare(Workload("a", spec("cp")), arch, TABLE)
    assert isinstance(found, Comparison)
    row, ours = found.row("ours-last-first"), found.row("ours")
    assert row is not None
    assert ours is not None
    assert (row.roomy, ours.roomy) == (True, False)
    assert row.cycles


def test_all_rows_of_a_format_are_there_and_survive_json() -> None:
    found = compare(Workload("a", spec("mpo")), PRESETS["small"], TABLE, facts={"two_mode": 1})
    assert isinstance(found, Comparison)
    keys = [b.key for b in BASELINES if not b.formats or "mpo" in b.formats]
    assert [row.key for row in found.rows] == keys
    assert not [row.error for row in found.rows if row.error]
    assert Comparison.from_json(found.to_json()) == found


def test_copies_are_counted_as_by_hand() -> None:
    """t[a, c] = x G is read with lanes of a: a run of 16 c is copied per cycle, 16 times.

    COPY reads one vector a cycle, the first one cycle after its launch; the last one's write
    follows 3 cycles later (docs/timing.md): 16 + 3 cycles.
    """
    base = PRESETS["base"]
    sizes = {"a": 16, "b": 16, "c": 16, "d": 16}
    network = Network({"x": ("a", "b"), "G": ("b", "c"), "H": ("c", "d")}, sizes, ("a", "d"))
    root = tree.in_order(network, "x")
    task = Task(
        root, sizes, base, Naming("result"), Slicing(), "x", {0: False, 1: False}, modes=("mn",)
    )
    _, part = fold_with_copies(task)
    assert list(part.copies.values()) == ["t1"]
    _, cold, _ = placed(part, network, base, "x", ("G", "H"))
    found = run(cold.programs(None).run, base)
    [copy] = [e.instruction for e in found.timeline if e.kind == "Copy"]
    assert isinstance(copy, Copy)
    assert np.prod(copy.loop_count) == 16
    assert copy_cycles(found) == 16 + 3
