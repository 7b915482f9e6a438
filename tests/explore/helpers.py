"""Small spaces and models, engines that do no work, and models that are slow or end a process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from einchip import energy
from einchip.arch import PRESETS
from einchip.explore.domain import Domain
from einchip.explore.evaluate import Outcome
from einchip.explore.point import AS_GIVEN, Context, Point, Subject, code_digest
from einchip.explore.space import Space
from tests.models.helpers import small_model

#: Arrays of 2 x 2 to 4 x 4 on nano.
SMALL: Final = {"base": "nano", "parameters": {"rows": [2, 4], "cols": [2, 4]}, "steps": 2}


def subject(kind: str = "mpo", steps: int = 2) -> Subject:
    """Return a small model without data."""
    import numpy as np

    model = small_model(kind)
    sequence = np.random.default_rng(0).standard_normal((steps, model.spec.input_size))
    return Subject(kind, model, (sequence,), None, (steps,))


def context(*subjects: Subject, **changes: Any) -> Context:
    """Return a context of some models."""
    fields: dict[str, Any] = {
        "subjects": {s.digest: s for s in subjects or (subject(),)},
        "table": energy.load("horowitz45"),
        "target": "ulx3s",
        "must_fit": False,
        "fixed_sequences": 0,
        "code": code_digest(),
    }
    return Context(**fields | changes)


def point(model: str = "", **fields: Any) -> Point:
    """Return a point of nano with some fields changed."""
    return Point(PRESETS["nano"].override(**fields), model or subject().digest, AS_GIVEN)


def domain(*models: str, **space: Any) -> Domain:
    """Return a space's domain for models of these names, which are their digests, too."""
    names = models or ("a",)
    return Domain(Path("space.yaml"), Space.model_validate(space), {n: n for n in names})


class Counted:
    """An engine that computes outcomes by a function, last point first, and notes their points.

    `stop_after` results it is interrupted.
    """

    def __init__(self, of: Callable[[Point], Outcome], stop_after: int = 1 << 30) -> None:
        self.of = of
        self.given: list[Point] = []
        self.stop_after = stop_after

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is left."""

    def run(self, points: Sequence[Point]) -> Iterator[tuple[Point, Outcome]]:
        for p in reversed(points):
            if len(self.given) >= self.stop_after:
                raise KeyboardInterrupt
            self.given.append(p)
            yield p, self.of(p)


def made_up(p: Point) -> Outcome:
    """Return figures by formulas: more processing elements are quicker and larger, mostly."""
    arch = p.arch
    if arch.rows == arch.cols == 2 and arch.lanes == 2:
        return Outcome("infeasible", reason="made up")
    cycles = 1000 / arch.n_pes + 7 * abs(arch.rows - 4)
    return Outcome(
        "ok",
        {"cycles": cycles, "energy_pj": cycles * arch.lanes, "lut": 10.0 * arch.n_pes + arch.lanes,
         "lut_error": 0.03},
    )  # fmt: skip


class Watched(dict[str, Subject]):
    """Models whose use takes `seconds` at least; a log says which process began and ended one."""

    log: Path
    seconds: float

    def __getitem__(self, key: str) -> Subject:
        self._write("begin")
        time.sleep(self.seconds)
        self._write("end")
        return super().__getitem__(key)

    def _write(self, what: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{what} {os.getpid()}\n")


class Deadly(dict[str, Subject]):
    """Models of which one ends the process that uses it, for so many times."""

    deadly: str
    times: int
    marks: Path

    def __getitem__(self, key: str) -> Subject:
        if key == self.deadly and len(list(self.marks.iterdir())) < self.times:
            (self.marks / f"{os.getpid()}").touch()
            os._exit(3)
        return super().__getitem__(key)
