"""The report as one HTML file that needs nothing else: no network, and no script needed for reading.

Everything external passes `escape_control` and is escaped by the template. A content security policy allows this file's
style and script by their hashes and nothing else; the script only adds search and sorting.
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

from agent.report.bars import WIDTH, Bar, group_bars, segments, totals
from agent.report.escape import escape_control
from agent.report.labels import APPROVE_PROMPT, KIND_LABELS
from agent.report.run_identity import run_blocks
from agent.report.schema import Document, Outcomes, WorkspaceObject
from agent.report.view import (
    ChangeRow,
    HoldGroup,
    View,
    approval_prerequisite,
    approve_all_command,
    approve_command,
    changed_fields,
    document_views,
    hold_groups,
    hold_reasons,
    is_approvable,
    released_summary,
)

__all__ = [
    "Section",
    "asset_text",
    "content_security_policy",
    "render_html",
    "template_environment",
    "workspace_sections",
]

NO_NEWS = Markup()
ROWS_PER_BODY = 100
"""Rows to a table body. The browser lays out only the bodies that are on screen."""


@dataclass(frozen=True, slots=True)
class Section:
    """One workspace with everything that the template needs."""

    view: View
    workspace: WorkspaceObject
    anchor: str
    changes: Sequence[ChangeRow]
    holds: Sequence[HoldGroup]
    bars: Sequence[Bar]
    groups: Sequence[Bar]
    more_groups: int
    notes: str
    approval_text: str
    approve_command: str
    prerequisite: str


def render_html(document: Document, outcomes: Outcomes, *, shows_approval: bool = True, news: Markup = NO_NEWS) -> str:
    """Return the page, which looks the same without scripts. With *shows_approval* it has the approval commands.

    *news* stands before everything else: what is new since the last report.
    """
    shown = document_views(document, outcomes)
    return _template().render(
        document=document,
        news=news,
        executed=any(view.executed for view in shown),
        runs=run_blocks(document["workspaces"]),
        figures=totals(shown),
        sections=workspace_sections(shown, with_commands=shows_approval),
        approve_all=approve_all_command(document) if shows_approval and _has_several_to_approve(shown) else "",
        style=Markup(asset_text("page.css")),  # noqa: S704 - our own file
        script=Markup(asset_text("page.js")),  # noqa: S704 - our own file
        policy=content_security_policy(),
    )


def workspace_sections(shown: Sequence[View], *, with_commands: bool = True) -> list[Section]:
    """Return what `section.html` shows of each workspace, with the approval command if *with_commands*."""
    made = [_section(number, view) for number, view in enumerate(shown, 1)]
    return made if with_commands else [replace(section, approve_command="") for section in made]


def _has_several_to_approve(shown: Sequence[View]) -> bool:
    waiting = [view for view in shown if is_approvable(view.workspace) and not approval_prerequisite(view.workspace)]
    return len(waiting) > 1 and not any(view.executed for view in shown)


@cache
def content_security_policy() -> str:
    """Return the content security policy of every page, for a server that wants to send it as a header too."""
    return (
        f"default-src 'none'; style-src '{_asset_hash('page.css')}'; script-src "
        f"'{_asset_hash('page.js')}'; img-src data:; "
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
        [line for lines in view.changes_by_kind.values() for line in lines],
        hold_groups(view.holds),
        segments(view),
        bars,
        more,
        ", ".join(f"{count:,} {escape_control(code)}" for code, count in codes),
        f"{APPROVE_PROMPT} {released_summary(workspace)}.",
        approve_command(view) if is_approvable(workspace) and not view.executed else "",
        approval_prerequisite(workspace),
    )


@cache
def _loader() -> PackageLoader:
    return PackageLoader("agent.report", ".")


def template_environment(*loaders: BaseLoader) -> Environment:
    """Return the environment for these templates and those of *loaders*. It escapes every external value."""
    made = Environment(
        loader=ChoiceLoader([_loader(), *loaders]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_escape_value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(number=_format_number, chunks=_chunks)
    made.globals.update(words=KIND_LABELS, moves=changed_fields, reasons=hold_reasons, width=WIDTH)
    return made


@cache
def _template() -> Template:
    return template_environment().get_template("page.html")


@cache
def asset_text(name: str) -> str:
    """Return a file of this package as it is: `page.css` or `page.js`."""
    return _loader().get_source(template_environment(), name)[0]


def _asset_hash(name: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(asset_text(name).encode()).digest()).decode()


def _escape_value(value: object) -> object:
    return escape_control(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _format_number(value: int) -> str:
    return f"{value:,}"


def _chunks(rows: Sequence[object]) -> Iterator[Sequence[object]]:
    return (rows[start : start + ROWS_PER_BODY] for start in range(0, len(rows), ROWS_PER_BODY))
