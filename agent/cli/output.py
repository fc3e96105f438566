"""Write results to stdout, and to files atomically."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from agent.cli.invocation import config_path
from agent.engine.request import RunResult
from agent.errors import UsageError
from agent.model.run import LinkEdit
from agent.report.commands import with_config
from agent.report.document import plan_document, shown_workspace, to_json_bytes
from agent.report.escape import escape_control
from agent.report.link_edits import describe_link_edits
from agent.report.render import NO_OUTCOMES, Format, RenderOptions, json_parts, render
from agent.report.run_identity import with_run
from agent.report.schema import Document, OutcomeRow, WorkspaceObject

__all__ = [
    "FormatChoice",
    "add_config",
    "document_from_results",
    "format_link_edits",
    "link_count",
    "outcomes_by_workspace",
    "print_document",
    "print_json",
    "print_report",
    "print_table",
    "print_text",
    "render_options",
    "terminal_width",
    "write_evidence",
    "write_file",
]


class FormatChoice(click.Choice[str]):
    """The `--format` choices of a report, converted to `Format`."""

    def __init__(self) -> None:
        super().__init__([each.value for each in Format])

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Format:
        return Format(super().convert(value, param, ctx))


def document_from_results(results: Sequence[RunResult], user: str = "") -> Document:
    """Return the plan document of *results*."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return plan_document([_object_from_result(result) for result in results], now, user)


def _object_from_result(result: RunResult) -> WorkspaceObject:
    planned = shown_workspace(result.planned, result.digest)
    return planned if result.run is None else with_run(planned, result.run, result.approvals)


def outcomes_by_workspace(results: Sequence[RunResult]) -> Mapping[str, Sequence[OutcomeRow]]:
    """Return the outcomes of the changes, for each workspace that was written to."""
    return {
        result.workspace: [
            OutcomeRow(record.seq, record.change.kind, record.change.email, record.outcome, record.detail)
            for record in result.records
        ]
        for result in results
        if result.records
    }


def render_options(*, verbose: bool = False, bom: bool = False) -> RenderOptions:
    """Return the options for this stdout. Colours are used only on a terminal, and not with NO_COLOR."""
    width = terminal_width()
    has_colour = width is not None and "NO_COLOR" not in os.environ
    return RenderOptions(max(60, min(width or 100, 160)), has_colour, verbose, bom)


def print_text(text: str) -> None:
    """Write to stdout as UTF-8, whatever the locale: an encoding error must not cut a report short."""
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to stdout: aligned on a terminal, else tab-separated, always with its headings."""
    # It measures text with rich, which only some commands need.
    from agent.report.table import format_table

    print_text(format_table(headings, rows, terminal_width()))


def terminal_width() -> int | None:
    """Return the width of the terminal; None if stdout is not a terminal."""
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def print_json(value: object) -> None:
    """Write *value* to stdout as JSON, with control characters escaped so that they are harmless on a terminal."""
    print_text(to_json_bytes(value, sorts_keys=False).decode())


def print_document(
    document: Document,
    output_format: Format,
    outcomes: Mapping[str, Sequence[OutcomeRow]],
    *,
    verbose: bool = False,
    shows_digest: bool = False,
) -> None:
    options = replace(render_options(verbose=verbose), shows_digest=shows_digest)
    print_report(document, output_format, options, outcomes)


def print_report(
    document: Document,
    output_format: Format,
    options: RenderOptions,
    outcomes: Mapping[str, Sequence[OutcomeRow]] = NO_OUTCOMES,
) -> None:
    """Write a report to stdout. The commands in text have the configuration in use: they are to be copied."""
    if output_format is Format.JSON:
        sys.stdout.buffer.writelines(json_parts(document, outcomes))
        sys.stdout.flush()
        return
    text = render(document, output_format, options, outcomes)
    print_text(add_config(text) if output_format is Format.TEXT else text)


def add_config(text: str) -> str:
    """Return *text* with the `--config` of this command line, if it has one, in each command."""
    context = click.get_current_context(silent=True)
    return text if context is None else with_config(text, config_path(context))


def link_count(edits: Sequence[LinkEdit]) -> str:
    return "1 link" if len(edits) == 1 else f"{len(edits):,} links"


def format_link_edits(
    edits: Sequence[LinkEdit], emails: Mapping[str, str] | None = None, *, is_done: bool = True
) -> str:
    """Return one line for each of *edits*. A member without an email in *emails* (by SCIM id) is shown by its id."""
    lines = describe_link_edits(edits, emails or {}, is_done=is_done)
    return "".join(f"  {escape_control(line)}\n" for line in lines)


def write_evidence(folder: Path, files: Mapping[str, bytes], manifest: bytes) -> None:
    """Write *files* into the new or empty *folder*, and the manifest last: without it the evidence is not complete.

    Only its owner can read what is written. Raises `UsageError` if the folder has files, or can't be written.
    """
    # Nothing but `report --evidence` needs the module.
    from agent.report.evidence import MANIFEST_NAME

    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(
                f"{folder} is not empty, and evidence is not mixed with other files. Nothing was written.",
                "Name a folder that does not exist yet.",
            )
    except OSError as error:
        raise UsageError(
            f"{folder} can't be written ({error.strerror}).", "Name a new folder inside a folder that is writable."
        ) from error
    for name, content in (*files.items(), (MANIFEST_NAME, manifest)):
        write_file(folder / name, [content])


def write_file(path: Path, parts: Iterable[bytes]) -> None:
    """Write *parts* to a temporary file next to *path* and rename it, so that no reader sees a partial file.

    Raises `UsageError` if the file can't be written.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise UsageError(
            f"{path} can't be written ({error.strerror}).", "Name a file in a folder that is writable."
        ) from error
