"""The loop over time: what is in it, and in which order."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip.arch import PRESETS
from einchip.mapper import CellKind, ModelMapping, ModelProblem, map_model, place
from einchip.mapper.ops import Op
from einchip.mapper.order import improved
from einchip.mapper.place import placed
from einchip.mapper.schedule import dependencies
from einchip.mapper.timeline import predict, step_cycles
from einchip.mapper.wires import apart, vector_lanes
from einchip.network import Network
from einchip.program import Contract, Unit
from einchip.reference import Host
from einchip.sim import simulate
from tests.mapper.cases import WIDE, dense, mpo
from tests.mapper.models import MODELS, last, layer
from tests.mapper.run_model import check_model

BASE = PRESETS["base"]
FOUR = (4, 4, 6, 8)  # of 768 units; the gates are no factor of the first output mode
#: The FT-LSTM of four cores, 40 -> 768, and one whose cores are quickest multiplied first.
PROBLEMS = {
    "four cores": last(
        layer(
            "layers.0", CellKind.LSTM, 768,
            (mpo("x", (2, 2, 2, 5), (6, 8, 8, 8), 2), mpo("h", FOUR, (6, 8, 8, 8), 2)),
        )
    ),
    "high rank": last(
        layer(
            "layers.0", CellKind.LSTM, 256,
            (mpo("x", (8, 2, 2, 8), (32, 2, 2, 8), 24), mpo("h", (8, 2, 2, 8), (32, 2, 2, 8), 24)),
        )
    ),
}  # fmt: skip


def steady(mapping: ModelMapping, problem: ModelProblem) -> float:
    """Return the simulator's cycles of a time step."""
    program = mapping.emit().run
    hosts = [Host((0, 1 << 20, 1 << 24, 1 << 25), (n, 0, 0, 0)) for n in (4, 8)]
    short, long = (simulate(program, BASE, host=h, fetch=False).cycles for h in hosts)
    return (long - short) / 4


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_contraction_of_the_loop_depends_on_data(name: str) -> None:
    mapping = map_model(PROBLEMS[name], BASE)
    [phase] = mapping.mapped.phases
    data = {t for net in phase.nets.all for t in net.operands}
    known = data | {f"{t}.next" for t in data}
    steps = [o for o in phase.body if o.unit is Unit.ARRAY]
    for _ in steps:  # until nothing is added
        known |= {w for o in steps if o.reads & known for w in o.writes}
    assert [o.name for o in steps if not o.reads & known] == []
    hoisted = [s.name for net in phase.nets.all for s in net.part.steps if s.name in net.constant]
    assert hoisted
    made = [i for i in mapping.emit().setup.instructions if isinstance(i, Contract)]
    assert len(made) >= len(hoisted)


def test_products_of_weights_are_right_after_setup() -> None:
    modes = (2, 2, 2), (8, 2, 2)
    problem = last(layer("layers.0", CellKind.LSTM, 8, (mpo("x", *modes, 2), mpo("h", *modes, 2))))
    check_model(problem, WIDE["nano"], 3)


def test_products_of_weights_are_padded_where_that_is_quicker() -> None:
    """25 columns, made of two weights by `setup`, are 7 vectors of 4 while four of X are held."""
    sizes = {"a": 16, "f": 4, "b": 150, "c": 5, "d": 5, "g": 9, "e": 32}
    tensors = {"x": "afb", "P": "bcg", "R": "gd", "Q": "afcde"}
    network = Network({n: tuple(t) for n, t in tensors.items()}, sizes, ("e",))
    problem = last(layer("layers.0", CellKind.LSTM, 8, (network, dense("h", 8, 32))))
    [phase] = check_model(problem, WIDE["base"], 2).mapped.phases
    net = next(n for n in phase.nets.all if n.constant)
    step = next(s for s in net.part.steps if any(f.reach for f in s.fold.q))
    assert step.y in net.constant
    assert all(net.part.tensors[name].layout.spare for name in (step.y, step.name))


