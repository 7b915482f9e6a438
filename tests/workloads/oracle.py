"""Figures of the published workloads by a program that shares no code with einchip.

    python -m tests.workloads.oracle PATH/TO/bound.py

writes `expected.json`: weights, least multiply-adds and bound of every matrix on a machine of 256
multipliers, 16 lanes and 16 bytes a cycle. The program reads a file of the form of workloads.yaml
and prints a JSON list.
"""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

EXPECTED: Final = Path(__file__).parent / "expected.json"
#: Where the program may lie: beside the checkout.
PROGRAM: Final = Path(__file__).parents[3] / "shared" / "bound.py"
KEYS: Final = ("name", "format", "weights", "macs", "bound_cycles")


def figures(program: Path, workloads: Path) -> list[dict[str, Any]]:
    """Run the program on a file of workloads."""
    command = [sys.executable, str(program), str(workloads), "--json"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return [{key: row[key] for key in KEYS} for row in json.loads(found.stdout)]


def published() -> Path:
    """Return the file of published workloads."""
    return Path(str(files("einchip.workloads").joinpath("workloads.yaml")))


if __name__ == "__main__":
    rows = figures(Path(sys.argv[1]), published())
    EXPECTED.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
