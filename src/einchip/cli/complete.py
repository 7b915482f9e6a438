"""What a shell completes: the values that options take, looked up when it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Complete = Callable[[str], list[str]]


def names(known: Callable[[], Iterable[str]]) -> Complete:
    """Return what completes one of these names; where none fits, shells complete files."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in known() if name.startswith(incomplete)]

    return complete


def presets() -> Iterable[str]:
    """Return the machines that --arch knows."""
    from einchip.arch import PRESETS

    return PRESETS


def fields() -> list[str]:
    """Return what --set changes, each with its =."""
    from einchip.arch import Architecture

    return [f"{name}=" for name in Architecture.model_fields]


def folds() -> Iterable[str]:
    """Return the folds of an array."""
    from typing import get_args

    from einchip.arch import Architecture

    return get_args(Architecture.model_fields["fold"].annotation)


def tables() -> Iterable[str]:
    """Return the tables that --energy knows."""
    from einchip import energy

    return energy.tables()


def objectives() -> Iterable[str]:
    """Return what --objective knows."""
    from einchip.mapper.objectives import OBJECTIVES

    return OBJECTIVES


def targets() -> Iterable[str]:
    """Return the boards that open tools make bitstreams for."""
    from einchip.fpga.targets import TARGETS

    return TARGETS


def devices() -> list[str]:
    """Return the kinds of devices, as their addresses begin."""
    from einchip.host.open import KINDS

    return [f"{kind}:" if form else kind for kind, form in KINDS.items()]


def schemas() -> Iterable[str]:
    """Return the kinds of YAML files that have a schema."""
    from einchip.schemas import NAMES

    return NAMES


def examples() -> Iterable[str]:
    """Return the examples that come with einchip."""
    from einchip.cli.example import known

    return known()


def baselines() -> list[str]:
    """Return the keys of the baselines of `einchip compare`."""
    from einchip.compare import BASELINES

    return [b.key for b in BASELINES]
