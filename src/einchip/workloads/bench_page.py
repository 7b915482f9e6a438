"""The table of `einchip bench`, in Markdown, from its JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from einchip.workloads.bench import CAUSES, Summary

#: Column titles behind the workload's name.
TITLES: Final = (
    "macs", "bound_cycles", "cycles", "ratio", *CAUSES, "copy_cycles", "cold_cycles", "mapping_s",
)  # fmt: skip

_HEAD = """\
# Cycles against the roofline

<!-- Written by `einchip bench`. Do not edit. -->

One row is one compressed matrix for a batch of inputs with its weights on the chip. `cycles` is
what a batch adds to a long stream of them, transfers included; `bound_cycles` the roofline of
[mapping](../docs/mapping.md); what lies between the two is split by cause: `fold` issues beyond the
bound (negative where weights that are merged once save more than lanes lose), `drain` both
accumulator sets in use, `port` a read port taken, `dependency` an earlier step awaited, `dma` a
transfer awaited, `fill` set-up and fetch. `cold_cycles` is one batch alone, from the first beat of
its input to the last of its result.
"""


def numbers(row: Mapping[str, Any]) -> list[str]:
    """Return what the table says of a row, behind its name."""
    cold = row["cold_cycles"]
    return [
        f"{row['macs']:,}",
        f"{row['bound_cycles']:,}",
        f"{row['cycles']:,.1f}",
        f"{row['ratio']:.2f}",
        *(f"{row['loss'][cause]:,.0f}" for cause in CAUSES),
        f"{row['copy_cycles']:,.0f}",
        "" if cold is None else f"{cold:,}",
        f"{row['mapping_s']:.1f}",
    ]


def title(run: Mapping[str, Any]) -> str:
    """Return what one run of the benchmark was of."""
    return (
        f"{run['arch']}, fold {run['fold']}, batch {run['batch']}, "
        f"{run['port_bytes']} bytes a cycle at the port"
    )


def summary(s: Mapping[str, Any]) -> str:
    """Return a `Summary` as a sentence."""
    return (
        f"{s['within_110']} of {s['rows']} within 1.10 of the bound, {s['within_125']} within "
        f"1.25; worst {s['worst']:.2f}, geometric mean {s['geometric_mean']:.2f}."
    )


#: The first columns of the table of layers.
_LAYER = {
    "compute": "compute_cycles", "port": "port_cycles", "vector unit": "vector_bound_cycles",
    "side by side": "micro_batch",
}  # fmt: skip


def _layers(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of whole layers, and why others are not in it."""
    refused = [r for r in rows if "error" in r]
    rows = [r for r in rows if "error" not in r]
    yield ""
    yield (
        "Whole layers: cycles of a time step in a long sequence, against the largest bound. Of a "
        "batch so many sequences as the column says run side by side, the others after them; "
        "`merged`: weights are merged beforehand, which is quicker."
    )
    if rows:
        yield summary(vars(Summary.of([r["ratio"] for r in rows])))
    yield ""
    causes = list(rows[0]["loss"]) if rows else []
    columns = (*_LAYER, "cycles per step", "ratio", *causes, "copies")
    yield f"| layer | weights | {' | '.join(columns)} |"
    yield "|---|---|" + "---:|" * len(columns)
    for r in rows:
        numbers = [r[name] for name in _LAYER.values()]
        lost = (*r["loss"].values(), r["copy_cycles"])
        yield (
            f"| {r['name']} | {'merged' if r['merged'] else ''} | "
            f"{' | '.join(f'{n:,.0f}' for n in numbers)} | "
            f"{r['cycles_per_step']:,.1f} | {r['ratio']:.2f} | "
            f"{' | '.join(f'{n:,.0f}' for n in lost)} |"
        )
    yield from (f"| {r['name']} | {r['error']} |" for r in refused)


def page(results: Mapping[str, Any]) -> str:
    """Return the page of a results file."""
    lines = [_HEAD]
    for run in results["runs"]:
        lines += [f"## {title(run)}", "", summary(run["summary"]), ""]
        lines += [f"| workload | {' | '.join(TITLES)} |", "|---|" + "---:|" * len(TITLES)]
        rows = [r for r in run["rows"] if "error" not in r]
        lines += [f"| {r['name']} | {' | '.join(numbers(r))} |" for r in rows]
        lines += [f"| {r['name']} | {r['error']} |" for r in run["rows"] if "error" in r]
        lines += _layers(run["layers"]) if run.get("layers") else []
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
