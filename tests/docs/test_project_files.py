"""CHANGELOG, CITATION.cff, mkdocs.yml and the pages' list; oracles: their formats, the code."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

import einchip
from tests.docs.pages import ROOT

CHANGELOG: Final = (ROOT / "CHANGELOG.md").read_text()
#: The groups of Keep a Changelog 1.1.0.
GROUPS: Final = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
#: Pages outside of docs/ that the site has in its navigation.
PROJECT: Final = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def pages_of(nav: Any) -> list[str]:
    """Return the pages in a navigation, in order."""
    if isinstance(nav, str):
        return [nav]
    children = nav.values() if isinstance(nav, dict) else nav
    return [page for child in children for page in pages_of(child)]


def test_changelog_keeps_a_changelog() -> None:
    """Versions by date, the newest first, below what is not released; known groups, not empty."""
    assert CHANGELOG.startswith("# Changelog\n")
    versions = re.findall(r"^## (.*)$", CHANGELOG, re.M)
    assert versions[0] == "[Unreleased]"
    dates = [re.fullmatch(r"\[\d+\.\d+\.\d+\] - (\d{4}-\d\d-\d\d)", v) for v in versions[1:]]
    assert all(dates)
    found = [d[1] for d in dates if d]
    assert found == sorted(found, reverse=True)
    for version in re.split(r"^## .*$", CHANGELOG, flags=re.M)[1:]:
        names = re.findall(r"^### (.*)$", version, re.M)
        assert set(names) <= GROUPS
        assert len(names) == len(set(names))
        for group in re.split(r"^### .*$", version, flags=re.M)[1:]:
            assert group.strip().startswith("- ")


def test_citation_is_of_this_version() -> None:
    """Oracle: what the schema of CFF 1.2.0 requires; `einchip.__version__`."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["cff-version"] == "1.2.0"
    assert str(cited["version"]) == einchip.__version__
    assert cited["license"] == "Apache-2.0"
    assert all(set(author) & {"name", "family-names"} for author in cited["authors"])


def test_every_page_is_in_the_navigation_once() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    listed = pages_of(config["nav"])
    assert len(listed) == len(set(listed))
    for name in (*PROJECT, *(path.name for path in (ROOT / "docs").glob("*.md"))):
        assert name in listed, f"{name}: put it into the nav of mkdocs.yml"
    for page in listed:
        made = page.startswith("python/") or page in ("index.md", "decisions/index.md")
        assert made or (ROOT / "docs" / page).is_file() or (ROOT / page).is_file(), page
