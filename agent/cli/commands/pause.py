"""`pause`: stop writing to a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.options import by_option, complete_workspace, reason_option
from agent.cli.runtime import run_with_components
from agent.engine.planner import select_workspaces
from agent.engine.records import admin_run
from agent.engine.request import RunRequest
from agent.errors import ExitCode
from agent.model.run import ChangeRecord, Pause, Trigger
from agent.report.escape import escape_control

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["pause"]


@click.command()
@click.argument("name", metavar="WORKSPACE", shell_complete=complete_workspace)
@by_option
@reason_option
@click.pass_context
def pause(context: click.Context, name: str, by: str, reason: str) -> int:
    """Stop writing to a workspace until it is resumed.

    A run that is writing stops before its next change. The command lists changes in flight. The workspace is still
    planned and reported. Writes the state; neither reads nor writes Pigment.

    \b
    pigment-sync pause pigment-latam --reason "migration this weekend"
    """

    async def body(components: Components) -> tuple[ChangeRecord, ...]:
        select_workspaces(components.contexts, [name])
        now = components.clock.now()
        run = admin_run(name, RunRequest(Trigger.PAUSE, by, reason), now, components.settings.provenance)
        return await components.state.set_pause(name, Pause(now, by, reason), run)

    in_flight = run_with_components(context, body)
    click.echo(f"{name} is paused. To resume: pigment-sync resume {name}")
    for record in in_flight:
        click.echo(
            escape_control(f"Still in flight: {record.change.kind} of {record.change.email}, run {record.run_id}.")
        )
    for run_id in dict.fromkeys(record.run_id for record in in_flight):
        click.echo(f"  To see its outcome: pigment-sync report {run_id}")
    return ExitCode.DONE
