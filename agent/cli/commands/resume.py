"""`resume`: write to a paused workspace again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli.options import by_option, complete_workspace, reason_option
from agent.cli.runtime import run_with_components
from agent.engine.planner import select_workspaces
from agent.engine.records import admin_run
from agent.engine.request import RunRequest
from agent.errors import ExitCode
from agent.model.run import Trigger

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["resume"]


@click.command()
@click.argument("name", metavar="WORKSPACE", shell_complete=complete_workspace)
@by_option
@reason_option
@click.pass_context
def resume(context: click.Context, name: str, by: str, reason: str) -> int:
    """Resume writing to a paused workspace.

    Writes only the state. The next run writes to the workspace, within the limits of the guards.

    \b
    pigment-sync resume pigment-latam --reason "migration done"
    """

    async def body(components: Components) -> bool:
        select_workspaces(components.contexts, [name])
        if await components.state.load_pause(name) is None:
            return False
        request, now = RunRequest(Trigger.RESUME, by, reason), components.clock.now()
        run = admin_run(name, request, now, components.settings.provenance)
        await components.state.set_pause(name, None, run)
        return True

    was_paused = run_with_components(context, body)
    click.echo(f"Resumed: {name} is synced again." if was_paused else f"{name} was not paused.")
    return ExitCode.DONE
