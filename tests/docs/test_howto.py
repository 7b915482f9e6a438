"""How-to pages that change or extend the code: what they show is done, in a copy of the sources.

The oracles: what the pages say is printed; the constraints that Amaranth writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from einchip.fpga.targets import boards
from tests.docs.changes import applied, changed_sources, run_python
from tests.docs.outputs import prints
from tests.docs.pages import ROOT, blocks, of_kind
from tests.fpga.targets.tools import Loopback

DOCS: Final = ROOT / "docs"


def shown(page: Path) -> str:
    """Return what the page says that its Python prints."""
    return "".join(of_kind(page, "text"))


@pytest.mark.parametrize(
    ("name", "library"), [("howto-format.md", "tensorly"), ("howto-instruction.md", "amaranth")]
)
def test_the_page_s_changes_apply_and_do_what_it_says(
    name: str, library: str, tmp_path: Path
) -> None:
    pytest.importorskip(library)
    page = DOCS / name
    source = changed_sources(page, tmp_path)
    prints(shown(page), run_python(page, source, tmp_path), name)


def test_a_stale_difference_is_found() -> None:
    assert applied("a\nb\nc\n", " a\n-b\n+d\n@@\n c\n+e\n", "page") == "a\nd\nc\ne\n"
    with pytest.raises(ValueError, match="page: found 0 times, expected once"):
        applied("a\nc\n", " a\n-b\n+d\n", "page")
    with pytest.raises(ValueError, match="page: found 2 times, expected once"):
        applied("a\na\n", "-a\n", "page")


def test_board_of_the_page_has_its_constraints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a small system in place of the machine, which Amaranth takes seconds to write."""
    page = DOCS / "howto-board.md"
    monkeypatch.setattr(boards.Target, "system", lambda self, arch: Loopback(arch, 0, 217))
    names: dict[str, object] = {"__name__": page.name}
    for block in blocks(page):
        if block.kind == "python":
            exec(compile(block.text, f"{page.name}:{block.line}", "exec"), names)
    prints(shown(page), capsys.readouterr().out, page.name)
