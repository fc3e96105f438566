"""What an access review decided, compared with the access of today: as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.model.access import Access
from agent.model.certification import Certification, Removal, ReviewedRow
from agent.report.csv import escape_cell
from agent.report.escape import escape_control
from agent.report.run_identity import format_utc
from agent.report.table import format_table

__all__ = ["RESULT_COLUMNS", "ReviewedFiles", "certification_csv", "certification_object", "certification_text"]

RESULT_COLUMNS = (
    "result",
    "workspace",
    "email",
    "display_name",
    "connector",
    "person",
    "groups",
    "scim_id",
    "detail",
    "decision",
    "reviewer",
    "comment",
    "place",
)
"""*result* is `remove`, `undecided`, `changed`, `missing` (has access and no row that counts), `gone` (has no access
any more), `keep`, `problem` (a cell that can't be used) or `unread` (a workspace that could not be read)."""
MAX_ROWS = 200
TITLES = {
    "remove": "To remove at the source",
    "undecided": "Without a decision",
    "changed": "To decide again: not what the reviewer saw",
    "missing": "With access, and no row that counts",
    "problem": "Can't be used",
    "unread": "Could not be read: nothing is known of these rows",
    "gone": "Without access by now",
}
"""The sections of the text, the most urgent first. What is kept is counted only."""
SHOWN = {
    "remove": ("workspace", "email", "display_name", "reviewer", "comment", "detail"),
    "undecided": ("workspace", "email", "display_name", "groups", "place"),
    "changed": ("workspace", "email", "display_name", "decision", "place", "detail"),
    "missing": ("workspace", "email", "display_name", "groups"),
    "problem": ("place", "detail"),
    "unread": ("workspace", "detail"),
    "gone": ("workspace", "email", "display_name", "decision", "reviewer"),
}
HEADINGS = {"display_name": "name", "place": "cell"}

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class ReviewedFiles:
    """The sheets that were imported, by name with their SHA-256, and when the access was read."""

    digests: Mapping[str, str]
    read_at: datetime


def certification_csv(found: Certification, *, bom: bool = False) -> str:
    """Return a row for each person, problem and workspace that could not be read; no cell starts like a formula."""
    out = io.StringIO()
    out.write("\ufeff" if bom else "")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(RESULT_COLUMNS)
    for row in _result_rows(found):
        writer.writerow([escape_cell(row.get(column, "")) for column in RESULT_COLUMNS])
    return out.getvalue()


def certification_object(found: Certification, files: ReviewedFiles) -> dict[str, object]:
    """Return the result for JSON."""
    return {
        "version": 1,
        "read_at": format_utc(files.read_at),
        "sheets": [{"name": name, "sha256": digest} for name, digest in files.digests.items()],
        "counts": _counts(found),
        "remove": [_removal_object(each) for each in found.removals],
        "undecided": [{**_access_object(access), **_decision_object(row)} for access, row in found.undecided],
        "changed": [
            {**_access_object(access), **_decision_object(row), "reason": reason}
            for access, row, reason in found.changed
        ],
        "missing": [_access_object(access) for access in found.missing],
        "gone": [
            {"workspace": row.workspace, "email": row.email, "display_name": row.display_name, **_decision_object(row)}
            for row in found.gone
        ],
        "keep": [{**_access_object(access), **_decision_object(row)} for access, row in found.kept],
        "problems": [{"place": each.place, "message": each.message, "remedy": each.remedy} for each in found.problems],
        "unread": [{"workspace": name, "reason": reason} for name, reason in found.unread],
    }


def _counts(found: Certification) -> dict[str, int]:
    return {
        "remove": len(found.removals),
        "undecided": len(found.undecided),
        "changed": len(found.changed),
        "missing": len(found.missing),
        "gone": len(found.gone),
        "keep": len(found.kept),
        "without_reviewer": len(found.without_reviewer),
        "problems": len(found.problems),
        "unread": len(found.unread),
    }


def _access_object(access: Access) -> dict[str, object]:
    return {
        "workspace": access.workspace,
        "email": access.email,
        "display_name": access.display_name,
        "scim_id": access.scim_id,
        "person": {"connector": access.person.connector, "id": access.person.id} if access.person else None,
        "groups": list(access.groups),
        "exceptions": list(access.exceptions),
    }


def _decision_object(row: ReviewedRow) -> dict[str, object]:
    return {
        "decision": row.decision.value if row.decision else None,
        "reviewer": row.reviewer,
        "comment": row.comment,
        "place": row.place,
    }


def _removal_object(removal: Removal) -> dict[str, object]:
    grants = [
        {
            "connector": each.person.connector,
            "id": each.person.id,
            "groups": list(each.groups),
            "individual": each.is_individual,
        }
        for each in removal.access.grants
    ]
    return {
        **_access_object(removal.access),
        **_decision_object(removal.row),
        "grants": grants,
        "steps": list(removal.steps),
    }


def certification_text(found: Certification, files: ReviewedFiles, width: int) -> str:
    """Return the result for people: what to do first. A section shows at most `MAX_ROWS` rows."""
    sheets = ", ".join(f"{escape_control(name)} (SHA-256 {digest})" for name, digest in files.digests.items())
    lines = [f"Sheet: {sheets}", f"Compared with the access of {files.read_at:%Y-%m-%d %H:%M} UTC", _summary(found), ""]
    sections: dict[str, list[Row]] = {title: [] for title in TITLES}
    for row in _result_rows(found):
        if row["result"] in sections:
            sections[row["result"]].append(row)
    for result, rows in sections.items():
        if rows:
            lines += [f"── {TITLES[result]} ({len(rows):,})", _section(rows, SHOWN[result], width)]
    if reviewers := found.without_reviewer:
        places = ", ".join(escape_control(row.place) for row in reviewers[:10])
        more = f" and {len(reviewers) - 10:,} more" if len(reviewers) > 10 else ""
        lines += [f"{len(reviewers):,} decisions name no reviewer: {places}{more}", ""]
    if found.removals:
        lines += ["Nothing was sent to Pigment or to a source. After the changes there, a sync ends the access.", ""]
    return "\n".join(lines)


def _summary(found: Certification) -> str:
    counts = _counts(found)
    phrases = {
        "remove": "to remove",
        "keep": "to keep",
        "undecided": "without a decision",
        "changed": "to decide again",
        "missing": "without a row that counts",
        "gone": "without access by now",
        "problems": "that can't be used",
        "unread": "not read",
    }
    return "; ".join(
        f"{counts[key]:,} {phrase}" for key, phrase in phrases.items() if counts[key] or key in {"remove", "keep"}
    )


def _section(rows: Sequence[Row], columns: Sequence[str], width: int) -> str:
    table = format_table(
        [HEADINGS.get(column, column) for column in columns],
        [[row.get(column, "") for column in columns] for row in rows[:MAX_ROWS]],
        width,
    )
    more = f"{len(rows) - MAX_ROWS:,} more: see --format csv\n" if len(rows) > MAX_ROWS else ""
    return f"{table}{more}"


def _result_rows(found: Certification) -> Iterator[Row]:
    for removal in found.removals:
        yield _row("remove", removal.access, removal.row, " ".join(removal.steps))
    for access, row in found.undecided:
        yield _row("undecided", access, row)
    for access, row, reason in found.changed:
        yield _row("changed", access, row, reason)
    for access in found.missing:
        yield _row("missing", access)
    yield from _rows_without_access(found)
    for access, row in found.kept:
        yield _row("keep", access, row)


def _rows_without_access(found: Certification) -> Iterator[Row]:
    for problem in found.problems:
        yield {"result": "problem", "place": problem.place, "detail": f"{problem.message} {problem.remedy}"}
    for name, reason in found.unread:
        yield {"result": "unread", "workspace": name, "detail": reason}
    for row in found.gone:
        shown = {"workspace": row.workspace, "email": row.email, "display_name": row.display_name}
        yield {"result": "gone", **shown, **_decision_cells(row)}


def _row(result: str, access: Access, row: ReviewedRow | None = None, detail: str = "") -> Row:
    return {
        "result": result,
        "workspace": access.workspace,
        "email": access.email,
        "display_name": access.display_name,
        "connector": access.person.connector if access.person else "",
        "person": access.person.id if access.person else "",
        "groups": ", ".join(access.groups),
        "scim_id": access.scim_id,
        "detail": detail,
        **(_decision_cells(row) if row else {}),
    }


def _decision_cells(row: ReviewedRow) -> Row:
    return {
        "decision": row.decision.value if row.decision else "",
        "reviewer": row.reviewer,
        "comment": row.comment,
        "place": row.place,
    }
