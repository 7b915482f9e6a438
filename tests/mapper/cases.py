"""Networks and layers that the mapper's tests share."""

from einchip.arch import CELLS, PRESETS
from einchip.mapper import CellKind, Direction, Linear, ModelProblem, Recurrent
from einchip.network import Network

#: The presets with 16 bit data, so that small integers never saturate, and with every cell.
WIDE = {
    name: arch.override(data_bits=16, port_bytes=max(4, arch.port_bytes), cells=CELLS)
    for name, arch in PRESETS.items()
}


def mpo(x: str, ins: tuple[int, ...], outs: tuple[int, ...], rank: int) -> Network:
    """Return a TT-matrix applied to a tensor called `x`."""
    n = len(ins)
    ranks = [1, *[rank] * (n - 1), 1]
    tensors = {x: tuple(f"i{k}" for k in range(n))}
    tensors |= {f"G{k}": (f"r{k}", f"i{k}", f"o{k}", f"r{k + 1}") for k in range(n)}
    sizes = {f"i{k}": v for k, v in enumerate(ins)} | {f"o{k}": v for k, v in enumerate(outs)}
    sizes |= {f"r{k}": v for k, v in enumerate(ranks)}
    return Network(tensors, sizes, tuple(f"o{k}" for k in range(n)))


def mps(x: str, ins: tuple[int, ...], outs: tuple[int, ...], rank: int) -> Network:
    """Return a matrix as a tensor train over output modes, then input modes."""
    modes = [f"o{k}" for k in range(len(outs))] + [f"i{k}" for k in range(len(ins))]
    ranks = [1, *[rank] * (len(modes) - 1), 1]
    tensors = {x: tuple(modes[len(outs) :])}
    tensors |= {f"G{k}": (f"r{k}", m, f"r{k + 1}") for k, m in enumerate(modes)}
    sizes = dict(zip(modes, (*outs, *ins), strict=True))
    sizes |= {f"r{k}": v for k, v in enumerate(ranks)}
    return Network(tensors, sizes, tuple(modes[: len(outs)]))


def dense(x: str, n_in: int, n_out: int) -> Network:
    """Return a dense matrix applied to a vector called `x`."""
    return Network({x: ("I",), "W": ("O", "I")}, {"I": n_in, "O": n_out}, ("O",))


def lstm(inputs: Network, hidden: Network, hidden_size: int, classes: int = 0) -> ModelProblem:
    """Return one LSTM layer, and a dense head for some classes."""
    layer = Recurrent("layers.0", CellKind.LSTM, hidden_size, (Direction(inputs, hidden),))
    if not classes:
        return ModelProblem((layer,))
    head = Network({"x": ("I",), "weight.W": ("O", "I")}, {"I": hidden_size, "O": classes}, ("O",))
    return ModelProblem((layer, Linear("layers.1", head)))


#: The input-to-hidden matrix of TT-LSTM on UCF11, rank 4 (Yang, Krompass, Tresp, ICML 2017).
UCF11 = mpo("x", (8, 20, 20, 18), (16, 4, 4, 4), 4)
UCF11_LAYER = lstm(UCF11, mpo("h", (4, 4, 4, 4), (16, 4, 4, 4), 4), 256, classes=11)
UCF11_DENSE_HIDDEN = lstm(UCF11, dense("h", 256, 1024), 256, classes=11)

LAYERS = {
    "dense": lstm(dense("x", 12, 64), dense("h", 16, 64), 16, classes=9),
    "no head": lstm(dense("x", 5, 20), dense("h", 5, 20), 5),
    "prime hidden size": lstm(dense("x", 3, 92), dense("h", 23, 92), 23, classes=2),
    "mpo": lstm(mpo("x", (3, 4), (8, 4), 2), mpo("h", (2, 4), (8, 4), 2), 8, classes=3),
    "other hidden modes": lstm(
        mpo("x", (3, 4), (64, 4), 2), mpo("h", (8, 8), (32, 8), 2), 64, classes=3
    ),
    "dense hidden, mpo input": lstm(
        mpo("x", (3, 2, 3), (8, 3, 2), 2), dense("h", 12, 48), 12, classes=5
    ),
}
