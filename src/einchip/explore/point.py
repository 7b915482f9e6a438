"""Points, what all points of an exploration share, and the content that names a result."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

import einchip
from einchip.arch import Architecture
from einchip.energy import Table
from einchip.models import Model, Sequences
from einchip.models.spec import Format

#: Parts of einchip that no figure of a point depends on, and files that figures depend on.
_OTHER_PARTS: Final = frozenset(
    {
        "cli", "compare", "examples", "host", "report", "schemas", "trace", "verify", "workloads",
        "__pycache__",
    }
)  # fmt: skip
_SUFFIXES: Final = (".py", ".yaml", ".json")


@dataclass(frozen=True)
class Compression:
    """What a model's matrices are compressed to: a format, and what decides its ranks.

    `value` is the rank of every bond, the ratio of weights, or the relative error (`compress`).
    Without a format the model stays as it is.
    """

    format: Format | None = None
    by: Literal["rank", "ratio", "error"] | None = None
    value: float = 0

    @property
    def label(self) -> str:
        """The format for people."""
        return "as given" if self.format is None else f"{self.format} {self.by} {self.value:g}"

    @property
    def names(self) -> dict[str, Any]:
        """What constraints know of it."""
        targets: dict[str, Any] = {"rank": 0, "ratio": 0, "error": 0}
        if self.by is not None:
            targets[self.by] = self.value
        return {"format": self.format or self.label, **targets}


AS_GIVEN: Final = Compression()


@dataclass(frozen=True)
class Point:
    """A machine with a model in a format; `model` is the digest of its `Subject`."""

    arch: Architecture
    model: str
    compression: Compression


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and what it is judged by.

    Attributes
    ----------
    name : for people; no figure depends on it.
    calibration : sequences that scales are chosen by, [n_steps, channels] each.
    test : labelled sequences; None: there are no data, and errors are not known.
    lengths : time steps of the sequences that are timed.
    digest : SHA-256 of model, calibration, test and lengths.
    """

    name: str
    model: Model
    calibration: tuple[Any, ...]
    test: Sequences | None
    lengths: tuple[int, ...]
    digest: str = ""

    def __post_init__(self) -> None:
        test = () if self.test is None else (*self.test.sequences, self.test.labels)
        content = hashlib.sha256(self.model.spec.model_dump_json().encode())
        for part in (dict(sorted(self.model.tensors.items())), self.calibration, test):
            for name, array in _named(part):
                content.update(f"{name} {array.dtype} {array.shape}\n".encode())
                content.update(np.ascontiguousarray(array).tobytes())
        content.update(json.dumps(self.lengths).encode())
        object.__setattr__(self, "digest", content.hexdigest())


def _named(part: Any) -> Iterator[tuple[str, np.ndarray]]:
    items = part.items() if isinstance(part, Mapping) else enumerate(part)
    return ((str(name), np.asarray(array)) for name, array in items)


@dataclass(frozen=True, eq=False)
class Context:
    """What all points of an exploration share.

    Attributes
    ----------
    subjects : the models by their digests.
    table : what energy is charged by.
    target : the board whose part the area is of.
    must_fit : whether machines for which it has no room are refused.
    fixed_sequences : test sequences whose answers are computed in the machine's own arithmetic.
    code : digest of the einchip that evaluates.
    """

    subjects: Mapping[str, Subject]
    table: Table
    target: str
    must_fit: bool
    fixed_sequences: int
    code: str

    def key(self, point: Point) -> str:
        """Return the name of a point's result: SHA-256 of all that the result depends on."""
        form = point.compression
        return digest(
            {
                "einchip": self.code,
                "arch": point.arch.model_dump(exclude={"name"}),
                "model": point.model,
                "compression": [form.format, form.by, float(form.value)],
                "table": self.table.model_dump(mode="json"),
                "target": self.target,
                "must_fit": self.must_fit,
                "fixed_sequences": self.fixed_sequences,
            }
        )


def digest(content: object) -> str:
    """Return the SHA-256 of plain data; the order of keys does not matter."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_digest() -> str:
    """Return the version of einchip, and a digest of the files that figures depend on.

    So a result that was computed by another mapper or simulator is never taken for one of today's.
    """
    found = hashlib.sha256()
    root = Path(einchip.__file__).parent
    for folder, below, names in os.walk(root, followlinks=True):
        below[:] = sorted(set(below) - _OTHER_PARTS)
        for name in sorted(names):
            if name.endswith(_SUFFIXES):
                path = Path(folder, name)
                found.update(f"{path.relative_to(root)}\n".encode())
                found.update(path.read_bytes())
    return f"{einchip.__version__}-{found.hexdigest()[:16]}"
