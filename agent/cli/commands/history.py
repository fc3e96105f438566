"""`history`: the list of past runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from agent.bootstrap import Components
from agent.cli.options import format_option, workspace_option
from agent.cli.output import print_json, print_text
from agent.cli.runtime import run_with_components
from agent.engine.planner import select_workspaces
from agent.errors import ExitCode
from agent.model.run import Run
from agent.report.escape import escape_control

__all__ = ["history"]


@click.command()
@workspace_option
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    metavar="YYYY-MM-DD[Thh:mm:ss]",
    help="Only runs from this time on (UTC).",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Maximum number of runs.")
@format_option("text", "json")
@click.pass_context
def history(
    context: click.Context, names: Sequence[str], since: datetime | None, limit: int, output_format: str
) -> int:
    """List past runs, newest first.

    Each line starts with the id for `report` and `undo`. Reads the journal; writes nothing.

    \b
    pigment-sync history
    pigment-sync history -w pigment-latam --since 2026-06-01 --limit 100
    pigment-sync history --format json
    """

    async def body(components: Components) -> list[Run]:
        select_workspaces(components.contexts, names)
        return await components.state.load_runs(names, since.replace(tzinfo=UTC) if since else None, limit)

    runs = run_with_components(context, body, is_reading=True)
    if output_format == "json":
        print_json([_run_row(run) for run in runs])
        return ExitCode.DONE
    for run in runs:
        label = ("dry run" if run.dry_run else run.trigger) + (f" of {escape_control(run.user)}" if run.user else "")
        why = escape_control(f"{run.by} {run.reason}".strip())
        print_text(f"{run.id}  {run.workspace}  {label}  {run.status}  {why}".rstrip() + "\n")
    return ExitCode.DONE


def _run_row(run: Run) -> dict[str, object]:
    shown = ("id", "workspace", "trigger", "dry_run", "user", "status", "started_at", "finished_at", "by", "reason")
    return {
        **{name: getattr(run, name) for name in shown},
        "approved": run.approved_digest,
        **{name: getattr(run, name) for name in ("digest", "error", "requests")},
    }
