"""Damaged files: each is accepted or refused in one line; the oracle is the type of the error."""

import json
from pathlib import Path

import pytest

from tests.models.fuzz import MAX_BYTES, readers, run

RESULT = json.loads((Path(__file__).parent / "fuzz.json").read_text())
READERS = readers()


@pytest.mark.parametrize("name", READERS)
def test_damaged_file_is_accepted_or_refused_in_one_line(name: str) -> None:
    outcome = run(READERS[name], 50)
    assert outcome.accepted + outcome.refused >= 25
    assert outcome.refused


def test_committed_run_covers_every_reader_with_ten_thousand_files() -> None:
    assert RESULT["inputs"] >= 10_000
    assert RESULT["crashes"] == 0
    assert RESULT["peak_mib"] * 2**20 < MAX_BYTES
    assert set(READERS) <= set(RESULT["readers"])  # .pt only where PyTorch is installed
    assert max(r["slowest_s"] for r in RESULT["readers"].values()) < 60
    assert sum(r["inputs"] for r in RESULT["readers"].values()) == RESULT["inputs"]
