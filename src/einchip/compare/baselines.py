"""What is compared: each row is an order, folds and layouts, and says what it models."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from einchip.compare.analytic import INNER, OUTER
from einchip.mapper.lanes import ALL_GROUPS

TIE: Final = (
    'C. Deng, F. Sun, X. Qian, J. Lin, Z. Wang, B. Yuan, "TIE: Energy-efficient tensor train-based '
    'inference engine for deep neural network", ISCA 2019'
)
ETTE: Final = (
    'Y. Gong, M. Yin, L. Huang, J. Xiao, Y. Sui, C. Deng, B. Yuan, "ETTE: Efficient '
    'tensor-train-based computing engine for deep neural networks", ISCA 2023'
)
TETRIX: Final = (
    'J.-F. Zhang, C.-H. Lu, Z. Zhang, "TetriX: Flexible architecture and optimal mapping for '
    'tensorized neural network processing", IEEE Transactions on Computers 2024'
)
PFEIFER: Final = (
    'R. N. C. Pfeifer, J. Haegeman, F. Verstraete, "Faster identification of optimal contraction '
    'sequences", Phys. Rev. E 90, 033315, 2014'
)


class Order(StrEnum):
    """Where a row's contraction tree is from."""

    OURS = "ours"
    SEARCHED = "searched for these folds and layouts"
    CORES = "cores in their order"
    LAST_FIRST = "last core first"
    LEAST_MACS = "least MACs"
    NONE = "one product"


class Layouts(StrEnum):
    """How tensors lie."""

    FREE = "free strides"
    COPIES = "fixed, copies between"
    ANALYTIC = "analytic, no copies"


@dataclass(frozen=True)
class Baseline:
    """One row.

    Attributes
    ----------
    modes : groups of indices that may be on lanes together, one of these in each step.
    formats : formats that it is defined for; empty for all.
    models : what it stands for, and what it is granted.
    source : author, title, venue and year; empty for a variant of ours.
    """

    key: str
    title: str
    order: Order
    modes: tuple[str, ...]
    layouts: Layouts
    models: str
    source: str = ""
    formats: tuple[str, ...] = ()


ANY: Final = (ALL_GROUPS,)
DENSE_STREAMED: Final = "dense-streamed"
DENSE_RESIDENT: Final = "dense-resident"
OURS: Final = "ours"
OURS_SLICED: Final = "ours-sliced"

_DENSE: Final = "the uncompressed matrix, one product on our array with any fold and free layouts; "
#: Trees that are tried with their copies.
COPIED_TREES: Final = 4
_GRANTED: Final = (
    f"of the {COPIED_TREES} trees that are quickest before copies the one that is quickest with "
    "them; folds, rows or columns, and copies are chosen together"
)

