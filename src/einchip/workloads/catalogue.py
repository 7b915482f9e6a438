"""Reads workloads: YAML lists of compressed matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from einchip.files import Marked, YamlError, parse_marked, read_marked
from einchip.mistakes import did_you_mean
from einchip.models import MatrixSpec, ModelError
from einchip.models.errors import model_error, one_line
from einchip.models.io import most_telling, spec_error

#: What an entry is made of; all other keys are facts that nothing is computed from.
SHAPE_KEYS: Final = ("format", "in_modes", "out_modes", "ranks")
#: Keys of formats that the four above do not describe fully.
MORE_KEYS: Final = ("tree", "tensors", "sizes", "inputs", "outputs")


@dataclass(frozen=True)
class Workload:
    """One compressed matrix with a name."""

    name: str
    spec: MatrixSpec


@dataclass(frozen=True)
class Refused:
    """An entry, or one of its matrices, that cannot be used; `error` is one line.

    `place` is its file and line, where it is from a file.
    """

    name: str
    error: str
    place: str = ""

    @property
    def message(self) -> str:
        """Where, which, and what is wrong, in one line."""
        return ": ".join(part for part in (self.place, self.name, self.error) if part)

    def to_json(self) -> dict[str, Any]:
        """Return the refusal as plain data."""
        return {"name": self.name, "error": self.error}


@dataclass(frozen=True)
class Entry:
    """One entry of a file: its matrices (several where in_modes is a mapping), and other facts."""

    name: str
    matrices: tuple[Workload | Refused, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


def published() -> list[Entry]:
    """Return the published workloads that come with einchip."""
    text = files("einchip.workloads").joinpath("workloads.yaml").read_text(encoding="utf-8")
    return _entries(parse_marked(text, "workloads.yaml"))


def read(path: Path) -> list[Entry]:
    """Read a file of the form of workloads.yaml; what cannot be used in it is `Refused`.

    Raises ModelError for a file that is no YAML list.
    """
    try:
        file = read_marked(path)
    except OSError as error:
        raise model_error(
            path, "file", error.strerror or error, "a file that can be read", "check the path"
        ) from None
    except YamlError as error:
        raise model_error(
            error.place(path), "file", error.found, "YAML text", "correct or split the file"
        ) from None
    if not isinstance(file.value, list) or not file.value:
        raise model_error(
            path, "file", _kind(file.value), "a list of workloads", "begin each with '- name: ..'"
        )
    return _entries(file)


def _entries(file: Marked) -> list[Entry]:
    assert isinstance(file.value, list)
    return [_entry(raw, k, file) for k, raw in enumerate(file.value)]


def _kind(found: object) -> str:
    return "an empty file" if found is None else f"{type(found).__name__} {one_line(found, 40)}"


def _entry(raw: object, number: int, file: Marked) -> Entry:
    name = f"entry {number}"
    if not isinstance(raw, dict):
        error = f"found {_kind(raw)}, expected a mapping with name, {', '.join(SHAPE_KEYS)}"
        return Entry(name, (Refused(name, error, file.place((number,))),))
    if isinstance(raw.get("name"), str | int | float) and str(raw["name"]).strip():
        name = one_line(raw["name"], 200)
    facts = {str(k): v for k, v in raw.items() if k not in SHAPE_KEYS}
    place = partial(_place, file, number)
    return Entry(name, tuple(_matrices(name, raw, place)), facts)


def _place(file: Marked, number: int, *loc: str | int) -> str:
    return file.place((number, *loc))


def _matrices(
    name: str, raw: Mapping[Any, Any], place: Callable[..., str]
) -> Iterator[Workload | Refused]:
    """Yield the matrices of an entry; `place` says where its keys stand."""
    ins, outs = raw.get("in_modes"), raw.get("out_modes")
    if not isinstance(ins, dict) and not isinstance(outs, dict):
        yield _matrix(name, raw, place)
    elif (
        not isinstance(ins, dict) or not isinstance(outs, dict) or not ins or set(ins) != set(outs)
    ):
        yield Refused(
            name,
            f"out_modes: found {one_line(outs)}, expected one list for each of in_modes "
            f"{one_line(ins)}; give both the same names",
            place("out_modes"),
        )
    else:
        for part in ins:
            shape = {"in_modes": ins[part], "out_modes": outs[part]}
            yield _matrix(f"{name} {one_line(part)}", {**raw, **shape}, place)


def _matrix(name: str, raw: Mapping[Any, Any], place: Callable[..., str]) -> Workload | Refused:
    fields = {k: raw[k] for k in (*SHAPE_KEYS, *MORE_KEYS) if k in raw}
    try:
        return Workload(name, MatrixSpec.model_validate(fields))
    except ValidationError as error:
        what = str(spec_error(error, name)).removeprefix(f"{one_line(name, 300)}: ")
        return Refused(name, what + _misspelt(raw), place(*most_telling(error)["loc"]))
    except ModelError as error:
        return Refused(name, str(error), place())
    except RecursionError:
        return Refused(name, "found lists that hold themselves, expected numbers", place())


def _misspelt(raw: Mapping[Any, Any]) -> str:
    """Return "; did you mean ..?" for a fact whose name is near to a key that is not there."""
    missing = [key for key in SHAPE_KEYS if key not in raw]
    near = {key: did_you_mean(key, missing) for key in raw if key not in SHAPE_KEYS}
    return next((f"{text.removesuffix('?')} by {k}?" for k, text in near.items() if text), "")
