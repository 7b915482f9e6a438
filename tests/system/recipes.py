"""Recipes: what a random program is made of, small enough to shrink.

A recipe is a list of blocks of operations; `programs.build` turns it into a program for any
machine. Every operation has a seed of its own, so leaving one out does not change the others:
hypothesis shrinks a failing program to the few operations that matter.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from hypothesis import strategies as st

#: How often each kind of operation is drawn.
FREQUENCIES: Final = {
    "contract": 0.44, "lstm": 0.06, "peephole": 0.05, "gru": 0.05, "gru reset": 0.03,
    "gru update": 0.03, "copy": 0.06, "fill": 0.05, "load": 0.13, "store": 0.1,
}  # fmt: skip
KINDS: Final = tuple(FREQUENCIES)


@dataclass(frozen=True)
class Op:
    """One unit instruction: its kind, and the seed of everything else about it."""

    kind: str
    seed: int


@dataclass(frozen=True)
class Block:
    """Operations, then inner blocks, run `count` times (0: once, without a LOOP).

    `argument`: the count comes from a host register. `fenced`: an iteration waits for the one
    before; otherwise they overlap as far as the data allow (blocks with inner ones always wait).
    """

    ops: tuple[Op, ...]
    count: int = 0
    argument: bool = False
    fenced: bool = False
    inner: tuple["Block", ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """Blocks in order; `seed` draws initial memory, host registers and which rows are used."""

    blocks: tuple[Block, ...]
    seed: int = 0


def random_recipe(seed: int) -> Recipe:
    """Return the recipe of a seed: one to three blocks, loops up to four deep."""
    rng = np.random.default_rng(seed)
    blocks = tuple(_random_block(rng, depth=0) for _ in range(rng.integers(1, 4)))
    return Recipe(blocks, seed)


def _random_block(rng: np.random.Generator, depth: int) -> Block:
    count = int(rng.choice([0, 1, 2, 3, 5], p=[0.3, 0.1, 0.3, 0.2, 0.1]))
    inner: tuple[Block, ...] = ()
    if count and depth < 3 and rng.random() < 0.3:
        inner = tuple(_random_block(rng, depth + 1) for _ in range(rng.integers(1, 3)))
    kinds = rng.choice(
        KINDS, size=rng.integers(0 if inner else 1, 9 - 2 * depth), p=list(FREQUENCIES.values())
    )
    ops = tuple(Op(str(kind), int(rng.integers(1 << 32))) for kind in kinds)
    argument, fenced = (bool(rng.random() < p) for p in (0.3, 0.2))
    return Block(ops, count, argument, fenced, inner, int(rng.integers(1 << 32)))


_SEEDS = st.integers(0, (1 << 32) - 1)
_OPS = st.lists(st.builds(Op, st.sampled_from(KINDS), _SEEDS), max_size=6).map(tuple)
_FLAGS = {"count": st.integers(0, 4), "argument": st.booleans(), "fenced": st.booleans()}
_LEAVES = st.builds(Block, _OPS, **_FLAGS, seed=_SEEDS)


def _around(blocks: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
    inner = st.lists(blocks, max_size=2).map(tuple)
    return st.builds(Block, _OPS, **_FLAGS, inner=inner, seed=_SEEDS)


def _depth(block: Block) -> int:
    return bool(block.count) + max(map(_depth, block.inner), default=0)


_BLOCKS = st.recursive(_LEAVES, _around, max_leaves=4).filter(lambda block: _depth(block) <= 4)
#: Recipes for hypothesis; the simplest is an empty program.
RECIPES: Final[st.SearchStrategy[Recipe]] = st.builds(
    Recipe, st.lists(_BLOCKS, max_size=3).map(tuple), _SEEDS
)
