"""What all tests share: where they build, how long they draw, and the nightly ones."""

import gc
import os
import re
from pathlib import Path

import hypothesis
import pytest

from tests.system.machines import MACHINES

BUILD = Path(__file__).parents[1] / "build" / "tests"

#: The scopes whose tests take longest, in the order in which they begin.
FIRST = {
    scope: k
    for k, scope in enumerate(
        (
            "base", "small", "nano", "tests/hw/test_top.py", "tests/hw/test_array_unit.py", "flex",
            "inner", "least", "pico", "outer", "wide", "tests/mapper/test_model.py",
        )
    )
}  # fmt: skip

hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=2000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="also run what takes minutes")


def pytest_configure(config: pytest.Config) -> None:
    # Netlists and programs are millions of objects without cycles; to look at them again and again
    # takes a twelfth of the time.
    gc.set_threshold(100_000, 50, 100)
    if config.getoption("--nightly"):
        hypothesis.settings.load_profile("nightly")
    else:
        hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # What takes longest comes first, so that no process has it left when the others are done.
    last = len(FIRST)
    items.sort(key=lambda item: FIRST.get(scope_of(item.nodeid), last))
    if config.getoption("--nightly"):
        return
    skip = pytest.mark.skip(reason="runs with --nightly")
    for item in items:
        if "nightly" in item.keywords:
            item.add_marker(skip)


def scope_of(nodeid: str) -> str:
    """Return what tests must share to run in one process: their file, or the machine's RTL.

    Tests in `system`, and of published workloads, name their machine in brackets, or it is `base`;
    two processes that want the same RTL would wait for one another while it is compiled.
    """
    file, _, rest = nodeid.partition("::")
    if file == "tests/workloads/test_rtl.py":
        return "base"
    if file.startswith("tests/system/"):
        for name in re.split(r"[\[\]-]", rest):
            if name in MACHINES:
                return name
    return file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give the tests of a scope to one process."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    return Scheduler(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture
def build_dir(request: pytest.FixtureRequest) -> Path:
    """Return the test's own folder below `build/`, kept between runs so that builds are quick."""
    path = BUILD / re.sub(r"[^\w.-]+", "_", request.node.nodeid)
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def native_cache() -> Path:
    """Return the folder in which native harnesses are kept, one for each RTL."""
    return BUILD / "native"
