"""Random matrices in every format, drawn by hypothesis."""

from math import prod
from typing import Any

from hypothesis import strategies as st

from einchip.models import MatrixSpec

PAIRED = ("mpo", "bt", "kronecker")
FORMATS = ("dense", "lowrank", "mpo", "mps", "ht", "tr", "bt", "tucker", "cp", "kronecker")


def _modes(draw: st.DrawFn, n: int) -> list[int]:
    return draw(st.lists(st.integers(1, 5), min_size=n, max_size=n))


def _train(draw: st.DrawFn, sizes: list[int]) -> list[int]:
    """Ranks that cut no bond above the modes on either side of it."""
    limits = [min(prod(sizes[:k]), prod(sizes[k:]), 4) for k in range(1, len(sizes))]
    return [1, *(draw(st.integers(1, limit)) for limit in limits), 1]


def _tree(draw: st.DrawFn, leaves: list[Any]) -> Any:
    """Any binary tree over the leaves."""
    if len(leaves) == 1:
        return leaves[0]
    cut = draw(st.integers(1, len(leaves) - 1))
    return [_tree(draw, leaves[:cut]), _tree(draw, leaves[cut:])]


def _ht(draw: st.DrawFn, i: list[int], o: list[int]) -> dict[str, Any]:
    """A tree over pairs or over single modes, of rank 1 where a mode of 1 asks for it."""
    sizes = {f"I{k}": n for k, n in enumerate(i)} | {f"O{k}": n for k, n in enumerate(o)}
    rank = draw(st.integers(1, min(3, *sizes.values())))
    if len(i) == len(o) and draw(st.booleans()):
        tree: Any = draw(st.sampled_from([None, _tree(draw, list(range(len(i))))]))
    else:
        tree = _tree(draw, draw(st.permutations(sorted(sizes))))
    return {"tree": tree, "ranks": {"leaf": rank, "inner": rank}}


@st.composite
def matrices(draw: st.DrawFn) -> MatrixSpec:
    """A matrix of up to 3 modes on each side, in a format other than einsum."""
    kind = draw(st.sampled_from(FORMATS))
    i = _modes(draw, draw(st.integers(1, 3)))
    o = _modes(draw, len(i) if kind in PAIRED else draw(st.integers(1, 3)))
    pairs = [a * b for a, b in zip(i, o, strict=False)]
    small = st.integers(1, 4)
    ranks: Any = {
        "dense": lambda: (),
        "lowrank": lambda: draw(st.integers(1, min(prod(i), prod(o)))),
        "mpo": lambda: _train(draw, pairs),
        "mps": lambda: _train(draw, o + i),
        "tr": lambda: [draw(small) for _ in i + o],
        "bt": lambda: {"tucker": [draw(st.integers(1, p)) for p in pairs], "blocks": draw(small)},
        "tucker": lambda: [draw(st.integers(1, n)) for n in draw(st.sampled_from(
            [i + o, [i[0], prod(o)]]))],
        "cp": lambda: draw(small),
        "kronecker": lambda: draw(small),
    }  # fmt: skip
    raw = {"format": kind, "in_modes": i, "out_modes": o}
    raw |= _ht(draw, i, o) if kind == "ht" else {"ranks": ranks[kind]()}
    return MatrixSpec.model_validate(raw)
