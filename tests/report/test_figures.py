"""What a report says: sums that must agree with the simulator, the mapper and the energy model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod

import numpy as np
import pytest

from einchip import energy
from einchip.compiler import quantisation
from einchip.compiler.compiled import compile_model
from einchip.compiler.report import accuracy
from einchip.energy import sensitivity
from einchip.models import load_model, random_model
from einchip.program import WORD_BYTES, UnitInstruction
from einchip.report import over_time
from einchip.report.accuracy import measured
from einchip.report.bottleneck import bottleneck
from einchip.report.data import TreeNode
from einchip.report.dense import compare, dense_spec
from einchip.report.energy_table import coefficients
from einchip.report.program import ACTIONS
from einchip.report.record import STATES, UNITS
from einchip.report.runs import ReportError, simulated
from einchip.report.steps import Steps
from einchip.sim import Run, simulate
from tests.compiler.helpers import VOWELS
from tests.report.helpers import Example, without_weights


def test_headline_is_what_the_simulator_counts(made: Example) -> None:
    """Oracle: `sim.simulate` on every sequence of the folder; the manifest's bounds."""
    runs = [
        simulate(
            made.folder.run, made.folder.arch, host=made.folder.host(n),
            external_bytes=made.folder.places.size,
        )
        for n, _ in made.folder.sequences
    ]  # fmt: skip
    r, h = made.report, made.report.headline
    total = {name: sum(run.counters[name] for run in runs) for name in runs[0].counters}
    assert h.cycles == total["cycles"] == sum(run.cycles for run in r.runs)
    assert {c.name: c.value for c in r.counters} == total
    assert h.bound_cycles == sum(s.bound_cycles for s in made.folder.manifest.sequences)
    assert h.ratio == h.cycles / h.bound_cycles
    spent = energy.energy(total, made.folder.arch, "horowitz45", made.folder.run)
    assert h.energy_pj == spent.total_pj
    assert r.energy.by_component_pj == spent.by_component
    assert h.model == made.model.spec.name


def test_states_of_units_add_up_to_all_cycles(made: Example) -> None:
    """Oracle: one state of each unit in each cycle, so that shares add up to one."""
    for unit in UNITS:
        own = [s for s in made.report.units if s.unit == unit]
        assert sum(s.cycles for s in own) == made.report.headline.cycles
        assert sum(s.share for s in own) == pytest.approx(1)


def test_operations_count_what_the_machine_counts(made: Example) -> None:
    """Oracle: the counters, less the program's fetch and what the sequencer does alone."""
    total = Counter[str]()
    for name in made.steps.lines:
        total.update(made.steps.counted(name))
    counters, n_runs = made.runs.counters, len(made.runs.lengths)
    fetched = n_runs * made.folder.run.n_words * WORD_BYTES // made.folder.arch.port_bytes
    for action in ACTIONS:
        if action == "dma_read_beats":
            assert total[action] + fetched == counters[action]
        elif action != "instructions":
            assert total[action] == counters[action], action
    launched = sum(len(run.timeline) * times for times, run in whole_runs(made))
    assert total["instructions"] == launched <= counters["instructions"]


def whole_runs(made: Example) -> list[tuple[int, Run]]:
    return [(times, record.run) for _, times, record in made.runs.records]


def test_cycles_of_operations_are_those_of_their_units(made: Example) -> None:
    """Oracle: the counters of each state; idle cycles are of no operation."""
    assert made.report.recorded.whole
    found = Counter[tuple[str, str]]()
    for step in made.report.steps:
        for state, n in step.cycles.items():
            found[step.unit, state] += n
    counters, fetch = made.runs.counters, Counter[str]()
    for _, times, record in made.runs.records:
        for (unit, state, pc), n in record.by_pc.items():
            if unit == "load" and pc < 0:
                fetch[state] += times * n
    for unit in UNITS:
        for state in STATES[unit]:
            if state != "idle":
                own = found[unit, state] + (fetch[state] if unit == "load" else 0)
                assert own == counters[f"{unit}_{state}"], (unit, state)


