"""`einchip advise`, and the options of the search, against the functions that they call."""

import json
from pathlib import Path

import pytest

from einchip.arch import PRESETS
from einchip.mapper.advice import advise
from einchip.workloads import Workload, network_of, published
from tests.cli.helpers import invoke, refused, succeeded

BIG = "- {name: big, format: mpo, in_modes: [64, 64], out_modes: [64, 64], ranks: [1, 64, 1]}\n"


def test_a_batch_that_is_quicker_dense_is_told_so_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(BIG)
    out = tmp_path / "a.json"
    text = succeeded(
        invoke("advise", "--file", tmp_path / "f.yaml", "--batch", "128", "--json", out)
    )
    assert "128 inputs: do not compress this for speed" in text
    (row,) = json.loads(out.read_text())
    assert row["best"] == "dense, streamed"
    assert row["advice"] in text


def test_the_figures_are_those_of_the_mapper(tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    name = "MPO-LSTM Fig.2 bond 12"
    succeeded(invoke("advise", name, "--arch", "small", "--objective", "energy", "--json", out))
    (row,) = json.loads(out.read_text())
    spec = next(
        m.spec
        for e in published()
        for m in e.matrices
        if isinstance(m, Workload) and m.name == name
    )
    wanted = advise(network_of(spec), PRESETS["small"], "x", objective="energy")
    assert row == {"name": name, **json.loads(json.dumps(wanted.to_json()))}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["advise", "no such"], "NAMES: found no workload with no such in its name"),
        (["advise", "--objective", "joy"], "--objective: found 'joy', expected one of cycles"),
        (["contract", "a->a", "--shapes", "3", "--objective", "joy"], "--objective: found 'joy'"),
        (["advise", "--batch", "0"], "Invalid value for '--batch'"),
        (["contract", "a->a", "--shapes", "3", "--budget", "-1"], "Invalid value for '--budget'"),
    ],
)
def test_senseless_options_are_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert message in refused(tmp_path, *arguments)


@pytest.mark.parametrize("objective", ["energy", "edp", "macs", "memory"])
def test_contract_takes_an_objective_and_says_what_it_costs_by_all(
    tmp_path: Path, objective: str
) -> None:
    out = tmp_path / "c.json"
    einsum, shapes = "abc,cd,de->abe", "4x5x6,6x7,7x8"
    text = succeeded(
        invoke("contract", einsum, "--shapes", shapes, "--objective", objective, "--json", out)
    )
    figures = json.loads(out.read_text())
    assert figures["objective"] == objective
    assert set(figures["scores"]) == {"cycles", "energy", "edp", "macs", "memory"}
    assert f"by {objective}; not searched" in text


def test_weights_are_merged_unless_told_otherwise(tmp_path: Path) -> None:
    out = tmp_path / "c.json"
    words = ["contract", "ab,bc,cd->ad", "--shapes", "4x5,5x6,6x3", "--json", out]
    words += ["--resident", "T1", "--resident", "T2"]
    for options, merged in (([], {"T1*T2": ["T1", "T2"]}), (["--no-merge"], {})):
        text = succeeded(invoke(*words, *options))
        figures = json.loads(out.read_text())
        assert figures["merged"] == merged
        assert ("merged beforehand" in text) == bool(merged)
        assert figures["snr_db"] > 25
