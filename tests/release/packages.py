"""Builds wheel and sdist of the working tree, and says what should be in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
#: What lies in the working tree and belongs to no release: made by tools, or by installing.
LEFT_OUT: Final = shutil.ignore_patterns(
    "__pycache__", "*.pyc", "*.egg-info", ".*", "build", "dist", "node_modules"
)


def copy_tree(target: Path) -> Path:
    """Copy the project without what tools have left, links as links; return the copy."""
    return Path(shutil.copytree(ROOT, target, symlinks=True, ignore=LEFT_OUT))


def build(source: Path, target: Path, *options: str) -> list[Path]:
    """Build distributions as `python -m build` does; return them, sorted by name.

    Raises RuntimeError with what was printed.
    """
    command = [sys.executable, "-m", "build", "--outdir", str(target), *options, str(source)]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} returned {result.returncode}:\n{result.stdout}")
    return sorted(target.iterdir())


def package_files(source: Path) -> set[str]:
    """Return every file of the package, with `einchip/` in front, links followed."""
    found = set()
    for folder, _, names in os.walk(source / "src" / "einchip", followlinks=True):
        inside = Path(folder).relative_to(source / "src")
        found.update(str(inside / name) for name in names)
    return found
