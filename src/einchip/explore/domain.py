"""All points of a space: its dimensions, and the point of a choice of one value in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Final

from einchip.arch import ArchError, Architecture
from einchip.explore.point import Point
from einchip.explore.space import FIELDS, Space

#: The name of every machine here, so that no message depends on what a file is called.
MACHINE: Final = "machine"


class SkippedError(ValueError):
    """A choice that is no point: no machine, or against a constraint; the message says which."""


@dataclass(frozen=True)
class Dimension:
    """A parameter, the model, or its format; `ordered` where neighbours are alike."""

    name: str
    values: tuple[Any, ...]
    ordered: bool


class Domain:
    """The points of a space for models, which are given by their digests and names.

    Raises ExploreError and ArchError where the space makes no sense.
    """

    def __init__(self, source: Path, space: Space, models: Mapping[str, str]) -> None:
        self.space = space
        self.models = dict(models)
        self.base = space.base_machine(source.parent).override(name=MACHINE)
        self.derived, self.constraints = space.rules(lambda _: str(source))
        parameters = [
            Dimension(name, values, all(isinstance(v, int) for v in values))
            for name, values in space.parameters.items()
        ]
        self.dimensions = (
            *parameters,
            Dimension("model", tuple(self.models), False),
            Dimension("format", space.formats, False),
        )

    @cached_property
    def size(self) -> int:
        """Combinations of all values, with those that are no points."""
        return prod(len(d.values) for d in self.dimensions)

    def choice(self, number: int) -> tuple[int, ...]:
        """Return combination `number`: a place in each dimension, the last one fastest."""
        found = []
        for d in reversed(self.dimensions):
            number, place = divmod(number, len(d.values))
            found.append(place)
        return tuple(reversed(found))

    def point(self, choice: Sequence[int]) -> Point:
        """Return the point of a place in each dimension. Raises SkippedError, ExploreError."""
        picked = {d.name: d.values[k] for d, k in zip(self.dimensions, choice, strict=True)}
        model, compression = picked.pop("model"), picked.pop("format")
        point = Point(self._machine(picked), model, compression)
        names = {**fields_of(point.arch), **compression.names, "model": self.models[model]}
        for rule in self.constraints:
            if not rule(names):
                raise SkippedError(f"against {rule.text!r}")
        return point

    def _machine(self, fields: dict[str, Any]) -> Architecture:
        names = fields_of(self.base) | fields
        for name, rule in self.derived.items():
            fields[name] = names[name] = rule(names)
        try:
            return self.base.override("no machine", **fields)
        except ArchError as error:
            raise SkippedError(str(error)) from None

    def varied(self, point: Point) -> dict[str, Any]:
        """Return a point's values of the dimensions that have more than one, by name."""
        fields = fields_of(point.arch)
        found = {d.name: fields[d.name] for d in self.dimensions[:-2] if len(d.values) > 1}
        return found | {"model": self.models[point.model], "format": point.compression.label}


def fields_of(arch: Architecture) -> dict[str, Any]:
    """Return what a machine is given, cells as a space names them: "lstm+gru"."""
    fields = {name: getattr(arch, name) for name in FIELDS}
    return fields | {"cells": arch.cell_names}
