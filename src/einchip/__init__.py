"""einchip maps compressed recurrent networks to an accelerator, and proves that it did.

The packages below depend on each other in one order only, which `lint-imports` checks: see
`[tool.importlinter]` in `pyproject.toml`.

What `__all__` names is imported when it is first used (docs/api.md).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from einchip.api import (
        CompiledModel,
        Simulation,
        Verification,
        architecture,
        compile,
        evaluate,
        generate,
        load_data,
        open_compiled,
    )
    from einchip.models import load_model, save_model

__version__ = "0.1.0"

__all__ = [
    "CompiledModel",
    "Simulation",
    "Verification",
    "architecture",
    "compile",
    "evaluate",
    "generate",
    "load_data",
    "load_model",
    "open_compiled",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = "einchip.models" if name in ("load_model", "save_model") else "einchip.api"
    return getattr(import_module(place), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
