"""MkDocs hook: pages and files outside of docs/, the Python reference, diagrams as SVG.

Every page lies where it is read in the repository. What pages link to outside of docs/ becomes part
of the site: Markdown as a page, other files as they are. Links are rewritten to it. A link to what
is not there is left, so that a strict build fails.

`python/NAME.md` in the navigation is the reference of module einchip.NAME, `decisions/index.md` the
list of decisions; neither is a file.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.superfences import SuperFencesException

#: A link or an image of Markdown: what is before its target, the target, an anchor.
LINK: Final = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")
#: The page of a place in the repository, where it is another one.
HOME: Final = {"README.md": "index.md", "docs/decisions": "decisions/index.md"}


def uri_of(place: str) -> str:
    """Return where a file of the repository lies in the site's sources."""
    return HOME.get(place, place.removeprefix("docs/"))


def links(place: str, text: str) -> list[str]:
    """Return the places in the repository that a page links to."""
    here = posixpath.dirname(place)
    return [posixpath.normpath(posixpath.join(here, m[1])) for m in LINK.findall(text)]


def rewritten(place: str, text: str) -> str:
    """Return a page with its links as they are in the site."""
    here, there = posixpath.dirname(place), posixpath.dirname(uri_of(place))

    def of_site(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        found = uri_of(posixpath.normpath(posixpath.join(here, target)))
        return f"{before}{posixpath.relpath(found, there or '.')}{after}"

    return LINK.sub(of_site, text)


def pages_of(nav: Any) -> list[str]:
    """Return the pages in a navigation."""
    if isinstance(nav, str):
        return [nav]
    children = nav.values() if isinstance(nav, dict) else nav or ()
    return [page for child in children for page in pages_of(child)]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Draw the fences of diagrams."""
    fences = [
        {"name": name, "class": name, "format": draw}
        for name, draw in (("mermaid", mermaid), ("wavedrom", wavedrom))
    ]
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = fences
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in docs/: the linked files, the Python reference, the list of decisions."""
    root = Path(config.docs_dir).parent
    for page in pages_of(config.nav):
        if page.startswith("python/"):
            module = "einchip." + page.removeprefix("python/").removesuffix(".md")
            content = f"# `{module}`\n\n::: {module}\n"
            files.append(File.generated(config, page, content=content))
    decisions = sorted((root / "docs" / "decisions").glob("*.md"))
    listed = [f"* [{p.read_text().split(chr(10), 1)[0].lstrip('# ')}]({p.name})" for p in decisions]
    content = "\n".join(["# Decisions", "", *listed, ""])
    files.append(File.generated(config, uri_of("docs/decisions"), content=content))
    _add_linked(files, config, root)
    return files


def _add_linked(files: Files, config: MkDocsConfig, root: Path) -> None:
    """Add README.md, the navigation's other pages, and every file that an added page links to."""
    waiting = ["README.md", *(f"docs/{f.src_uri}" for f in files.documentation_pages())]
    waiting += [page for page in pages_of(config.nav) if (root / page).is_file()]
    seen = set(waiting)
    while waiting:
        place = waiting.pop()
        path = root / place
        if not path.is_file():
            continue
        if files.get_file_from_path(uri_of(place)) is None:
            files.append(File.generated(config, uri_of(place), abs_src_path=str(path)))
        if path.suffix == ".md":
            new = [p for p in links(place, path.read_text()) if p not in seen]
            seen.update(new)
            waiting += new


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page that is a file."""
    source = page.file.abs_src_path
    if source is None:
        return markdown
    root = Path(config.docs_dir).parent
    return rewritten(Path(source).relative_to(root).as_posix(), markdown)


def mermaid(source: str, *_: Any, **__: Any) -> str:
    """Return a Mermaid diagram as SVG; as its text, where merman has no wheel for the system."""
    try:
        import merman
    except ImportError:
        return f"<pre><code>{html.escape(source)}</code></pre>"
    try:
        return _figure(merman.Merman().render_svg(source, None))
    except merman.MermanError as error:
        raise SuperFencesException(f"mermaid: {error}") from error


def wavedrom(source: str, *_: Any, **__: Any) -> str:
    """Return a WaveDrom diagram (JSON) as SVG."""
    import json

    import yowasp_wavedrom

    try:
        return _figure(yowasp_wavedrom.render(json.loads(source)))
    except ValueError as error:
        raise SuperFencesException(f"wavedrom: {error}") from error


def _figure(svg: str) -> str:
    return f'<figure class="diagram">{svg[svg.index("<svg") :]}</figure>'
