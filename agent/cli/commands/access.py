"""`access`: who has access, through which group."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click

from agent.bootstrap import Components
from agent.cli.options import bom_option, format_option, workspace_option
from agent.cli.output import print_text, terminal_width
from agent.cli.runtime import run_with_components
from agent.engine.queries import list_access, list_past_access
from agent.errors import ExitCode, exit_code_for_read_error, worst_exit_code
from agent.model import Unplanned
from agent.model.access import Access
from agent.report.access import access_csv, access_html, access_text
from agent.report.escape import escape_control

__all__ = ["access"]


@click.command()
@workspace_option
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Access at the end of that day (UTC), from the journal.",
)
@format_option("text", "csv", "html")
@bom_option
@click.pass_context
def access(context: click.Context, names: Sequence[str], as_of: datetime | None, output_format: str, bom: bool) -> int:
    """List who has access, through which group and since when.

    Lists every active member of each workspace, with the last change and any findings. Text is a table for each
    workspace on a terminal, and one tab-separated table with a heading line in a pipe. *since* is when a run created or
    reactivated the member. It is empty if the access is older than the journal or was not granted by a run.
    *first_seen* is when the journal first recorded the member. Reads the identity providers, the workspaces and the
    journal, or with --as-of only the journal; writes nothing. Exits 6 if a workspace is missing.

    \b
    pigment-sync access
    pigment-sync access --format csv > access.csv
    pigment-sync access -w pigment-latam --as-of 2026-06-30
    """
    failures: dict[str, ExitCode] = {}

    async def body(components: Components) -> tuple[list[Access], str]:
        if as_of is None:
            rows: list[Access] = []
            for each in await list_access(components.planner, components.read_only_workspaces, names):
                if isinstance(each, Unplanned):
                    failures[f"{each.workspace}: {each.message} {each.remedy}"] = exit_code_for_read_error(each.code)
                else:
                    rows.extend(each)
            return rows, components.clock.now().strftime("%Y-%m-%d %H:%M UTC")
        return await _load_past_access(components, names, as_of.replace(tzinfo=UTC) + timedelta(days=1), failures)

    rows, when = run_with_components(context, body, is_reading=True)
    match output_format:
        case "csv":
            print_text(access_csv(rows, bom=bom))
        case "html":
            print_text(access_html(rows, when))
        case _:
            print_text(access_text(rows, terminal_width()))
    for failure in failures:
        click.echo(f"pigment-sync: {escape_control(failure)}", err=True)
    return worst_exit_code(failures.values())


async def _load_past_access(
    components: Components, names: Sequence[str], until: datetime, failures: dict[str, ExitCode]
) -> tuple[list[Access], str]:
    rows: list[Access] = []
    times = []
    for name, taken, found in await list_past_access(components.planner, components.read_only_workspaces, names, until):
        if taken is None:
            sentence = f"{name}: the journal has no run up to that day. See: pigment-sync history --workspace {name}"
            failures[sentence] = ExitCode.INCOMPLETE
        else:
            rows.extend(found)
            times.append(f"{name} {taken:%Y-%m-%d %H:%M} UTC")
    return rows, ", ".join(times)
