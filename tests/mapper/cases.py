"""Networks and layers that the mapper's tests share."""

from einchip.arch import PRESETS
from einchip.mapper.parts import LstmProblem
from einchip.network import Network

#: The presets with 16 bit data, so that small integers never saturate.
WIDE = {
    name: arch.override(data_bits=16, port_bytes=max(4, arch.port_bytes))
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


#: The input-to-hidden matrix of TT-LSTM on UCF11, rank 4 (Yang, Krompass, Tresp, ICML 2017).
UCF11 = mpo("x", (8, 20, 20, 18), (16, 4, 4, 4), 4)
UCF11_LAYER = LstmProblem(UCF11, mpo("h", (4, 4, 4, 4), (16, 4, 4, 4), 4), 256, classes=11)
UCF11_DENSE_HIDDEN = LstmProblem(UCF11, dense("h", 256, 1024), 256, classes=11)