BASELINES: Final = (
    Baseline(
        DENSE_STREAMED, "dense, weights streamed", Order.NONE, ANY, Layouts.FREE,
        _DENSE + "its weights come through the memory port for every input (or batch), in slices "
        "that overlap with the product",
    ),
    Baseline(
        DENSE_RESIDENT, "dense, weights resident", Order.NONE, ANY, Layouts.FREE,
        _DENSE + "its weights are on the chip",
    ),
    Baseline(
        "inner", "inner product, copies", Order.SEARCHED, (INNER,), Layouts.COPIES,
        "a single mode: lanes hold reduced indices only, so the diagonal of our array works; "
        + _GRANTED, TETRIX,
    ),
    Baseline(
        "outer", "outer product, copies", Order.SEARCHED, (OUTER,), Layouts.COPIES,
        "a single mode: rows hold indices of the one operand, columns of the other; " + _GRANTED,
        TETRIX,
    ),
    Baseline(
        "tie", "TIE-like", Order.LAST_FIRST, (OUTER,), Layouts.FREE,
        "an MPO stage by stage from the last core, outer products of core and data; granted: its "
        "memory scheme transposes between stages at no cost (here: free strides, no conflicts), "
        "the best rows and columns of every stage, our prefetch",
        TIE, ("mpo",),
    ),
    Baseline(
        "ette", "ETTE-like", Order.LAST_FIRST, (OUTER, INNER), Layouts.FREE,
        "an MPS, whose input and output modes are in cores of their own, input cores before output "
        "cores; granted: both modes, no transposes (its access scheme), no data moved between "
        "stages (its look-ahead: our steps follow without a gap where they do not depend)",
        ETTE, ("mps",),
    ),
    Baseline(
        "tetrix", "TetriX-like", Order.SEARCHED, (OUTER, INNER), Layouts.COPIES,
        "two modes, chosen per step so that copies are avoided; inner products on our diagonal "
        "only; " + _GRANTED, TETRIX,
    ),
    Baseline(
        "analytic-inner", "inner product, all PEs", Order.SEARCHED, (INNER,), Layouts.ANALYTIC,
        "analytic: a held operand, all PEs, free shaping, perfect overlap, no latency", TETRIX,
    ),
    Baseline(
        "analytic-outer", "outer product, ideal", Order.SEARCHED, (OUTER,), Layouts.ANALYTIC,
        "analytic: free shaping, perfect overlap, no latency", TETRIX,
    ),
    Baseline(
        "analytic-two", "TetriX-like, all PEs", Order.SEARCHED, (OUTER, INNER), Layouts.ANALYTIC,
        "analytic: both modes on all PEs, free shaping, perfect overlap, no latency", TETRIX,
    ),
    Baseline(
        "least-macs", "least MACs", Order.LEAST_MACS, ANY, Layouts.FREE,
        "the order that a path optimiser gives, found by our own exact search over trees of "
        "connected parts (opt_einsum and cotengra are not used; opt_einsum 3.4.0 by dynamic "
        "programming finds no fewer for any published matrix), on our array",
        PFEIFER,
    ),
    Baseline(
        OURS, "ours", Order.OURS, ANY, Layouts.FREE,
        "order, folds and layouts searched together for cycles",
    ),
    Baseline(
        OURS_SLICED, "ours, input in slices", Order.OURS, ANY, Layouts.FREE,
        "what `einchip workloads` measures: the input is loaded in slices where that is quicker; "
        "all other rows load it whole before the first step",
    ),
    Baseline(
        "ours-cores", "ours, cores in their order", Order.CORES, ANY, Layouts.FREE,
        "ours but for the order: input, first core, second core, ..",
    ),
    Baseline(
        "ours-last-first", "ours, last core first", Order.LAST_FIRST, ANY, Layouts.FREE,
        "ours but for the order: input, last core, last but one, ..",
    ),
    Baseline(
        "ours-inner", "ours, inner product", Order.OURS, (INNER,), Layouts.FREE,
        "ours but for the folds: k on lanes only",
    ),
    Baseline(
        "ours-outer", "ours, outer product", Order.OURS, (OUTER,), Layouts.FREE,
        "ours but for the folds: m and n on lanes only",
    ),
    Baseline(
        "ours-two", "ours, two modes", Order.OURS, (OUTER, INNER), Layouts.FREE,
        "ours but for the folds: m and n, or k, on lanes",
    ),
    Baseline(
        "ours-copies", "ours, fixed layouts", Order.OURS, ANY, Layouts.COPIES,
        "ours but for the layouts: the same tree with any fold, copies between",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Gain:
    """The steady cycles of `slow` over those of `quick`: two rows that differ in `what` only."""

    key: str
    what: str
    slow: str
    quick: str
    reads: str


GAINS: Final = (
    Gain("order-cores", "order", "ours-cores", OURS, "cores in their order"),
    Gain("order-last-first", "order", "ours-last-first", OURS, "last core first"),
    Gain("order-least-macs", "order", "least-macs", OURS, "least MACs"),
    Gain("fold-inner", "fold", "ours-inner", OURS, "inner product only"),
    Gain("fold-outer", "fold", "ours-outer", OURS, "outer product only"),
    Gain("fold-two", "fold", "ours-two", OURS, "two modes"),
    Gain("layout", "layout", "ours-copies", OURS, "fixed layouts, copies"),
    Gain("modes-inner", "modes of TetriX", "inner", "tetrix", "inner product only"),
    Gain("modes-outer", "modes of TetriX", "outer", "tetrix", "outer product only"),
    Gain(
        "analytic-inner", "modes of TetriX, analytic", "analytic-inner", "analytic-two",
        "inner product only, all PEs",
    ),
    Gain(
        "analytic-outer", "modes of TetriX, analytic", "analytic-outer", "analytic-two",
        "outer product only, ideal",
    ),
)  # fmt: skip
