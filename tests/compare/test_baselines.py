"""Every executed baseline: values of `numpy.einsum`, folds of its modes, accesses in runs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable

import numpy as np
import pytest

from einchip import energy, reference
from einchip.arch import PRESETS
from einchip.check import verify
from einchip.compare import BASELINES, GAINS, Baseline, Gain, compare, orders
from einchip.compare.baselines import Layouts, State
from einchip.compare.build import Built, Problem, cold, dense, dense_network, placed
from einchip.compare.build import stream as streamed
from einchip.compare.measure import Measured, period, repeated, run, steady
from einchip.compare.table import Comparison, _Workload, batched
from einchip.compare.transposed import fold_with_copies
from einchip.mapper import MappingError, tree
from einchip.mapper.choose import Naming, Task
from einchip.mapper.lanes import ALL_GROUPS, Factor
from einchip.mapper.layout import Layout
from einchip.mapper.plan import Part, Slicing
from einchip.mapper.stream import Stream
from einchip.network import Network
from einchip.program import Copy
from einchip.reference import Host, Memory
from einchip.roofline import roofline
from einchip.sim import simulate
from einchip.workloads import Workload, network_of
from tests.compare.helpers import SPECS, WIDE, expected, small, spec, values
from tests.mapper.order import races

EXECUTED = [b for b in BASELINES if b.state is State.STREAM and b.key != "dense-resident"]
TABLE = energy.load("horowitz45")


CASES = [(f, b) for f in SPECS for b in EXECUTED if not b.formats or f in b.formats]
EVERY = pytest.mark.parametrize(
    ("form", "baseline"), CASES, ids=[f"{form}-{baseline.key}" for form, baseline in CASES]
)


@functools.cache
def workload(form: str, batch: int = 1) -> _Workload:
    return _Workload(spec(form), WIDE, TABLE, batch)


@functools.cache
def problem(form: str, baseline: Baseline, batch: int = 1, cold: bool = False) -> Problem:
    return workload(form, batch).problem(baseline, WIDE.override(fold=baseline.fold), cold)


@functools.cache
def mapped(form: str, baseline: Baseline, batch: int = 1) -> Built:
    return cold(problem(form, baseline, batch, True))


@functools.cache
def stream(form: str, baseline: Baseline) -> Stream:
    found = workload(form)
    return found.ours if baseline.key == "ours" else streamed(problem(form, baseline))


@EVERY
def test_programs_compute_the_values_of_einsum(form: str, baseline: Baseline) -> None:
    built, arch = mapped(form, baseline), WIDE.override(fold=baseline.fold)
    network = network_of(spec(form))
    arrays = small(network, 1)
    for found in values(built, network, arrays, arch):
        np.testing.assert_array_equal(found, expected(network, arrays))
    programs = built.cold.programs(None)
    assert not [v for p in (programs.setup, programs.run) for v in verify(p, arch, Host())]
    assert races(programs.run, arch, Host()) == []


@EVERY
def test_streams_compute_the_values_of_einsum(form: str, baseline: Baseline) -> None:
    """Three inputs in a row, by the reference, which knows no time; and there are no races."""
    made, network, n = stream(form, baseline), network_of(spec(form)), 3
    weights = small(network, 4)
    inputs = np.stack([small(network, k)["x"] for k in range(n)])
    memory = Memory.empty(made.arch, made.external_bytes(n))
    memory.external[:] = made.pack(weights, inputs)
    programs, host = made.programs(), made.host(n)
    for program in (programs.setup, programs.run):
        reference.run(program, made.arch, memory, host)
        assert verify(program, made.arch, host) == []
        assert races(program, made.arch, host) == []
    wanted = [expected(network, {**weights, "x": x}) for x in inputs]
    np.testing.assert_array_equal(made.unpack(memory.external, n), wanted)


@pytest.mark.parametrize("key", ["outer", "inner", "ours-unmerged"])
def test_a_batch_computes_the_values_of_einsum(key: str) -> None:
    baseline = next(b for b in BASELINES if b.key == key)
    network = batched(network_of(spec("mpo")), 3)
    arrays = small(network, 2)
    arch = WIDE.override(fold=baseline.fold)
    for found in values(mapped("mpo", baseline, 3), network, arrays, arch):
        np.testing.assert_array_equal(found, expected(network, arrays))


@pytest.mark.parametrize(("batch", "resident"), [(1, True), (1, False), (5, True), (5, False)])
def test_the_dense_product_computes_the_values_of_einsum(batch: int, resident: bool) -> None:
    built = dense(60, 48, batch, WIDE, resident)
    n_outputs = 48 // built.times
    network = dense_network(60, n_outputs, batch)
    arrays = small(network, 3)
    for found in values(built, network, arrays, WIDE):
        np.testing.assert_array_equal(found, expected(network, arrays))
    assert resident == (not built.part.slicing.index)


def test_dense_weights_that_do_not_fit_are_streamed_in_parts() -> None:
    arch = WIDE.override(x_depth=64, y_depth=64, y_window=0)
    built = dense(60, 48, 1, arch, False)
    assert built.part.slicing.count * built.times > 1
    with pytest.raises(MappingError, match="scratchpad"):
        dense(60, 48, 1, arch, True)


def offsets(layout: Layout, lanes: Iterable[Factor]) -> list[int]:
    """Return the offsets of an access, lane by lane."""
    ways = [[k * f.step * layout.stride(f.index) for k in range(f.count)] for f in lanes]
    return sorted(sum(at) for at in itertools.product(*ways))


@EVERY
def test_no_fold_is_outside_its_modes(form: str, baseline: Baseline) -> None:
    for part in (mapped(form, baseline).part, stream(form, baseline).part):
        for step in part.steps:
            used = {g for g in "mnkbh" if getattr(step.fold, g)}
            assert any(used <= set(mode) for mode in baseline.modes)
            assert baseline.modes == (ALL_GROUPS,) or not step.fold.n_fused
            assert baseline.fold in ("ip", "flex") or not step.fold.h


def test_only_ours_and_the_dense_rows_hold_operands() -> None:
    for b in BASELINES:
        own = b.key.startswith(("ours", "dense", "least-macs"))
        assert own or (b.fold == "hybrid" and not {"h"} & set("".join(b.modes))), b.key


@EVERY
def test_with_fixed_layouts_every_access_to_an_intermediate_is_a_run(
    form: str, baseline: Baseline
) -> None:
    for part in (mapped(form, baseline).part, stream(form, baseline).part):
        if baseline.layouts is Layouts.COPIES:
            assert_runs(part)
        else:
            assert not part.copies


def assert_runs(part: Part) -> None:
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
    layouts = slow.layouts != quick.layouts or slow.modes != quick.modes
    if gain.what.startswith("modes"):
        layouts = slow.layouts != quick.layouts
        assert slow.modes != quick.modes
        assert (slow.order, slow.fold, slow.layouts) == (quick.order, quick.fold, quick.layouts)
        return
    assert (slow.order != quick.order) + (slow.fold != quick.fold) + layouts == 1


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


@pytest.mark.parametrize("key", ["ours", "tetrix", "ours-copies", "least-macs"])
def test_a_stream_is_measured_in_its_steady_state(key: str) -> None:
    """The oracle is the period of a longer stream."""
    made = stream("ht", next(b for b in BASELINES if b.key == key))
    ends = [simulate(made.programs().run, made.arch, fetch=False, host=made.host(n)).cycles
            for n in (20, 40)]  # fmt: skip
    assert abs(steady(made, TABLE).cycles - (ends[1] - ends[0]) / 20) <= 1


def test_two_dense_executions_are_in_the_steady_state() -> None:
    """The oracle is the period of longer sequences."""
    standing = dense(60, 48, 1, WIDE, False).standing
    ends = []
    for n in (4, 5):
        steps = [e for e in repeated(standing, n, WIDE).timeline if e.kind == "Contract"]
        ends.append(max(e.completion or 0 for e in steps))
    assert abs(period(repeated(standing, 2, WIDE)) - (ends[1] - ends[0])) <= 2


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
    _, once = placed(part, network, base, "x", ("G", "H"))
    found = run(once.programs(None).run, base)
    [copy] = [e for e in found.timeline if e.kind == "Copy"]
    assert isinstance(copy.instruction, Copy)
    assert np.prod(copy.instruction.loop_count) == 16
    assert copy.completion is not None
    assert copy.completion - copy.launch == 16 + 3
    assert Measured.of(found.counters, 1, base, TABLE).copy_cycles == 16


def test_progress_is_told_row_by_row() -> None:
    told: list[tuple[str, int, int]] = []
    tell = lambda *row: told.append(row)  # noqa: E731
    found = compare(Workload("a", spec("mpo")), PRESETS["nano"], TABLE, progress=tell)
    assert isinstance(found, Comparison)
    assert [k for _, k, _ in told] == list(range(1, len(found.rows) + 1))
    assert {n for _, _, n in told} == {len(found.rows)}
