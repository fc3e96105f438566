"""Read a CSV file that another program wrote: decode it, find its separator and its headings, and stream its rows.

The file is not trusted. One that can't be read to its end is refused with the line at fault: half a file must never
pass for a whole one. Memory does not grow with the file.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

from agent.errors import UsageError
from agent.report.escape import escape_control

__all__ = ["CsvFile", "CsvRow", "open_csv_file"]

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
MAX_FILE_BYTES = 500_000_000
MAX_LINE_CHARS = 1_000_000
CHUNK_BYTES = 2**20
SAMPLE_BYTES = 4096
WINDOWS = "cp1252"
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
SEPARATOR_LINE = re.compile(r"sep=([,;\t])\s*", re.IGNORECASE)
"""Excel's own way to name the separator, in a line before the headings."""
HEADING_GAPS = re.compile(r"[\s_.-]+")
SAVE_AS = "Save it as CSV with the encoding UTF-8, and name that file."
EXPORT_AGAIN = "Export the file again, and check that the export and the copy came to their end."


class CsvRow(NamedTuple):
    """*line* is where the row begins in the file, counted from 1. *cells* are as many as there are headings."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class CsvFile:
    """An open CSV file. *heading_line* is the line of *headings*; *digest* is the SHA-256 of its bytes.

    *encoding* is Python's name; `cp1252` was assumed, because the bytes are not UTF-8.
    """

    name: str
    encoding: str
    separator: str
    headings: tuple[str, ...]
    heading_line: int
    digest: str
    _text: io.TextIOBase
    _stamp: tuple[int, int]

    @property
    def notices(self) -> list[str]:
        """Return what a reader of the result must know about how the file was read."""
        if self.encoding != WINDOWS:
            return []
        return [f"{self.name} is not UTF-8; it was read as Windows-1252. Check a name with an accent."]

    def find_columns(self, aliases: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Return the place of each column of *aliases* that the file has: its headings, whatever their case.

        Blanks, `_`, `-` and `.` count alike. Raises `UsageError` for a column that is there twice.
        """
        column_of = {_fold_heading(each): column for column, names in aliases.items() for each in names}
        found: dict[str, int] = {}
        for place, heading in enumerate(self.headings):
            column = column_of.get(_fold_heading(heading))
            if column is None:
                continue
            if column in found:
                first = escape_control(self.headings[found[column]])
                raise UsageError(
                    f"{self.name} has two columns for {column}: {first} and {escape_control(heading)}.",
                    "Remove or rename one of them.",
                )
            found[column] = place
        return found

    def rows(self) -> Iterator[CsvRow]:
        """Yield the rows that are not blank. Raises `UsageError` for the first that can't be one."""
        width, line, cells = len(self.headings), 0, [""]
        lines = _Lines(self._text, self.name)
        for line, cells in _records(lines, self.separator, self.name):
            if line <= self.heading_line or not any(map(str.strip, cells)):
                continue
            if any(map(str.strip, cells[width:])):
                raise _row_error(
                    self.name,
                    line,
                    f"has {len(cells)} cells, and there are {width} headings",
                    "Put a value that contains the separator in quotation marks.",
                )
            yield CsvRow(line, [*cells[:width], *[""] * (width - len(cells))])
        if 0 < len(cells) < width and not lines.last.endswith(("\n", "\r")):
            raise _row_error(self.name, line, "is the last one, has too few cells and no line end", EXPORT_AGAIN)
        if _stamp(self._text.fileno()) != self._stamp:
            raise UsageError(f"{self.name} changed while it was read.", "Run the command again once it is complete.")


