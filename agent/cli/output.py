"""Write results: to stdout as they are, to files whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from agent.engine.request import RunResult
from agent.errors import UsageError
from agent.model.run import LinkEdit
from agent.report.document import plan_document, to_json_bytes, workspace_object
from agent.report.escape import escape_control
from agent.report.render import Format, RenderOptions, render
from agent.report.schema import Document, OutcomeRow

__all__ = [
    "FormatChoice",
    "document_from_results",
    "format_link_edits",
    "outcomes_by_workspace",
    "print_document",
    "print_json",
    "print_text",
    "render_options",
    "write_file",
]


class FormatChoice(click.Choice[str]):
    """The formats of a report, by the words of `--format`."""

    def __init__(self) -> None:
        super().__init__([form.value for form in Format])

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Format:
        return Format(super().convert(value, param, ctx))


def document_from_results(results: Sequence[RunResult], user: str = "") -> Document:
    """Return the plan document of one command's results."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return plan_document([workspace_object(result.planned) for result in results], now, user)


def outcomes_by_workspace(results: Sequence[RunResult]) -> Mapping[str, Sequence[OutcomeRow]]:
    """Return what became of the changes of the runs that were not dry."""
    return {
        result.workspace: [
            OutcomeRow(record.seq, record.change.kind, record.change.email, record.outcome, record.detail)
            for record in result.records
        ]
        for result in results
        if result.records
    }


def render_options(*, verbose: bool = False, bom: bool = False) -> RenderOptions:
    """Return how text looks on this stdout: colours only on a terminal that wants them (NO_COLOR)."""
    is_terminal = sys.stdout.isatty()
    width = os.get_terminal_size().columns if is_terminal else 100
    return RenderOptions(max(60, min(width, 160)), is_terminal and "NO_COLOR" not in os.environ, verbose, bom)


def print_text(text: str) -> None:
    """Write to stdout as UTF-8 whatever the locale says; what the encoding lacks can't end a report half-way."""
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def print_json(value: object) -> None:
    """Write *value* to stdout as JSON whose names can't move the cursor of a terminal that shows it."""
    print_text(to_json_bytes(value, sorts_keys=False).decode())


def print_document(
    whole: Document, form: Format, outcomes: Mapping[str, Sequence[OutcomeRow]], *, verbose: bool = False
) -> None:
    print_text(render(whole, form, render_options(verbose=verbose), outcomes))


def format_link_edits(mends: Sequence[LinkEdit]) -> str:
    """Return a line for each of *mends*: the member, whose it was, whose it is."""

    def side(mend: LinkEdit, *, former: bool) -> str:
        link = mend.previous if former else mend.link
        return f"{link.person.connector}:{link.person.id}" if link else "nobody"

    def scim_id(mend: LinkEdit) -> str:
        link = mend.link or mend.previous
        return link.scim_id if link else ""

    return "".join(
        escape_control(f"  member {scim_id(mend)}: {side(mend, former=True)} -> {side(mend, former=False)}") + "\n"
        for mend in mends
    )


def write_file(path: Path, content: bytes) -> None:
    """Write beside *path*, then rename: nobody ever sees half a file. Raises `UsageError` where that can't be done."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise UsageError(
            f"{path} can't be written ({error.strerror}).", "Name a file in a folder that you may write to."
        ) from error
