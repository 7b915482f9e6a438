"""The page of the published workloads, from committed figures.

einchip workloads --json docs/workloads.json
python -m einchip.workloads.page docs/workloads.json > docs/workloads.md
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from einchip.workloads.catalogue import Entry, published
from einchip.workloads.figures import TITLES, Figures, cells

_HEAD = """\
# Published workloads

<!-- Printed by `python -m einchip.workloads.page docs/workloads.json`. Do not edit. -->

    einchip workloads                        # names and sources
    einchip workloads --table                # this table
    einchip workloads --file FILE.yaml --json F.json

`src/einchip/workloads/workloads.yaml` has the compressed matrices of {papers} papers and code
bases: {entries} entries, {matrices} matrices. Tests hold their weights to the published counts,
exactly; the least multiply-adds to those of the best order known; weights, multiply-adds and
bounds to an independent program; and run one of each format on the RTL (`make workloads`: all of
them).

## A file of your own

A YAML list of entries of this form, in any format of [formats.md](formats.md):

    - name: a TT-matrix
      format: mpo
      in_modes: [8, 20, 20, 18]
      out_modes: [16, 4, 4, 4]
      ranks: [1, 4, 4, 4, 1]

`in_modes` and `out_modes` may both be mappings with the same keys: several matrices of one layer,
named `NAME KEY`. `tree` (hierarchical Tucker) and `tensors`, `sizes`, `inputs`, `outputs`
(einsum) are read, too; any other key is ignored. `--json` writes a list with an object for each
matrix, in order:

| key | meaning |
|---|---|
| `name`, `format` | of the entry |
| `weights` | of the compressed matrix, no biases |
| `macs_naive` | multiply-adds with the input contracted with the cores in their order |
| `macs` | multiply-adds of the tree with the least |
| `macs_mapped` | multiply-adds of the tree that was mapped: the quickest, maybe not the smallest |
| `weights_stored` | elements on the chip: the weights, or what they were merged into |
| `bound_cycles` | the roofline of the architecture ([mapping.md](mapping.md)), rounded up |
| `bound_merged_cycles` | the roofline where weights may be merged beforehand |
| `cycles` | of the simulator, from the start to the end of one execution |
| `energy_pj` | of these cycles, external memory included |
| `error` | in place of all but `name`: why the entry was refused, in one line |

The exit status is 0, 1 where an entry was refused (the others have their figures), or 2 where the
file or an option cannot be used.

An execution loads one input vector, contracts it, and stores the result; weights and program are
on the chip before. Where that is quicker, the input is loaded in slices while the slices before
it are contracted. Weights are merged with one another beforehand where that is quicker
([mapping.md](mapping.md)), not with `--no-merge`; the ratio is that of the cycles to the bound
with merged weights. The bound knows no latency: ratios of executions of a few hundred cycles are
those of the pipeline's fill and of the result's way out.

## Any einsum, with data

    einchip contract "ab,bc,cd->ad" TENSORS.npz --arch small --verify -o RESULT.npz
    einchip contract "ar,br,cr->abc" --shapes 5x3,7x3,9x3 --resident T1

contracts the arrays of a file in their order (or normal random ones) without any neural network:
power-of-two scales from the data, per tensor and step; mapped, simulated, with `--verify` on the
RTL. It prints the signal-to-noise ratio against float64, cycles, bound and energy. Operands are
loaded by the run, unless they are `--resident`; resident ones are weights, and merged where that
is quicker.

## Figures on `base`

Architecture `base`, energy by `horowitz45`. Geometric mean of the ratios: {mean:.2f}; of the
{n_long} matrices with a bound above 1,000 cycles: {mean_long:.2f}.

| workload | {titles} |
|---|---|{rule}
"""


def _mean(ratios: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))


def _sources(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield every citation once, with how many entries are from it."""
    yield "\n## Sources\n"
    counts: dict[tuple[str, str], int] = {}
    for entry in entries:
        key = (entry.facts["citation"], entry.facts["basis"])
        counts[key] = counts.get(key, 0) + 1
    told = {
        "paper": "shapes as in the paper",
        "code": "shapes as in its authors' code",
        "reconstructed": "shapes that give the published count exactly, not read in the paper",
    }
    for (citation, basis), n in counts.items():
        yield f"* {citation}: {n} {'entry' if n == 1 else 'entries'}; {told[basis]}"


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Return the page of these figures, one object of the JSON file each."""
    figures = [Figures(**row) for row in rows]
    entries = published()
    long = [f.ratio for f in figures if f.bound_cycles > 1000]
    head = _HEAD.format(
        papers=len({e.facts["citation"] for e in entries}),
        entries=len(entries),
        matrices=sum(len(e.matrices) for e in entries),
        mean=_mean([f.ratio for f in figures]),
        n_long=len(long),
        mean_long=_mean(long),
        titles=" | ".join(TITLES),
        rule="---:|" * (len(TITLES) - 1),
    )
    table = (f"| {f.name} | {' | '.join(cells(f))} |" for f in figures)
    return head + "\n".join((*table, *_sources(entries))) + "\n"


if __name__ == "__main__":
    print(page(json.loads(Path(sys.argv[1]).read_text())), end="")
