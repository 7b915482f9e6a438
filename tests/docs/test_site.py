"""The site: built strictly, without a network; oracles: MkDocs' warnings, the pages that result."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest
import yaml

from einchip.mapper import MappingError
from einchip.network import Network
from tests.docs.pages import ROOT, of_kind

for _library in ("mkdocs", "material", "mkdocstrings", "merman", "yowasp_wavedrom"):
    pytest.importorskip(_library, reason="needs einchip[docs]")

from pymdownx.superfences import SuperFencesException  # noqa: E402

#: What of a page is loaded by a browser that shows it.
LOADED: Final = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Loads(HTMLParser):
    """Collects what a page makes a browser load, and how many diagrams it has."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []
        self.n_diagrams = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.n_diagrams += tag == "figure" and given.get("class") == "diagram"
        if place := given.get(LOADED.get(tag, "")):
            self.places.append(place)


def loads(page: Path) -> Loads:
    """Return what a page of the site loads."""
    parser = Loads()
    parser.feed(page.read_text())
    return parser


def build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a configuration, as `make site`, with no way out to a network."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    no_way = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    return subprocess.run(
        [*command, "--config-file", str(config), "--site-dir", str(folder)],
        cwd=ROOT, env=os.environ | no_way | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT / "mkdocs.yml", folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_pages_load_nothing_from_a_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        for place in loads(page).places:
            assert not re.match(r"(https?:)?//", place), (page.name, place)
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", style.read_text()), style.name


def test_diagrams_are_drawn(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        n = len(of_kind(page, "mermaid")) + len(of_kind(page, "wavedrom"))
        assert loads(site / f"{page.stem}.html").n_diagrams == n, page.name


def test_links_out_of_docs_lead_to_pages_of_the_site(site: Path) -> None:
    example = site / "examples" / "japanese_vowels"
    assert 'href="bench/results.html"' in (site / "index.html").read_text()
    assert 'href="../../compress.html"' in (example / "index.html").read_text()
    picture = "examples/japanese_vowels/results/quantise_mpo.svg"
    assert f'src="{picture}"' in (site / "quantise.html").read_text()
    assert (site / picture).is_file()


def test_the_python_reference_has_docstrings(site: Path) -> None:
    """Oracle: the docstrings themselves, of either form."""
    pages = list((site / "python").glob("*.html"))
    assert len(pages) > 10
    for page in pages:
        assert "doc-heading" in page.read_text(), page.name
    assert (MappingError.__doc__ or "").splitlines()[0] in (site / "python/mapper.html").read_text()
    field = "index names of the result, in order; empty for a scalar."
    assert f"{field}\n" in (Network.__doc__ or "")
    text = re.sub(r"<[^>]*>", "", (site / "python" / "network.html").read_text())
    assert re.search(rf"tuple\[str, \.\.\.\]\s*\)\s*–\s*{re.escape(field)}", text)


def test_dead_links_and_anchors_stop_the_build(tmp_path: Path) -> None:
    """In a small project with the same configuration but for its pages."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# Home\n")
    (tmp_path / "docs" / "a.md").write_text("# A\n\n[x](no.md) [y](../none.md) [z](b.md#nothing)\n")
    (tmp_path / "docs" / "b.md").write_text("# B\n\n[home](../README.md)\n")
    (tmp_path / "docs" / "c.md").write_text("# C\n")
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    changes = {
        "hooks": [str(ROOT / "docs" / "site" / "hook.py")],
        "nav": ["index.md", "a.md", "b.md", "decisions/index.md"],
        "plugins": ["search"],
    }
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config | changes))
    built = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert built.returncode != 0
    for said in ("'no.md'", "'none.md'", "'b.md#nothing'", "  - c.md"):
        assert said in built.stderr, said
    assert built.stderr.count("WARNING") == 4


@pytest.mark.parametrize(("draw", "text"), [("mermaid", "flowchart LR\n a[b"), ("wavedrom", "{x")])
def test_a_diagram_that_cannot_be_drawn_stops_the_build(draw: str, text: str) -> None:
    spec = importlib.util.spec_from_file_location("hook", ROOT / "docs" / "site" / "hook.py")
    assert spec
    assert spec.loader
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    with pytest.raises(SuperFencesException, match=f"{draw}: "):
        getattr(hook, draw)(text)
