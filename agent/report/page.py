"""The report as one HTML file that needs nothing else: no network, and no script to be read.

Everything foreign passes `harmless` and is escaped by the template. A content security policy allows the one style and
the one script of this file by their hashes and nothing else; the script only adds search and sorting.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from agent.report.chart import WIDTH, Bar, group_bars, segments, totals
from agent.report.escape import harmless
from agent.report.shape import Document, Outcomes, WorkspaceObject
from agent.report.view import (
    HoldGroup,
    Line,
    View,
    approvable,
    approval,
    approval_of_all,
    before_approval,
    hold_groups,
    moves,
    reasons,
    releases,
    views,
)
from agent.report.wording import APPROVE, WORDS

__all__ = ["Section", "environment", "page", "policy", "sections", "source"]

CHUNK = 100
"""Rows to a table body. The browser lays out only the bodies that are on screen."""


@dataclass(frozen=True, slots=True)
class Section:
    """One workspace with what the template needs beside it."""

    view: View
    workspace: WorkspaceObject
    anchor: str
    lines: Sequence[Line]
    holds: Sequence[HoldGroup]
    bars: Sequence[Bar]
    groups: Sequence[Bar]
    more_groups: int
    notes: str
    approving: str
    approval: str
    first: str


def page(document: Document, outcomes: Outcomes, *, approves: bool = True) -> str:
    """Return the page, which looks the same without scripts; *approves*: with the commands that approve."""
    shown = views(document, outcomes)
    return _template().render(
        document=document,
        executed=any(view.executed for view in shown),
        figures=totals(shown),
        sections=sections(shown, with_commands=approves),
        approve_all=approval_of_all(document) if approves and _several_wait(shown) else "",
        style=Markup(source("page.css")),  # noqa: S704 - our own file
        script=Markup(source("page.js")),  # noqa: S704 - our own file
        policy=policy(),
    )


def sections(shown: Sequence[View], *, with_commands: bool = True) -> list[Section]:
    """Return what `section.html` shows of each workspace; *with_commands*: also the command that approves."""
    made = [_section(number, view) for number, view in enumerate(shown, 1)]
    return made if with_commands else [replace(section, approval="") for section in made]


def _several_wait(shown: Sequence[View]) -> bool:
    waiting = [view for view in shown if approvable(view.workspace) and not before_approval(view.workspace)]
    return len(waiting) > 1 and not any(view.executed for view in shown)


@cache
def policy() -> str:
    """Return the content security policy of every page, for a server that wants to send it as a header too."""
    return (
        f"default-src 'none'; style-src '{_hash('page.css')}'; script-src '{_hash('page.js')}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _section(number: int, view: View) -> Section:
    workspace = view.workspace
    bars, more = group_bars(workspace) if workspace["status"] == "planned" else ([], 0)
    codes = Counter(note["code"] for note in workspace["notes"]).most_common()
    return Section(
        view,
        workspace,
        f"workspace-{number}",
        [line for lines in view.lines.values() for line in lines],
        hold_groups(view.holds),
        segments(view),
        bars,
        more,
        ", ".join(f"{count:,} {harmless(code)}" for code, count in codes),
        f"{APPROVE} {releases(workspace)}.",
        approval(view) if approvable(workspace) and not view.executed else "",
        before_approval(workspace),
    )


@cache
def _loader() -> PackageLoader:
    return PackageLoader("agent.report", ".")


def environment(*loaders: BaseLoader) -> Environment:
    """Return what renders the templates here and those of *loaders*: all that is foreign is harmless in them."""
    made = Environment(
        loader=ChoiceLoader([_loader(), *loaders]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(number=_number, chunks=_chunks)
    made.globals.update(words=WORDS, moves=moves, reasons=reasons, width=WIDTH)
    return made


@cache
def _template() -> Template:
    return environment().get_template("page.html")


@cache
def source(name: str) -> str:
    """Return a file of this package as it is: `page.css` or `page.js`."""
    return _loader().get_source(environment(), name)[0]


def _hash(name: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source(name).encode()).digest()).decode()


def _shown(value: object) -> object:
    return harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _number(value: int) -> str:
    return f"{value:,}"


def _chunks(rows: Sequence[object]) -> Iterator[Sequence[object]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))
