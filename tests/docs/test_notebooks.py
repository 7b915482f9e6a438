"""The notebooks: executed from the first cell to the last; the oracles are their own assertions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.docs.pages import ROOT

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

NOTEBOOKS: Final = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
#: What each needs beside einchip.
NEEDS: Final = {"from_pytorch": ("torch", "tensorly"), "reading_a_mapping": ()}
#: Seconds that a cell may take; one compiles the RTL, if no other test has.
LIMIT_SECONDS: Final = 300


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(NEEDS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    nbformat.validate(read(path))
    for cell in read(path).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native_cache: Path
) -> None:
    """In a home of its own, which has the RTL that other tests have compiled."""
    for library in NEEDS[path.stem]:
        pytest.importorskip(library)
    native_cache.mkdir(parents=True, exist_ok=True)
    (tmp_path / ".cache" / "einchip").mkdir(parents=True)
    (tmp_path / ".cache" / "einchip" / "rtl").symlink_to(native_cache)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    client = nbclient.NotebookClient(
        read(path),
        timeout=LIMIT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    ran = client.execute()
    assert any(cell.get("outputs") for cell in ran.cells)
