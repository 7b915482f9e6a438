"""Small models that the mapper's tests share."""

from __future__ import annotations

from collections.abc import Callable

from einchip.mapper import CellKind, Direction, Linear, ModelProblem, Recurrent
from einchip.network import Network
from einchip.program import Act
from tests.mapper.cases import dense, mpo, mps

Matrix = Callable[[str], Network]  # the data tensor's name -> the network


def layer(
    name: str, cell: CellKind, hidden_size: int, *networks: tuple[Network, Network]
) -> Recurrent:
    """Return a recurrent layer, one pair of matrices for each direction."""
    return Recurrent(name, cell, hidden_size, tuple(Direction(*n) for n in networks))


def dense_layer(name: str, cell: CellKind, n_in: int, n: int, directions: int = 1) -> Recurrent:
    """Return a recurrent layer with dense matrices."""
    gates = cell.n_gates * n
    return layer(name, cell, n, *[(dense("x", n_in, gates), dense("h", n, gates))] * directions)


def linear(name: str, network: Network, act: Act = Act.NONE, bias: bool = True) -> Linear:
    """Return a linear stage; the network's weights are named as the compiler names them."""
    tensors = {(n if n == "x" else f"weight.{n}"): t for n, t in network.tensors.items()}
    return Linear(name, Network(tensors, network.sizes, network.output), ("x",), bias, act)


def dense_linear(name: str, n_in: int, n_out: int, act: Act = Act.NONE) -> Linear:
    """Return a dense linear stage."""
    return linear(name, dense("x", n_in, n_out), act)


def embedding(sizes: tuple[int, ...], outs: tuple[int, ...], rank: int) -> Linear:
    """Return a TT-embedding without bias: one one-hot operand for each digit of a token."""
    network = mpo("x", sizes, outs, rank)
    tensors: dict[str, tuple[str, ...]] = {f"e{k}": (f"i{k}",) for k in range(len(sizes))}
    tensors |= {n: t for n, t in network.tensors.items() if n != "x"}
    operands = tuple(f"e{k}" for k in range(len(sizes)))
    given = Network(tensors, network.sizes, network.output)
    return Linear("embedding", given, operands, bias=False)


def separate(x: str, ins: tuple[int, ...], outs: tuple[int, ...], rank: int, n: int) -> Network:
    """Return n TT-matrices, one for each gate: the gate is a hyperedge `g`."""
    network = mpo(x, ins, outs, rank)
    tensors = {k: (t if k == x else ("g", *t)) for k, t in network.tensors.items()}
    return Network(tensors, {**network.sizes, "g": n}, ("g", *network.output))


def gru_mpo(cell: CellKind) -> Recurrent:
    """Return a GRU of MPO matrices, 12 units."""
    return layer("layers.0", cell, 12, (mpo("x", (3, 4), (9, 4), 2), mpo("h", (3, 4), (9, 4), 2)))


def last(*stages: Linear | Recurrent) -> ModelProblem:
    """Return a model that answers once."""
    return ModelProblem(stages)


def sequence(*stages: Linear | Recurrent) -> ModelProblem:
    """Return a model that answers at every step."""
    return ModelProblem(stages, "sequence")


K = CellKind
L0, L1, L2, L3 = (f"layers.{k}" for k in range(4))

