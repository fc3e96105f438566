"""The site of docs/ builds strictly, holds every page, loads nothing from elsewhere, and no link leads nowhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
# What a browser fetches by itself, unlike a link, which a person follows.
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}
# Text that Markdown should have converted: a fence, a row of a table, an item of a list.
RAW = re.compile(r"```|^\s*\|.*\||^\s*(?:[-*]|\d+\.) \S|\]\(", re.MULTILINE)


@dataclass(slots=True)
class Shown:
    """What one page of HTML has: its anchors, where its links lead, what it loads, and its text outside code."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.shown = Shown()
        self._depth, self._code = 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.shown.anchors.update(found[name] for name in ("id", "name") if name in found)
        if tag == "a" and "href" in found:
            self.shown.links.append(found["href"])
        if tag in LOADS and LOADS[tag] in found:
            self.shown.loads.append(found[LOADS[tag]])
        if tag == "p":
            self._depth += 1
            self.shown.paragraphs.append("")
        self._code += tag in {"code", "pre"}

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag == "p"
        self._code -= tag in {"code", "pre"}

    def handle_data(self, data: str) -> None:
        if self._depth and not self._code:
            self.shown.paragraphs[-1] += data


def shown(html: str) -> Shown:
    reader = Reader()
    reader.feed(html)
    return reader.shown


def build(config: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of *config* into the folder `site` next to it."""
    command = [str(Path(sys.executable).parent / "zensical"), "build", "--strict", "-f", str(config)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    done = build(folder / "mkdocs.yml")
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def views(site: Path) -> dict[Path, Shown]:
    return {path: shown(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}


def leaves(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for each in nav.values():
            yield from leaves(each)
    elif isinstance(nav, list):
        for each in nav:
            yield from leaves(each)


def test_every_page_stands_in_the_navigation_once() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    assert sorted(leaves(nav)) == PAGES


def test_every_page_is_built(views: dict[Path, Shown], site: Path) -> None:
    wanted = {site / page.replace(".md", ".html") for page in PAGES} | {site / "404.html"}
    assert set(views) == wanted


def dangling(page: Path, links: list[str], views: dict[Path, Shown], site: Path) -> list[str]:
    """Return the links of *page* that lead to no file, or to no anchor of it."""
    lost = []
    for link in links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        # The page for what is not found can't know how deep it is asked for: it links from the root.
        start = site if parts.path.startswith("/") else page.parent
        target = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else page
        target = target / "index.html" if target.is_dir() else target
        anchor = unquote(parts.fragment)
        if not target.is_file() or (anchor and target in views and anchor not in views[target].anchors):
            lost.append(link)
    return lost


def test_every_link_leads_to_a_page_and_an_anchor_that_exist(views: dict[Path, Shown], site: Path) -> None:
    lost = {page.name: dangling(page, view.links, views, site) for page, view in views.items()}
    assert {name: links for name, links in lost.items() if links} == {}
    assert sum(len(view.links) for view in views.values()) > 500


def test_everything_that_a_page_loads_is_in_the_site(views: dict[Path, Shown], site: Path) -> None:
    for page, view in views.items():
        assert [each for each in view.loads if urlsplit(each).netloc or urlsplit(each).scheme] == [], page
        # Of an address like `css/base.css?v=1` the file is what counts.
        assert dangling(page, [urlsplit(each).path for each in view.loads], views, site) == [], page


def test_no_stylesheet_loads_from_another_host(site: Path) -> None:
    for sheet in site.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text("utf-8"), flags=re.DOTALL)
        found = re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]*)", text)
        assert found == [], sheet.name


def test_search_is_of_the_site_and_knows_every_page(site: Path) -> None:
    index = (site / "search.json").read_text("utf-8")
    assert [page for page in PAGES if page.replace(".md", ".html") not in index] == []


def test_header_shows_the_version_of_the_product(views: dict[Path, Shown], site: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert f"pigment-sync {version}" in (site / "index.html").read_text("utf-8")


def test_nothing_of_a_page_is_left_as_markdown(views: dict[Path, Shown]) -> None:
    left = {page.name: [text for text in view.paragraphs if RAW.search(text)] for page, view in views.items()}
    assert {name: texts for name, texts in left.items() if texts} == {}


def slug(heading: str) -> str:
    """Return the anchor that a repository's page gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def headings(text: str) -> set[str]:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return {slug(each) for each in re.findall(r"^#+ (.*)$", prose, re.MULTILINE)}


def relative_links(text: str) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose))
    return [link for link in found if not urlsplit(link).scheme]


READ_IN_PLACE = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", *(f"docs/{page}" for page in PAGES)]


@pytest.mark.parametrize("name", READ_IN_PLACE)
def test_links_resolve_where_the_repository_is_read(name: str) -> None:
    page = ROOT / name
    lost = []
    for link in relative_links(page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in headings(target.read_text("utf-8"))):
            lost.append(link)
    assert lost == []


def test_readme_leads_to_the_guides() -> None:
    links = relative_links((ROOT / "README.md").read_text("utf-8"))
    assert len([link for link in links if link.startswith("docs/")]) > 5


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[x](nowhere.md)", "nowhere.md"),
        ("[x](other.md#nowhere)", "#nowhere"),
        ("[x](../README.md)", "../README.md"),
        ("[x](/other.md)", "/other.md"),
    ],
)
def test_link_that_leads_nowhere_ends_the_build(tmp_path: Path, text: str, complaint: str) -> None:
    docs = tmp_path / "docs"
    (docs / "assets").mkdir(parents=True)
    (docs / "assets" / "site.css").write_text("", "utf-8")
    (docs / "index.md").write_text(f"# Home\n\n{text}\n", "utf-8")
    (docs / "other.md").write_text("# Other\n", "utf-8")
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8")) | {"nav": ["index.md", "other.md"]}
    config = tmp_path / "mkdocs.yml"
    config.write_text(yaml.safe_dump(settings), "utf-8")
    done = build(config)
    assert done.returncode == 1
    assert complaint in re.sub(r"\x1b\[[\d;]*m", "", done.stderr)


def test_own_checks_see_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text('<h1 id="a">A</h1><a href="#a"></a><a href="#b"></a><a href="x.html"></a>', "utf-8")
    view = shown(page.read_text("utf-8"))
    assert dangling(page, view.links, {page: view}, tmp_path) == ["#b", "x.html"]
    assert shown("<p>text ``` left</p><p><code>```</code></p>").paragraphs == ["text ``` left", ""]
    assert RAW.search("one\n- two")
    assert slug("`workspaces.NAME.sources[]`") == "workspacesnamesources"
