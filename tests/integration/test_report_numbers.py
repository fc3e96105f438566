"""Every number in every rendering matches the document: for any plan, nothing is counted twice or lost."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agent.model import (
    Change,
    Fields,
    GroupRef,
    Guard,
    Hold,
    Kind,
    MemberCounts,
    Mode,
    Note,
    Plan,
    SourceCounts,
)
from agent.plan_parser import parse_document
from agent.report.document import encode_document, plan_document, workspace_object
from agent.report.labels import KIND_LABELS, KINDS
from agent.report.render import Format, RenderOptions, render
from agent.report.schema import Document, PlannedObject
from connectors.base import PersonKey
from tests.golden.samples import MADE_AT

words = st.text(max_size=30)
codes = st.sampled_from(["max-deactivations", "domain-not-allowed", "email-swap", "unmanaged", "individual-assignment"])
keys = st.builds(PersonKey, words, words)
fields = st.builds(Fields, st.none() | words, st.none() | words, st.none() | st.booleans())
numbers = st.integers(0, 100_000)
changes = st.builds(
    Change,
    kind=st.sampled_from(Kind),
    email=words,
    display_name=words,
    scim_id=st.none() | words,
    person=st.none() | keys,
    before=fields,
    after=fields,
    code=codes,
    reason=words,
    group_refs=st.lists(st.builds(GroupRef, words, words), max_size=2).map(tuple),
    waits_for=st.none() | words,
    given_name=words,
    family_name=words,
)
holds = st.builds(
    Hold,
    kind=st.sampled_from(Kind),
    code=codes,
    email=words,
    reason=words,
    remedy=words,
    wanted=st.none() | words,
    scim_id=st.none() | words,
    person=st.none() | keys,
    change=st.none() | changes,
)
sources = st.builds(
    SourceCounts,
    connector=words.map("okta-".__add__),
    app=words,
    people=numbers,
    entitled=numbers,
    groups=st.lists(st.tuples(words, words, numbers), max_size=3).map(tuple),
    individual=numbers,
)
guards = st.builds(
    Guard,
    code=codes,
    count=numbers,
    recent=numbers,
    limit=words,
    message=words,
    affected=st.lists(words, max_size=14).map(tuple),
)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    plans = [
        Plan(
            workspace=f"w{number}",
            mode=draw(st.sampled_from(Mode)),
            sources=tuple(draw(st.lists(sources, max_size=2))),
            members=draw(st.builds(MemberCounts, total=numbers, active=numbers, linked=numbers, guarded=numbers)),
            in_sync=draw(numbers),
            changes=tuple(draw(st.lists(changes, max_size=6))),
            holds=tuple(draw(st.lists(holds, max_size=4))),
            notes=tuple(draw(st.lists(st.builds(Note, codes, words, words), max_size=4))),
            guards=tuple(draw(st.lists(guards, max_size=2))),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    return plan_document([workspace_object(plan) for plan in plans], MADE_AT)


def planned(whole: Document) -> list[PlannedObject]:
    return [workspace for workspace in whole["workspaces"] if workspace["status"] == "planned"]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def counts_in(sentence: str) -> Counter[str]:
    """Return the counts that a headline states, by their keys in the document."""
    plain = re.sub(r" \(.*?\)", "", sentence)
    patterns = {kind: rf"([\d,]+) (?:{'|'.join(KIND_LABELS[kind].planned)})" for kind in KINDS}
    patterns |= {"hold": r"([\d,]+) on hold", "in-sync": r"([\d,]+) in sync"}
    found = {key: re.search(rf"(?:^|[ ;,]){pattern}(?=[,;]|$)", plain) for key, pattern in patterns.items()}
    return Counter({key: number(match[1]) for key, match in found.items() if match})


def expected_counts(workspace: PlannedObject) -> Counter[str]:
    """Return the counts that a headline must state: those above 0, and how many are in sync."""
    counts = {key: count for key, count in workspace["counts"].items() if key != "note" and (count or key == "in-sync")}
    return Counter(counts)


a_few = settings(max_examples=30, deadline=None)


class Page(HTMLParser):
    """Collects, of each workspace's section, the numbers that are marked as counts, and the rows of its tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.numbers: dict[tuple[str, str], int] = {}
        self.rows: Counter[tuple[str, str]] = Counter()
        self._workspace = ""
        self._table = ""
        self._key = ""
        self._body = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._workspace = given.get("data-workspace") or self._workspace
        self._key = given.get("data-count") or given.get("data-total") or given.get("data-member") or self._key
        if tag in ("thead", "tbody"):
            self._body = tag == "tbody"
        if tag == "table":
            self._table = (given["class"] or "").split(maxsplit=1)[0]
        if tag == "tr" and self._body:
            self.rows[self._workspace, self._table] += 1

    def handle_data(self, data: str) -> None:
        if self._key and re.fullmatch(r"[\d,]+", data.strip()):
            self.numbers[self._workspace, self._key] = number(data.strip())
            self._key = ""