MODELS: dict[str, ModelProblem] = {
    f"{kind.value}": last(dense_layer(L0, kind, 6, 10), dense_linear(L1, 10, 3)) for kind in K
}
MODELS |= {f"{kind.value}, 13 units, no head": last(dense_layer(L0, kind, 5, 13)) for kind in K}
MODELS |= {
    "gru, mpo": last(gru_mpo(K.GRU), dense_linear(L1, 12, 5)),
    "gru before, mpo": last(gru_mpo(K.GRU_BEFORE), dense_linear(L1, 12, 5)),
    "gru before, one network per gate": last(
        layer(
            L0, K.GRU_BEFORE, 12,
            (separate("x", (3, 2), (3, 4), 2, 3), separate("h", (3, 4), (3, 4), 2, 3)),
        )
    ),
    "lstm, one network per gate": last(
        layer(
            L0, K.LSTM, 12,
            (separate("x", (3, 2), (3, 4), 2, 4), separate("h", (3, 4), (3, 4), 2, 4)),
        ),
        dense_linear(L1, 12, 4),
    ),
    "peepholes, mps": last(
        layer(L0, K.PEEPHOLE, 12, (mps("x", (2, 3), (12, 4), 2), mpo("h", (3, 4), (12, 4), 2)))
    ),
    "stack": last(
        dense_layer(L0, K.LSTM, 6, 12), dense_layer(L1, K.GRU, 12, 7), dense_linear(L2, 7, 3)
    ),
    "stack of three, sequence": sequence(
        dense_layer(L0, K.RNN_TANH, 6, 12), dense_layer(L1, K.GRU_BEFORE, 12, 7),
        dense_layer(L2, K.PEEPHOLE, 7, 5),
    ),
    "stack, other modes": last(
        layer(L0, K.LSTM, 24, (dense("x", 6, 96), mpo("h", (4, 6), (16, 6), 2))),
        layer(L1, K.LSTM, 12, (mpo("x", (6, 4), (12, 4), 2), dense("h", 12, 48))),
    ),
    "sequence": sequence(dense_layer(L0, K.LSTM, 6, 12)),
    "sequence, head": sequence(dense_layer(L0, K.GRU, 6, 12), dense_linear(L1, 12, 3)),
    "sequence, two heads": sequence(
        dense_layer(L0, K.LSTM, 6, 12), dense_linear(L1, 12, 9, Act.RELU),
        dense_linear(L2, 9, 2, Act.SIGMOID),
    ),
    "bidirectional": last(dense_layer(L0, K.LSTM, 6, 10, 2)),
    "bidirectional, head": last(dense_layer(L0, K.GRU, 6, 10, 2), dense_linear(L1, 20, 3)),
    "bidirectional, sequence": sequence(dense_layer(L0, K.LSTM, 6, 10, 2)),
    "bidirectional, head, sequence": sequence(
        dense_layer(L0, K.RNN_RELU, 6, 10, 2), dense_linear(L1, 20, 3)
    ),
    "bidirectional stack": last(
        dense_layer(L0, K.LSTM, 6, 10, 2), dense_layer(L1, K.LSTM, 20, 8, 2),
        dense_linear(L2, 16, 5),
    ),
    "linear before bidirectional": last(
        dense_linear(L0, 6, 8, Act.TANH), dense_layer(L1, K.LSTM, 8, 6, 2)
    ),
    "linear only": sequence(dense_linear(L0, 6, 20, Act.RELU), dense_linear(L1, 20, 3)),
    "linear, mpo": sequence(
        linear(L0, mpo("x", (4, 6), (6, 4), 2)), linear(L1, mpo("x", (4, 6), (2, 5), 2))
    ),
    "linear before lstm": last(
        dense_linear(L0, 9, 8), dense_layer(L1, K.LSTM, 8, 6), dense_linear(L2, 6, 4),
        dense_linear(L3, 4, 2, Act.TANH),
    ),
    "embedding": last(
        embedding((4, 5), (2, 3), 3), dense_layer(L0, K.LSTM, 6, 8), dense_linear(L1, 8, 2)
    ),
    "embedding, bidirectional": sequence(
        embedding((4, 5, 3), (2, 3, 2), 3), dense_layer(L0, K.GRU, 12, 8, 2),
        dense_linear(L1, 16, 4),
    ),
    "no common factors": last(
        layer(L0, K.LSTM, 24, (mpo("x", (2, 2), (24, 4), 2), mpo("h", (4, 6), (16, 6), 2))),
        dense_linear(L1, 24, 3),
    ),
    "no gate factor": last(
        layer(L0, K.LSTM, 24, (mpo("x", (2, 2), (6, 16), 2), mpo("h", (4, 6), (16, 6), 2)))
    ),
    "gru before, no gate factor": last(
        layer(L0, K.GRU_BEFORE, 10, (dense("x", 4, 30), mpo("h", (2, 5), (5, 6), 2)))
    ),
    "gru before, flat, gate a factor": last(
        layer(L0, K.GRU_BEFORE, 24, (mpo("x", (2, 2), (12, 6), 2), mpo("h", (6, 4), (18, 4), 2)))
    ),
    "gru, no common factors": last(
        layer(L0, K.GRU, 24, (mpo("x", (2, 2), (12, 6), 2), mpo("h", (6, 4), (18, 4), 2)))
    ),
    "rnn, no common factors, head": sequence(
        layer(L0, K.RNN_TANH, 24, (mpo("x", (2, 2), (4, 6), 2), mpo("h", (6, 4), (6, 4), 2))),
        linear(L1, mpo("x", (8, 3), (2, 2), 2)),
    ),
    "head, no common factors with h": last(
        layer(L0, K.LSTM, 24, (dense("x", 6, 96), mpo("h", (4, 6), (16, 6), 2))),
        linear(L1, mpo("x", (6, 4), (2, 2), 2)),
    ),
    "head, no common factors with h, sequence": sequence(
        layer(L0, K.LSTM, 24, (dense("x", 6, 96), mpo("h", (4, 6), (16, 6), 2))),
        linear(L1, mpo("x", (6, 4), (2, 2), 2)),
    ),
    "bidirectional, other modes behind": last(
        layer(
            L0, K.LSTM, 12,
            *[(dense("x", 6, 48), mpo("h", (3, 4), (12, 4), 2))] * 2,
        ),
        linear(L1, mpo("x", (3, 8), (2, 2), 2)),
    ),
}  # fmt: skip
