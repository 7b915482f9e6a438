"""Reads workloads: YAML lists of compressed matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from einchip.files import YamlError, parse_yaml, read_yaml
from einchip.models import MatrixSpec, ModelError
from einchip.models.errors import model_error, one_line
from einchip.models.io import spec_error

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
    """An entry, or one of its matrices, that cannot be used; `error` is one line."""

    name: str
    error: str

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
    found = parse_yaml(text)
    assert isinstance(found, list)
    return [_entry(raw, k) for k, raw in enumerate(found)]


def read(path: Path) -> list[Entry]:
    """Read a file of the form of workloads.yaml; what cannot be used in it is `Refused`.

    Raises ModelError for a file that is no YAML list.
    """
    try:
        found = read_yaml(path)
    except OSError as error:
        raise model_error(
            path, "file", error.strerror or error, "a file that can be read", "check the path"
        ) from None
    except YamlError as error:
        raise model_error(
            path, error.where, error.found, "YAML text", "correct or split the file"
        ) from None
    if not isinstance(found, list) or not found:
        raise model_error(
            path, "file", _kind(found), "a list of workloads", "begin each with '- name: ..'"
        )
    return [_entry(raw, k) for k, raw in enumerate(found)]


def _kind(found: object) -> str:
    return "an empty file" if found is None else f"{type(found).__name__} {one_line(found, 40)}"


def _entry(raw: object, number: int) -> Entry:
    name = f"entry {number}"
    if not isinstance(raw, dict):
        error = f"found {_kind(raw)}, expected a mapping with name, {', '.join(SHAPE_KEYS)}"
        return Entry(name, (Refused(name, error),))
    if isinstance(raw.get("name"), str | int | float) and str(raw["name"]).strip():
        name = one_line(raw["name"], 200)
    facts = {str(k): v for k, v in raw.items() if k not in SHAPE_KEYS}
    return Entry(name, tuple(_matrices(name, raw)), facts)


def _matrices(name: str, raw: Mapping[Any, Any]) -> Iterator[Workload | Refused]:
    """Yield the matrices of an entry."""
    ins, outs = raw.get("in_modes"), raw.get("out_modes")
    if not isinstance(ins, dict) and not isinstance(outs, dict):
        yield _matrix(name, raw)
    elif (
        not isinstance(ins, dict) or not isinstance(outs, dict) or not ins or set(ins) != set(outs)
    ):
        yield Refused(
            name,
            f"out_modes: found {one_line(outs)}, expected one list for each of in_modes "
            f"{one_line(ins)}; give both the same names",
        )
    else:
        for part in ins:
            shape = {"in_modes": ins[part], "out_modes": outs[part]}
            yield _matrix(f"{name} {one_line(part)}", {**raw, **shape})


def _matrix(name: str, raw: Mapping[Any, Any]) -> Workload | Refused:
    fields = {k: raw[k] for k in (*SHAPE_KEYS, *MORE_KEYS) if k in raw}
    try:
        return Workload(name, MatrixSpec.model_validate(fields))
    except ValidationError as error:
        return Refused(name, str(spec_error(error, name)).removeprefix(f"{one_line(name, 300)}: "))
    except ModelError as error:
        return Refused(name, str(error))
    except RecursionError:
        return Refused(name, "found lists that hold themselves, expected numbers")
