"""`history`: the list of past runs, and the timeline of one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from agent.cli.options import format_option, refuse_invalid_email, workspace_option
from agent.cli.output import print_json, print_table
from agent.cli.runtime import run_with_components
from agent.engine.planner import select_workspaces
from agent.engine.queries import list_person_changes
from agent.errors import ExitCode
from agent.model import Kind
from agent.model.run import ChangeRecord, Run
from agent.report.escape import escape_control
from agent.report.history import RUN_HEADINGS, TIMELINE_HEADINGS, run_cells, run_row, timeline_cells, timeline_row

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["history"]


@click.command()
@workspace_option
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    metavar="YYYY-MM-DD[Thh:mm:ss]",
    help="Only runs from this time on (UTC).",
)
@click.option(
    "--user", default="", metavar="EMAIL", help="The timeline of this person instead (current or previous email)."
)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Maximum number of runs or changes."
)
@format_option("text", "json")
@click.pass_context
def history(
    context: click.Context, names: Sequence[str], since: datetime | None, user: str, limit: int, output_format: str
) -> int:
    """List past runs, newest first.

    Each line starts with the id for `report` and `undo`. With --user, lists the changes of a person in all runs
    instead, including those under a previous email. Text is a table on a terminal, and tab-separated with a heading
    line in a pipe. Times are UTC. Reads the journal; writes nothing. Exits 2 if EMAIL is not an email address.

    \b
    pigment-sync history
    pigment-sync history -w pigment-latam --since 2026-06-01 --limit 100
    pigment-sync history --user ana.souza@acme.com
    pigment-sync history --format json
    """
    start = since.replace(tzinfo=UTC) if since else None
    if user:
        refuse_invalid_email(user)
        return _show_timeline(context, names, start, user, limit, output_format)

    async def body(components: Components) -> tuple[list[Run], Mapping[str, Mapping[Kind, int]]]:
        select_workspaces(components.contexts, names)
        found = await components.state.load_runs(names, start, limit)
        return found, await components.state.count_changes([run.id for run in found])

    runs, made = run_with_components(context, body, is_reading=True)
    if output_format == "json":
        print_json([run_row(run, made.get(run.id, {})) for run in runs])
    else:
        print_table(RUN_HEADINGS, [run_cells(run, made.get(run.id, {})) for run in runs])
    return ExitCode.DONE


def _show_timeline(
    context: click.Context, names: Sequence[str], since: datetime | None, user: str, limit: int, output_format: str
) -> int:
    async def body(components: Components) -> list[tuple[ChangeRecord, Run]]:
        select_workspaces(components.contexts, names)
        return await list_person_changes(components.state, names, user, since, limit)

    changes = run_with_components(context, body, is_reading=True)
    if output_format == "json":
        print_json([timeline_row(record, run) for record, run in changes])
        return ExitCode.DONE
    print_table(TIMELINE_HEADINGS, [timeline_cells(record, run) for record, run in changes])
    if not changes:
        click.echo(escape_control(f"pigment-sync: the journal has no change of {user}."), err=True)
    return ExitCode.DONE
