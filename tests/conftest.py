"""What all tests share: where they build, how long they draw, and the nightly ones."""

import os
import re
from pathlib import Path

import hypothesis
import pytest

BUILD = Path(__file__).parents[1] / "build" / "tests"

hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=2000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="also run what takes minutes")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--nightly"):
        hypothesis.settings.load_profile("nightly")
    else:
        hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--nightly"):
        return
    skip = pytest.mark.skip(reason="runs with --nightly")
    for item in items:
        if "nightly" in item.keywords:
            item.add_marker(skip)


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
