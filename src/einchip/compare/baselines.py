"""What is compared: each row is an order, folds and layouts, and says what it models."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from einchip.compare.analytic import INNER, OUTER
from einchip.mapper.lanes import ALL_GROUPS, UNFUSED

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

    OURS = "ours, weights merged"
    SEARCHED = "searched"
    CORES = "cores in their order"
    LAST_FIRST = "last core first"
    LEAST_MACS = "least MACs"
    NONE = "one product"


class Layouts(StrEnum):
    """How tensors lie."""

    FREE = "free strides"
    COPIES = "fixed, copies between"
    ANALYTIC = "analytic, no copies"


#: Folds of a machine.
Fold = Literal["ip", "op", "hybrid", "flex"]


class State(StrEnum):
    """What a row's figures are of: its cycles are in the column `cold` or `steady`."""

    STREAM = "stream"
    ALONE = "one cold"
    REPEATED = "one after the other"
    FORMULA = "formula"


@dataclass(frozen=True)
class Baseline:
    """One row.

    Attributes
    ----------
    fold : the machine's fold (`Architecture.fold`), whatever that of the architecture is.
    modes : groups of indices that may be on lanes together, one of these in each step.
    formats : formats that it is defined for; empty for all.
    models : what it stands for, and what it is granted.
    source : author, title, venue and year; empty for a variant of ours.
    state : how it is executed.
    """

    key: str
    title: str
    order: Order
    fold: Fold
    modes: tuple[str, ...]
    layouts: Layouts
    models: str
    source: str = ""
    formats: tuple[str, ...] = ()
    state: State = State.STREAM


ANY: Final = (ALL_GROUPS,)
PLAIN: Final = (UNFUSED,)
DENSE_STREAMED: Final = "dense-streamed"
DENSE_RESIDENT: Final = "dense-resident"
OURS: Final = "ours"
OURS_ALONE: Final = "ours-alone"
OURS_UNMERGED: Final = "ours-unmerged"

_DENSE: Final = "the uncompressed matrix, one product on our array with any fold and free layouts; "
#: Trees that are tried with their copies.
COPIED_TREES: Final = 4
_GRANTED: Final = (
    f"of the {COPIED_TREES} trees that are quickest before copies the one that is quickest with "
    "them; folds, rows or columns, and copies are chosen together; no operand is held"
)

