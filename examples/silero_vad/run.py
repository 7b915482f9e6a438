#!/usr/bin/env python3
"""Run silero-vad's LSTM on the machine, dense and compressed, and see how the probabilities move.

    python examples/silero_vad/run.py                        # 60 s of speech by espeak-ng
    python examples/silero_vad/run.py talk.wav --json f.json # any WAV files

The LSTM (128 inputs, 128 units) comes from the installed wheel, and so does all around it, which
ONNX Runtime runs. Every variant gets scales for 8 and for 16 bits by calibration on other speech,
or, where WAV files are named, on the first 30 s of each of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from audio import RATE, Sound, conversation, read_wav
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from vad import FRAME, Vad

from einchip import arch as architectures
from einchip import energy
from einchip.arch import Architecture
from einchip.compiler.compiled import Compiled, compile_model
from einchip.models import Model, load_model, n_weights
from einchip.models.importers import Options, import_model
from einchip.sim import simulate

HERE = Path(__file__).parent
VARIANTS = ("dense", "svd", "mps", "ht")
CALIBRATION_SEED, TEST_SEEDS = 1, (2, 3, 4, 5)
#: Time steps simulated for the steady state: those before it, and those measured.
WARM, MEASURED = 2, 8
SPEECH = 0.5


def dense_model(vad: Vad) -> Model:
    """Return the wheel's LSTM, which gives h of every frame."""
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "lstm.onnx"
        vad.save_lstm(path)
        found = import_model(path, Options(name="silero-vad dense"))
        return Model(found.spec, found.tensors)


def spoken(seconds: float, seed: int) -> Sound:
    """Return speech synthesised by espeak-ng."""
    with tempfile.TemporaryDirectory() as work:
        return conversation(seconds, seed, Path(work))


def test_sounds(seconds: float) -> list[Sound]:
    """Return conversations that last so long together, each with its own voices and noise."""
    return [spoken(seconds / len(TEST_SEEDS), seed) for seed in TEST_SEEDS]


def variants(dense: Model) -> Iterator[tuple[str, Model]]:
    """Yield the variants: the dense model, and those that train.py wrote."""
    for name in VARIANTS:
        yield name, dense if name == "dense" else load_model(HERE / f"{name}.safetensors")


def weights(model: Model) -> int:
    """Return the weights of both matrices."""
    layer = model.spec.layers[0]
    return sum(n_weights(m, 4) for m in (layer.input, layer.hidden))


def steady_counters(compiled: Compiled) -> dict[str, float]:
    """Return the activity counters of one frame in the steady state, weights resident."""
    counts = []
    for n_steps in (WARM, WARM + MEASURED):
        places, memory = compiled.places(n_steps), compiled.memory(n_steps)
        compiled.put(memory, compiled.pack(np.zeros((n_steps, 128))), places)
        for program in (compiled.programs.setup, compiled.programs.run):
            run = simulate(
                program, compiled.arch, memory=memory, host=places.host(n_steps), fetch=False
            )
        counts.append(run.counters)
    return {name: (counts[1][name] - counts[0][name]) / MEASURED for name in counts[0]}


def moved(vad: Vad, expected: NDArray[Any], hidden: NDArray[Any]) -> dict[str, float]:
    """Return how far the probability of speech moves, and how many decisions turn."""
    found = vad.probabilities(hidden.astype(np.float32))
    apart = np.abs(found - expected)
    return {
        "mean": float(apart.mean()),
        "largest": float(apart.max()),
        "decisions": float(np.mean((found > SPEECH) != (expected > SPEECH))),
    }


def figures(
    name: str, model: Model, vad: Vad, sounds: list[Sound], calibration: list[NDArray[Any]],
    machine: Architecture,
) -> dict[str, Any]:  # fmt: skip
    """Return everything that is said of one variant."""
    inputs = [vad.features(s) for s in sounds]
    expected = np.concatenate([vad.original(s) for s in sounds])
    by_width: dict[str, dict[str, float]] = {
        "float": moved(vad, expected, np.concatenate([model.run(x) for x in inputs]))
    }
    for bits in (8, 16):
        compiled = compile_model(model, machine.override(data_bits=bits), calibration)
        hidden = [compiled.real_answer(a) for a in compiled.evaluate(inputs)]
        by_width[f"{bits} bit"] = moved(vad, expected, np.concatenate(hidden))
        if bits == machine.data_bits:
            counters = steady_counters(compiled)
    spent = energy.energy(
        {k: round(v) for k, v in counters.items()}, machine, energy.load("horowitz45")
    )
    return {
        "name": name,
        "weights": weights(model),
        "probability": by_width,
        "cycles_per_frame": counters["cycles"],
        "energy_pj_per_frame": dict(spent.by_component),
    }


def table(rows: list[dict[str, Any]], machine: Architecture, seconds: float) -> Table:
    """Return the figures as a table."""
    found = Table(title=f"silero-vad's LSTM on {machine.name}, {seconds:.0f} s of sound")
    for column in ("variant", "weights", "float", "8 bit", "16 bit", "cycles/frame", "nJ/frame"):
        found.add_column(column, justify="left" if column == "variant" else "right")
    for r in rows:
        cells = [f"{p['mean']:.4f}, {p['decisions']:.1%}" for p in r["probability"].values()]
        spent = sum(r["energy_pj_per_frame"].values()) / 1000
        found.add_row(
            r["name"], f"{r['weights']:,}", *cells, f"{r['cycles_per_frame']:,.0f}", f"{spent:,.0f}"
        )
    found.caption = "change of the probability of speech: mean, decisions at 0.5 that turn"
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wav", nargs="*", type=Path, help="sound to use instead of espeak-ng's")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="length of the synthesised speech"
    )
    parser.add_argument("--arch", default="base", help="nano, small, base or a .yaml file")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    given = parser.parse_args(arguments)
    console, machine, vad = Console(), architectures.load(given.arch), Vad()
    sounds = [read_wav(p) for p in given.wav] or test_sounds(given.seconds)
    heard = [s[: 30 * RATE] for s in sounds] if given.wav else [spoken(30.0, CALIBRATION_SEED)]
    calibration = [vad.features(s) for s in heard]
    rows = []
    with console.status("") as status:
        for name, model in variants(dense_model(vad)):
            status.update(f"{name}: 8 and 16 bits")
            rows.append(figures(name, model, vad, sounds, calibration, machine))
    seconds = sum(len(s) for s in sounds) / RATE
    console.print(table(rows, machine, seconds))
    if given.json:
        content = {
            "arch": machine.model_dump(),
            "frame_samples": FRAME,
            "seconds": seconds,
            "variants": rows,
        }
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
