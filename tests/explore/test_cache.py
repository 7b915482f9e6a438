"""Results on disk: names by content, damaged files, several writers."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einchip import energy
from einchip.explore.cache import Cache
from einchip.explore.errors import ExploreError
from einchip.explore.evaluate import Outcome
from einchip.explore.point import Compression, Subject, code_digest, digest
from einchip.models import Model
from tests.explore.helpers import context, point, subject

KEY = digest("a point")
OUTCOME = Outcome("ok", {"cycles": 1234.5, "lut": 0.1 + 0.2}, "")


def changed(model: Model, name: str) -> Model:
    """Return a model with the last bit of one weight changed."""
    tensor = model.tensors[name].copy()
    flat = tensor.reshape(-1)
    flat[0] = np.nextafter(flat[0], np.float32(9))
    return Model(model.spec, {**model.tensors, name: tensor})


def test_any_change_of_content_changes_the_key() -> None:
    """The oracle is that all keys differ: each of them has one thing changed."""
    base, mine = subject(), point()
    model = base.model
    others = [
        replace(base, model=changed(model, next(iter(model.tensors)))),
        replace(base, lengths=(3,)),
        replace(base, calibration=(base.calibration[0] * 2,)),
        subject("mps"),
    ]
    contexts = [
        context(base, table=energy.load("cacti45")), context(base, target="icebreaker"),
        context(base, must_fit=True), context(base, fixed_sequences=1), context(base, code="x"),
    ]  # fmt: skip
    fields: dict[str, Any] = {
        "rows": 2,
        "cols": 2,
        "lanes": 8,
        "fold": "flex",
        "acc_bits": 40,
        "x_depth": 1024,
    }
    keys = [
        context(base).key(mine),
        *(context(s).key(replace(mine, model=s.digest)) for s in others),
        *(c.key(mine) for c in contexts),
        *(context(base).key(point(**{name: value})) for name, value in fields.items()),
        *(
            context(base).key(replace(mine, compression=c))
            for c in (Compression("mps", "rank", 2), Compression("mps", "ratio", 2),
                      Compression("mpo", "rank", 2), Compression("mps", "rank", 3))
        ),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)


def test_sources_that_figures_depend_on_are_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is what is written: a mapper and a table change the digest, a command does not."""
    for name in ("__init__.py", "mapper/cost.py", "energy/a.yaml", "cli/run.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr("einchip.__file__", str(tmp_path / "__init__.py"))
    found = [code_digest.__wrapped__()]
    for name in ("mapper/cost.py", "energy/a.yaml", "cli/run.py"):
        (tmp_path / name).write_text("2")
        found.append(code_digest.__wrapped__())
    assert len(set(found)) == 3
    assert found[2] == found[3]


def test_what_is_no_content_leaves_the_key() -> None:
    """The oracle is the same key: names of machines and models, and the order of tensors."""
    base = subject()
    tensors = dict(reversed(base.model.tensors.items()))
    same = replace(base, name="other", model=Model(base.model.spec, tensors))
    expected = context(base).key(point())
    assert context(same).key(point(same.digest)) == expected
    assert context(base).key(point(name="other")) == expected
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    """The oracle is the result itself, every bit of its figures."""
    cache = Cache(tmp_path / "deep" / "folder")
    assert cache.get(KEY) is None
    for outcome in (OUTCOME, Outcome("infeasible", {}, "too small")):
        cache.put(KEY, outcome)
        assert cache.get(KEY) == outcome
    assert cache.damaged == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-9],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace("1234.5", "1234.6"),
        lambda text: text.replace('"ok"', '"failed"'),
        lambda text: text.replace(KEY, digest("another")),
        lambda text: json.dumps({**json.loads(text), "result": 3}),
    ],
)
def test_damaged_results_are_none_and_named(tmp_path: Path, damage: Callable[[str], str]) -> None:
    """The oracle is what was done to the file; a new result takes its place."""
    cache = Cache(tmp_path)
    cache.put(KEY, OUTCOME)
    path = cache.path(KEY)
    path.write_text(damage(path.read_text()))
    assert cache.get(KEY) is None
    assert cache.damaged == [path]
    cache.put(KEY, OUTCOME)
    assert Cache(tmp_path).get(KEY) == OUTCOME


def test_several_writers_leave_whole_results(tmp_path: Path) -> None:
    """The oracle is the result: whoever reads meanwhile sees all of it, or nothing."""

    def work(number: int) -> list[Outcome | None]:
        cache = Cache(tmp_path)
        found = []
        for k in range(60):
            cache.put(digest(k % 5), OUTCOME)
            found.append(cache.get(digest((k + number) % 5)))
        assert cache.damaged == []
        return found

    with ThreadPoolExecutor(4) as pool:
        seen = {outcome for found in pool.map(work, range(4)) for outcome in map(str, found)}
    assert seen <= {str(OUTCOME), "None"}
    assert len(list(tmp_path.rglob("*.json"))) == 5
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    """The oracle is the file that is in the way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ExploreError, match="cannot keep results there"):
        Cache(tmp_path / "file" / "cache")


def test_subjects_are_told_apart_by_content() -> None:
    """The oracle is that two readings of one model are one subject."""
    again = subject()
    assert again.digest == subject().digest != subject("mps").digest
    assert isinstance(again, Subject)
