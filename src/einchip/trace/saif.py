"""Switching activity (SAIF, as Verilator writes it): how long each bit was 1, how often it changed.

Not every tool's SAIF: instances and nets, times as whole numbers, no state-dependent entries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Units of time of a cycle, as the harness counts them.
CYCLE_TIME: Final = 10

_DURATION = re.compile(r"\(DURATION (\d+)\)")
_ITEM = re.compile(
    r"\(INSTANCE (?P<instance>\S+)"
    r"|(?P<nets>\(NET\b)"
    r"|\((?P<net>\S+) \(T0 \d+\) \(T1 (?P<high>\d+)\)(?: \(T[ZXB] 0\))* \(TC (?P<changes>\d+)\)\)"
    r"|(?P<end>\))"
)
_BIT = re.compile(r"(.*?)\\\[(\d+)\\\]")


class SaifError(ValueError):
    """A file that is not such a SAIF; one line."""


@dataclass(frozen=True)
class Bit:
    """A bit of a net: its instance, outermost first, the net, the bit's number.

    `high` is for how long it was 1, in units of time, `changes` how often it changed.
    """

    instance: tuple[str, ...]
    net: str
    number: int
    high: int
    changes: int


def read(path: Path) -> Iterator[Bit]:
    """Yield all bits of a file.

    Raises SaifError where the file does not begin or end as it should.
    """
    text = path.read_text()
    head = _DURATION.search(text)
    if head is None:
        raise SaifError(f"{path}: found no DURATION, expected a SAIF file")
    instance: list[str] = []
    inside_nets = False
    for item in _ITEM.finditer(text, head.end()):
        if item["net"] is not None and inside_nets:
            yield _bit(tuple(instance), item)
        elif item["instance"] is not None:
            instance.append(item["instance"])
        elif item["nets"] is not None:
            inside_nets = True
        elif inside_nets:
            inside_nets = False
        elif instance:
            instance.pop()
        else:
            return
    raise SaifError(f"{path}: the file ends early")


def _bit(instance: tuple[str, ...], item: re.Match[str]) -> Bit:
    numbered = _BIT.fullmatch(item["net"])
    net, number = (numbered[1], int(numbered[2])) if numbered else (item["net"], 0)
    return Bit(instance, net, number, int(item["high"]), int(item["changes"]))
