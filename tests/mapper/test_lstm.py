"""Mapped LSTM layers against `numpy.einsum` and `numeric.lstm_cell`, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einchip import check, numeric, reference
from einchip.arch import PRESETS, Architecture
from einchip.mapper.lstm import LstmMapping, LstmProblem, map_lstm
from einchip.network import Network
from einchip.program import Program
from tests.mapper.order import races

WIDE = {
    name: arch.override(data_bits=16, port_bytes=max(4, arch.port_bytes))
    for name, arch in PRESETS.items()
}
H_FRAC, CELL_FRAC = 3, 10


def mpo(x: str, ins: tuple[int, ...], outs: tuple[int, ...], rank: int) -> Network:
    n = len(ins)
    ranks = [1, *[rank] * (n - 1), 1]
    tensors = {x: tuple(f"i{k}" for k in range(n))}
    tensors |= {f"G{k}": (f"r{k}", f"i{k}", f"o{k}", f"r{k + 1}") for k in range(n)}
    sizes = {f"i{k}": v for k, v in enumerate(ins)} | {f"o{k}": v for k, v in enumerate(outs)}
    sizes |= {f"r{k}": v for k, v in enumerate(ranks)}
    return Network(tensors, sizes, tuple(f"o{k}" for k in range(n)))


def dense(x: str, n_in: int, n_out: int) -> Network:
    return Network({x: ("I",), "W": ("O", "I")}, {"I": n_in, "O": n_out}, ("O",))


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
    memory = reference.Memory.empty(mapping.arch, int(at[-1]) + mapping.output_bytes)
    memory.external[: at[-1]] = b"".join(parts)
    return memory, mapping.host(len(xs), int(at[0]), int(at[1]), int(at[2])), int(at[2])


def both(setup: Program, run: Program) -> tuple[Program, Program]:
    return setup, run


def check_layer(problem: LstmProblem, arch: Architecture, n_steps: int = 4) -> LstmMapping:
    mapping = map_lstm(problem, arch)
    w = weights(mapping, 3)
    xs = small(np.random.default_rng(4), (n_steps, mapping.input_size), 0.5)
    memory, host, out = memory_of(mapping, w, xs)
    programs = mapping.emit(fracs(mapping))
    for program in (programs.setup, programs.run):
        assert check.verify(program, arch, host) == []
        reference.run(program, arch, memory, host)
        assert races(program, arch, host) == []
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
@settings(max_examples=15)
def test_dense_layers_of_any_size_equal_numpy(
    n_in: int, n_hidden: int, classes: int, preset: str
) -> None:
    networks = dense("x", n_in, 4 * n_hidden), dense("h", n_hidden, 4 * n_hidden)
    check_layer(LstmProblem(*networks, n_hidden, classes=classes), WIDE[preset])


def test_a_large_input_is_sliced_and_equals_numpy() -> None:
    arch = WIDE["nano"].override(x_depth=512, y_depth=512)
    problem = LstmProblem(
        mpo("x", (4, 6, 50), (8, 2, 2), 2), mpo("h", (2, 2, 2), (8, 2, 2), 2), 8, classes=3
    )
    mapping = check_layer(problem, arch, 3)
    assert mapping.layer.parts.x.sliced
