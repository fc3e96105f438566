"""`undo`: revert the changes of a run."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import click

from agent.bootstrap import Components
from agent.cli.options import by_option, reason_option
from agent.cli.output import document_from_results, outcomes_by_workspace, print_text, render_options
from agent.cli.runtime import run_with_components
from agent.engine.approval import digest_prefix
from agent.engine.dryrun import dry_run
from agent.engine.planner import select_workspaces
from agent.engine.request import RunRequest, RunResult, has_approvable_holds
from agent.errors import ExitCode, PigmentSyncError, UsageError, worst_exit_code
from agent.model import Plan
from agent.model.run import Pause, Run, RunStatus, Trigger
from agent.report.render import Format, render

__all__ = ["undo"]


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--approve", "approved_digest", metavar="DIGEST", help="Apply the undo with this digest; without it, only show."
)
@by_option
@reason_option
@click.pass_context
def undo(context: click.Context, run_id: str, approved_digest: str | None, by: str, reason: str) -> int:
    """Revert the changes of a run, and pause its workspace.

    RUN is an id from `history`. Reads the journal and the workspace, and shows what would be reverted. With --approve
    and the digest shown, writes the changes and pauses the workspace. Members that have changed since are left alone
    and listed. Later plans hold the reverted changes until the groups, status or email of the person change at the
    source. A created member is deactivated and its link is removed. If the create found an active member, only the link
    is removed.

    Exits 2 if --approve is not a digest or the workspace is in mode dry-run, 4 if an approval is needed, 9 if the plan
    no longer has the approved digest.

    \b
    pigment-sync undo 20260301-120000-3f9a1c
    pigment-sync undo 20260301-120000-3f9a1c --approve sha256:… --reason "wrong group"
    """

    approved_digests = frozenset() if approved_digest is None else frozenset({digest_prefix(approved_digest)})

    async def body(components: Components) -> list[RunResult]:
        run = await components.state.load_run(run_id)
        if run is None:
            raise UsageError(f"There is no run {run_id}.", "See: pigment-sync history")
        select_workspaces(components.contexts, [run.workspace])
        request = RunRequest(Trigger.UNDO, by, reason or f"undo of {run_id}", approved_digests=approved_digests)
        if approved_digest is None:
            return await dry_run(
                components.undo_planner(run_id), components.read_only_workspaces, [run.workspace], request
            )
        return await _pause_and_undo(components, run, request)

    results = run_with_components(context, body, is_reading=approved_digest is None)
    shown = replace(render_options(verbose=True), shows_approval=False)
    print_text(render(document_from_results(results), Format.TEXT, shown, outcomes_by_workspace(results)))
    for result in results:
        needs_approval = _has_changes(result) or has_approvable_holds(result.planned)
        if approved_digest is None and needs_approval:
            command = f"pigment-sync undo {run_id} --approve {result.digest}"
            click.echo(f"Nothing was written. To apply: {command}", err=True)
            return ExitCode.HELD
        if approved_digest is not None and result.status is not RunStatus.BUSY:
            click.echo(f"{result.workspace} is paused. To resume: pigment-sync resume {result.workspace}", err=True)
    return worst_exit_code(result.exit_code for result in results)


def _has_changes(result: RunResult) -> bool:
    return isinstance(result.planned, Plan) and bool(result.planned.changes)


async def _pause_and_undo(components: Components, run: Run, request: RunRequest) -> list[RunResult]:
    """Pause the workspace of *run* and revert its changes. An undo that wrote nothing restores the previous pause."""
    state, name = components.state, run.workspace
    previous_pause = await state.load_pause(name)
    # Pause before writing: a scheduled run that waits for the lease would repeat the mistake at once.
    await state.set_pause(name, Pause(components.clock.now(), request.by, request.reason))
    try:
        results = await components.undo_sync(run.id).run([name], request)
    except PigmentSyncError:
        await state.set_pause(name, previous_pause)
        raise
    except asyncio.CancelledError:
        if not components.sync.shutdown.may_have_written:
            await asyncio.shield(state.set_pause(name, previous_pause))
        raise
    if any(result.status is RunStatus.BUSY for result in results):
        await state.set_pause(name, previous_pause)
    return results
