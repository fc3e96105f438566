"""Read the decisions of an access-certification sheet, as a workbook or as CSV. The file is not trusted.

A file that can't be a sheet is refused as a whole, before it can fill the memory. What is wrong in one row is a problem
of that row, with its cell; the other rows count.
"""

from __future__ import annotations

import csv
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from agent.errors import UsageError
from agent.model.certification import Decision, ReviewedRow, RowId, SheetProblem, cells_digest
from agent.report.access import SHOWN_COLUMNS, shown_cells
from agent.report.escape import escape_control
from agent.report.xlsx import HEADINGS, SHEET_NAME

__all__ = ["MAX_FILE_BYTES", "parse_sheet"]

MAX_FILE_BYTES = 100_000_000
MAX_UNPACKED_BYTES = 400_000_000
MAX_AREA = 20_000_000
"""Of a worksheet, in cells: the reader makes room for all of them, be they empty or not."""
MAX_ROWS = 300_000
HEADING_ROWS = 20
"""How far down the headings may be: people write titles above them."""

NEEDED = (*SHOWN_COLUMNS, "reviewer", "decision", "comment", "row_id")
COLUMN_OF_HEADING = {heading.casefold(): column for column, heading in HEADINGS.items()} | {
    column.replace("_", " "): column for column in NEEDED
}
PART = re.compile(
    r"(\[Content_Types\]\.xml|(_rels|xl|xl/_rels|xl/worksheets|xl/worksheets/_rels)/[^/]*\.(xml|rels))", re.I
)
CELL_TAG = re.compile(rb"<(?:[^\s<>/!?:]+:)?(?:c|row)(?=[\s/>])([^<>]*)>")
CELL_REFERENCE = re.compile(rb"(?:^|\s)r\s*=\s*[\"']([A-Za-z]*)([0-9]*)")
SAVE_AS = "Save the sheet as an Excel workbook (.xlsx) or as CSV UTF-8, and import that file."
COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

Cell = object


@dataclass(frozen=True, slots=True)
class _Headings:
    """Where the headings are: their row, counted from 1, and the place of each column, counted from 0."""

    row: int
    places: Mapping[str, int]


def parse_sheet(content: bytes, name: str) -> tuple[list[ReviewedRow], list[SheetProblem]]:
    """Return the rows of the sheet *content* that can be used, and what is wrong with the others.

    *name* is the file's, for messages. Raises `UsageError` if the file as a whole can't be used.
    """
    if len(content) > MAX_FILE_BYTES:
        raise UsageError(
            f"{name} has {len(content):,} bytes, and a sheet has at most {MAX_FILE_BYTES:,}.",
            "Import the sheet of one workspace at a time.",
        )
    if content.startswith(COMPOUND_FILE):
        raise UsageError(f"{name} is encrypted, or an Excel file of before 2007.", f"Remove its password. {SAVE_AS}")
    if content.startswith(b"PK"):
        return _parse_workbook(content, name)
    return _parse_csv(content, name)


def _parse_workbook(content: bytes, name: str) -> tuple[list[ReviewedRow], list[SheetProblem]]:
    packed = _checked_parts(content, name)
    # A library that other commands do not need.
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(packed)) as workbook:
            found = []
            for title in workbook.sheet_names:
                sheet = workbook.get_sheet_by_name(title)
                above, left = sheet.start or (0, 0)
                grid = _shifted(sheet.to_python(nrows=MAX_ROWS + HEADING_ROWS + 1), above, left)
                if (headings := _find_headings(grid)) is not None:
                    found.append((title, grid, headings))
    except (CalamineError, ValueError, OSError) as error:
        raise UsageError(f"{name} is damaged: {escape_control(str(error))[:200]}", SAVE_AS) from error
    if not found:
        raise _no_headings(name, f"no worksheet of {name}")
    if len(found) > 1:
        titles = ", ".join(escape_control(title) for title, _, _ in found)
        raise UsageError(
            f"{name} has several worksheets with decisions: {titles}.", f"Keep one of them, called {SHEET_NAME}."
        )
    title, rows, headings = found[0]
    return _parse_rows(rows, headings, f"{name}, {escape_control(title)}")


def _shifted(rows: Sequence[Sequence[Cell]], above: int, left: int) -> list[list[Cell]]:
    """Return *rows* with what the reader leaves out of a sheet, so that places are addresses."""
    return [[] for _ in range(min(above, HEADING_ROWS + 1))] + [[""] * left + [*row] for row in rows]


def _checked_parts(content: bytes, name: str) -> bytes:
    """Return the parts of the workbook that matter, packed again.

    The reader trusts what an archive claims of its sizes, and makes room for the whole area of a sheet. So it gets only
    what was unpacked here, within bounds.
    """
    out = io.BytesIO()
    left = MAX_UNPACKED_BYTES
    try:
        with (
            zipfile.ZipFile(io.BytesIO(content)) as archive,
            zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
        ):
            names = [info.filename for info in archive.infolist()]
            if "xl/workbook.xml" not in names:
                raise UsageError(f"{name} is an archive, and not an Excel workbook.", SAVE_AS)
            if len(set(names)) < len(names):
                raise UsageError(f"{name} is damaged: it has a part twice.", SAVE_AS)
            for info in archive.infolist():
                if not PART.fullmatch(info.filename):
                    continue
                with archive.open(info) as part:
                    data = part.read(left + 1)
                left -= len(data)
                if left < 0:
                    raise UsageError(
                        f"{name} unpacks to more than {MAX_UNPACKED_BYTES:,} bytes.",
                        "Import the sheet of one workspace at a time.",
                    )
                _refuse_unbounded(data, info.filename, name)
                packed.writestr(info.filename, data)
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
    ) as error:
        raise UsageError(f"{name} is damaged or cut off: {escape_control(str(error))[:200]}", SAVE_AS) from error
    return out.getvalue()