@pytest.mark.parametrize(("name", "most"), [("four cores", 1150), ("high rank", 3900)])
def test_steps_of_published_layers_keep_their_cycles(name: str, most: int) -> None:
    # Of the simulator; before h had strides of its own beside flat gates 13,816, with the products
    # of cores in the loop 6,003, with trees chosen as if these were 4,680.
    assert steady(map_model(PROBLEMS[name], BASE), PROBLEMS[name]) <= most


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_chosen_order_is_no_slower_than_list_scheduling(name: str) -> None:
    mapping = map_model(PROBLEMS[name], BASE)
    plain = placed([replace(p, order=(), ahead=False) for p in mapping.mapped.phases], BASE)
    scheduled = step_cycles(plain.programs(None).run, BASE)
    assert mapping.step_cycles <= scheduled
    assert steady(mapping, PROBLEMS[name]) <= steady(replace(mapping, mapped=plain), PROBLEMS[name])


#: Models whose input part runs ahead: of each cell, with stages around it, of two phases.
AHEAD = {
    name: MODELS[name]
    for name in (
        "lstm", "gru", "gru_before", "peephole", "rnn_tanh", "stack", "linear before lstm",
        "embedding", "sequence, two heads", "no gate factor", "bidirectional, head",
    )
}  # fmt: skip


@pytest.mark.parametrize("n_steps", [1, 2, 5])
@pytest.mark.parametrize("name", AHEAD)
def test_an_input_part_that_runs_ahead_changes_no_answer(
    name: str, n_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_words = property(lambda mapped: -mapped.run().n_words)  # whatever it costs
    monkeypatch.setattr(place.Mapped, "sequence_cycles", by_words)
    mapping = check_model(AHEAD[name], WIDE["small"], n_steps)
    assert any(p.ahead for p in mapping.mapped.phases)
    assert not any(p.ahead for p in mapping.mapped.phases if p.ports.reverse)


def test_an_input_part_runs_ahead_where_a_sequence_gains() -> None:
    networks = mpo("x", (5, 8), (48, 64), 2), mpo("h", (12, 64), (48, 64), 2)
    mapping = map_model(last(layer("layers.0", CellKind.LSTM, 768, networks)), BASE)
    [phase] = mapping.mapped.phases
    assert phase.ahead
    plain = placed([replace(phase, ahead=False, order=())], BASE)
    assert mapping.cycles(place.SEQUENCE) < predict(plain.programs(None).run, BASE, place.SEQUENCE)
    step = mapping.sequence_bytes(2) - mapping.sequence_bytes(1)
    assert mapping.sequence_bytes(1) == 2 * step  # and the record behind the last one


@given(seed=st.integers(0, 1000))
def test_orders_keep_what_operations_must_follow(seed: int) -> None:
    rng = random.Random(seed)
    names = "abcd"
    ops = [
        Op(
            str(k), Unit.ARRAY, frozenset(rng.sample(names, 1)), frozenset(rng.sample(names, 1)), 1,
            lambda _: [],
        )
        for k in range(5)
    ]  # fmt: skip
    weights = {order: rng.random() for order in itertools.permutations(range(5))}
    found = improved(ops, lambda order: weights[order])
    needs = dependencies(ops)
    allowed = [
        order
        for order in weights
        if all(order.index(i) < order.index(k) for k in range(5) for i in needs[k])
    ]
    assert found in allowed
    assert weights[found] <= weights[tuple(range(5))]


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    strides=st.lists(st.integers(1, 12), min_size=3, max_size=3),
)
def test_vector_lanes_are_the_fewest_vectors_in_different_banks(
    sizes: list[int], strides: list[int]
) -> None:
    lanes = vector_lanes(sizes, [dict(enumerate(strides))], 8)

    def vectors(counts: tuple[int, ...]) -> int:
        found = 1
        for n, c in zip(sizes, counts, strict=True):
            found *= -(-n // c)
        return found

    best = min(
        vectors(counts)
        for counts in itertools.product(*(range(1, n + 1) for n in sizes))
        if sum(c > 1 for c in counts) <= 2
        for group in [tuple((p, c) for p, c in enumerate(counts) if c > 1)]
        if _banks_differ(group, strides)
    )
    chosen = dict(lanes)
    assert vectors(tuple(chosen.get(p, 1) for p in range(len(sizes)))) == best
    assert apart(lanes, dict(enumerate(strides)), 8)


def _banks_differ(lanes: tuple[tuple[int, int], ...], strides: list[int]) -> bool:
    offsets = [
        sum(k * strides[p] for (p, _), k in zip(lanes, at, strict=True)) % 8
        for at in itertools.product(*(range(c) for _, c in lanes))
    ]
    return len(set(offsets)) == len(offsets)
