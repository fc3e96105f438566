"""`undo`: restore what a run changed."""

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
@click.option("--approve", "approved_digest", metavar="DIGEST", help="Do it; without, only show it.")
@by_option
@reason_option
@click.pass_context
def undo(context: click.Context, run_id: str, approved_digest: str | None, by: str, reason: str) -> int:
    """Put back what a run did, and pause its workspace.

    RUN is an id of `history`. Reads the journal and the workspace, and shows what would be put back. With --approve and
    the digest shown, the undo is made and the workspace is paused. Members that have been changed since are left alone
    and named. What was put back is held in later plans until the person's groups, status or address at the source
    change. A created member is deactivated and its link ends. Of an active member that a create met only the link ends.

    Exits 2 when --approve is not a digest or the workspace is in mode dry-run, 4 when it waits for --approve, 9 when
    the plan no longer has the approved digest.

    \b
    pigment-sync undo 20260301-120000-3f9a1c
    pigment-sync undo 20260301-120000-3f9a1c --approve sha256:… --reason "the wrong group"
    """

    approved_digests = frozenset() if approved_digest is None else frozenset({digest_prefix(approved_digest)})

    async def body(parts: Components) -> list[RunResult]:
        run = await parts.state.load_run(run_id)
        if run is None:
            raise UsageError(f"There is no run {run_id}.", "See: pigment-sync history")
        select_workspaces(parts.contexts, [run.workspace])
        order = RunRequest(Trigger.UNDO, by, reason or f"undo of {run_id}", approved_digests=approved_digests)
        if approved_digest is None:
            return await dry_run(parts.undo_planner(run_id), parts.read_only_workspaces, [run.workspace], order)
        return await _pause_and_undo(parts, run, order)

    results = run_with_components(context, body, is_reading=approved_digest is None)
    shown = replace(render_options(verbose=True), shows_approval=False)
    print_text(render(document_from_results(results), Format.TEXT, shown, outcomes_by_workspace(results)))
    for result in results:
        waits = _has_changes(result) or has_approvable_holds(result.planned)
        if approved_digest is None and waits:
            again = f"pigment-sync undo {run_id} --approve {result.digest}"
            click.echo(f"Nothing was written. To do it: {again}", err=True)
            return ExitCode.HELD
        if approved_digest is not None and result.status is not RunStatus.BUSY:
            click.echo(f"{result.workspace} is paused. To go on: pigment-sync resume {result.workspace}", err=True)
    return worst_exit_code(result.exit_code for result in results)


def _has_changes(result: RunResult) -> bool:
    return isinstance(result.planned, Plan) and bool(result.planned.changes)


async def _pause_and_undo(parts: Components, run: Run, order: RunRequest) -> list[RunResult]:
    """Pause the workspace of *run* and put back what it did; what was never begun leaves no pause behind."""
    state, name = parts.state, run.workspace
    was_paused = await state.load_pause(name)
    # Before anything is written: a schedule that waits for the lease would redo the mistake at once.
    await state.set_pause(name, Pause(parts.clock.now(), order.by, order.reason))
    try:
        results = await parts.undo_sync(run.id).run([name], order)
    except PigmentSyncError:
        await state.set_pause(name, was_paused)
        raise
    except asyncio.CancelledError:
        if not parts.sync.shutdown.may_have_written:
            await asyncio.shield(state.set_pause(name, was_paused))
        raise
    if any(result.status is RunStatus.BUSY for result in results):
        await state.set_pause(name, was_paused)
    return results