@given(documents())
@a_few
def test_saved_document_has_the_numbers_of_its_lists(whole: Document) -> None:
    for workspace in planned(parse_document(encode_document(whole))):
        kinds = Counter[str](change["kind"] for change in workspace["changes"])
        assert {kind: workspace["counts"][kind] for kind in KINDS} == {kind: kinds[kind] for kind in KINDS}
        assert workspace["counts"]["hold"] == len(workspace["holds"])
        assert workspace["counts"]["note"] == len(workspace["notes"])


@given(documents())
@a_few
def test_numbers_of_the_text_are_those_of_the_document(whole: Document) -> None:
    shown = render(whole, Format.TEXT, RenderOptions(width=10_000, verbose=True))
    for workspace in planned(whole):
        name = workspace["name"]
        headline = next(line for line in shown.splitlines() if line.startswith(f"{name}: "))
        assert counts_in(headline.removeprefix(f"{name}: ")) == expected_counts(workspace)
        section = re.split(r"^── (w\d) ─+$", shown, flags=re.MULTILINE)
        body = section[section.index(name) + 1]
        titles = {KIND_LABELS[kind].title: kind for kind in KINDS} | {"On hold": "hold", "Notes": "note"}
        headings = re.findall(r"^  ([A-Z][a-z ]+) \(([\d,]+)\)", body, flags=re.MULTILINE)
        counted = {titles[title]: number(count) for title, count in headings if title in titles}
        assert counted == {key: count for key, count in workspace["counts"].items() if count and key != "in-sync"}
        for kind in KINDS:
            rows = [line for line in body.splitlines() if line.startswith(f"  {KIND_LABELS[kind].symbol} ")]
            assert len(rows) == workspace["counts"][kind]


@given(documents())
@a_few
def test_rows_of_the_sheet_are_those_of_the_document(whole: Document) -> None:
    rows = list(csv.DictReader(io.StringIO(render(whole, Format.CSV))))
    guards = sum(len(one["guards"]) for one in planned(whole))
    entries = sum(sum(one["counts"][key] for key in (*KINDS, "hold", "note")) for one in planned(whole))
    groups = sum(len(source["groups"]) for one in planned(whole) for source in one["sources"])
    assert len(rows) == entries + guards + groups
    counted = Counter((row["workspace"], row["kind"] if row["row"] == "change" else row["row"]) for row in rows)
    for workspace in planned(whole):
        for key in (*KINDS, "hold", "note"):
            assert counted[workspace["name"], key] == workspace["counts"][key]


@given(documents())
@a_few
def test_numbers_and_rows_of_the_markdown_are_those_of_the_document(whole: Document) -> None:
    shown = render(whole, Format.MARKDOWN, RenderOptions(max_chars=1_000_000))
    headlines = re.findall(r"^## (w\d)\n\n\*\*(.*)\*\*$", shown, flags=re.MULTILINE)
    sections = re.split(r"^## (?=w\d$)", shown, flags=re.MULTILINE)[1:]
    for workspace, (name, headline), section in zip(planned(whole), headlines, sections, strict=True):
        assert name == workspace["name"]
        assert counts_in(headline) == expected_counts(workspace)
        html = MarkdownIt("commonmark", {"html": True}).enable("table").render(section)
        expected = sum(workspace["counts"][key] for key in (*KINDS, "hold", "note"))
        assert html.count("<tr>") - html.count("<thead>") == expected
        for kind in KINDS:
            found = re.findall(rf"<summary><b>{KIND_LABELS[kind].title} \(([\d,]+)\)</b>", section)
            assert [number(one) for one in found] == [workspace["counts"][kind]] * bool(workspace["counts"][kind])


@given(documents())
@a_few
def test_numbers_and_rows_of_the_page_are_those_of_the_document(whole: Document) -> None:
    page = Page(render(whole, Format.HTML))
    for key in (*KINDS, "hold", "in-sync"):
        assert page.numbers["", key] == sum(workspace["counts"][key] for workspace in planned(whole))
    for workspace in planned(whole):
        name, counts = workspace["name"], workspace["counts"]
        for key in (*KINDS, "hold", "in-sync"):
            assert page.numbers.get((name, key), 0) == counts[key]
        for key, count in (("total", 0), ("active", 1), ("linked", 2)):
            assert page.numbers[name, key] == list(workspace["members"].values())[count]
        assert page.rows[name, "changes"] == len(workspace["changes"])
        assert page.rows[name, "holds"] + page.rows[name, "held-alike"] == counts["hold"]
        assert page.rows[name, "notes"] == counts["note"]