BASELINES: Final = (
    Baseline(
        DENSE_STREAMED, "dense, weights streamed", Order.NONE, "flex", ANY, Layouts.FREE,
        _DENSE + "its weights come through the memory port for every input (or batch), in slices "
        "that overlap with the product", state=State.REPEATED,
    ),
    Baseline(
        DENSE_RESIDENT, "dense, weights resident", Order.NONE, "flex", ANY, Layouts.FREE,
        _DENSE + "its weights are on the chip",
    ),
    Baseline(
        "inner", "inner product, copies", Order.SEARCHED, "hybrid", (INNER,), Layouts.COPIES,
        "a single mode: lanes hold reduced indices only, so the diagonal of our array works; "
        + _GRANTED, TETRIX,
    ),
    Baseline(
        "outer", "outer product, copies", Order.SEARCHED, "hybrid", (OUTER,), Layouts.COPIES,
        "a single mode: rows hold indices of the one operand, columns of the other; " + _GRANTED,
        TETRIX,
    ),
    Baseline(
        "tie", "TIE-like", Order.LAST_FIRST, "hybrid", (OUTER,), Layouts.FREE,
        "an MPO stage by stage from the last core, outer products of core and data, no operand "
        "held; granted: its memory scheme transposes between stages at no cost (here: free "
        "strides, no conflicts), the best rows and columns of every stage, our software pipeline",
        TIE, ("mpo",),
    ),
    Baseline(
        "ette", "ETTE-like", Order.LAST_FIRST, "hybrid", (OUTER, INNER), Layouts.FREE,
        "an MPS, whose input and output modes are in cores of their own, input cores before output "
        "cores; granted: both modes, no transposes (its access scheme), no data moved between "
        "stages (its look-ahead: our software pipeline)",
        ETTE, ("mps",),
    ),
    Baseline(
        "tetrix", "TetriX-like", Order.SEARCHED, "hybrid", (OUTER, INNER), Layouts.COPIES,
        "two modes, chosen per step so that copies are avoided; inner products on our diagonal "
        "only; " + _GRANTED, TETRIX,
    ),
    Baseline(
        "analytic-inner", "inner product, all PEs", Order.SEARCHED, "hybrid", (INNER,),
        Layouts.ANALYTIC,
        "analytic: a held operand, all PEs, free shaping, perfect overlap, no latency", TETRIX,
        state=State.FORMULA,
    ),
    Baseline(
        "analytic-outer", "outer product, ideal", Order.SEARCHED, "hybrid", (OUTER,),
        Layouts.ANALYTIC,
        "analytic: free shaping, perfect overlap, no latency", TETRIX, state=State.FORMULA,
    ),
    Baseline(
        "analytic-two", "TetriX-like, all PEs", Order.SEARCHED, "hybrid", (OUTER, INNER),
        Layouts.ANALYTIC,
        "analytic: both modes on all PEs, free shaping, perfect overlap, no latency", TETRIX,
        state=State.FORMULA,
    ),
    Baseline(
        "least-macs", "least MACs", Order.LEAST_MACS, "flex", ANY, Layouts.FREE,
        "the order that a path optimiser gives, found by our own exact search over trees of "
        "connected parts (opt_einsum and cotengra are not used; opt_einsum 3.4.0 by dynamic "
        "programming finds no fewer for any published matrix), on our array",
        PFEIFER,
    ),
    Baseline(
        OURS, "ours", Order.OURS, "flex", ANY, Layouts.FREE,
        "what `einchip bench` measures: order, merged weights, folds that hold operands, layouts "
        "and software pipeline searched together for cycles in a stream",
    ),
    Baseline(
        OURS_ALONE, "ours, one at a time", Order.OURS, "flex", ANY, Layouts.FREE,
        "what `einchip workloads` measures: a cold execution, searched for as such; the input is "
        "loaded in slices where that is quicker", state=State.ALONE,
    ),
    Baseline(
        OURS_UNMERGED, "ours, weights as they are", Order.SEARCHED, "flex", ANY, Layouts.FREE,
        "ours but for merged weights; a step on weights alone runs once, before the stream",
    ),
    Baseline(
        "ours-cores", "ours, cores in their order", Order.CORES, "flex", ANY, Layouts.FREE,
        "weights as they are; input, first core, second core, ..",
    ),
    Baseline(
        "ours-last-first", "ours, last core first", Order.LAST_FIRST, "flex", ANY, Layouts.FREE,
        "weights as they are; input, last core, last but one, ..",
    ),
    Baseline(
        "ours-hybrid", "ours, fold hybrid", Order.OURS, "hybrid", ANY, Layouts.FREE,
        "ours but for the fold: diagonal blocks, no operand held",
    ),
    Baseline(
        "ours-op", "ours, fold op", Order.OURS, "op", ANY, Layouts.FREE,
        "ours but for the fold: outer products only",
    ),
    Baseline(
        "ours-ip", "ours, fold ip", Order.OURS, "ip", ANY, Layouts.FREE,
        "ours but for the fold: inner products only, on all PEs, one operand held",
    ),
    Baseline(
        "ours-unfused", "ours, indices not fused", Order.OURS, "flex", PLAIN, Layouts.FREE,
        "ours but for the layouts: no two indices act as one",
    ),
    Baseline(
        "ours-copies", "ours, fixed layouts", Order.OURS, "flex", PLAIN, Layouts.COPIES,
        "ours but for the layouts: the same tree with any fold that fuses no indices, copies "
        "between",
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
    Gain("merged", "merged weights", OURS_UNMERGED, OURS, "weights as they are"),
    Gain("order-cores", "order", "ours-cores", OURS_UNMERGED, "cores in their order"),
    Gain("order-last-first", "order", "ours-last-first", OURS_UNMERGED, "last core first"),
    Gain("order-least-macs", "order", "least-macs", OURS_UNMERGED, "least MACs"),
    Gain("fold-hybrid", "fold", "ours-hybrid", OURS, "hybrid"),
    Gain("fold-op", "fold", "ours-op", OURS, "outer product only"),
    Gain("fold-ip", "fold", "ours-ip", OURS, "inner product only"),
    Gain("layout-fused", "layout", "ours-unfused", OURS, "indices not fused"),
    Gain("layout-copies", "layout", "ours-copies", "ours-unfused", "fixed layouts, copies"),
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
