"""einchip maps compressed recurrent networks to an accelerator, and proves that it did.

The packages below depend on each other in one order only, which `lint-imports` checks: see
`[tool.importlinter]` in `pyproject.toml`.
"""

__version__ = "0.1.0"
