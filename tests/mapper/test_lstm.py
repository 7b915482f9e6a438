"""Mapped LSTM layers against `numpy.einsum` and `numeric.lstm_cell`, step by step."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from einchip import check, numeric, reference
from einchip.arch import Architecture
from einchip.mapper.errors import MappingError
from einchip.mapper.lstm import LstmMapping, LstmProblem, map_lstm
from einchip.network import Network
from einchip.sim.machine import simulate
from tests.mapper.cases import WIDE, dense, mpo, mps
from tests.mapper.order import races

H_FRAC, CELL_FRAC = 3, 10


PROBLEMS = {
    "dense": LstmProblem(dense("x", 12, 64), dense("h", 16, 64), 16, classes=9),
    "no head": LstmProblem(dense("x", 5, 20), dense("h", 5, 20), 5),
    "prime hidden size": LstmProblem(dense("x", 3, 92), dense("h", 23, 92), 23, classes=2),
    "mpo": LstmProblem(mpo("x", (3, 4), (8, 4), 2), mpo("h", (2, 4), (8, 4), 2), 8, classes=3),
    "other hidden modes": LstmProblem(
        mpo("x", (3, 4), (64, 4), 2), mpo("h", (8, 8), (32, 8), 2), 64, classes=3
    ),
    "dense hidden, mpo input": LstmProblem(
        mpo("x", (3, 2, 3), (8, 3, 2), 2), dense("h", 12, 48), 12, classes=5
    ),
}


def small(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> np.ndarray:
    return rng.choice([-1, 0, 1], shape, p=[density / 2, 1 - density, density / 2])


def weights(mapping: LstmMapping, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: small(rng, r.shape, 0.7) for n, r in mapping.layer.weights.items()}


def fracs(mapping: LstmMapping) -> dict[str, int]:
    """All integers, but h and what is computed from it."""
    found = dict.fromkeys(mapping.layer.weights, 0) | {"x": 0, "h": H_FRAC, "cell": CELL_FRAC}
    found |= {s.name: 0 for s in mapping.layer.parts.inputs.steps}
    behind_h = {"h"}
    for s in mapping.layer.parts.hidden.steps:
        fed = s.left in behind_h or s.right in behind_h
        behind_h |= {s.name} if fed else set()
        found[s.name] = H_FRAC if fed else 0
    return found | {"logits": H_FRAC}


def expected(problem: LstmProblem, w: dict[str, np.ndarray], xs: np.ndarray) -> np.ndarray:
    def gates(network: Network, prefix: str, name: str, value: np.ndarray) -> np.ndarray:
        arrays = {n: w[prefix + n].reshape(network.shape(n)) for n in network.tensors if n != name}
        arrays[name] = value.reshape(network.shape(name))
        return network.contract(arrays).reshape(-1).astype(np.int64)

    h = np.zeros(problem.hidden_size, dtype=np.int64)
    cell = np.zeros(problem.hidden_size, dtype=np.int64)
    for x in xs:
        z = gates(problem.inputs, "input.", problem.x, x) + w["bias"].reshape(-1)
        z = (z << H_FRAC) + gates(problem.hidden, "hidden.", problem.h, h)
        i, f, g, o = z.reshape(4, -1)
        cell, h = numeric.lstm_cell(
            (i, f, g, o), cell, gate_frac=H_FRAC, cell_frac=CELL_FRAC, hidden_frac=H_FRAC,
            data_bits=16,
        )  # fmt: skip
    if not problem.classes:
        return h
    head = w["head.weight"].reshape(problem.classes, -1)
    return head @ h + (w["head.bias"].reshape(-1) << H_FRAC)


def memory_of(
    mapping: LstmMapping, w: dict[str, np.ndarray], xs: np.ndarray
) -> tuple[reference.Memory, reference.Host, int]:
    parts = [mapping.pack_weights(w), mapping.pack_sequence(xs)]
    at = np.cumsum([0, *(len(p) for p in parts)])
    assert len(parts[1]) == mapping.sequence_bytes(len(xs))
    memory = reference.Memory.empty(mapping.arch, int(at[-1]) + mapping.output_bytes)
    memory.external[: at[-1]] = b"".join(parts)
    return memory, mapping.host(len(xs), int(at[0]), int(at[1]), int(at[2])), int(at[2])


def check_layer(problem: LstmProblem, arch: Architecture, n_steps: int = 4) -> LstmMapping:
    mapping = map_lstm(problem, arch)
    w = weights(mapping, 3)
    xs = small(np.random.default_rng(4), (n_steps, mapping.input_size), 0.5)
    memory, host, out = memory_of(mapping, w, xs)
    programs = mapping.emit(fracs(mapping))
    simulated = memory.copy()
    for program in (programs.setup, programs.run):
        assert check.verify(program, arch, host) == []
        reference.run(program, arch, memory, host)
        assert races(program, arch, host) == []
        simulate(program, arch, memory=simulated, host=host, check_races=True)
    assert simulated.external == memory.external
    got = mapping.unpack(memory.external[out:])
    np.testing.assert_array_equal(got, expected(problem, w, xs))
    return mapping


@pytest.mark.parametrize("preset", sorted(WIDE))
@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_a_layer_equals_numpy(name: str, preset: str) -> None:
    check_layer(PROBLEMS[name], WIDE[preset])


def test_a_single_step_equals_numpy() -> None:
    check_layer(PROBLEMS["mpo"], WIDE["small"], 1)


@given(
    n_in=st.integers(1, 9), n_hidden=st.integers(1, 20), classes=st.integers(0, 18),
    preset=st.sampled_from(sorted(WIDE)),
)  # fmt: skip
def test_dense_layers_of_any_size_equal_numpy(
    n_in: int, n_hidden: int, classes: int, preset: str
) -> None:
    networks = dense("x", n_in, 4 * n_hidden), dense("h", n_hidden, 4 * n_hidden)
    check_layer(LstmProblem(*networks, n_hidden, classes=classes), WIDE[preset])


@st.composite
def layers(draw: st.DrawFn) -> LstmProblem:
    """Layers whose input and hidden matrices have modes of the same hidden units."""
    units = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    ins = tuple(draw(st.lists(st.integers(1, 6), min_size=len(units), max_size=len(units))))
    outs = (4 * units[0], *units[1:])
    n_hidden = int(np.prod(units))
    assume(n_hidden <= 40)
    rank = draw(st.integers(1, 3))

    def network(x: str, modes: tuple[int, ...]) -> Network:
        kind = draw(st.sampled_from(["dense", "mpo", "mps"]))
        if kind == "dense":
            return dense(x, int(np.prod(modes)), 4 * n_hidden)
        return (mpo if kind == "mpo" else mps)(x, modes, outs, rank)

    classes = draw(st.integers(0, 5))
    return LstmProblem(network("x", ins), network("h", units), n_hidden, classes=classes)


@given(problem=layers(), preset=st.sampled_from(sorted(WIDE)))
def test_random_layers_equal_numpy(problem: LstmProblem, preset: str) -> None:
    check_layer(problem, WIDE[preset], 3)


def test_hidden_modes_without_common_factors_are_refused() -> None:
    problem = LstmProblem(mpo("x", (2, 2), (24, 4), 2), mpo("h", (4, 6), (16, 6), 2), 24)
    with pytest.raises(MappingError, match="expected modes with common factors"):
        map_lstm(problem, WIDE["base"])


def test_a_first_output_mode_without_the_gates_is_refused() -> None:
    problem = LstmProblem(mpo("x", (2, 2), (6, 16), 2), mpo("h", (4, 6), (16, 6), 2), 24)
    with pytest.raises(MappingError, match="expected the first a multiple of 4"):
        map_lstm(problem, WIDE["base"])


def test_a_layer_that_does_not_fit_names_the_scratchpad() -> None:
    problem = LstmProblem(dense("x", 4, 512), dense("h", 128, 512), 128)
    with pytest.raises(MappingError, match="scratchpad"):
        map_lstm(problem, WIDE["nano"])


def test_a_mapping_prints_itself_as_json_and_as_loop_nests() -> None:
    mapping = map_lstm(PROBLEMS["mpo"], WIDE["base"])
    data = json.loads(json.dumps(mapping.to_json()))
    assert data["macs_per_step"] == mapping.macs <= data["macs_naive_per_step"]
    assert [c.result for c in mapping.steps][-1] == "logits"
    assert "gates[" in mapping.explain()


def test_a_large_input_is_sliced_and_equals_numpy() -> None:
    arch = WIDE["nano"].override(x_depth=512, y_depth=512)
    problem = LstmProblem(
        mpo("x", (4, 6, 50), (8, 2, 2), 2), mpo("h", (2, 2, 2), (8, 2, 2), 2), 8, classes=3
    )
    mapping = check_layer(problem, arch, 3)
    assert mapping.layer.parts.x.sliced
