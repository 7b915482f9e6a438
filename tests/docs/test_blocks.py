"""Fenced blocks of the pages: each has a known kind and is what it says it is.

Python blocks and commands run in `tests/cli/test_pages.py`; the oracles here are the readers of
YAML files, Mermaid's and WaveDrom's own programs, `tests/sim/stepped.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from einchip import arch, energy, workloads
from einchip.explore import space
from einchip.models import MatrixSpec, load_model
from tests.docs import waves
from tests.docs.pages import PAGES, ROOT, Block, blocks, of_kind

#: What a fence may be.
KINDS: Final = {"einchip", "python", "yaml", "json", "mermaid", "wavedrom", "diff", "text"}
#: And what it may be on pages that are printed from the code, and compared with it by other tests.
PRINTED: Final = {"isa.md": "", "cli.md": "console"}
#: Pages whose differences are applied and run by `test_howto.py`.
WITH_DIFF: Final = {"howto-format.md", "howto-instruction.md"}


def all_of(*kinds: str) -> list[Any]:
    """Return the blocks of some kinds as parameters, named by page and line."""
    return [
        pytest.param(b, id=f"{page.relative_to(ROOT)}:{b.line}")
        for page in PAGES
        for b in blocks(page)
        if b.kind in kinds
    ]


def check_yaml(text: str, folder: Path) -> None:
    """Give a YAML text to the reader of what it is; the fields say what. Raises ValueError."""
    raw = yaml.safe_load(text)
    path = folder / "block.yaml"
    path.write_text(text)
    if isinstance(raw, list):
        assert workloads.read(path)
    elif "example" in raw:  # tensors and weights: tests/models/test_docs.py
        MatrixSpec.model_validate(raw["example"])
    elif "layers" in raw:
        load_model(path)
    elif "node_nm" in raw:
        energy.load(str(path))
    elif "parameters" in raw:
        space.read(path)
    elif "preset" in raw or "rows" in raw:
        arch.load(str(path))
    else:
        raise ValueError(f"found the fields {', '.join(raw)}, expected those of a known file")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_has_a_kind_that_is_checked(page: Path) -> None:
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        assert block.kind in KINDS or block.kind == PRINTED.get(page.name), where
        assert block.kind != "diff" or page.name in WITH_DIFF, where


def test_a_fence_that_is_not_closed_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n```python\nx = 1\n")
    with pytest.raises(ValueError, match=r"page.md:2: found a fence that is not closed"):
        blocks(page)


def test_blocks_are_found_in_their_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '    einchip run X   # a note\n\n```yaml title="a.yaml"\n  a: 1\n```\n    make test\n'
    )
    assert blocks(page) == [
        Block("einchip", "", "einchip run X", 1),
        Block("yaml", "a.yaml", "a: 1\n", 3),
    ]


@pytest.mark.parametrize("block", all_of("yaml"))
def test_yaml_is_a_file_that_its_reader_takes(block: Block, tmp_path: Path) -> None:
    check_yaml(block.text, tmp_path)


@pytest.mark.parametrize("text", ["name: x\n", "preset: nano\nrows: 3\n", "layers: []\n"])
def test_yaml_that_no_reader_takes_is_found(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found|expected"):
        check_yaml(text, tmp_path)


@pytest.mark.parametrize("block", all_of("json"))
def test_json_is_json(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("block", all_of("mermaid"))
def test_mermaid_draws(block: Block) -> None:
    merman = pytest.importorskip("merman", reason="needs einchip[docs]")
    assert "<svg" in merman.Merman().render_svg(block.text, None)


@pytest.mark.parametrize("block", all_of("wavedrom"))
def test_wavedrom_draws(block: Block) -> None:
    yowasp_wavedrom = pytest.importorskip("yowasp_wavedrom", reason="needs einchip[docs]")
    assert "<svg" in yowasp_wavedrom.render(json.loads(block.text))


def test_waveforms_of_the_timing_page_are_those_of_the_literal_machine() -> None:
    """Which the simulator equals in every cycle count: `tests/sim`."""
    shown = of_kind(ROOT / "docs" / "timing.md", "wavedrom")
    assert shown == [draw() for draw in waves.DIAGRAMS.values()], (
        "stale: take them from `python -m tests.docs.waves`"
    )
