"""The page of the comparison, from committed figures.

make compare
python -m einchip.compare.page docs > docs/compare.md
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from einchip.compare.baselines import BASELINES, GAINS, OURS, OURS_ALONE, Gain
from einchip.compare.report import TEXTS, TITLES, cells, gains, number, remark, what
from einchip.compare.table import Comparison, Row
from einchip.mapper.lanes import ALL_GROUPS, UNFUSED

FIGURES: Final = "compare.json"
ORIENTATION: Final = "compare-orientation.json"
#: The workload whose table is shown in full.
SHOWN: Final = (
    "TT-LSTM UCF11 160x120x3 rank4",
    "HT-LSTM UCF11",
    "tednet CP-LSTM UCF11 features 2048->2048",
)
#: Rows of our machine in a fixed order.
FIXED: Final = ("ours-cores", "ours-last-first")
#: Rows of the comparison with known figures.
ORIENTED: Final = ("analytic-two", OURS, OURS_ALONE)
#: Columns of the table of steady cycles.
STEADY: Final = (
    OURS, OURS_ALONE, "dense-streamed", "inner", "outer", "tie", "ette", "tetrix", "analytic-two",
    "least-macs",
)  # fmt: skip

#: Modes that are not said by their groups.
LANES: Final = {ALL_GROUPS: "any, fused", UNFUSED: "any"}

_HEAD = """\
# Against the literature

<!-- Printed by `python -m einchip.compare.page docs`. Do not edit. -->

    einchip compare HT-LSTM --json F.json            # workloads of this name, or that hold it
    einchip compare --file FILE.yaml --row ours --row tetrix
    einchip compare --file FILE.yaml --batch 8
    make compare                                     # this page

Baselines run on the same array, the same two scratchpads of one read and one write port each, the
same memory port, in the same simulator. Each is a restriction of our own mapper, so that it has
our prefetch, our double buffering, our drain and our software pipeline for nothing. Rows of
`docs/compare.json` are executed programs but for those called *analytic*. A transposition is a COPY
on the vector unit.

What a row is a figure of is its *state*; only rows in the same state, or the same column, are to be
compared:

* *stream*. Steady: an execution of a long stream, loads and stores of others overlapped
  (`docs/mapping.md`); what depends on weights alone is there. Cold: the same baseline, searched for
  one execution alone: load of the whole input, contraction (of weights, too), store.
* *one cold*. Cold: ours alone; the input may come in slices.
* *one after the other*. Steady: no stream, but the array's period with the input there, or all
  beats at the memory port, whichever is more.
* *formula*. Steady: cycles of the array, or beats at the memory port; steps on weights alone cost
  nothing.

So every executed baseline is in the same loop as ours: its steady cycles are those of the array,
plus copies, loads and stores as far as these cannot overlap. `ours` has no cold figure, since it is
searched for streams: `ours, one at a time` is to be held against the cold column of the others. A
copy is one more stage of the pipeline, with double buffers where they fit. Its reads go through a
port that the array reads from, too, so that most of its cycles add to those of the array, however
it overlaps.

| figure | meaning |
|---|---|
| bound | the roofline of the steady state, whatever the order (`einchip.roofline`) |
| copies | cycles in which a COPY issues a vector |
| MACs | multiply-adds |
| words | elements read from and written to both scratchpads |
| energy | by `horowitz45`, external memory included |

These are of one execution in the steady state, where the row has one. Weights (but for streamed
ones) and program are on the chip before. How a row is measured stands in one place,
`src/einchip/compare/measure.py`. A row that does not fit runs on the same machine with scratchpads
of 2^20 elements each, the most that instructions can address, and is marked *; its energy is that
of the larger memories. What does not fit even there has no figures. The dense rows of large
matrices run a part of the outputs, so many times as it takes.

## The rows

| row | state | order | fold | lanes | layouts | models | source |
|---|---|---|---|---|---|---|---|
"""

_LAYOUTS = """
*Fold* is the machine's (`docs/mapping.md`). *Lanes* are the groups of indices that may be on lanes
in one step: m in X and the result, n in Y and the result, k in X and Y (summed), b in all three;
no operand is held and no index fused with another. Several entries: one of them in each step.
*any*: all of them at once, and operands held where the fold can; *fused*: indices may act as one.

*Fixed layouts, copies between.* An intermediate lies without padding in the order in which a
matrix product leaves it: shared indices, the rows' indices in their operand's order, the columns'
indices in their operand's order, the lanes that are written at once last. An access takes a run of
neighbouring elements (so that a run of 5 elements fills 5 of 16 lanes); where the lanes of a step
are no run, the operand is copied first. Granted: weights and input lie as their first reader wants
them, the result stays as it is written, copies may pad what they write, and folds, rows or columns
and copies are chosen together for the least cycles (`src/einchip/compare/transposed.py`).

