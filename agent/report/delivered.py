"""A scheduled report in each format: first what is new since the last delivered one, then the whole. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import assert_never

from markupsafe import Markup

from agent.model import Kind
from agent.model.access import Access
from agent.model.provenance import UNKNOWN_PROVENANCE, Provenance
from agent.model.report import ReportFormat
from agent.model.run import ChangeRecord, Run
from agent.report.access import COLUMNS, access_csv, access_html, access_text
from agent.report.csv import escape_cell
from agent.report.document import to_json_bytes
from agent.report.escape import escape_control
from agent.report.history import RUN_HEADINGS, TIMELINE_HEADINGS, run_cells, run_row, timeline_cells, timeline_row
from agent.report.html import asset_text, content_security_policy, render_html, template_environment
from agent.report.markdown import escape_markdown, render_markdown
from agent.report.news import News
from agent.report.render import NO_OUTCOMES, Format, RenderOptions, render
from agent.report.run_identity import format_utc
from agent.report.schema import Document
from agent.report.table import format_table
from agent.report.xlsx import AccessReview, access_xlsx

__all__ = ["AccessContent", "ActivityContent", "Content", "Heading", "PlanContent", "render_report", "summary", "title"]

MAX_ENTRIES, MAX_HOLDS = 20, 10
"""Lines of a report's head. A reader has seconds for it; all entries follow below."""
MAX_MISSED = 5
WIDTH = 120
MAX_TABLE_ROWS = 500
"""Rows of a table in Markdown, which chats and pull requests show."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What names a report. *by* asked for it; empty: the schedule."""

    id: str
    name: str
    what: str
    scheduled_at: datetime
    made_at: datetime
    by: str = ""


@dataclass(frozen=True, slots=True)
class PlanContent:
    document: Document


@dataclass(frozen=True, slots=True)
class AccessContent:
    """*workspaces* are (name, fingerprint) of those in *rows*, *provenance* is what they were read with."""

    rows: Sequence[Access]
    when: str
    workspaces: Sequence[tuple[str, str]] = ()
    provenance: Provenance = UNKNOWN_PROVENANCE


@dataclass(frozen=True, slots=True)
class ActivityContent:
    """What *runs* did from *since* to *until*; *made* counts the changes of each run by kind."""

    since: datetime
    until: datetime
    runs: Sequence[Run]
    made: Mapping[str, Mapping[Kind, int]]
    records: Sequence[tuple[ChangeRecord, Run]]


Content = PlanContent | AccessContent | ActivityContent


@dataclass(frozen=True, slots=True)
class _Words:
    """The head of a report in words, for every format."""

    title: str
    summary: str
    missed: str
    rows: Sequence[tuple[str, str, str]]
    more: Sequence[str]
    numbers: str
    holds_title: str
    holds: Sequence[object]
    more_holds: str


def title(heading: Heading, news: News) -> str:
    """Return one line for the subject of a mail. What could not be read comes first."""
    unread = [each.workspace for each in news.unread]
    first = f"{', '.join(unread)} could not be read; " if unread else ""
    return escape_control(f"pigment-sync report {heading.name}: {first}{_counts_phrase(news)}")


def summary(heading: Heading, news: News) -> str:
    """Return the head of the report as text, for the body of a message."""
    return "\n".join([*_head_lines(heading, news), ""])


def render_report(
    heading: Heading, news: News, content: Content, output_format: ReportFormat, *, max_chars: int = 60_000
) -> bytes:
    """Return the file in *output_format*. CSV has the table alone, for programs."""
    match output_format:
        case ReportFormat.TEXT:
            text = "\n".join([*_head_lines(heading, news), "", _body_text(content)])
        case ReportFormat.MARKDOWN:
            text = _markdown(heading, news, content, max_chars)
        case ReportFormat.HTML:
            text = _html(heading, news, content)
        case ReportFormat.CSV:
            text = _csv(content)
        case ReportFormat.JSON:
            return to_json_bytes(_json(heading, news, content), sorts_keys=False)
        case ReportFormat.XLSX:
            return _xlsx(heading, news, content)
        case _:
            assert_never(output_format)
    return text.encode("utf-8", "backslashreplace")


def _counts_phrase(news: News) -> str:
    if news.since is None and not news.new:
        counts = "the first one"
    else:
        numbers = {"new": len(news.new), "gone": len(news.gone), "changed": len(news.changed)}
        shown = [f"{number:,} {word}" for word, number in numbers.items() if number]
        counts = ", ".join(shown) or "nothing new"
    waiting = f", {len(news.holds):,} on hold" if news.holds else ""
    return f"{counts}{waiting}"


