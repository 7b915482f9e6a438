"""What is wrong with input, in words: near names, and the first error of a pydantic model."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

#: How much alike a name must be: "mgu" and "gru" (0.67) are two cells, "smal" (0.89) is a slip.
NEAR: Final = 0.7


def did_you_mean(found: object, known: Iterable[str]) -> str:
    """Return "; did you mean NAME?" where a known name is near to what was found, else ""."""
    names = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(str(found).casefold()[:100], names, 1, NEAR)
    return f"; did you mean {names[near[0]]}?" if near else ""


class Mistake(NamedTuple):
    """Where in the input something is wrong, and what: "rows: found 7, expected ..".

    `loc` are the keys and numbers that lead to the value.
    """

    loc: tuple[str | int, ...]
    text: str


def first_mistake(error: ValidationError, model: type[BaseModel]) -> Mistake:
    """Return the most telling entry of a pydantic error of `model`.

    An unknown field comes first: where a name is misspelt, a missing field follows from it. A rule
    over several fields has no place; its sentence begins with the name of one of them.
    """
    entries = error.errors(include_url=False)
    first: Any = next((e for e in entries if e["type"] == "extra_forbidden"), entries[0])
    loc = tuple(first["loc"])
    where = ".".join(map(str, loc))
    what = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = fields_at(model, loc[:-1])
        near = did_you_mean(loc[-1], known)
        return Mistake(loc, f"{where}: unknown field, expected one of {', '.join(known)}{near}")
    if not loc:
        field = what.partition(":")[0]
        return Mistake((field,) if field in model.model_fields else (), what)
    found = "" if first["type"] == "missing" else f"found {reprlib.repr(first['input'])}, "
    return Mistake(loc, f"{where}: {found}{what[0].lower()}{what[1:]}")


def fields_at(model: type[BaseModel], loc: Iterable[str | int]) -> list[str]:
    """Return the fields of the models that may stand at a place in a model's input."""
    here = [model]
    for part in loc:
        fields = [m.model_fields[part] for m in here if part in m.model_fields]
        if fields:  # else a number or a tag of a union, which changes nothing
            here = [m for field in fields for m in _models(field.annotation)]
    return list(dict.fromkeys(name for m in here for name in m.model_fields))


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in an annotation, those inside of its arguments, too."""
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [m for argument in get_args(annotation) for m in _models(argument)]
