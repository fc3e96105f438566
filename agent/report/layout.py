"""Lay out styled text for a terminal: paragraphs and rows that fit a width, measured in cells and not in letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.style import Style

from agent.report.commands import split_commands

__all__ = [
    "BAD",
    "BOLD",
    "DIM",
    "KIND_STYLES",
    "PLAIN",
    "WARN",
    "Row",
    "StyledLine",
    "paragraph_lines",
    "rows_in_columns",
    "wrap_text",
]

PLAIN = Style()
BOLD = Style(bold=True)
DIM = Style(dim=True)
KIND_STYLES = {
    "create": Style(color="green"),
    "deactivate": Style(color="red"),
    "reactivate": Style(color="green"),
    "update-email": Style(color="blue"),
    "update-name": Style(color="blue"),
    "adopt": Style(color="cyan"),
}
WARN = Style(color="yellow")
BAD = Style(color="red", bold=True)

StyledLine = Sequence[tuple[str, Style]]
"""One line, in pieces of one style each."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: a sign, its subject, and paragraphs about the subject."""

    sign: str
    style: Style
    subject: str
    details: StyledLine


def paragraph_lines(words: str, style: Style, indent: int, width: int) -> Iterator[StyledLine]:
    return ([(" " * indent + line, style)] for line in _lines(words, width - indent))


def _lines(words: str, width: int) -> Iterator[str]:
    """Yield *words* in lines of at most *width* cells, but each command on a line of its own: it must stay whole."""
    for part, is_command in split_commands(words):
        yield from [f"  {part}"] if is_command else wrap_text(part, width)


def rows_in_columns(rows: Sequence[Row], width: int) -> Iterator[StyledLine]:
    """Yield rows with the subject on the left and details on the right; stacked if there is no room for two columns."""
    widest = max((cell_len(row.subject) for row in rows), default=0)
    column = 4 + min(widest, width * 2 // 5) + 2 if width >= 80 else width
    for row in rows:
        yield from _row_lines(row, column, width)


def _row_lines(row: Row, column: int, width: int) -> Iterator[StyledLine]:
    used = 4 + cell_len(row.subject)
    indent = column if column < width else 8
    details = [(line, style) for words, style in row.details for line in _lines(words, width - indent)]
    start: list[tuple[str, Style]] = [(f"  {row.sign} ", row.style), (row.subject, PLAIN)]
    if details and used < indent and column < width:
        start += [(" " * (indent - used), PLAIN), details.pop(0)]
    yield start
    yield from ([(" " * indent, PLAIN), piece] for piece in details)


def wrap_text(words: str, width: int) -> list[str]:
    """Break *words* into lines of at most *width* cells: between words, else within them."""
    if cell_len(words) <= width:
        return [words]
    lines: list[str] = []
    line, used = "", 0
    for word in words.split(" "):
        size = cell_len(word)
        if line and used + 1 + size <= width:
            line, used = f"{line} {word}", used + 1 + size
            continue
        if line:
            lines.append(line)
        *full, line = chop_cells(word, width) or [""] if size > width else [word]
        lines += full
        used = cell_len(line)
    return [*lines, line]