def _words(heading: Heading, news: News) -> _Words:
    rows = [
        *(("new", each.workspace, each.text) for each in news.new[:MAX_ENTRIES]),
        *(("gone", each.workspace, each.text) for each in news.gone[:MAX_ENTRIES]),
        *(
            ("changed", each.workspace, f"{each.text}: {before} → {each.value}")
            for each, before in news.changed[:MAX_ENTRIES]
        ),
    ]
    lists = {"new": news.new, "gone": news.gone, "changed": news.changed}
    more = [
        f"and {len(found) - MAX_ENTRIES:,} more {word}" for word, found in lists.items() if len(found) > MAX_ENTRIES
    ]
    since = f" since {_moment(news.since)}" if news.since else ""
    first = news.since is None and heading.what != "activity"
    numbers = ", ".join(_number(label, before, now) for label, before, now in news.numbers)
    return _Words(
        title=f"What is new{since}",
        summary="This is the first delivered report of this name: there is nothing to compare with."
        if first
        else f"{_counts_phrase(news)[:1].upper()}{_counts_phrase(news)[1:]}.",
        missed=_missed(news),
        rows=rows,
        more=more,
        numbers=f"Numbers: {numbers}." if numbers else "",
        holds_title=f"On hold: {len(news.holds):,}, the oldest first",
        holds=news.holds[:MAX_HOLDS],
        more_holds=f"and {len(news.holds) - MAX_HOLDS:,} more on hold" if len(news.holds) > MAX_HOLDS else "",
    )


def _number(label: str, before: int | None, now: int) -> str:
    return f"{label} {now:,}" if before is None or before == now else f"{label} {before:,} → {now:,}"


def _missed(news: News) -> str:
    if not news.missed:
        return ""
    shown = ", ".join(_moment(each) for each in news.missed[-MAX_MISSED:])
    more = f"{len(news.missed) - MAX_MISSED:,} earlier ones and " if len(news.missed) > MAX_MISSED else ""
    return f"Not delivered before this one: {more}{shown}."


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _identity(heading: Heading) -> str:
    by = f", sent by {heading.by}" if heading.by else ""
    return f"Report {heading.name} ({heading.what}) of {_moment(heading.scheduled_at)}{by}. Id: {heading.id}"


def _head_lines(heading: Heading, news: News) -> list[str]:
    words = _words(heading, news)
    lines = [f"! {each.workspace} could not be read. {each.message} {each.remedy}" for each in news.unread]
    lines += ["", words.title.upper()] if lines else [words.title.upper()]
    lines.append(words.summary)
    lines += [words.missed] if words.missed else []
    signs = {"new": "+", "gone": "-", "changed": "~"}
    lines += [f"  {signs[sign]} {workspace}: {text}" for sign, workspace, text in words.rows]
    lines += [f"  {each}" for each in words.more]
    lines += [words.numbers] if words.numbers else []
    if news.holds:
        lines.append(words.holds_title)
        for each in news.holds[:MAX_HOLDS]:
            lines.append(f"  {each.workspace}: {each.text}, {each.age}. To act: {each.owner}.")
        lines += [f"  {words.more_holds}"] if words.more_holds else []
    lines += ["", _identity(heading)]
    return [escape_control(line) for line in lines]


def _markdown(heading: Heading, news: News, content: Content, max_chars: int) -> str:
    words = _words(heading, news)
    lines = [
        f"> **{escape_markdown(each.workspace)} could not be read.** {escape_markdown(f'{each.message} {each.remedy}')}"
        for each in news.unread
    ]
    lines += ["", f"## {escape_markdown(words.title)}", "", escape_markdown(words.summary)]
    lines += ["", escape_markdown(words.missed)] if words.missed else []
    lines += ["", *(f"- {sign}: {escape_markdown(f'{name}: {text}')}" for sign, name, text in words.rows)]
    lines += [f"- {each}" for each in words.more]
    lines += ["", escape_markdown(words.numbers)] if words.numbers else []
    if news.holds:
        lines += ["", f"### {words.holds_title}", ""]
        for each in news.holds[:MAX_HOLDS]:
            lines.append(
                f"- {escape_markdown(f'{each.workspace}: {each.text}, {each.age}')}. To act: "
                f"{escape_markdown(each.owner)}."
            )
        lines += [f"- {words.more_holds}"] if words.more_holds else []
    head = "\n".join([*lines, "", escape_markdown(_identity(heading)), "", ""]).lstrip("\n")
    if isinstance(content, PlanContent):
        return head + render_markdown(content.document, NO_OUTCOMES, max_chars=max_chars - len(head))
    return head + "\n".join(_markdown_tables(content))