*Analytic.* The baselines' machine (fold hybrid) holds no operand, so an inner product uses the
diagonal, L of L x L PEs; `ours, fold ip` is an executed inner product that holds one. The analytic
rows have a two-mode array with the same L-word ports; a step with m, n, k, b values in its groups
takes the least, over its modes and over which operand is A, of

    outer:  b * ceil(n / L) * sum over blocks of L rows of max(k, rows of the block)
    inner:  b * ceil(k / L) * sum over blocks of L columns of max(m, columns of the block)

with free shaping, perfect overlap and no latency; the tree is searched for these cycles, merged
weights included. These rows are lower bounds of such a machine; ours is an executed program.

## What each choice gains

Each gain is steady cycles over steady cycles of two rows that differ in one thing; they are not
multiplied, since they are not independent. Over {n} of the matrices of `einchip workloads` (one or
two for each format and paper, as `make compare` lists them; `einchip compare` measures all), on
`base`, batch 1:

| by | pair | matrices | geometric mean | least | most | most on |
|---|---|---:|---:|---:|---:|---|
"""

_TETRIX = """
Zhang, Lu and Zhang report up to 46.8 x for TetriX over single-mode baselines. With both modes,
fixed layouts and copies executed here, most is {inner:.1f} x over the inner product (on our
diagonal) and {outer:.2f} x over the outer product; with all PEs and ideal shaping (analytic)
{a_inner:.2f} x and {a_outer:.2f} x. Other factors are not of the modes: a fixed order costs
{order:.1f} x here at most, where it fits ({unfit} rows of fixed orders have intermediates that no
scratchpad holds); a dense matrix with streamed weights costs {dense:,.0f} x at most. In the same
loop TetriX-like takes {tetrix:.2f} x the cycles of ours by the geometric mean, {tetrix_most:.2f} x
at most; one cold execution {cold:.2f} x those of ours, one at a time.

## By format

