"""What is to be explored, as a YAML file says it.

    base: small                  # the machine to start from: a preset or a file beside this one
    target: ulx3s                # the board whose part the area is of
    must_fit: false              # whether machines that it has no room for are refused
    parameters:                  # fields of the architecture, and the values that they may have
      rows: [2, 4, 8]
      cols: {powers_of_two: [2, 16]}
      x_depth: {from: 1024, to: 4096, step: 1024}
    derived: {y_depth: x_depth}  # fields that follow from others
    constraints: ["rows <= cols", "format == 'as given' or model == 'dense'"]
    formats:                     # what the models are compressed to
      - as given
      - {format: mps, ratio: [4, 8]}
    search: {method: nsga2, seed: 1, batch: 16}
    steps: 16                    # time steps of the sequence where there are no data
    fixed_sequences: 0           # test sequences that the machine's own arithmetic is judged by

Combinations that are no machine (more rows than lanes) are left out by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from einchip import arch as architectures
from einchip.arch import Architecture
from einchip.explore.errors import ExploreError, expected
from einchip.explore.point import AS_GIVEN, Compression
from einchip.explore.rules import Rule, parsed
from einchip.files import YamlError, read_marked
from einchip.mistakes import first_mistake
from einchip.models.errors import one_line
from einchip.models.spec import Format

#: Most values of one parameter.
MAX_VALUES: Final = 4096
#: Most time steps without data, and most sequences of the fixed-point run.
MAX_STEPS: Final = 1 << 16
MAX_SEQUENCES: Final = 1 << 16
#: What an architecture can be given; its name changes nothing.
FIELDS: Final = tuple(name for name in Architecture.model_fields if name != "name")
#: Names that constraints know besides: the model's file, its format, and what decided the ranks.
OF_MODELS: Final = ("model", "format", "rank", "ratio", "error")
#: Formats that a model can be compressed to.
FORMATS: Final = tuple(f for f in get_args(Format) if f not in ("dense", "einsum"))
TARGETS: Final = ("rank", "ratio", "error")

Value = int | str
#: Says where in a file the value stands to which keys and numbers lead.
Place = Callable[[tuple[str | int, ...]], str]


def values_of(raw: object) -> tuple[Value, ...]:
    """Return the values of a parameter: those of a list, a range, or powers of two.

    Raises ValueError for what is none of them.
    """
    if isinstance(raw, list):
        found = [v for v in raw if isinstance(v, int | str) and not isinstance(v, bool)]
        if not raw or len(found) != len(raw):
            raise ValueError("expected a list of numbers or names, at least one")
    elif isinstance(raw, dict) and set(raw) == {"powers_of_two"}:
        low, high = _bounds(raw["powers_of_two"])
        found = [1 << k for k in range(high.bit_length()) if low <= 1 << k <= high]
    elif isinstance(raw, dict) and {"from", "to"} <= set(raw) <= {"from", "to", "step"}:
        low, high = _bounds([raw["from"], raw["to"]])
        step = raw.get("step", 1)
        if not _is_int(step) or step < 1 or (high - low) // step >= MAX_VALUES:
            raise ValueError(f"expected a step from 1 on, and at most {MAX_VALUES} values")
        found = list(range(low, high + 1, step))
    else:
        raise ValueError("expected a list, {from: A, to: B, step: S} or {powers_of_two: [A, B]}")
    if not 0 < len(found) <= MAX_VALUES:
        raise ValueError(f"expected 1 to {MAX_VALUES} values")
    return tuple(dict.fromkeys(found))


def _bounds(raw: object) -> tuple[int, int]:
    if isinstance(raw, list) and len(raw) == 2 and all(map(_is_int, raw)):
        low, high = raw
        if 0 <= low <= high < 1 << 32:
            return low, high
    raise ValueError("expected two whole numbers, the smaller one first")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def compressions_of(raw: object) -> tuple[Compression, ...]:
    """Return the entries of `formats`, one for each rank, ratio or error.

    Raises ValueError for what is none.
    """
    if not isinstance(raw, list) or not raw:
        raise ValueError("expected a list of 'as given' and {format: F, rank: [R, ..]}")
    found = [c for entry in raw for c in _compressions(entry)]
    return tuple(dict.fromkeys(found))


def _compressions(entry: object) -> list[Compression]:
    if entry == AS_GIVEN.label:
        return [AS_GIVEN]
    keys = set(entry) if isinstance(entry, dict) else set()
    if not isinstance(entry, dict) or len(keys) != 2 or not keys - {"format"} <= set(TARGETS):
        raise ValueError(
            f"{one_line(entry)}: expected 'as given', or a format with one of {', '.join(TARGETS)}"
        )
    format_, (by,) = entry.get("format"), tuple(keys - {"format"})
    if format_ not in FORMATS:
        raise ValueError(f"format: {one_line(format_)}: {expected(str(format_), FORMATS)}")
    listed = entry[by] if isinstance(entry[by], list) else [entry[by]]
    for n in listed:
        if not isinstance(n, int | float) or isinstance(n, bool) or not _in_range(by, n):
            said = {"rank": "whole numbers from 1 on", "ratio": "numbers above 0"}
            raise ValueError(
                f"{by}: {one_line(n)}: expected {said.get(by, 'numbers from 0 to below 1')}"
            )
    return [Compression(format_, by, n) for n in listed]


def _in_range(by: str, n: float) -> bool:
    if by == "rank":
        return isinstance(n, int) and 1 <= n < 1 << 16
    return 0 < n < 1e9 if by == "ratio" else 0 <= n < 1


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Powers(_Strict):
    """All powers of two between two numbers."""

    powers_of_two: tuple[int, int]


class Range(_Strict):
    """All numbers from one to another, in steps."""

    first: int = Field(alias="from")
    last: int = Field(alias="to")
    step: int = 1


class Compressed(_Strict):
    """A format, and one of what decides its ranks; of several values each is tried."""

    format: str
    rank: int | list[int] = 0
    ratio: float | list[float] = 0
    error: float | list[float] = 0


class Search(_Strict):
    """How points are chosen.

    `batch` points are proposed at a time by Optuna (for nsga2 its population); it knows the results
    of all before. Every search follows from its seed, whoever evaluates and in which order.
    """

    method: Literal["grid", "random", "nsga2", "tpe"] = "grid"
    seed: int = Field(default=1, ge=0, lt=1 << 32)
    batch: int = Field(default=16, ge=2, le=1024)


class Space(_Strict):
    """A file's content; see this module's docstring."""

    base: str = "small"
    target: str = "ulx3s"
    must_fit: bool = False
    parameters: dict[
        str,
        Annotated[
            tuple[Value, ...],
            BeforeValidator(values_of, json_schema_input_type=list[Value] | Range | Powers),
        ],
    ] = {}
    derived: dict[str, str | int] = {}
    constraints: tuple[str, ...] = ()
    formats: Annotated[
        tuple[Compression, ...],
        BeforeValidator(
            compressions_of, json_schema_input_type=list[Literal["as given"] | Compressed]
        ),
    ] = (AS_GIVEN,)
    search: Search = Search()
    steps: int = Field(default=16, ge=1, le=MAX_STEPS)
    fixed_sequences: int = Field(default=0, ge=0, le=MAX_SEQUENCES)

    def base_machine(self, folder: Path) -> Architecture:
        """Return the machine to start from; a file's name is relative to the space's folder.

        Raises ArchError.
        """
        preset = self.base in architectures.PRESETS
        return architectures.load(self.base if preset else str(folder / self.base))

    def rules(self, place: Place) -> tuple[dict[str, Rule], tuple[Rule, ...]]:
        """Return the rules of derived fields, and the constraints. Raises ExploreError.

        `place` says where in a file something stands.
        """

        def rule(part: str, key: str | int, text: object, known: tuple[str, ...]) -> Rule:
            return parsed(f"{place((part, key))}: {part}.{key}", str(text), known)

        derived = {n: rule("derived", n, text, FIELDS) for n, text in self.derived.items()}
        known = (*FIELDS, *OF_MODELS)
        constraints = enumerate(self.constraints)
        return derived, tuple(rule("constraints", k, text, known) for k, text in constraints)


def read(path: Path) -> Space:
    """Read a space. Raises ExploreError: one line with the file and the field."""
    try:
        file = read_marked(path)
    except OSError as error:
        raise ExploreError(f"{path}: cannot read the file: {error.strerror}") from None
    except YamlError as error:
        raise ExploreError(f"{error.place(path)}: not a YAML file: found {error.found}") from None
    raw = file.value
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise ExploreError(f"{path}: found no mapping of names, expected parameters: ..")
    try:
        space = Space.model_validate(raw)
    except ValidationError as error:
        loc, what = first_mistake(error, Space)
        raise ExploreError(f"{file.place(loc)}: {what}") from None
    for part, names in (("parameters", space.parameters), ("derived", space.derived)):
        for name in names:
            if name not in FIELDS:
                unknown = f"{part}.{name}: unknown; {expected(name, FIELDS)}"
                raise ExploreError(f"{file.place((part, name))}: {unknown}")
    both = space.parameters.keys() & space.derived.keys()
    if both:
        twice = min(both)
        raise ExploreError(
            f"{file.place(('derived', twice))}: derived.{twice}: found it in parameters, too; "
            "keep one"
        )
    space.rules(file.place)
    return space