def _markdown_tables(content: AccessContent | ActivityContent) -> list[str]:
    lines: list[str] = []
    for name, headings, rows in _tables(content):
        lines += [f"### {name}", "", f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
        lines += [f"| {' | '.join(map(escape_markdown, row))} |" for row in rows[:MAX_TABLE_ROWS]]
        if len(rows) > MAX_TABLE_ROWS:
            lines += ["", f"_{len(rows) - MAX_TABLE_ROWS:,} of {len(rows):,} left out here: the others have all._"]
        lines.append("")
    return lines


def _tables(content: AccessContent | ActivityContent) -> list[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    if isinstance(content, AccessContent):
        reader = csv.reader(io.StringIO(access_csv(content.rows)))
        return [("Access", COLUMNS[:8], [row[:8] for row in reader][1:])]
    runs = [run_cells(run, content.made.get(run.id, {})) for run in content.runs]
    return [
        ("Changes", TIMELINE_HEADINGS, [timeline_cells(record, run) for record, run in content.records]),
        ("Runs", RUN_HEADINGS, runs),
    ]


def _html(heading: Heading, news: News, content: Content) -> str:
    environment = template_environment()
    # Rendered by templates that escape.
    head = Markup(  # noqa: S704
        environment.get_template("news.html").render(
            news=news, words=_words(heading, news), identity=_identity(heading)
        )
    )
    match content:
        case PlanContent():
            return render_html(content.document, NO_OUTCOMES, news=head)
        case AccessContent():
            return access_html(content.rows, content.when, head)
        case ActivityContent():
            return environment.get_template("activity.html").render(
                news=head,
                since=_moment(content.since),
                until=_moment(content.until),
                runs=content.runs,
                changes=content.records,
                tables=_tables(content),
                style=Markup(asset_text("page.css")),  # noqa: S704 - our own file
                policy=content_security_policy(),
            )
        case _:
            assert_never(content)


def _xlsx(heading: Heading, news: News, content: Content) -> bytes:
    if not isinstance(content, AccessContent):
        raise TypeError("The settings accept a workbook of an access report only.")
    return access_xlsx(
        AccessReview(
            rows=content.rows,
            workspaces=content.workspaces,
            unread=[(each.workspace, f"{each.message} {each.remedy}") for each in news.unread],
            read_at=heading.made_at,
            by=heading.by or f"report {heading.name}",
            provenance=content.provenance,
        )
    )


def _body_text(content: Content) -> str:
    match content:
        case PlanContent():
            return render(content.document, Format.TEXT, RenderOptions(width=WIDTH))
        case AccessContent():
            return access_text(content.rows, WIDTH)
        case ActivityContent():
            return "\n".join(
                f"{name}\n{format_table(headings, [[escape_control(cell) for cell in row] for row in rows], WIDTH)}"
                for name, headings, rows in _tables(content)
            )
        case _:
            assert_never(content)


def _csv(content: Content) -> str:
    match content:
        case PlanContent():
            return render(content.document, Format.CSV)
        case AccessContent():
            return access_csv(content.rows)
        case ActivityContent():
            out = io.StringIO()
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(TIMELINE_HEADINGS)
            writer.writerows(
                [escape_cell(escape_control(cell)) for cell in timeline_cells(record, run)]
                for record, run in content.records
            )
            return out.getvalue()
        case _:
            assert_never(content)


def _json(heading: Heading, news: News, content: Content) -> dict[str, object]:
    shown: dict[str, object] = {
        "version": 1,
        "report": {
            "id": heading.id,
            "name": heading.name,
            "what": heading.what,
            "scheduled_at": format_utc(heading.scheduled_at),
            "made_at": format_utc(heading.made_at),
            "by": heading.by,
        },
        "news": {
            "since": format_utc(news.since) if news.since else None,
            "unread": [asdict(each) for each in news.unread],
            "missed": [format_utc(each) for each in news.missed],
            "new": [{"workspace": each.workspace, "text": each.text} for each in news.new],
            "gone": [{"workspace": each.workspace, "text": each.text} for each in news.gone],
            "changed": [
                {"workspace": each.workspace, "text": each.text, "before": before, "after": each.value}
                for each, before in news.changed
            ],
            "numbers": [{"label": label, "before": before, "now": now} for label, before, now in news.numbers],
            "holds": [asdict(each) for each in news.holds],
        },
    }
    match content:
        case PlanContent():
            shown["plan"] = content.document
        case AccessContent():
            shown["access"] = [_access_row(row) for row in content.rows]
        case ActivityContent():
            shown["activity"] = {
                "since": format_utc(content.since),
                "until": format_utc(content.until),
                "runs": [run_row(run, content.made.get(run.id, {})) for run in content.runs],
                "changes": [timeline_row(record, run) for record, run in content.records],
            }
        case _:
            assert_never(content)
    return shown


def _access_row(row: Access) -> dict[str, object]:
    person = {"connector": row.person.connector, "id": row.person.id} if row.person else None
    return {
        "workspace": row.workspace,
        "email": row.email,
        "display_name": row.display_name,
        "groups": list(row.groups),
        "since": row.since,
        "first_seen": row.first_seen,
        "last_change": row.last_change_at,
        "last_change_kind": row.last_change_kind,
        "exceptions": list(row.exceptions),
        "person": person,
        "scim_id": row.scim_id,
    }
