#!/usr/bin/env python3
"""Compress the dense LSTM in every format, fine-tune it there, and tabulate what that does.

    python examples/japanese_vowels/formats.py                    # all formats
    python examples/japanese_vowels/formats.py --formats ht tr    # some, printed only

Starts from `dense.safetensors` (trained by `train.py`). The two matrices together get at least 8
times fewer weights; then all parameters are trained on with the settings below, the same for all
formats. Writes `results/formats.json` and the table in `docs/compress.md`. Needs PyTorch.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from einchip.models import Model, Sequences, load_model, load_npz, n_weights
from einchip.models.compress import MatrixReport, Plan, Target, compress_model, places
from einchip.models.finetune import Settings, accuracy, finetune

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "compress.md"
#: Together 8. How to share the weights was chosen on a held-out part of the train set.
RATIOS = {"layers.0.input": 2.8, "layers.0.hidden": 12.3}
FORMATS = ("lowrank", "mpo", "mps", "ht", "tr", "bt", "tucker", "cp", "kronecker")
SETTINGS = Settings(
    epochs=100,
    rate=0.01,
    batch=30,
    seed=1,
    decay=0.02,
    noise=0.3,
    offset=0.4,
    dropout=0.2,
    smoothing=0.05,
)
NAMES = {
    "dense": "dense",
    "lowrank": "low rank (SVD)",
    "mpo": "MPO / TT-matrix",
    "mps": "MPS",
    "ht": "hierarchical Tucker",
    "tr": "tensor ring",
    "bt": "block term, 2 blocks",
    "tucker": "Tucker",
    "cp": "CP",
    "kronecker": "sum of Kronecker products",
}
BEGIN, END = "<!-- formats: begin -->\n", "<!-- formats: end -->\n"


def matrix_figures(report: MatrixReport) -> dict[str, object]:
    """Return format and errors of one matrix."""
    after = report.after.model_dump(mode="json")
    return {
        "in_modes": after["in_modes"],
        "out_modes": after["out_modes"],
        "ranks": after["ranks"],
        "weights": report.weights_after,
        "error": round(report.error, 4),
        "svd_error": round(report.svd_error, 4),
    }


def matrix_weights(model: Model) -> int:
    """Return the weights of the recurrent layer's matrices."""
    return sum(n_weights(p.spec, p.n_gates) for p in places(model.spec) if p.recurrent)


def measure(
    dense: Model, format_: str, train: Sequences, test: Sequences, settings: Settings
) -> dict[str, object]:
    """Return a format's figures: weights, errors, accuracy before and after fine-tuning."""
    start = time.monotonic()
    reports: list[MatrixReport] = []
    model = dense
    if format_ != "dense":
        for name, ratio in RATIOS.items():
            plan = Plan(format_, Target(ratio=ratio), only=(name,))
            model, (report,) = compress_model(model, plan)
            reports.append(report)
    tuned = finetune(model, train, settings)
    n = matrix_weights(model)
    row = {
        "weights": n,
        "ratio": round(matrix_weights(dense) / n, 3),
        "matrices": {r.name: matrix_figures(r) for r in reports},
        "compressed": round(accuracy(model, test), 5),
        "fine_tuned": round(accuracy(tuned, test), 5),
    }
    print(f"{format_}: {json.dumps(row)} {time.monotonic() - start:.0f} s", flush=True)
    return row


def table(results: dict[str, dict]) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| format | weights | ratio | error of input, hidden matrix | the same, SVD | compressed | "
        "fine-tuned |",
        "|---|---:|---:|---|---|---:|---:|",
    ]
    for name, row in results.items():
        parts = list(row["matrices"].values())
        own = ", ".join(f"{p['error']:.2f}" for p in parts) or "0"
        svd = ", ".join(f"{p['svd_error']:.2f}" for p in parts) or "0"
        lines.append(
            f"| {NAMES[name]} | {row['weights']:,} | {row['ratio']:.1f} | {own} | {svd} "
            f"| {row['compressed']:.2%} | {row['fine_tuned']:.2%} |"
        )
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--formats", nargs="+", choices=FORMATS, help="print these, write nothing")
    p.add_argument("--epochs", type=int, default=SETTINGS.epochs)
    return p.parse_args()


def main() -> None:
    """Measure every format, write results and table."""
    a = arguments()
    dense = load_model(HERE / "dense.safetensors")
    train, test = (load_npz(HERE / "japanese_vowels.npz", s) for s in ("train", "test"))
    settings = Settings(**asdict(SETTINGS) | {"epochs": a.epochs})
    formats = a.formats or ("dense", *FORMATS)
    results = {f: measure(dense, f, train, test, settings) for f in formats}
    text = table(results)
    print(text)
    if a.formats:
        return
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions["numpy"] = np.__version__
    content = {"settings": asdict(settings), "ratios": RATIOS, "versions": versions}
    path = HERE / "results" / "formats.json"
    path.write_text(json.dumps(content | {"formats": results}, indent=1) + "\n")
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    PAGE.write_text(head + BEGIN + text + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
