"""Results on disk: a file each, named by the hash of all that the result depends on.

A file is written whole or not at all, and two explorers that write one write the same. So any
number of them may share a folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from einchip.explore.errors import ExploreError
from einchip.explore.evaluate import Outcome
from einchip.explore.point import digest
from einchip.files import check_writable, write_text


class Cache:
    """A folder of results. `damaged` are the files that could not be used.

    Raises ExploreError where there can be no such folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[Path] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            check_writable(folder / "result.json")
        except OSError as error:
            raise ExploreError(f"{folder}: cannot keep results there: {error.strerror}") from None

    def path(self, key: str) -> Path:
        """Return the file of a key."""
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> Outcome | None:
        """Return a result, or None where there is none, or none that is whole."""
        path = self.path(key)
        try:
            return _outcome(json.loads(path.read_text()), key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self.damaged.append(path)
            return None

    def put(self, key: str, outcome: Outcome) -> None:
        """Keep a result. Raises ExploreError where that cannot be."""
        result = outcome.to_json()
        entry = {"key": key, "digest": digest(result), "result": result}
        path = self.path(key)
        try:
            path.parent.mkdir(exist_ok=True)
            write_text(path, json.dumps(entry, indent=1) + "\n")
        except OSError as error:
            raise ExploreError(f"{path}: cannot keep the result: {error.strerror}") from None


def _outcome(entry: Any, key: str) -> Outcome:
    """Return what a file says. Raises where it is another's, or was changed."""
    if entry["key"] != key or entry["digest"] != digest(entry["result"]):
        raise ValueError("not what was written")
    return Outcome.from_json(entry["result"])