@contextmanager
def open_csv_file(path: Path) -> Iterator[CsvFile]:
    """Open *path*, and close it at the end. Raises `UsageError` for what is not a CSV file with headings."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror}).", "Name a CSV file.") from error
    name = escape_control(str(path))
    with file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{name} is not a file that can be read twice.", "Save it as a file, and name that.")
        if found.st_size > MAX_FILE_BYTES:
            raise UsageError(
                f"{name} has {found.st_size:,} bytes, and at most {MAX_FILE_BYTES:,} are read.",
                "Keep only the columns that are needed.",
            )
        encoding, digest = _inspect(file, name)
        with io.TextIOWrapper(file, encoding, newline="") as text:
            separator = _find_separator(text, name)
            line, headings = _read_headings(text, separator, name)
            text.seek(0)
            yield CsvFile(name, encoding, separator, headings, line, digest, text, _stamp(text.fileno()))


def _stamp(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_size, found.st_mtime_ns


def _inspect(file: BinaryIO, name: str) -> tuple[str, str]:
    """Return the encoding of the whole file and its SHA-256, and go back to its start."""
    sample = file.read(SAMPLE_BYTES)
    if sample.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF")):
        raise UsageError(f"{name} is a workbook or another document, not CSV.", SAVE_AS)
    encoding = _encoding_of_sample(sample)
    problem = _decoding_problem(file, encoding)
    if problem and encoding == "utf-8":
        encoding = WINDOWS
        problem = _decoding_problem(file, encoding)
    if problem:
        raise UsageError(f"{name} is not text that can be read: {problem}.", SAVE_AS)
    file.seek(0)
    digest = sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    file.seek(0)
    return encoding, digest.hexdigest()


def _encoding_of_sample(sample: bytes) -> str:
    for bom, encoding in BOMS.items():
        if sample.startswith(bom):
            return encoding
    # UTF-16 without a byte order mark: most letters of headings are ASCII, so about one byte of two is zero.
    first, second = sample[0::2].count(0), sample[1::2].count(0)
    if max(first, second) * 3 < len(sample):
        return "utf-8"
    return "utf-16-be" if first > second else "utf-16-le"


def _decoding_problem(file: BinaryIO, encoding: str) -> str:
    """Return why the bytes can't be *encoding*, empty if they can."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    done = 0
    while True:
        chunk = file.read(CHUNK_BYTES)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            return f"near byte {done + error.start + 1:,} it is not {encoding}"
        if "\0" in text:
            return f"it has a zero byte after byte {done:,}"
        if not chunk:
            return ""
        done += len(chunk)


def _find_separator(text: io.TextIOBase, name: str) -> str:
    """Return the separator that Excel's `sep=` line names, else the one that divides the headings into most cells."""
    text.seek(0)
    if named := SEPARATOR_LINE.fullmatch(text.readline(16)):
        return named[1]
    return max(SEPARATORS, key=lambda separator: _count_headings(text, separator, name))


def _count_headings(text: io.TextIOBase, separator: str, name: str) -> int:
    try:
        return len(_read_headings(text, separator, name)[1])
    except UsageError:
        # Quoted headings are not valid with another separator than theirs.
        return 0


def _read_headings(text: io.TextIOBase, separator: str, name: str) -> tuple[int, tuple[str, ...]]:
    """Return the first row that is not blank, and its line."""
    text.seek(0)
    for line, cells in _records(_Lines(text, name), separator, name):
        is_separator_line = line == 1 and SEPARATOR_LINE.fullmatch(separator.join(cells))
        if any(map(str.strip, cells)) and not is_separator_line:
            return line, tuple(_without_empty_end([cell.strip() for cell in cells]))
    raise UsageError(f"{name} is empty.", EXPORT_AGAIN)


def _without_empty_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells.pop()
    return cells


class _Lines:
    """Iterates over the lines of a text, each of bounded length. *last* is the one that was returned last."""

    def __init__(self, text: io.TextIOBase, name: str) -> None:
        self._text = text
        self._name = name
        self.last = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_LINE_CHARS)
        if not line:
            raise StopIteration
        if len(line) == MAX_LINE_CHARS:
            raise UsageError(f"{self._name} has a line of {MAX_LINE_CHARS:,} characters or more.", EXPORT_AGAIN)
        self.last = line
        return line


def _records(lines: _Lines, separator: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line that it begins at."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise _row_error(name, line, f"can't be read ({error})", EXPORT_AGAIN) from error
        if cells is None:
            return
        yield line, cells
        line = reader.line_num + 1


def _row_error(name: str, line: int, problem: str, hint: str) -> UsageError:
    return UsageError(f"{name}, line {line:,}: the row {problem}.", hint)


def _fold_heading(heading: str) -> str:
    return HEADING_GAPS.sub(" ", heading.strip().casefold())
