"""The voice activity example: figures of its page, committed results, its network in parts."""

import importlib
import importlib.metadata
import json
import wave
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from einchip import arch as architectures
from einchip.compiler.compiled import compile_model
from einchip.models import load_model

FOLDER = Path(__file__).parents[2] / "examples" / "silero_vad"
RESULTS: dict[str, Any] = json.loads((FOLDER / "results" / "base.json").read_text())
VARIANTS = {row["name"]: row for row in RESULTS["variants"]}
WIDTHS = ("float", "8 bit", "16 bit")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module; skips without the wheel that it takes apart."""
    pytest.importorskip("onnxruntime")
    try:
        importlib.metadata.files("silero-vad")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("silero-vad is not installed")
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("run")


def test_page_shows_the_committed_results() -> None:
    page = (FOLDER / "README.md").read_text()
    for name, row in VARIANTS.items():
        moved = [row["probability"][w] for w in WIDTHS]
        cells = [f"{p['mean']:.4f}, {p['decisions']:.1%}" for p in moved]
        spent = sum(row["energy_pj_per_frame"].values()) / 1000
        cells += [f"{row['cycles_per_frame']:,.0f}", f"{spent:,.0f}"]
        assert f"| {name} | {row['weights']:,} | {' | '.join(cells)} |" in page


def test_page_shows_how_it_was_before_fine_tuning() -> None:
    page = (FOLDER / "README.md").read_text()
    for row in json.loads((FOLDER / "results" / "compressed.json").read_text()):
        errors = ", ".join(f"{e:.2f}" for e in row["errors"])
        cells = f"{row['before']['mean']:.4f}, {row['before']['decisions']:.1%}"
        assert f"| {row['name']} | {errors} | {cells} |" in page


@pytest.mark.parametrize("name", [n for n in VARIANTS if n != "dense"])
def test_cycles_and_energy_of_a_frame_are_those_committed(example: ModuleType, name: str) -> None:
    machine = architectures.load("base")
    model = load_model(FOLDER / f"{name}.safetensors")
    calibration = np.random.default_rng(1).standard_normal((8, 128))
    counters = example.steady_counters(compile_model(model, machine, [calibration]))
    assert counters["cycles"] == VARIANTS[name]["cycles_per_frame"]
    assert example.weights(model) == VARIANTS[name]["weights"]


def test_lstm_and_the_parts_around_it_are_the_whole_network(example: ModuleType) -> None:
    vad = example.Vad()
    rng = np.random.default_rng(2)
    sound = (rng.standard_normal(16_000) * np.hanning(16_000) * 0.3).astype(np.float32)
    hidden = example.dense_model(vad).run(vad.features(sound))
    assert np.abs(vad.probabilities(hidden) - vad.original(sound)).max() < 1e-5


def test_it_runs_on_a_sound_file(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    sound = (rng.standard_normal(8_000) * 3000).astype("<i2")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(sound.tobytes())
    example.main([str(tmp_path / "a.wav"), "--json", str(tmp_path / "f.json")])
    rows = json.loads((tmp_path / "f.json").read_text())["variants"]
    assert [r["name"] for r in rows] == list(VARIANTS)
    assert rows[0]["probability"]["float"]["largest"] < 1e-5  # the whole network by ONNX Runtime
    assert rows[0]["probability"]["16 bit"]["mean"] < 0.01
    assert rows[0]["cycles_per_frame"] == VARIANTS["dense"]["cycles_per_frame"]
    assert "silero-vad's LSTM on base" in capsys.readouterr().out


def test_sound_files_of_any_rate_and_width_are_read(example: ModuleType, tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    for width, dtype in ((1, "u1"), (2, "<i2"), (4, "<i4")):
        scaled = tone * (2.0 ** (8 * width - 1) - 1) + (128 if width == 1 else 0)
        with wave.open(str(tmp_path / "a.wav"), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(width)
            file.setframerate(44_100)
            file.writeframes(np.repeat(scaled.astype(dtype), 2).tobytes())
        found = example.read_wav(tmp_path / "a.wav")
        expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
        assert len(found) == 16_000
        assert np.abs(found - expected)[100:-100].max() < 0.02
