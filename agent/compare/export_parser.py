"""Find out what an export is of by its columns, and read it row by row. The file is not trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.compare.exports import Column, ExportKind, recognize, unknown_columns_error
from agent.csv_input import SEPARATORS, CsvFile, open_csv_file
from agent.errors import UsageError
from agent.report.escape import escape_control

__all__ = ["Export", "ExportRow", "open_export"]

MAX_ROWS = 3_000_000
ENCODING_NAMES = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8", "cp1252": "Windows-1252, because it is not UTF-8"}


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One row. *line* is where it begins, *cells* hold the columns of its kind, without spaces around them."""

    line: int
    cells: Mapping[Column, str]

    def __getitem__(self, column: Column) -> str:
        return self.cells.get(column, "")


@dataclass(frozen=True, slots=True)
class Export:
    """A file whose headings are those of *kind*. *how* is how it was decoded, and *digest* the SHA-256 of its bytes."""

    path: Path
    kind: ExportKind
    places: Mapping[Column, int]
    how: str
    digest: str

    @property
    def name(self) -> str:
        return escape_control(self.path.name)

    @property
    def has_ids(self) -> bool:
        return Column.ID in self.places

    def has(self, column: Column) -> bool:
        return column in self.places

    @property
    def how_it_was_read(self) -> str:
        """Return how the file was understood, in a sentence: a wrong guess must be seen."""
        key = "ids" if self.has_ids else "addresses"
        return f"{self.name} was read as {self.kind.title}: {self.how}, matched by {key}."

    def rows(self) -> Iterator[ExportRow]:
        """Yield the rows that are not empty, from the start of the file. Raises `UsageError`."""
        with open_csv_file(self.path) as file:
            if file.digest != self.digest:
                raise UsageError(f"{self.name} changed while it was read.", "Run the command again.")
            headings = tuple(file.headings)
            for number, row in enumerate(file.rows(), 1):
                if number > MAX_ROWS:
                    raise UsageError(f"{self.name} has more than {MAX_ROWS:,} rows.", "Export one application.")
                cells = [cell.strip() for cell in row.cells]
                # Files that were joined have their headings again.
                if tuple(cells) != headings:
                    yield ExportRow(row.line, {column: cells[place] for column, place in self.places.items()})


def open_export(path: Path, wanted: ExportKind | None = None) -> Export:
    """Return the file as an export of the kind that its headings show, or of *wanted*. Raises `UsageError`."""
    with open_csv_file(path) as file:
        kind = recognize(file.headings, wanted)
        if kind is None:
            raise unknown_columns_error(file.name, [escape_control(each)[:60] for each in file.headings], wanted)
        return Export(path, kind, _places(kind, file), _how(file), file.digest)


def _how(file: CsvFile) -> str:
    return f"{ENCODING_NAMES.get(file.encoding, 'UTF-16')}, separated by {SEPARATORS[file.separator]}s"


def _places(kind: ExportKind, file: CsvFile) -> dict[Column, int]:
    found = kind.places(file.headings)
    for column, places in found.items():
        if len(places) > 1:
            raise UsageError(
                f"{file.name} has the column {escape_control(file.headings[places[0]])!r} {len(places)} times, and "
                f"which of them holds the {column} is not known.",
                "Remove all but one, or export it again without changes.",
            )
    return {column: places[0] for column, places in found.items()}