def test_energy_of_operations_adds_up_to_that_of_the_runs(made: Example) -> None:
    """Oracle: `einchip.energy` on the counters of all runs; no part is negative."""
    r = made.report
    for component, total in r.energy.by_component_pj.items():
        own = sum(s.energy_pj.get(component, 0.0) for s in r.steps)
        assert own + r.energy.other_pj.get(component, 0.0) == pytest.approx(total)
    assert min(r.energy.other_pj.values()) >= 0
    assert sum(e.total_pj for e in r.energy.lines) == pytest.approx(r.headline.energy_pj)


def test_what_decides_a_line_of_energy_moves_it(made: Example) -> None:
    """Oracle: `einchip.energy` with the named coefficient doubled: alone, it doubles the line."""
    table, total = energy.load("horowitz45"), made.runs.counters
    named = {c.name: c for c in sensitivity.coefficients(table)}
    for k, line in enumerate(made.report.energy.lines):
        if not line.total_pj:
            assert line.decides == ""
            continue
        name, _, share = line.decides.partition(",")
        doubled = sensitivity.scaled(table, named[name], 2)
        moved = energy.energy(total, made.folder.arch, doubled, made.folder.run).lines[k].total_pj
        assert moved > line.total_pj
        assert share or moved == pytest.approx(2 * line.total_pj, rel=0.01)


@pytest.mark.parametrize("table", energy.tables())
def test_every_coefficient_has_unit_and_source(table: str) -> None:
    """Oracle: the fields of the table."""
    loaded = energy.load(table)
    found = coefficients(loaded)
    assert [c.name for c in found] == list(loaded.actions())
    assert all(c.values and c.unit and c.process and c.source for c in found)


def test_losses_and_floor_are_all_cycles(made: Example) -> None:
    """Oracle: every cycle of the unit in question is in one state; slots by the counters."""
    b, cycles = made.report.bottleneck, made.report.headline.cycles
    assert b.unit == "array"
    assert b.floor_cycles + sum(x.cycles for x in b.losses) == pytest.approx(cycles)
    assert min(x.cycles for x in b.losses) >= 0
    assert b.floor_cycles == made.runs.counters["macs"] / made.folder.arch.n_pes
    assert b.won_cycles == max(x.cycles for x in b.losses)
    assert f"{b.won_cycles:,.0f} cycles" in b.sentence
    assert b.cause in b.sentence
    waited = Counter[str]()
    for w in b.waits:
        waited[w.unit] += w.cycles
    for unit in UNITS:
        assert waited[unit] == made.runs.counters[f"{unit}_stall_token"]


def test_slow_memory_is_named_as_the_bottleneck(made: Example) -> None:
    """Oracle: with a memory that takes 3,000 cycles the load unit does nothing but wait for it."""
    slow = simulated(made.folder, 3000, lambda _: None)
    found = bottleneck(replace(made.steps, runs=slow))
    assert found.unit == "load"
    assert "external memory had not answered yet" in found.sentence
    assert found.won_cycles == slow.counters["load_stall_memory"]
    assert found.floor_cycles + sum(x.cycles for x in found.losses) == slow.counters["cycles"]


def test_timeline_is_whole(made: Example) -> None:
    """Oracle: the pieces of each unit follow one another from the first cycle to the last."""
    t = made.report.timeline
    assert t.cycles == t.run_cycles == made.report.runs[0].cycles
    for unit in UNITS:
        at = 0
        for s in (s for s in t.segments if s.unit == unit):
            assert s.start == at
            at += s.cycles
        assert at == t.cycles
    assert t.step_start is not None
    assert t.step_end is not None
    assert 0 < t.step_start < t.step_end <= t.cycles


