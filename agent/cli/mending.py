"""`undo`, `pause` and `resume`: put right what was done, or stop it for a while, with who and why in the journal."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import click

from agent.cli.completing import workspace_names
from agent.cli.output import document_of, look, outcomes_of, print_text
from agent.cli.running import by_option, reason_option, run_within
from agent.engine.approval import digest_prefix
from agent.engine.dryrun import dry_run
from agent.engine.order import Order, Result
from agent.engine.run import noted
from agent.engine.survey import chosen
from agent.errors import Exit, PigmentSyncError, UsageError, worst
from agent.ports import ChangeRecord, Pause, Run, RunStatus, Trigger
from agent.report.escape import harmless
from agent.report.rendering import Format, render
from agent.report.view import approvable
from agent.wiring import Parts

__all__ = ["pause", "resume", "undo"]


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--approve", "digest", metavar="DIGEST", help="Do it; without, only show it.")
@by_option
@reason_option
@click.pass_context
def undo(context: click.Context, run_id: str, digest: str | None, by: str, reason: str) -> int:
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

    approvals = frozenset() if digest is None else frozenset({digest_prefix(digest)})

    async def body(parts: Parts) -> list[Result]:
        run = await parts.state.run(run_id)
        if run is None:
            raise UsageError(f"There is no run {run_id}.", "See: pigment-sync history")
        chosen(parts.sites, [run.workspace])
        order = Order(Trigger.UNDO, by, reason or f"undo of {run_id}", approvals=approvals)
        if digest is None:
            return await dry_run(parts.undoing(run_id), parts.read_sites, [run.workspace], order)
        return await _undone(parts, run, order)

    results = run_within(context, body, is_reading=digest is None)
    shown = replace(look(verbose=True), approves=False)
    print_text(render(document_of(results), Format.TEXT, shown, outcomes_of(results)))
    for result in results:
        waits = bool(result.object["changes"]) or approvable(result.object)
        if digest is None and waits:
            again = f"pigment-sync undo {run_id} --approve {result.object['digest']}"
            click.echo(f"Nothing was written. To do it: {again}", err=True)
            return Exit.HELD
        if digest is not None and result.status is not RunStatus.BUSY:
            click.echo(f"{result.workspace} is paused. To go on: pigment-sync resume {result.workspace}", err=True)
    return worst(result.exit for result in results)


async def _undone(parts: Parts, run: Run, order: Order) -> list[Result]:
    """Pause the workspace of *run* and put back what it did; what was never begun leaves no pause behind."""
    state, name = parts.state, run.workspace
    was_paused = await state.paused(name)
    # Before anything is written: a schedule that waits for the lease would redo the mistake at once.
    await state.pause(name, Pause(parts.clock.now(), order.by, order.reason))
    try:
        results = await parts.undoing_sync(run.id).run([name], order)
    except PigmentSyncError:
        await state.pause(name, was_paused)
        raise
    except asyncio.CancelledError:
        if not parts.sync.stopping.has_begun:
            await asyncio.shield(state.pause(name, was_paused))
        raise
    if any(result.status is RunStatus.BUSY for result in results):
        await state.pause(name, was_paused)
    return results


@click.command()
@click.argument("name", metavar="WORKSPACE", shell_complete=workspace_names)
@by_option
@reason_option
@click.pass_context
def pause(context: click.Context, name: str, by: str, reason: str) -> int:
    """Stop writing to a workspace until it is resumed.

    A run that is writing stops before its next change. The command names changes in flight. The workspace is still
    planned and reported. Writes the state; neither reads nor writes Pigment.

    \b
    pigment-sync pause pigment-latam --reason "migration this weekend"
    """

    async def body(parts: Parts) -> tuple[ChangeRecord, ...]:
        chosen(parts.sites, [name])
        now = parts.clock.now()
        run = noted(name, Order(Trigger.PAUSE, by, reason), now)
        return await parts.state.pause(name, Pause(now, by, reason), run)

    in_flight = run_within(context, body)
    click.echo(f"{name} is paused. To go on: pigment-sync resume {name}")
    for record in in_flight:
        click.echo(harmless(f"Still in flight: {record.change.kind} of {record.change.email}, run {record.run_id}."))
    for run_id in dict.fromkeys(record.run_id for record in in_flight):
        click.echo(f"  To see its outcome: pigment-sync report {run_id}")
    return Exit.DONE


@click.command()
@click.argument("name", metavar="WORKSPACE", shell_complete=workspace_names)
@by_option
@reason_option
@click.pass_context
def resume(context: click.Context, name: str, by: str, reason: str) -> int:
    """Let a paused workspace be written to again.

    Writes the state; the next run writes to the workspace, under the guards as ever.

    \b
    pigment-sync resume pigment-latam --reason "migration done"
    """

    async def body(parts: Parts) -> bool:
        chosen(parts.sites, [name])
        if await parts.state.paused(name) is None:
            return False
        await parts.state.pause(name, None, noted(name, Order(Trigger.RESUME, by, reason), parts.clock.now()))
        return True

    was_paused = run_within(context, body)
    click.echo(f"{name} is written to again." if was_paused else f"{name} was not paused.")
    return Exit.DONE
