"""The pages as data: fenced blocks and commands, in the order in which they stand."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
    *sorted((ROOT / "bench").glob("*.md")),
    *sorted(ROOT.glob("examples/*/*.md")),
]
_FENCE: Final = re.compile(r"^( *)```+ *(\S*)(.*)$")
_TITLE: Final = re.compile(r'title="([^"]+)"')
_COMMAND: Final = re.compile(r"^ {4}(einchip [a-z].*)$")


class Block(NamedTuple):
    """A fenced block, or a command in an indented one (`kind` "einchip").

    Attributes
    ----------
    kind : the language behind the fence; "" where there is none.
    title : the file that it stands for (`title="NAME"` behind the language), "" for none.
    text : without fences and indentation; of a command, without what is remarked behind it.
    line : where it begins, from 1.
    """

    kind: str
    title: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Return the blocks and commands of a page. Raises ValueError where a fence is left open."""
    found: list[Block] = []
    opened: tuple[int, str, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if opened and fence:
            text = textwrap.dedent("\n".join(inside)) + "\n"
            found.append(Block(*opened[1:], text, opened[0]))
            opened, inside = None, []
        elif opened:
            inside.append(line)
        elif fence:
            title = _TITLE.search(fence[3])
            opened = (number, fence[2], title[1] if title else "")
        elif command := _COMMAND.match(line):
            found.append(Block("einchip", "", re.sub(r" +#.*", "", command[1]), number))
    if opened:
        raise ValueError(f"{page}:{opened[0]}: found a fence that is not closed")
    return found


def of_kind(page: Path, kind: str) -> list[str]:
    """Return the texts of a page's blocks of a kind."""
    return [b.text for b in blocks(page) if b.kind == kind]
