"""`access`: who has access, through which group, and what a review of it decided."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from agent.cli.options import bom_option, format_option, os_user, workspace_option
from agent.cli.output import print_json, print_text, terminal_width, write_file
from agent.cli.runtime import run_with_components
from agent.diff.certification import compare_decisions
from agent.engine.queries import list_past_access, load_access
from agent.errors import ExitCode, UsageError, exit_code_for_read_error, worst_exit_code
from agent.model import Unplanned
from agent.model.access import Access
from agent.model.certification import Certification, ReviewedRow, SheetProblem
from agent.model.provenance import Provenance
from agent.report.access import access_csv, access_html, access_text
from agent.report.certification import ReviewedFiles, certification_csv, certification_object, certification_text
from agent.report.document import to_json_bytes
from agent.report.escape import escape_control

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["access"]

IMPORT_FORMATS = ("text", "json", "csv")
LIST_FORMATS = ("text", "csv", "html", "xlsx")


@dataclass(frozen=True, slots=True)
class _Listing:
    """What was read: *unread* has a sentence for each workspace that is missing, and its exit code."""

    rows: Sequence[Access]
    workspaces: Sequence[tuple[str, str]]
    unread: Mapping[str, tuple[str, ExitCode]]
    times: str
    now: datetime
    provenance: Provenance


@click.command()
@workspace_option
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Access at the end of that day (UTC), from the journal.",
)
@format_option("text", "csv", "html", "xlsx", "json")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File to write; needed for xlsx, which must be a new one.",
)
@click.option(
    "--import",
    "sheets",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="A filled xlsx or CSV: show who must be removed at the source; repeatable.",
)
@bom_option
@click.option(
    "--by",
    default=os_user,
    show_default="the OS user",
    metavar="WHO",
    help="Who reads this; written into the xlsx.",
)
@click.pass_context
def access(  # noqa: PLR0913  (the options of the command)
    context: click.Context,
    names: Sequence[str],
    as_of: datetime | None,
    output_format: str,
    out: Path | None,
    sheets: Sequence[Path],
    bom: bool,
    by: str,
) -> int:
    """List who has access, through which group and since when.

    Lists every active member of each workspace, with the last change and any findings. Text is a table for each
    workspace on a terminal, and one tab-separated table with a heading line in a pipe. *since* is when a run created or
    reactivated the member. It is empty if the access is older than the journal or was not granted by a run.
    *first_seen* is when the journal first recorded the member. Reads the identity providers, the workspaces and the
    journal, or with --as-of only the journal; writes nothing but --out. Exits 6 if a workspace is missing.

    `--format xlsx` is an access-certification sheet, in which reviewers decide keep or remove. `--import` reads it
    back, compares it with the access of today, and lists who must be removed at the source. Nothing is sent to Pigment
    or to a source. Exits 0 if nothing is left to do, 3 if access must be removed, 4 if a reviewer must still decide,
    2 if a part of the sheet can't be used, and 6 if a workspace could not be read.

    \b
    pigment-sync access
    pigment-sync access --format csv > access.csv
    pigment-sync access -w pigment-latam --as-of 2026-06-30
    pigment-sync access --format xlsx --out review-2026-q4.xlsx
    pigment-sync access --import review-2026-q4.xlsx
    """
    if sheets:
        if as_of is not None:
            raise UsageError("A review is compared with the access of today.", "Remove --as-of.")
        _refuse_format(output_format, IMPORT_FORMATS, "--import")
        return _import_sheets(context, names, sheets, output_format, out=out, bom=bom)
    _refuse_format(output_format, LIST_FORMATS, "a listing")
    if output_format == "xlsx":
        _check_new_file(out)
    elif context.get_parameter_source("by") is not ParameterSource.DEFAULT:
        raise UsageError("--by is written into a workbook only.", "Remove it, or add --format xlsx.")
    listing = run_with_components(context, lambda components: _read(components, names, as_of), is_reading=True)
    _write(_render(listing, output_format, by=by, is_past=as_of is not None, bom=bom, to_file=out is not None), out)
    for sentence, _ in listing.unread.values():
        click.echo(f"pigment-sync: {escape_control(sentence)}", err=True)
    return worst_exit_code(code for _, code in listing.unread.values())


def _refuse_format(output_format: str, allowed: Sequence[str], what: str) -> None:
    if output_format not in allowed:
        raise UsageError(f"There is no {output_format} of {what}.", f"Use --format {', '.join(allowed)}.")


def _check_new_file(out: Path | None) -> None:
    """Raise `UsageError` before anything is read, if the workbook has no place."""
    if out is None:
        raise UsageError("A workbook is not for a terminal or a pipe.", "Add --out FILE, such as --out review.xlsx.")
    if out.exists():
        raise UsageError(f"{out} exists, and may hold decisions. Nothing was written.", "Name a new file.")
    if not out.parent.is_dir():
        raise UsageError(f"{out} can't be written: its folder does not exist.", "Name a file in a folder that exists.")


async def _read(components: Components, names: Sequence[str], as_of: datetime | None) -> _Listing:
    unread: dict[str, tuple[str, ExitCode]] = {}
    workspaces = components.read_only_workspaces
    times = ""
    if as_of is None:
        found = await load_access(components.planner, workspaces, names)
        parts = {name: each for name, each in found.items() if not isinstance(each, Unplanned)}
        unread = {
            name: (f"{name}: {each.message} {each.remedy}", exit_code_for_read_error(each.code))
            for name, each in found.items()
            if isinstance(each, Unplanned)
        }
    else:
        parts, times, unread = await _read_journal(components, names, as_of.replace(tzinfo=UTC) + timedelta(days=1))
    return _Listing(
        [row for rows in parts.values() for row in rows],
        [(name, workspaces[name].policy.target) for name in parts],
        unread,
        times,
        components.clock.now(),
        components.settings.provenance,
    )


async def _read_journal(
    components: Components, names: Sequence[str], until: datetime
) -> tuple[dict[str, tuple[Access, ...]], str, dict[str, tuple[str, ExitCode]]]:
    parts: dict[str, tuple[Access, ...]] = {}
    unread: dict[str, tuple[str, ExitCode]] = {}
    times = []
    for name, taken, found in await list_past_access(components.planner, components.read_only_workspaces, names, until):
        if taken is None:
            sentence = f"{name}: the journal has no run up to that day. See: pigment-sync history --workspace {name}"
            unread[name] = (sentence, ExitCode.INCOMPLETE)
        else:
            parts[name] = found
            times.append(f"{name} {taken:%Y-%m-%d %H:%M} UTC")
    return parts, ", ".join(times), unread


def _render(listing: _Listing, output_format: str, *, by: str, is_past: bool, bom: bool, to_file: bool) -> str | bytes:
    match output_format:
        case "csv":
            return access_csv(listing.rows, bom=bom)
        case "html":
            return access_html(listing.rows, listing.times if is_past else listing.now.strftime("%Y-%m-%d %H:%M UTC"))
        case "xlsx":
            # Imported where it is needed: the other formats start faster without it.
            from agent.report.xlsx import AccessReview, access_xlsx

            return access_xlsx(
                AccessReview(
                    rows=listing.rows,
                    workspaces=listing.workspaces,
                    unread=[
                        (name, sentence.removeprefix(f"{name}: ")) for name, (sentence, _) in listing.unread.items()
                    ],
                    read_at=listing.now,
                    by=by,
                    provenance=listing.provenance,
                    from_journal=listing.times,
                )
            )
        case _:
            return access_text(listing.rows, None if to_file else terminal_width())


def _write(content: str | bytes, out: Path | None) -> None:
    if out is not None:
        write_file(out, [content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")])
    elif isinstance(content, str):
        print_text(content)


def _import_sheets(
    context: click.Context,
    names: Sequence[str],
    sheets: Sequence[Path],
    output_format: str,
    *,
    out: Path | None,
    bom: bool,
) -> int:
    rows, problems, digests = _parse_sheets(sheets)
    codes: list[ExitCode] = []

    async def body(components: Components) -> tuple[Certification, datetime]:
        targets = {name: each.policy.target for name, each in components.read_only_workspaces.items()}
        reviewed = {row.workspace for row in rows}
        wanted = names or [name for name in targets if name in reviewed]
        # Of an empty sheet, everyone with access is missing. A sheet of other workspaces needs no reading.
        reads = bool(wanted) or not (rows or problems)
        found = await load_access(components.planner, components.read_only_workspaces, wanted) if reads else {}
        codes.extend(exit_code_for_read_error(each.code) for each in found.values() if isinstance(each, Unplanned))
        result = compare_decisions(
            [row for row in rows if not names or row.workspace in names],
            problems,
            {name: each for name, each in found.items() if not isinstance(each, Unplanned)},
            targets,
            [(name, f"{each.message} {each.remedy}") for name, each in found.items() if isinstance(each, Unplanned)],
        )
        return result, components.clock.now()

    result, now = run_with_components(context, body, is_reading=True)
    files = ReviewedFiles(digests, now)
    match output_format:
        case "json" if out is None:
            print_json(certification_object(result, files))
        case "json":
            _write(to_json_bytes(certification_object(result, files), sorts_keys=False), out)
        case "csv":
            _write(certification_csv(result, bom=bom), out)
        case _:
            _write(certification_text(result, files, 100 if out else terminal_width() or 100), out)
    return _import_exit_code(result, codes)


def _parse_sheets(sheets: Sequence[Path]) -> tuple[list[ReviewedRow], list[SheetProblem], dict[str, str]]:
    # Imported where it is needed: a listing starts faster without it.
    from agent.sheet_parser import MAX_FILE_BYTES, parse_sheet

    rows: list[ReviewedRow] = []
    problems: list[SheetProblem] = []
    digests: dict[str, str] = {}
    for path in sheets:
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise UsageError(f"{path} can't be read ({error.strerror}).", "Name the filled sheet.") from error
        is_only_one = sum(other.name == path.name for other in sheets) == 1
        found, wrong = parse_sheet(content, path.name if is_only_one else str(path))
        rows += found
        problems += wrong
        digests[str(path)] = hashlib.sha256(content).hexdigest()
    return rows, problems, digests


def _import_exit_code(result: Certification, codes: Sequence[ExitCode]) -> ExitCode:
    if codes:
        return worst_exit_code(codes)
    if result.problems:
        return ExitCode.USAGE
    if result.waits:
        return ExitCode.HELD
    return ExitCode.WOULD_CHANGE if result.removals else ExitCode.DONE
