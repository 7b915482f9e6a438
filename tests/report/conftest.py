"""What the tests of reports share: one compiled model, one page, one browser."""

from __future__ import annotations

import pytest

from tests.report.helpers import Example, example


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Return a small model that is compiled once."""
    return example(tmp_path_factory.mktemp("report") / "compiled")
