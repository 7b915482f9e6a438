"""What shells complete, by the protocol of the installed scripts; the oracle is the code."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from einchip import energy, schemas
from einchip.arch import PRESETS, Architecture
from einchip.cli import VERBS, app
from einchip.cli.compress import FORMATS
from einchip.compare import BASELINES
from einchip.fpga.targets import TARGETS
from einchip.mapper.objectives import OBJECTIVES
from tests.cli.helpers import run


def completed(line: str) -> list[str]:
    """Return what bash is given for a line whose last word is not ended."""
    words = line.split(" ")
    env = {
        "_EINCHIP_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    result = CliRunner().invoke(app, [], prog_name="einchip", env=env)
    assert result.exit_code == 0, result.output
    return result.output.split()


def test_verbs_are_completed() -> None:
    assert completed("einchip sim") == ["simulate"]
    assert len(completed("einchip ")) >= len(VERBS)


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("einchip run x --arch ", PRESETS),
        ("einchip build --arch ", PRESETS),
        ("einchip run x --energy ", energy.tables()),
        ("einchip build --target ", TARGETS),
        ("einchip fit -t ", TARGETS),
        ("einchip contract a --objective ", OBJECTIVES),
        ("einchip compress x --format ", FORMATS),
        ("einchip compress x --gates ", ["joint", "separate"]),
        ("einchip bench --fold ", ["ip", "op", "hybrid", "flex"]),
        ("einchip compare --row ", [b.key for b in BASELINES]),
        ("einchip schema ", schemas.NAMES),
        ("einchip generate --set ", [f"{name}=" for name in Architecture.model_fields]),
        ("einchip generate --set x_d", ["x_depth="]),
        ("einchip run x --arch sm", ["small"]),
    ],
)
def test_values_are_completed(line: str, known: Iterable[str]) -> None:
    assert sorted(completed(line)) == sorted(known)


def test_what_is_no_known_name_is_left_to_the_shell_to_complete_as_a_file() -> None:
    assert completed("einchip run x --arch mine.y") == []


def test_a_process_answers_a_shell_and_shows_its_script(tmp_path: Path) -> None:
    asked = {
        **os.environ,
        "_EINCHIP_COMPLETE": "complete_bash",
        "COMP_WORDS": "einchip generate --arch p",
        "COMP_CWORD": "3",
    }
    # the name of the variable is the program's name
    main = "import sys; sys.argv[0] = 'einchip'; from einchip.cli import main; main()"
    assert run("-c", main, cwd=tmp_path, env=asked, module=False).stdout == "pico\n"
    shown = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = run("-c", main, "--show-completion", "bash", cwd=tmp_path, env=shown, module=False)
    assert "_EINCHIP_COMPLETE=complete_bash" in script.stdout
