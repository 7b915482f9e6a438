"""The differences that a page shows, applied to a copy of the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT, Block, blocks

#: The longest that a page's Python may take, in seconds.
LIMIT_SECONDS = 300


def applied(text: str, difference: str, where: str) -> str:
    """Return a text with a difference: hunks between lines of "@@", without line numbers.

    What a hunk takes for granted must be in the text exactly once; else ValueError.
    """
    for hunk in difference.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] or "\n" for line in lines if line[0] in " -\n")
        new = "".join(line[1:] or "\n" for line in lines if line[0] in " +\n")
        if text.count(old) != 1:
            raise ValueError(f"{where}: found {text.count(old)} times, expected once:\n{old}")
        text = text.replace(old, new)
    return text


def changed_sources(page: Path, folder: Path) -> Path:
    """Copy the sources, apply the page's differences; return the folder of the packages."""
    source = folder / "src"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "einchip", source / "einchip", ignore=ignore)
    for block in blocks(page):
        if block.kind == "diff":
            path = folder / _in_sources(block)
            path.write_text(applied(path.read_text(), block.text, f"{page.name}:{block.line}"))
    return source


def _in_sources(block: Block) -> str:
    """Return the file that a difference changes, below src: sim is src/einchip/sim."""
    return block.title if block.title.startswith("src/") else f"src/einchip/{block.title}"


def run_python(page: Path, source: Path, folder: Path) -> str:
    """Run the page's Python with these sources; return what it prints."""
    code = "".join(b.text for b in blocks(page) if b.kind == "python")
    env = os.environ | {"PYTHONPATH": f"{source}{os.pathsep}{ROOT}"}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, env=env, timeout=LIMIT_SECONDS,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
