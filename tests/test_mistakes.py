"""Mistakes in words; the oracles are messages written by hand."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from einchip.mistakes import did_you_mean, fields_at, first_mistake


class _Leaf(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(gt=0)
    kind: Literal["one", "two"] = "one"


class _Other(BaseModel):
    width: int


class _Root(BaseModel):
    model_config = ConfigDict(extra="forbid")
    leaf: _Leaf
    leaves: tuple[_Leaf | _Other, ...] = ()
    most: int = 5

    @model_validator(mode="after")
    def _rule(self) -> _Root:
        if self.leaf.size > self.most:
            raise ValueError(f"most: found {self.most}, expected at least {self.leaf.size}")
        return self


@pytest.mark.parametrize(
    ("found", "hint"),
    [
        ("smal", "; did you mean small?"),
        ("SMALL", "; did you mean small?"),
        ("lstm", "; did you mean LSTM?"),
        ("mgu", ""),
        ("", ""),
        (17, ""),
        (["small"], "; did you mean small?"),
        ("x" * 10**6, ""),
    ],
)
def test_near_names_are_told_and_far_ones_not(found: object, hint: str) -> None:
    assert did_you_mean(found, ["small", "gru", "LSTM", "base"]) == hint


@pytest.mark.parametrize(
    ("raw", "loc", "text"),
    [
        (
            {"leaf": {"sise": 1}},
            ("leaf", "sise"),
            "leaf.sise: unknown field, expected one of size, kind; did you mean size?",
        ),
        ({"leaf": {}}, ("leaf", "size"), "leaf.size: field required"),
        (
            {"leaf": {"size": 0}},
            ("leaf", "size"),
            "leaf.size: found 0, input should be greater than 0",
        ),
        ({"leaf": {"size": 9}}, ("most",), "most: found 5, expected at least 9"),
    ],
)
def test_the_first_mistake_has_a_place_and_a_sentence(
    raw: object, loc: tuple[str | int, ...], text: str
) -> None:
    with pytest.raises(ValidationError) as error:
        _Root.model_validate(raw)
    assert first_mistake(error.value, _Root) == (loc, text)


def test_fields_at_a_place_are_those_of_every_model_there() -> None:
    assert fields_at(_Root, ()) == ["leaf", "leaves", "most"]
    assert fields_at(_Root, ("leaf",)) == ["size", "kind"]
    assert fields_at(_Root, ("leaves", 0, "_Leaf")) == ["size", "kind", "width"]