def test_long_runs_are_cut_and_the_rule_says_so(
    made: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the limits, made small."""
    monkeypatch.setattr("einchip.report.runs.MAX_RECORDED", 1200)
    monkeypatch.setattr("einchip.report.runs.MAX_DETAIL", 300)
    few = simulated(made.folder, 8, lambda _: None)
    assert few.counters == made.runs.counters
    recorded = few.recorded()
    assert not recorded.whole
    assert recorded.cycles <= 1200
    assert f"first {recorded.n_steps[0]} time steps" in recorded.rule
    steps = replace(made.steps, runs=few)
    drawn = over_time.timeline(steps)
    assert (drawn.cycles, drawn.run_cycles) == (300, recorded.cycles)
    assert drawn.rule.startswith("the first 300 of ")
    assert sum(s.cycles for s in drawn.segments) == 4 * 300
    shares = over_time.utilisation(steps).units["array"]
    assert len(shares) * over_time.utilisation(steps).bin_cycles >= recorded.cycles
    for s in steps.figures():
        if s.contraction:
            assert 0 < s.contraction.achieved <= s.contraction.roof * (1 + 1e-9)


def test_multipliers_in_use_over_time_are_those_of_all_cycles(made: Example) -> None:
    """Oracle: the counter of MACs of the run that is drawn."""
    u, run = made.report.utilisation, made.runs.timed[0]
    width, cycles = u.bin_cycles, run.cycles
    sizes = [min(width, cycles - k * width) for k in range(len(u.multipliers))]
    n_pes = made.folder.arch.n_pes
    found = sum(m * n * n_pes for m, n in zip(u.multipliers, sizes, strict=True))
    assert found == pytest.approx(run.counters["macs"], rel=1e-3)
    busy = sum(s * n for s, n in zip(u.units["array"], sizes, strict=True))
    assert busy == pytest.approx(run.counters["array_issue"], rel=1e-3)


def test_no_two_values_are_in_one_place_at_one_time(made: Example) -> None:
    """Oracle: a map of every element in every cycle."""
    m, cycles = made.report.memory, made.report.timeline.cycles
    for pad in m.scratchpads:
        held = np.zeros((pad.capacity, cycles), dtype=np.int8)
        for v in (v for v in m.lives if v.space == pad.space):
            held[v.base : v.base + v.elements, v.start : v.end] += 1
        assert held.max() == 1
        assert pad.peak == held.sum(axis=0).max()
        assert pad.peak <= pad.placed <= pad.capacity


def test_steps_reach_no_more_than_their_roof(made: Example) -> None:
    """Oracle: the roofline's own terms; MACs by the sizes of the networks."""
    whole = {s.name: s for s in made.mapped.steps}
    for s in made.report.steps:
        if s.contraction is None:
            continue
        c, sizes = s.contraction, whole[s.name]
        d = sizes.described
        both = sizes.indices(d["x"]) | sizes.indices(d["y"])
        n_whole = made.steps.whole(s.name, made.steps.executions)
        assert s.macs == n_whole * prod(both.values())
        assert 0 < c.achieved <= c.roof <= made.folder.arch.n_pes
        assert c.loop_nest.startswith(f"{s.name}[")
        assert (c.limit == "multipliers") == (c.roof == made.folder.arch.n_pes)
    assert {s.name for s in made.report.steps if s.contraction} | {
        n.name for n in nodes(made) if n.number.startswith("S")
    } == set(whole)


def nodes(made: Example) -> list[TreeNode]:
    def below(node: TreeNode) -> list[TreeNode]:
        return [node, *(n for o in node.operands for n in below(o))]

    return [n for network in made.report.networks for n in below(network.root)]


def test_trees_have_every_bond_and_the_order_of_execution(made: Example) -> None:
    """Oracle: the model's tensors, whose elements are the stored weights; the program's order."""
    found = nodes(made)
    weights = {n.name: prod(n.bond.values()) for n in found if n.role == "weight"}
    biases = sum(t.size for name, t in made.model.tensors.items() if name.endswith("bias"))
    assert sum(weights.values()) + biases == sum(t.size for t in made.model.tensors.values())
    numbers = [int(n.number) for n in found if n.number.isdigit()]
    assert len(set(numbers)) == len(numbers)
    by_number = {s.number: s.name for s in made.report.steps}
    assert all(by_number[int(n.number)] == n.name for n in found if n.number.isdigit())
    for n in found:
        below = {i: k for o in n.operands for i, k in o.bond.items()}
        if n.operands:
            assert {**n.bond, **n.summed} == below


def test_the_plan_names_every_instruction(made: Example) -> None:
    """Oracle: units and scratchpads of the instructions; buffers of the operations lie there."""
    code = made.steps.code
    for program, plan in ((made.folder.setup, code.plan.setup), (made.folder.run, code.plan.run)):
        own = [i for i in program.instructions if isinstance(i, UnitInstruction)]
        assert len(own) == len(plan)
        for i, o in zip(own, plan, strict=True):
            assert bool(o.step) == (i.UNIT.name == "ARRAY")
            kind = o.name.split(" ")[0]
            if kind in ("load", "store", "fill", "copy"):
                assert type(i).__name__.lower() == kind
    spaces = {b.name: b.space for b in code.plan.buffers}
    for line in code.lines.values():
        for name in line.operation.writes:
            target = getattr(line.instruction, "z_space", None)
            if target is not None and name in spaces:
                assert spaces[name] == target


def test_dense_figures_are_those_of_the_dense_model(made: Example) -> None:
    """Oracle: the dense model, compiled and simulated by itself."""
    spec = dense_spec(made.model.spec)
    dense = compile_model(random_model(spec, 1), made.folder.arch, made.train.sequences)
    places = dense.places(max(made.runs.lengths))
    cycles = sum(
        simulate(
            dense.programs.run, dense.arch, host=places.host(n), external_bytes=places.size
        ).cycles
        for n in made.runs.lengths
    )
    found = made.report.dense
    assert found is not None
    own, other = found.forms
    assert other.cycles == cycles
    assert own.cycles == made.report.headline.cycles
    assert f"{cycles / own.cycles:.2f} times as fast" in found.sentence
    assert other.weights == sum(
        t.size
        for n, t in random_model(spec, 1).tensors.items()
        if ".bias" not in n and "layers.1" not in n
    )


def test_a_dense_model_that_does_not_fit_is_said(made: Example) -> None:
    """Oracle: the mapper's message."""
    tiny = made.folder.arch.override(x_depth=64, y_depth=64)
    code = replace(made.steps.code, arch=tiny)
    steps = Steps(made.runs, code, made.mapped, made.steps.table)
    found = compare(steps, 1)
    assert len(found.forms) == 1
    assert "does not run on" in found.sentence
    assert "expected at most" in found.sentence


def test_accuracy_is_that_of_the_folders_program(made: Example) -> None:
    """Oracle: the compiled model's own answers; `quantisation.steps`."""
    found = made.report.accuracy
    assert found is not None
    answers = made.compiled.evaluate(made.test.sequences)
    assert found.accuracy_fixed == accuracy(answers, made.test.labels)
    real = [made.model.run(s) for s in made.test.sequences]
    assert found.accuracy_float == accuracy(real, made.test.labels)
    expected = quantisation.steps(
        made.model, made.folder.arch, made.train.sequences, made.test.sequences, lambda: None
    )
    assert [s.model_dump() for s in found.by_step] == [vars(s) for s in expected]


def test_another_model_is_refused(made: Example) -> None:
    """Oracle: a model of other weights, one of other formats."""
    for model, text in (
        (without_weights(made.model), "other weights"),
        (load_model(VOWELS / "mpo.safetensors"), "other layers or formats"),
    ):
        given = replace(made.given, model=model)
        with pytest.raises(ReportError, match=text) as caught:
            measured(made.folder, made.mapped.plan, given, lambda _: None)
        assert len(str(caught.value).splitlines()) == 1