def _refuse_unbounded(data: bytes, part: str, name: str) -> None:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise UsageError(f"{name} has a document type in {part}, which no workbook has.", SAVE_AS)
    if not part.lower().startswith("xl/worksheets/"):
        return
    columns, rows = 1, 1
    for tag in CELL_TAG.finditer(data):
        references = CELL_REFERENCE.findall(tag[1])
        if not references:
            raise UsageError(f"{name} has cells without an address in {part}.", SAVE_AS)
        for letters, digits in references:
            columns = max(columns, _column_number(letters[:4]))
            rows = max(rows, int(digits[:8] or b"0"))
    if columns * rows > MAX_AREA:
        raise UsageError(
            f"{name} has cells as far as row {rows:,} and column {columns:,} in {part}.",
            "Delete what stands outside the table, and save the file again.",
        )


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number


def _parse_csv(content: bytes, name: str) -> tuple[list[ReviewedRow], list[SheetProblem]]:
    text = _decoded(content, name)
    rows: list[list[str]] = []
    for delimiter in ",;\t":
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            rows = list(islice(reader, MAX_ROWS + HEADING_ROWS + 1))
        except csv.Error as error:
            raise UsageError(f"{name} is not valid CSV: {error}.", SAVE_AS) from error
        if (headings := _find_headings(rows)) is not None:
            return _parse_rows(rows, headings, name)
    raise _no_headings(name, name)


def _decoded(content: bytes, name: str) -> str:
    is_utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is neither an Excel workbook nor CSV in UTF-8.", SAVE_AS) from error
    if "\0" in text:
        raise UsageError(f"{name} is neither an Excel workbook nor CSV.", SAVE_AS)
    return text


def _find_headings(rows: Sequence[Sequence[Cell]]) -> _Headings | None:
    for number, row in enumerate(rows[:HEADING_ROWS], 1):
        places: dict[str, int] = {}
        for place, cell in enumerate(row):
            column = _column_of(cell)
            # The first of two columns of one name: the second makes the sheet ambiguous, so it counts as absent.
            if column:
                places[column] = -1 if column in places else place
        if all(places.get(column, -1) >= 0 for column in NEEDED):
            return _Headings(number, places)
    return None


def _column_of(cell: Cell) -> str:
    if not isinstance(cell, str):
        return ""
    heading = " ".join(cell.replace("_", " ").split()).casefold()
    return COLUMN_OF_HEADING.get(heading, "")


def _no_headings(name: str, where: str) -> UsageError:
    wanted = ", ".join(HEADINGS[column] for column in NEEDED)
    return UsageError(
        f"There is no decision to read: {where} has a row with the headings of the sheet, each once: {wanted}.",
        f"Import a file that `pigment-sync access --format xlsx` wrote, with all its columns. {name} was not used.",
    )


def _parse_rows(
    rows: Sequence[Sequence[Cell]], headings: _Headings, name: str
) -> tuple[list[ReviewedRow], list[SheetProblem]]:
    if len(rows) - headings.row > MAX_ROWS:
        raise UsageError(f"{name} has more than {MAX_ROWS:,} rows.", "Import the sheet of one workspace at a time.")
    usable: list[ReviewedRow] = []
    problems: list[SheetProblem] = []
    for number, row in enumerate(rows[headings.row :], headings.row + 1):
        cells = {column: _text(row[place]) if place < len(row) else "" for column, place in headings.places.items()}
        if not any(cells.values()):
            continue
        addresses = {column: _address(place, number) for column, place in headings.places.items()}
        parsed = _parse_row(cells, addresses, name)
        if isinstance(parsed, SheetProblem):
            problems.append(parsed)
        else:
            usable.append(parsed)
    return usable, problems


def _parse_row(cells: Mapping[str, str], addresses: Mapping[str, str], name: str) -> ReviewedRow | SheetProblem:
    def problem(column: str, message: str, remedy: str) -> SheetProblem:
        return SheetProblem(f"{name}!{addresses[column]}", message, remedy)

    email = escape_control(cells["email"])
    identity = RowId.parse(cells["row_id"])
    if identity is None:
        return problem("row_id", f"The row of {email or 'no address'} has no valid row id.", RESTORE)
    if cells_digest(shown_cells(cells), *identity[1:]) != identity.cells:
        return problem("row_id", f"The row of {email or 'no address'} is not as it was written.", RESTORE)
    word = cells["decision"].casefold()
    if word and word not in set(Decision):
        return problem(
            "decision",
            f"{escape_control(cells['decision'])!r} is not a decision about {email}.",
            "Write keep or remove.",
        )
    return ReviewedRow(
        place=f"{name}!{addresses['decision']}",
        id=identity,
        workspace=cells["workspace"],
        workspace_id=cells["workspace_id"],
        email=cells["email"],
        display_name=cells["display_name"],
        decision=Decision(word) if word else None,
        reviewer=cells["reviewer"],
        comment=cells["comment"],
    )


RESTORE = (
    "Someone edited, moved or sorted single cells, so its decision may be about another person. "
    "Restore the row from the sheet as it was sent."
)


def _text(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell.strip()
    # A spreadsheet may turn an id of digits into a number.
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _address(place: int, row: int) -> str:
    """Return the address of a cell as spreadsheets show it. *place* is its column, counted from 0."""
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(65 + rest) + letters
    return f"{letters}{row}"
