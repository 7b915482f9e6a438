"""The figures of a point, and why there are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from einchip.arch import PRESETS
from einchip.cli.explore import subject_of
from einchip.explore.domain import MACHINE
from einchip.explore.errors import ExploreError
from einchip.explore.evaluate import Outcome, evaluate
from einchip.explore.objectives import chosen
from einchip.explore.point import Compression, Point, Subject
from einchip.models import Model, Sequences, save_model
from einchip.models.compress import Plan, Target, compress_model
from tests.cli.helpers import invoke, put_data, put_model, succeeded
from tests.explore.helpers import context, point, subject


def test_figures_are_those_of_run_and_fit(tmp_path: Path) -> None:
    """The oracle is `einchip run --json` and `einchip fit --json` on nano."""
    model, data = tmp_path / "model.safetensors", tmp_path / "data.npz"
    put_model(model)
    put_data(data)
    files = [tmp_path / "run.json", tmp_path / "fit.json"]
    succeeded(invoke("run", model, "--arch", "nano", "--json", files[0]))
    invoke("fit", "--target", "icebreaker", "--arch", "nano", "--json", files[1])  # it is too large
    run, fit = (json.loads(file.read_text()) for file in files)
    (expected,), used = run["models"], fit["machines"][0]["used"]
    mine = subject_of(model, None, 1)
    shared = context(mine, target="icebreaker", fixed_sequences=3)
    found = evaluate(
        shared, Point(PRESETS["nano"].override(name=MACHINE), mine.digest, Compression())
    )
    figures = found.figures
    assert found.status == "ok"
    assert figures["cycles"] == expected["cycles"]
    assert figures["cycles_per_step"] == pytest.approx(expected["cycles"] / expected["mean_steps"])
    assert figures["energy_pj"] == pytest.approx(sum(expected["energy_pj"].values()))
    assert figures["weights"] == expected["weights"]
    assert figures["error"] == pytest.approx(1 - expected["accuracy_float"])
    assert figures["error_fixed"] == pytest.approx(1 - expected["accuracy_fixed"]["8"])
    assert {kind: figures[kind] for kind in used} == used


def test_a_compressed_model_is_that_of_compress() -> None:
    """The oracle is the compressed model, given as it is; and its largest reported error."""
    pytest.importorskip("tensorly")
    pytest.importorskip("tensap")
    base = subject("dense")
    made, reports = compress_model(base.model, Plan("lowrank", Target(rank=2)))
    other = replace(base, model=made)
    shared = context(base, other)
    small = Compression("lowrank", "rank", 2)
    found = evaluate(shared, replace(point(base.digest), compression=small)).figures
    expected = evaluate(shared, point(other.digest)).figures
    assert found == expected | {"decomposition": max(r.error for r in reports)}
    assert 0 < found["decomposition"] < 1


def test_answers_that_are_no_classes_are_compared_with_those_as_given() -> None:
    """The oracle is the norm of the difference, by NumPy."""
    pytest.importorskip("tensorly")
    pytest.importorskip("tensap")
    base = subject("dense")
    spec = base.model.spec.model_copy(update={"output": "sequence"})
    model = Model(spec, base.model.tensors)
    rng = np.random.default_rng(1)
    steps = tuple(rng.standard_normal((n, spec.input_size)).astype(np.float32) for n in (3, 2))
    mine = Subject("a", model, steps, Sequences(steps, np.zeros(2, np.int64)), (3, 2))
    given = evaluate(context(mine), point(mine.digest)).figures
    small = replace(point(mine.digest), compression=Compression("lowrank", "ratio", 2))
    found = evaluate(context(mine), small).figures
    made, _ = compress_model(model, Plan("lowrank", Target(ratio=2)))
    before, after = (np.concatenate([np.ravel(m.run(s)) for s in steps]) for m in (model, made))
    assert given["error"] == 0
    expected = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert found["error"] == pytest.approx(expected)


def test_what_is_impossible_is_a_result_with_its_reason() -> None:
    """The oracle is the kind of reason: the mapping, the board's part, its memory, the ranks."""
    mine = subject()
    fits = {"must_fit": True}
    cases = [
        (context(mine), point(x_depth=16, y_depth=16), "elements needed"),
        (context(mine, **fits), point(rows=4, lanes=64, x_depth=16384), "ulx3s: found"),
        (context(mine, target="icebreaker", **fits), point(), "expected at most"),
        (
            context(mine), replace(point(), compression=Compression("cp", "rank", 60000)),
            "lower --rank",
        ),
    ]  # fmt: skip
    for shared, where, said in cases:
        found = evaluate(shared, where)
        assert (found.status, found.figures) == ("infeasible", {}), said
        assert said in found.reason
        assert "\n" not in found.reason


def test_a_defect_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle is the error that is put in."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("put in")

    monkeypatch.setattr("einchip.explore.evaluate.map_model", broken)
    expected = Outcome("failed", {}, "ZeroDivisionError: put in")
    assert evaluate(context(), point()) == expected


def test_memory_of_the_board_is_looked_at() -> None:
    """The oracle is a sequence that is longer than the board's memory."""
    long = replace(subject(), lengths=(200_000,))
    found = evaluate(context(long, must_fit=True), point(long.digest, rows=2, cols=2, lanes=4))
    assert found.status == "infeasible"
    assert "ulx3s: memory: found" in found.reason


def test_objectives_are_checked() -> None:
    """The oracle is the message of each mistake."""
    assert [o.figure for o in chosen("cycles, area:dsp,error", True, 0)] == [
        "cycles", "dsp", "error",
    ]  # fmt: skip
    for text, with_data, said in (
        ("cycle", True, "'cycle'; did you mean cycles?"),
        ("", True, "found ''"),
        ("cycles,cycles", True, "twice"),
        ("error", False, "without data"),
        ("error:fixed", True, "fixed_sequences above 0"),
    ):
        with pytest.raises(ExploreError, match="--objective") as caught:
            chosen(text, with_data, 0)
        assert said in str(caught.value)


def test_a_saved_model_is_the_same_subject(tmp_path: Path) -> None:
    """The oracle is the digest: what a file is called changes nothing."""
    for name in ("a.safetensors", "b.safetensors"):
        save_model(subject().model, tmp_path / name)
    first, second = (subject_of(tmp_path / f"{n}.safetensors", None, 2) for n in "ab")
    assert first.digest == second.digest
    assert first.digest != subject_of(tmp_path / "a.safetensors", None, 3).digest
