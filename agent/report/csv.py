"""The report as CSV: a row for each run, change, hold, guard, group and note, and for each workspace without a plan.

A cell never starts like a formula, because spreadsheets would run it (OWASP, "CSV injection"). Nor does the text after
a semicolon or a bar: where the comma is the decimal mark, spreadsheets split there.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from agent.report.escape import escape_control
from agent.report.group_sizes import GroupSize, group_sizes_by_source, recorded_sizes
from agent.report.run_identity import run_blocks
from agent.report.schema import (
    Document,
    FieldsObject,
    GuardObject,
    NoteObject,
    Outcomes,
    RunObject,
    WorkspaceObject,
)
from agent.report.view import ChangeRow, ShownHold, View, document_views, hold_reasons

__all__ = ["COLUMNS", "escape_cell", "render_csv"]

COLUMNS = (
    "workspace",
    "row",
    "kind",
    "code",
    "email",
    "display_name",
    "before_email",
    "after_email",
    "before_display_name",
    "after_display_name",
    "before_active",
    "after_active",
    "wanted",
    "scim_id",
    "connector",
    "person",
    "groups",
    "reason",
    "remedy",
    "outcome",
    "outcome_detail",
    "run",
    "approved_by",
    "held_since",
)
"""*row* is `run` (how it ended, who asked for it and why), `members` (the file that they are from), `change`, `hold`,
`guard`, `group` (its people), `note`, `error` (could not be planned) or `also` (done, though not in the plan)."""

FORMULA_STARTS = re.compile(r"(?:^|[;|])(?=\s*[=+\-@＝＋－＠])")

_Row = dict[str, str]


def render_csv(document: Document, outcomes: Outcomes, *, bom: bool) -> str:
    """Return the table; *bom* adds a byte order mark, by which Excel detects UTF-8."""
    out = io.StringIO()
    out.write("\ufeff" if bom else "")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for view in document_views(document, outcomes):
        for row in _rows(view):
            writer.writerow([escape_cell(row.get(column, "")) for column in COLUMNS])
    return out.getvalue()


def _rows(view: View) -> Iterator[_Row]:
    workspace = view.workspace
    run_id = workspace["run"]["id"] if "run" in workspace else ""
    for row in _workspace_rows(view):
        yield {"workspace": workspace["name"], "run": run_id, **row}


def _workspace_rows(view: View) -> Iterator[_Row]:
    workspace = view.workspace
    if "members_from" in workspace:
        (facts,) = run_blocks([workspace])
        yield {"row": "members", "reason": "; ".join(f"{label}: {value}" for label, value in facts)}
    if "run" in workspace:
        yield _run_row(workspace, workspace["run"])
    if workspace["status"] != "planned":
        error = workspace["error"]
        yield {"row": "error", "code": error["code"], "reason": error["message"], "remedy": error["remedy"]}
    for lines in view.changes_by_kind.values():
        yield from map(_change_row, lines)
    for one in view.unplanned_outcomes:
        yield {
            "row": "also",
            "kind": one.kind,
            "email": one.email,
            "outcome": one.outcome,
            "outcome_detail": one.detail,
        }
    yield from map(_hold_row, view.holds)
    if workspace["status"] == "planned":
        yield from map(_guard_row, workspace["guards"])
        for sizes in group_sizes_by_source(workspace, recorded_sizes(workspace)):
            yield from map(_group_row, sizes)
    yield from map(_note_row, workspace["notes"])


def _run_row(workspace: WorkspaceObject, run: RunObject) -> _Row:
    (facts,) = run_blocks([workspace])
    return {
        "row": "run",
        "code": run["trigger"],
        "email": run["by"],
        "reason": run["reason"],
        "outcome": run["status"],
        "outcome_detail": "; ".join(f"{label}: {value}" for label, value in facts),
        "approved_by": "; ".join(dict.fromkeys(each["by"] for each in run["approvals"])),
    }


def _guard_row(guard: GuardObject) -> _Row:
    released_by = "; ".join(guard.get("released_by", ()))
    return {"row": "guard", "code": guard["code"], "reason": guard["message"], "approved_by": released_by}


def _group_row(size: GroupSize) -> _Row:
    return {"row": "group", "code": size.id, "connector": size.connector, "groups": size.name, "reason": size.phrase}


def _change_row(line: ChangeRow) -> _Row:
    row = {
        "row": "change",
        "kind": line.kind,
        "code": line.code,
        "email": line.email,
        "display_name": line.display_name,
        "scim_id": line.scim_id,
        "groups": "; ".join(line.groups),
        "reason": line.reason,
        "approved_by": "; ".join(line.approved_by),
        **_field_columns("before", line.before),
        **_field_columns("after", line.after),
    }
    if line.person:
        row["connector"], row["person"] = line.person
    if line.outcome:
        row |= {"outcome": line.outcome.outcome, "outcome_detail": line.outcome.detail}
    return row


def _hold_row(hold: ShownHold) -> _Row:
    person = hold.get("person")
    row = {
        "row": "hold",
        "kind": hold["kind"],
        "code": hold["code"],
        "email": hold["email"],
        "display_name": hold.get("display_name", ""),
        "wanted": hold.get("wanted", ""),
        "scim_id": hold.get("scim_id", ""),
        "groups": "; ".join(hold.get("groups", ())),
        "reason": " ".join(filter(None, hold_reasons(hold))),
        "remedy": hold["remedy"],
        "held_since": hold["held_since"],
        **_field_columns("before", hold.get("before", {})),
        **_field_columns("after", hold.get("after", {})),
    }
    if person:
        row |= {"connector": person["connector"], "person": person["id"]}
    return row


def _note_row(note: NoteObject) -> _Row:
    return {"row": "note", "code": note["code"], "email": note["email"], "reason": note["reason"]}


def _field_columns(when: str, fields: FieldsObject) -> _Row:
    return {
        f"{when}_{key}": str(value).lower() if isinstance(value, bool) else str(value) for key, value in fields.items()
    }


def escape_cell(text: str) -> str:
    shown = escape_control(text)
    return FORMULA_STARTS.sub(r"\g<0>'", shown)
