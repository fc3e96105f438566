"""The access list as text, CSV and one HTML file: who has access to what, through which group, and the exceptions."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup

from agent.model.access import Access
from agent.model.certification import row_id, workspace_id
from agent.report.csv import escape_cell
from agent.report.escape import escape_control
from agent.report.table import format_table

__all__ = [
    "COLUMNS",
    "access_csv",
    "access_html",
    "access_text",
    "review_cells",
    "shown_cells",
]

COLUMNS = (
    "workspace",
    "email",
    "display_name",
    "groups",
    "since",
    "first_seen",
    "last_change",
    "exceptions",
    "connector",
    "person",
    "scim_id",
    "status",
    "reviewer",
    "decision",
    "comment",
    "workspace_id",
    "row_id",
)
"""*reviewer*, *decision* and *comment* are empty, for an access review; `access --import` reads them back."""


def _format_date(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d") if moment else ""


def _cells(row: Access) -> tuple[str, ...]:
    last = f"{_format_date(row.last_change_at)} {row.last_change_kind}" if row.last_change_at else ""
    return tuple(
        map(
            escape_control,
            (
                row.workspace,
                row.email,
                row.display_name,
                ", ".join(row.groups),
                _format_date(row.since),
                _format_date(row.first_seen),
                last,
                ", ".join(row.exceptions),
                row.person.connector if row.person else "",
                row.person.id if row.person else "",
                row.scim_id,
            ),
        )
    )


SHOWN_COLUMNS = ("workspace", "email", "display_name", "groups", "connector", "person", "scim_id", "workspace_id")
"""What a reviewer decides about: an edit of one of these cells makes the row useless."""
WORKBOOK_ESCAPE = re.compile("_(?=x[0-9a-fA-F]{4}_)")
"""The programs do not agree on how a text that looks like an escape is escaped."""
NOT_IN_XML = str.maketrans({"\ufffe": "⟦U+FFFE⟧", "\uffff": "⟦U+FFFF⟧"})


def shown_cells(cells: Mapping[str, str]) -> list[str]:
    """Return the cells of `SHOWN_COLUMNS` in one spelling, as each format and each spreadsheet program leaves them."""
    return [_one_spelling(cells[column]) for column in SHOWN_COLUMNS]


def _one_spelling(text: str) -> str:
    return escape_cell(_in_workbook(text)).strip() if text else ""


def _in_workbook(text: str) -> str:
    """Return *text* without what a workbook can't hold, or may read back as another character."""
    text = WORKBOOK_ESCAPE.sub("⟦U+005F⟧", text) if "_x" in text else text
    return text if text.isascii() else text.translate(NOT_IN_XML)


def review_cells(row: Access) -> dict[str, str]:
    """Return the cells of *row* by column, with the ids by which an import recognizes the row and any edit."""
    cells = dict(zip(COLUMNS, (*_cells(row), row.status, "", "", ""), strict=False))
    cells["workspace_id"] = workspace_id(row.target)
    cells["row_id"] = str(row_id(row, shown_cells(cells)))
    return {column: _in_workbook(text) for column, text in cells.items()}


def access_headline(name: str, rows: Sequence[Access]) -> str:
    """Return one sentence: how many have access, with the exceptions counted."""
    counts = Counter(word for row in rows for word in row.exceptions)
    exceptions = ", ".join(f"{count} {word}" for word, count in sorted(counts.items())) or "no exceptions"
    return f"{escape_control(name)}: {len(rows):,} have access; {exceptions}"


def access_text(rows: Sequence[Access], width: int | None = None) -> str:
    """Return a table for each workspace under its headline, *width* cells wide; None: one tab-separated table."""
    if width is None:
        return format_table(COLUMNS[:8], [_cells(row)[:8] for row in rows], None)
    text = ""
    for name in dict.fromkeys(row.workspace for row in rows):
        part = [row for row in rows if row.workspace == name]
        table = format_table(
            [column.replace("_", " ") for column in COLUMNS[1:8]], [_cells(row)[1:8] for row in part], width
        )
        text += f"{access_headline(name, part)}\n{table}\n"
    return text


def access_csv(rows: Sequence[Access], *, bom: bool = False) -> str:
    """Return CSV; a cell never starts like a formula. *bom* puts a byte order mark in front."""
    out = io.StringIO()
    out.write("\ufeff" if bom else "")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([escape_cell(value) for value in review_cells(row).values()] for row in rows)
    return out.getvalue()


NO_NEWS = Markup()
PAGE_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Access, {{ when }}</title><style>{{ style }}</style></head><body><main>
{{ news }}<h1>Access</h1><p>As of {{ when }}. {{ count }} active members.</p>
{% for name, part in workspaces %}<section><h2>{{ name }}</h2><p>{{ part.headline }}</p>
<table role="table" class="access" aria-label="Access to {{ name }}"><thead role="rowgroup"><tr role="row">
{% for column in columns %}<th role="columnheader" scope="col">{{ column }}</th>{% endfor %}</tr></thead>
<tbody role="rowgroup">{% for row in part.rows %}<tr role="row">
{% for value in row %}<td role="cell">{% if value %}<bdi>{{ value }}</bdi>{% endif %}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></section>{% endfor %}
</main></body></html>
"""


def access_html(rows: Sequence[Access], when: str, news: Markup = NO_NEWS) -> str:
    """Return one self-contained HTML file without scripts; its head shows *when*, and *news* stands before it."""
    # In a style element an escaped quote would stay escaped, and its rule would be lost.
    style = Markup(files("agent.report").joinpath("page.css").read_text("utf-8"))  # noqa: S704 - our own file
    names = dict.fromkeys(row.workspace for row in rows)
    grouped = {name: [row for row in rows if row.workspace == name] for name in names}
    shown = [
        (escape_control(name), {"headline": access_headline(name, part), "rows": [_cells(row)[1:8] for row in part]})
        for name, part in grouped.items()
    ]
    page = Environment(autoescape=True).from_string(PAGE_TEMPLATE)
    columns = [column.replace("_", " ") for column in COLUMNS[1:8]]
    return page.render(when=when, style=style, count=f"{len(rows):,}", workspaces=shown, columns=columns, news=news)
