"""Tables for people and for programs: aligned columns on a terminal, tab-separated values in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from agent.report.escape import escape_control
from agent.report.layout import wrap_text

__all__ = ["format_table"]

GAP = "  "
MIN_LAST_COLUMN = 20
"""The last column is wrapped only if it has this many cells: narrower text is harder to read than a long line."""


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """Return *rows* under their *headings*, in lines of *width* cells where possible; None: tab-separated.

    Only the last column is wrapped: ids and addresses must stay whole to be copied.
    """
    cells = [[escape_control(cell) for cell in row] for row in rows]
    if width is None:
        return "".join("\t".join(row) + "\n" for row in (headings, *cells))
    widths = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)][:-1]
    room = width - sum(each + len(GAP) for each in widths)
    return "".join(f"{line}\n" for row in (headings, *cells) for line in _row_lines(row, widths, room))


def _row_lines(row: Sequence[str], widths: Sequence[int], room: int) -> Iterator[str]:
    start = "".join(cell + " " * (size - cell_len(cell)) + GAP for cell, size in zip(row, widths, strict=False))
    first, *others = wrap_text(row[-1], room) if room >= MIN_LAST_COLUMN else [row[-1]]
    yield (start + first).rstrip()
    yield from (" " * cell_len(start) + line for line in others)
