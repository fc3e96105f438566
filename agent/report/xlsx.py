"""The access-certification sheet as an Excel workbook: a row for each person and workspace, for a reviewer to decide.

Each cell is text: no name becomes a formula or a link. The same input gives the same bytes.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.cells import cell_len

from agent.errors import StateError, UsageError
from agent.model.access import Access
from agent.model.certification import Decision, workspace_id
from agent.model.provenance import UNKNOWN_PROVENANCE, Provenance
from agent.report.access import review_cells
from agent.report.escape import escape_control

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

__all__ = ["HEADINGS", "MAX_PEOPLE", "SHEET_NAME", "AccessReview", "access_xlsx"]

SHEET_NAME = "Access"
MAX_PEOPLE = 1_048_575
"""The rows of an Excel sheet, without the headings."""
HEADINGS = {
    "display_name": "Name",
    "email": "Email",
    "workspace": "Workspace",
    "status": "Status",
    "connector": "Source",
    "groups": "Groups",
    "exceptions": "Exceptions",
    "since": "Since",
    "first_seen": "First seen",
    "last_change": "Last change",
    "reviewer": "Reviewer",
    "decision": "Decision",
    "comment": "Comment",
    "scim_id": "Member id",
    "person": "Person id",
    "workspace_id": "Workspace id",
    "row_id": "Row id",
}
"""The columns in their order, by the name that the CSV has for each."""
TO_FILL = ("reviewer", "decision", "comment")
IDS = ("scim_id", "person", "workspace_id", "row_id")
WIDTHS = {"reviewer": 17, "decision": 11, "comment": 28, **dict.fromkeys(IDS, 14)}
MAX_WIDTHS = {"groups": 36, "email": 34, "display_name": 26}
MAX_WIDTH = 24
WRAPPED = ("display_name", "email", "workspace", "connector", "groups", "exceptions")
A4 = 9
LABEL_WIDTH, TEXT_WIDTH = 28, 100
LINE_HEIGHT, MAX_HEIGHT = 15, 405
"""In points; Excel has no higher rows."""
INSTRUCTIONS = (
    "Write your name, and keep or remove, into each row of the sheet Access. A comment is free text.",
    "An empty decision stays open. Filter and sort whole rows as you like; leave all other cells as they are.",
    "The grey columns identify the row. A row is refused if its cells and its row id do not belong together.",
    "Return the file to its sender, who runs: pigment-sync access --import FILE",
)
EXCEPTIONS = {
    "unmanaged": "No source gives this access, and pigment-sync does not manage it.",
    "not-assigned": "No source assigns the person any more.",
    "not-linked": "A source assigns a person with this address, but no sync has linked the two.",
    "individual-assignment": "The person is assigned to the application directly, without a group.",
    "protected": "The configuration protects the member, so no sync changes it.",
    "inactive": "The person may not sign in at the source.",
    "assignment-pending": "The person is in a group that the application does not show yet.",
    "unknown-status": "The status of the person at the source is not known.",
    "source-changed": "The member is linked to a person of a source that the workspace does not have.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessReview:
    """What one sheet is made of: the access that was read, and who read it, when and with what.

    *workspaces* are (name, fingerprint) of those in *rows*, in their order; *unread* are (name, reason).
    *from_journal* has the times of past readings; empty: read now.
    """

    rows: Sequence[Access]
    workspaces: Sequence[tuple[str, str]]
    unread: Sequence[tuple[str, str]]
    read_at: datetime
    by: str
    provenance: Provenance = UNKNOWN_PROVENANCE
    from_journal: str = ""


def access_xlsx(review: AccessReview) -> bytes:
    """Return the workbook. Rows pass through a temporary folder, so memory does not grow with the sheet.

    Raises `UsageError` if the rows do not fit into a sheet, and `StateError` if the temporary folder can't be written.
    """
    if len(review.rows) > MAX_PEOPLE:
        raise UsageError(
            f"{len(review.rows):,} rows do not fit into one Excel sheet, which has {MAX_PEOPLE:,} below its headings.",
            "Write one sheet for each workspace, with --workspace NAME, or use --format csv.",
        )
    # A slow import that other formats do not need.
    from xlsxwriter.exceptions import XlsxWriterException
    from xlsxwriter.workbook import Workbook

    out = io.BytesIO()
    try:
        with TemporaryDirectory(prefix="pigment-sync-") as folder:
            options = {
                "constant_memory": True,
                "tmpdir": folder,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            }
            with Workbook(out, options) as workbook:
                _set_properties(workbook, review)
                _write_about(workbook, review)
                _write_rows(workbook, review)
    except (OSError, XlsxWriterException) as error:
        raise StateError(
            f"The workbook can't be built in the temporary folder ({error}).",
            "Set TMPDIR to a folder that is writable and has room.",
        ) from error
    return out.getvalue()


def _set_properties(workbook: Workbook, review: AccessReview) -> None:
    workbook.set_properties(
        {
            "title": "Access review",
            "subject": _shown("Pigment access: " + ", ".join(name for name, _ in review.workspaces)),
            "author": _shown(review.by),
            "comments": f"Written by pigment-sync {_shown(review.provenance.version)}".strip(),
            "created": _utc(review.read_at),
        }
    )


def _write_about(workbook: Workbook, review: AccessReview) -> None:
    sheet: Worksheet = workbook.add_worksheet("About")
    title = workbook.add_format({"bold": True, "font_size": 16})
    heading = workbook.add_format({"bold": True, "font_size": 12, "valign": "top"})
    label = workbook.add_format({"bold": True, "valign": "top"})
    plain = workbook.add_format({"text_wrap": True, "valign": "top"})
    alarm = workbook.add_format({"bold": True, "text_wrap": True, "valign": "top", "font_color": "#B00020"})
    styles = {"": (label, plain), "title": (title, title), "heading": (heading, plain), "alarm": (alarm, alarm)}
    sheet.set_column(0, 0, LABEL_WIDTH)
    sheet.set_column(1, 1, TEXT_WIDTH)
    sheet.hide_gridlines(2)
    _set_up_print(sheet, review)
    for number, (style, first, second) in enumerate(_about_lines(review)):
        _set_height(
            sheet,
            number,
            [(_shown(second), TEXT_WIDTH + (-20 if style == "alarm" else 15)), (_shown(first), LABEL_WIDTH)],
        )
        for column, text in enumerate((first, second)):
            sheet.write_string(number, column, _shown(text), styles[style][column])


def _about_lines(review: AccessReview) -> Iterator[tuple[str, str, str]]:
    """Yield the style, the label and the text of each line."""
    yield "title", "Access review", ""
    for name, reason in review.unread:
        yield "alarm", f"Not complete: {name}", f"This workspace is missing, because it could not be read. {reason}"
    made_with = review.provenance
    commit = f", commit {made_with.commit}" if made_with.commit else ""
    yield "", "", ""
    yield "", "Read at", review.from_journal or f"{_utc(review.read_at):%Y-%m-%d %H:%M} UTC"
    if review.from_journal:
        yield "", "Written at", f"{_utc(review.read_at):%Y-%m-%d %H:%M} UTC, from the journal"
    yield "", "Read by", review.by or "not recorded"
    yield "", "Version", f"pigment-sync {made_with.version}{commit}" if made_with.version else "not recorded"
    yield "", "Configuration", f"SHA-256 {made_with.config_sha256}" if made_with.config_sha256 else "not recorded"
    yield "", "People with access", f"{len(review.rows):,}, a row for each person and workspace"
    counts = Counter(row.workspace for row in review.rows)
    for name, target in review.workspaces:
        yield "", f"Workspace {name}", f"{counts[name]:,} with access; workspace id {workspace_id(target)}"
    yield "", "", ""
    yield "heading", "What to do", ""
    for number, sentence in enumerate(INSTRUCTIONS, 1):
        yield "", f"{number}", sentence
    yield "", "", ""
    yield "heading", "What the columns show", ""
    yield "", "Groups", "The groups at the source that give the access."
    yield "", "Since", "When pigment-sync gave the access. Empty: it is older, or something else gave it."
    yield "", "First seen", "When pigment-sync first recorded the account."
    words = Counter(word for row in review.rows for word in row.exceptions)
    if words:
        yield "", "", ""
        yield "heading", "Exceptions", ""
    for word, count in sorted(words.items()):
        yield "", f"{word} ({count:,})", EXCEPTIONS.get(word, "")


def _write_rows(workbook: Workbook, review: AccessReview) -> None:
    sheet: Worksheet = workbook.add_worksheet(SHEET_NAME)
    formats = _column_formats(workbook)
    heading = workbook.add_format({"bold": True, "font_color": "#FFFFFF", "bg_color": "#33415C", "valign": "vcenter"})
    fill_heading = workbook.add_format({"bold": True, "bg_color": "#FFD966", "valign": "vcenter"})
    rows = len(review.rows)
    widths = dict(zip(HEADINGS, _widths(review.rows), strict=True))
    for number, (column, width) in enumerate(widths.items()):
        sheet.set_column(number, number, width)
        sheet.write_string(0, number, HEADINGS[column], fill_heading if column in TO_FILL else heading)
    sheet.set_row(0, 22)
    sheet.freeze_panes(1, 2)
    sheet.autofilter(0, 0, rows, len(HEADINGS) - 1)
    decision = list(HEADINGS).index("decision")
    if rows:
        sheet.data_validation(
            1,
            decision,
            rows,
            decision,
            {
                "validate": "list",
                "source": [each.value for each in Decision],
                "error_title": "Decision",
                "error_message": "Choose keep or remove, or leave the cell empty.",
            },
        )
        removed = workbook.add_format({"bold": True, "font_color": "#9C0006", "bg_color": "#FFC7CE"})
        rule = {"type": "cell", "criteria": "==", "value": f'"{Decision.REMOVE}"', "format": removed}
        sheet.conditional_format(1, decision, rows, decision, rule)
    _set_up_print(sheet, review)
    sheet.repeat_rows(0)
    # The ids would take the room of what people read.
    sheet.print_area(0, 0, rows, len(HEADINGS) - len(IDS) - 1)
    for number, row in enumerate(review.rows, 1):
        cells = review_cells(row)
        _set_height(sheet, number, [(cells[column], widths[column] - 1) for column in WRAPPED])
        for place, column in enumerate(HEADINGS):
            if text := cells[column]:
                sheet.write_string(number, place, text, formats[column])
            else:
                sheet.write_blank(number, place, None, formats[column])


def _set_height(sheet: Worksheet, row: int, texts: Sequence[tuple[str, float]]) -> None:
    """Make room for the longest of *texts*, each with the width that it has: not every program does on opening."""
    lines = max(ceil(cell_len(text) / width) if len(text) * 2 > width else 1 for text, width in texts)
    if lines > 1:
        sheet.set_row(row, min(lines * LINE_HEIGHT, MAX_HEIGHT))


def _column_formats(workbook: Workbook) -> dict[str, Format]:
    plain = workbook.add_format(
        {"text_wrap": True, "valign": "top", "num_format": "@", "bottom": 4, "bottom_color": "#B0B0B0"}
    )
    to_fill = workbook.add_format(
        {
            "text_wrap": True,
            "valign": "top",
            "num_format": "@",
            "bg_color": "#FFF8E1",
            "border": 1,
            "border_color": "#D0C090",
        }
    )
    grey = workbook.add_format({"valign": "top", "num_format": "@", "font_color": "#808080"})
    return {column: to_fill if column in TO_FILL else grey if column in IDS else plain for column in HEADINGS}


def _widths(rows: Sequence[Access]) -> list[float]:
    """Return the width of each column in characters: of its longest text, within bounds."""
    longest = {column: cell_len(heading) + 3 for column, heading in HEADINGS.items()}
    for row in rows:
        for column, text in (
            ("display_name", row.display_name),
            ("email", row.email),
            ("workspace", row.workspace),
            ("connector", row.person.connector if row.person else ""),
            ("groups", ", ".join(row.groups)),
            ("exceptions", ", ".join(row.exceptions)),
        ):
            # Longer ones wrap, so their width does not matter.
            if len(text) >= longest[column]:
                longest[column] = max(longest[column], cell_len(text[:60]) + 2)
    longest["last_change"] = max(longest["last_change"], len("2026-01-01 update-email") + 1)
    return [
        WIDTHS.get(column) or min(max(longest[column], 11), MAX_WIDTHS.get(column, MAX_WIDTH)) for column in HEADINGS
    ]


def _set_up_print(sheet: Worksheet, review: AccessReview) -> None:
    sheet.set_landscape()
    sheet.set_paper(A4)
    sheet.fit_to_pages(1, 0)
    sheet.set_margins(left=0.4, right=0.4, top=0.7, bottom=0.6)
    missing = " · NOT COMPLETE, see About" if review.unread else ""
    sheet.set_header(f"&L&BAccess review&B{missing}&R{_utc(review.read_at):%Y-%m-%d %H:%M} UTC")
    sheet.set_footer("&L&A&RPage &P of &N")


def _shown(text: str) -> str:
    return escape_control(text).replace("\ufffe", "⟦U+FFFE⟧").replace("\uffff", "⟦U+FFFF⟧")


def _utc(moment: datetime) -> datetime:
    """Return *moment* in UTC, without a zone, as the workbook keeps it."""
    return moment.astimezone(UTC).replace(tzinfo=None)
