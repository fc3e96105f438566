"""On a narrow screen the heading row of a table is hidden, and each cell has its label from the style sheet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent.report
import agent.web
from agent.report.access import access_html
from agent.report.render import Format, render
from tests.golden.samples import a_document, outcomes
from tests.unit.test_access import HOSTILE

REPORT = Path(agent.report.__file__).parent
WEB = Path(agent.web.__file__).parent
STYLE = (REPORT / "page.css").read_text("utf-8") + (WEB / "assets" / "app.css").read_text("utf-8")
NARROW = "".join(re.findall(r"^@media \(max-width[^{]*\{\n(.*?)^\}", STYLE, flags=re.MULTILINE | re.DOTALL))
TABLE = re.compile(r'<table role="table" class="([a-z -]+)".*?</thead>', re.DOTALL)
HEADING = re.compile(r"<th [^>]*>([^<]*)</th>")


def labels() -> dict[tuple[str, int], str]:
    """Map a class of tables and the number of a column to its label."""
    found = {}
    for selectors, content in re.findall(r'^  ([^{]*) \{ content: "([^"]*)";', NARROW, flags=re.MULTILINE):
        for name, number in re.findall(r"\.([a-z-]+) td:nth-child\((\d)\)::before", selectors):
            found[name, int(number)] = content
    return found


def tables(html: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the class and the headings of each table."""
    for match in TABLE.finditer(html):
        yield match[1].split()[0], HEADING.findall(match[0])


PAGES = {
    "plan": render(a_document(), Format.HTML),
    "run": render(a_document(), Format.HTML, outcomes=outcomes()),
    "access": access_html([HOSTILE], "2026-03-01"),
    **{path.name: path.read_text("utf-8") for path in (WEB / "templates").glob("*.html")},
}


@pytest.mark.parametrize("name", sorted(name for name, html in PAGES.items() if "<table" in html))
def test_each_cell_has_the_words_of_its_heading(name: str) -> None:
    found = list(tables(PAGES[name]))
    assert found
    for table, headings in found:
        assert headings
        shown = [labels().get((table, number)) for number in range(1, len(headings) + 1)]
        assert shown == headings, table


def test_tables_of_reports_and_of_the_page_are_all_covered() -> None:
    found = {table for html in PAGES.values() for table, _ in tables(html)}
    assert found == {"access", "changes", "held-alike", "holds", "links", "may", "notes", "others", "runs", "timeline"}


def test_style_of_the_access_list_is_not_escaped() -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", PAGES["access"], flags=re.DOTALL)
    assert style == (REPORT / "page.css").read_text("utf-8")
