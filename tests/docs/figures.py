"""Tables of docs/why-compressed-is-slow.md, from the committed results.

`python -m tests.docs.figures` prints them as they stand in the page.
"""

from __future__ import annotations

import json
from statistics import geometric_mean
from typing import Any, Final

from tests.docs.pages import ROOT

#: What a restricted search is not allowed, by the key of the gain: order, layout, fold.
RESTRICTED: Final = {
    "order-cores": ("order", "input, first core, second core, ..."),
    "order-last-first": ("order", "input, last core, last but one, ..."),
    "order-least-macs": ("order", "the tree of fewest multiply-adds"),
    "layout-copies": ("layout", "fixed layouts, copies between"),
    "layout-fused": ("shape", "no small indices fused on the lanes"),
    "fold-op": ("shape", "outer products only"),
    "fold-ip": ("shape", "inner products only"),
}
#: Causes of cycles above the bound of a layer, as the bench names them.
CAUSES: Final = {"fold": "shape", "drain": "drain", "port": "port", "token": "wait for results"}
OVERHEAD: Final = ("setup", "idle")
N_LAYERS: Final = 3


def compared() -> list[dict[str, Any]]:
    """Return the measured workloads of docs/compare.json."""
    found: list[dict[str, Any]] = json.loads((ROOT / "docs" / "compare.json").read_text())
    return found


def gains() -> str:
    """Return the table of what each restriction costs."""
    lines = [
        "| what | restricted to | matrices | times slower | at most |",
        "|---|---|--:|--:|--:|",
    ]
    for key, (what, how) in RESTRICTED.items():
        found = [w["gains"][key] for w in compared() if w["gains"].get(key)]
        mean, most = geometric_mean(found), max(found)
        lines.append(f"| {what} | {how} | {len(found)} | {mean:.2f} | {most:.2f} |")
    return "\n".join(lines)


def layers() -> str:
    """Return the table of the smallest and the largest layers of the bench, batch 1."""
    run = json.loads((ROOT / "bench" / "results.json").read_text())["runs"][0]
    by_size = sorted(run["layers"], key=lambda w: w["bound_cycles"])
    heads = ["layer", "bound", "cycles a step", "ratio", *CAUSES.values(), "set-up, idle"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    for w in (*by_size[:N_LAYERS], *by_size[-N_LAYERS:]):
        loss = [*(w["loss"][c] for c in CAUSES), sum(w["loss"][c] for c in OVERHEAD)]
        figures = [f"{w['bound_cycles']:,}", f"{w['cycles_per_step']:,.0f}", f"{w['ratio']:.2f}"]
        lines.append("| " + " | ".join([w["name"], *figures, *(f"{x:,.0f}" for x in loss)]) + " |")
    return "\n".join(lines)


TABLES: Final = {"gains": gains, "layers": layers}


if __name__ == "__main__":
    for table in TABLES.values():
        print(table(), end="\n\n")
