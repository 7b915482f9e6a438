"""Libraries that only some need: what to say where one is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from einchip.models.errors import ModelError


def missing(name: str, extra: str) -> ModelError:
    """Return the error of a library that is not installed."""
    return ModelError(
        f"python: {name}: found no such library, expected it; pip install 'einchip[{extra}]'"
    )


def library(name: str, extra: str) -> Any:
    """Import a library of an extra. Raises ModelError where it is missing."""
    try:
        return import_module(name)
    except ImportError:
        raise missing(name.partition(".")[0], extra) from None
