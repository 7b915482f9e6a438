"""JSON Schemas (draft 2020-12) of the YAML files that einchip reads, so that editors complete them.

They are written from the classes that check the files: ``python -m einchip.schemas`` writes the
JSON files beside this one anew (docs/schemas.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: The kinds of YAML files.
NAMES: Final = ("architecture", "model", "workloads", "energy", "space")


def path(name: str) -> Path:
    """Return where the schema of one of `NAMES` is."""
    return Path(__file__).parent / f"{name}.json"


def text(name: str) -> str:
    """Return the schema of one of `NAMES`."""
    return path(name).read_text(encoding="utf-8")