The same dense shape (or transposed) in several formats, ours, steady cycles; `x` is cycles over
the quickest of the shape. The formats differ in weights and in what they can represent (accuracies
are in `docs/workloads.md`'s sources), so this is no ranking.

| dense shape | workload | format | steady | x | energy, nJ |
|---|---|---|---:|---:|---:|
"""

_ORIENTATION = """
## Against known figures of a two-mode array

`src/einchip/compare/orientation.yaml` has shapes for which the cycles of an analytic two-mode
array (256 multipliers, 16-word ports, free shaping, perfect overlap, batch 1) are known. `known`
is that figure (in parentheses where runs of 5 elements waste 16-lane words), `formula` our formula
above, `stream` our executed program in the steady state, transfers included, `cold` ours, one at a
time. Block-term forms: the known figures take block by block. `known` counts steps on weights
alone; `formula`, `bound` and `stream` do not.

| shape | known | formula | bound | stream | cold | stream / known |
|---|---:|---:|---:|---:|---:|---:|
"""


def mean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def read(path: Path) -> list[Comparison]:
    """Return the comparisons of a file that `einchip compare --json` wrote."""
    return [Comparison.from_json(c) for c in json.loads(path.read_text())]


def rows() -> Iterator[str]:
    """Yield what every row is."""
    for b in BASELINES:
        lanes = " or ".join(LANES.get(mode, ", ".join(mode)) for mode in b.modes)
        only = f" ({', '.join(b.formats)} only)" if b.formats else ""
        yield (
            f"| {b.title}{only} | {b.state} | {b.order} | {b.fold} | {lanes} | {b.layouts} | "
            f"{b.models} | "
            f"{b.source or '–'} |"
        )


def gain_row(gain: Gain, found: Sequence[Comparison]) -> str:
    """Return the line of a gain over all workloads that have both rows."""
    known = [(c.gains[gain.key], c.name) for c in found if gain.key in c.gains]
    values = [value for value, _ in known]
    most = max(known)
    titles = {b.key: b.title for b in BASELINES}
    figures = f"{len(known)} | {mean(values):.2f} | {min(values):.2f} | {most[0]:.2f} | {most[1]}"
    return f"| {gain.what} | {titles[gain.slow]} / {titles[gain.quick]} | {figures} |"


def most(found: Sequence[Comparison], *keys: str) -> float:
    """Return the greatest of some gains."""
    return max(c.gains[k] for c in found for k in keys if k in c.gains)


def steady(row: Row | None) -> str:
    """Return a row's steady cycles, else the cold ones; * where scratchpads were larger."""
    if row is None:
        return "–"
    return number(row.steady_cycles or row.cycles) + ("*" if row.roomy else "")


def ratio(slow: Row | None, quick: Row | None) -> float:
    """Return steady cycles over steady cycles; 0 without both."""
    if slow and quick and slow.steady_cycles and quick.steady_cycles:
        return slow.steady_cycles / quick.steady_cycles
    return 0.0


def cold_ratio(slow: Row | None, quick: Row | None) -> float:
    """Return cold cycles over cold cycles; 0 without both."""
    return slow.cycles / quick.cycles if slow and quick and slow.cycles and quick.cycles else 0.0


def formats(found: Sequence[Comparison]) -> Iterator[str]:
    """Yield the lines of shapes that there are in several formats."""
    for shape in dict.fromkeys(frozenset((c.n_inputs, c.n_outputs)) for c in found):
        same = [c for c in found if frozenset((c.n_inputs, c.n_outputs)) == shape]
        if len({c.format for c in same}) < 2:
            continue
        ours = {c.name: row for c in same if (row := c.row(OURS)) and row.steady_cycles}
        quickest = min(ours.values(), key=lambda r: r.steady_cycles or 0)
        for c in same:
            row = ours[c.name]
            spent = (row.energy_pj or 0) / 1000
            yield (
                f"| {c.n_inputs:,} x {c.n_outputs:,} | {c.name} | {c.format} | {steady(row)} | "
                f"{ratio(row, quickest):.2f} | {number(spent)} |"
            )


def orientation(found: Sequence[Comparison]) -> Iterator[str]:
    """Yield the lines of shapes with known figures."""
    for c in found:
        formula, ours, alone = (c.row(k) for k in ORIENTED)
        known, wasted = c.facts.get("two_mode_cycles"), c.facts.get("two_mode_wasted")
        shown = number(known) + (f" ({number(wasted)})" if wasted else "")
        cycles = ours.steady_cycles if ours else None
        over = f"{cycles / known:.2f}" if known and cycles else "–"
        figures = (steady(formula), number(c.bound_cycles), *map(steady, (ours, alone)))
        yield f"| {c.name} | {shown} | {' | '.join(figures)} | {over} |"


def table(found: Comparison) -> Iterator[str]:
    """Yield one comparison in full."""
    yield f"\n### {found.name}\n"
    yield f"{found.format}, bound {found.bound_cycles:,} cycles.\n"
    yield f"| row | {' | '.join(TITLES)} | remark |"
    yield f"|---|{'---|' * TEXTS}{'---:|' * (len(TITLES) - TEXTS)}---|"
    for row in found.rows:
        b = next(b for b in BASELINES if b.key == row.key)
        marked = b.title + ("*" if row.roomy else "")
        yield f"| {marked} | {' | '.join((*what(b), *cells(row)))} | {remark(row)} |"
    yield ""
    yield from (f"* {line}" for line in gains(found))


def all_steady(found: Sequence[Comparison]) -> Iterator[str]:
    """Yield the steady cycles of the main rows of all workloads."""
    titles = {b.key: b.title for b in BASELINES}
    yield "\n## All measured, steady cycles\n"
    heads = (titles[k] + (" (cold)" if k == OURS_ALONE else "") for k in STEADY)
    yield f"| workload | bound | {' | '.join(heads)} | copies of TetriX-like |"
    yield f"|---|{'---:|' * (len(STEADY) + 2)}"
    for c in found:
        shown = " | ".join(steady(c.row(k)) for k in STEADY)
        tetrix = c.row("tetrix")
        copies = number(tetrix.copy_cycles if tetrix else None)
        yield f"| {c.name} | {c.bound_cycles:,} | {shown} | {copies} |"


def all_gains(found: Sequence[Comparison]) -> Iterator[str]:
    """Yield the gains of all workloads."""
    yield "\n## All measured, gains\n"
    yield f"| workload | {' | '.join(f'{g.what}: {g.reads}' for g in GAINS)} |"
    yield f"|---|{'---:|' * len(GAINS)}"
    for c in found:
        shown = (f"{c.gains[g.key]:.2f}" if g.key in c.gains else "–" for g in GAINS)
        yield f"| {c.name} | {' | '.join(shown)} |"


def page(found: Sequence[Comparison], known: Sequence[Comparison]) -> str:
    """Return the page of these figures."""
    better = [r for c in found if (r := ratio(c.row("tetrix"), c.row(OURS)))]
    alone = [r for c in found if (r := cold_ratio(c.row("tetrix"), c.row(OURS_ALONE)))]
    dense = max(ratio(c.row("dense-streamed"), c.row(OURS)) for c in found)
    tetrix = _TETRIX.format(
        inner=most(found, "modes-inner"), outer=most(found, "modes-outer"),
        a_inner=most(found, "analytic-inner"), a_outer=most(found, "analytic-outer"),
        order=most(found, "order-cores", "order-last-first"), dense=dense,
        tetrix=mean(better), tetrix_most=max(better), cold=mean(alone),
        unfit=sum(bool(r.error) for c in found for r in c.rows if r.key in FIXED),
    )  # fmt: skip
    by_name = {c.name: c for c in found}
    shown: Iterable[str] = (line for name in SHOWN for line in table(by_name[name]))
    parts = (
        _HEAD + "\n".join(rows()) + "\n",
        _LAYOUTS.format(n=len(found)) + "\n".join(gain_row(g, found) for g in GAINS) + "\n",
        tetrix + "\n".join(formats(found)) + "\n",
        _ORIENTATION + "\n".join(orientation(known)) + "\n",
        "\n## Three workloads in full\n" + "\n".join(shown) + "\n",
        "\n".join((*all_steady(found), *all_gains(found))) + "\n",
    )
    return "".join(parts)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(page(read(folder / FIGURES), read(folder / ORIENTATION)), end="")
