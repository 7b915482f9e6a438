"""`docs/data.md`: its examples run; oracles: commands that read the file, the model."""

import re
from pathlib import Path

import pytest

from einchip.models import ModelSpec, load_npz, random_model, save_model
from tests.cli.helpers import ROOT, invoke, succeeded

PAGE = (ROOT / "docs" / "data.md").read_text()
WRITE, ANSWER = re.findall(r"```python\n(.*?)```", PAGE, re.S)
SPEC = {
    "name": "small",
    "layers": [
        {
            "cell": "gru",
            "input_size": 3,
            "hidden_size": 7,
            "input": {"format": "dense"},
            "hidden": {"format": "dense"},
        },
        {"kind": "linear", "input_size": 7, "out_size": 2, "weight": {"format": "dense"}},
    ],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, in which the examples run."""
    monkeypatch.chdir(tmp_path)
    save_model(random_model(ModelSpec.model_validate(SPEC), 1), "model.safetensors")
    return tmp_path


def test_data_that_the_page_writes_are_taken(here: Path) -> None:
    exec(WRITE, {})
    assert (len(load_npz("data.npz", "train")), len(load_npz("data.npz", "test"))) == (40, 10)
    assert "10 sequences" in succeeded(invoke("run", "model.safetensors", "--arch", "nano"))
    assert "no data" not in invoke("compile", "model.safetensors", "-o", "out").output


def test_answers_that_the_page_prints_are_close_to_the_float_model(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(ANSWER, {})
    errors = [float(line) for line in capsys.readouterr().out.split()]
    assert len(errors) == 4
    assert 0 < max(errors) < 0.05
