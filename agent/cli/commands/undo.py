"""`undo`: revert the changes of a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from agent.cli.options import by_option, guard_option, reason_option
from agent.cli.output import document_from_results, outcomes_by_workspace, print_report, render_options
from agent.cli.runtime import print_command, print_why_not_written, run_with_components
from agent.engine.approval import digest_prefix, refuse_dry_run
from agent.engine.dryrun import dry_run
from agent.engine.plan_approval import parse_guards, refuse_incomplete
from agent.engine.planner import select_workspaces
from agent.engine.request import RunRequest, RunResult, has_approvable_holds
from agent.engine.undo_run import pause_and_undo
from agent.errors import ExitCode, UsageError, worst_exit_code
from agent.model import Plan
from agent.model.run import RunStatus, Trigger
from agent.report.escape import escape_control
from agent.report.render import Format

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["undo"]


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--approve", "approved_digest", metavar="DIGEST", help="Apply the undo with this digest; without it, only show."
)
@guard_option
@by_option
@reason_option
@click.pass_context
def undo(
    context: click.Context, run_id: str, approved_digest: str | None, guards: Sequence[str], by: str, reason: str
) -> int:
    """Revert the changes of a run, and pause its workspace.

    RUN is an id from `history`. Reads the journal and the workspace, and shows what would be reverted. With --approve
    and the digest shown, writes the changes and pauses the workspace; what guards hold needs the approvals that `sync`
    needs. Members that have changed since are left alone and listed. Later plans hold the reverted changes until the
    groups, status or email of the person change at the source. A created member is deactivated and its link is removed.
    If the create found an active member, only the link is removed.

    Exits 2 if --approve is not a digest, the reason is missing or the workspace is in mode dry-run, 4 if an approval is
    needed, perhaps of a second person, 9 if the plan no longer has the approved digest.

    \b
    pigment-sync undo 20260301-120000-3f9a1c
    pigment-sync undo 20260301-120000-3f9a1c --approve sha256:… --reason "wrong group"
    """
    if guards and approved_digest is None:
        raise UsageError("--guard narrows an approval, and --approve is missing.", "Give the digest with --approve.")
    approved_digests = frozenset() if approved_digest is None else frozenset({digest_prefix(approved_digest)})
    approved_guards = parse_guards(guards)

    async def body(components: Components) -> list[RunResult]:
        run = await components.state.load_run(run_id)
        if run is None:
            raise UsageError(f"There is no run {run_id}.", "See: pigment-sync history")
        contexts = select_workspaces(components.contexts, [run.workspace])
        approval_policy = components.settings.approvals.policy()
        needs_reason = bool(approved_digests) and approval_policy.requires_reason
        request = RunRequest(
            Trigger.UNDO,
            by,
            reason or ("" if needs_reason else f"undo of {run_id}"),
            approved_digests=approved_digests,
            approved_guards=approved_guards,
        )
        if approved_digest is None:
            return await dry_run(
                components.undo_planner(run_id),
                components.read_only_workspaces,
                [run.workspace],
                request,
                tracer=components.tracer,
            )
        # Before the pause, which stops a run that is going on.
        refuse_dry_run((each.policy for each in contexts.values()), request)
        refuse_incomplete(request, approval_policy)
        return await pause_and_undo(components.state, components.clock, components.undo_sync(run.id), run, request)

    results = run_with_components(context, body, is_reading=approved_digest is None)
    shown = replace(render_options(verbose=True), shows_approval=False)
    print_report(document_from_results(results), Format.TEXT, shown, outcomes_by_workspace(results))
    codes = [_print_next_step(run_id, result, is_approved=approved_digest is not None) for result in results]
    return worst_exit_code(codes)


def _print_next_step(run_id: str, result: RunResult, *, is_approved: bool) -> ExitCode:
    """Write to stderr what to do next, and return the exit code."""
    if result.approved:
        click.echo(escape_control(f"{result.workspace}: {result.approved}"), err=True)
    if result.waiting:
        print_why_not_written(result)
    elif is_approved and result.status is not RunStatus.BUSY:
        click.echo(f"{result.workspace} is paused.", err=True)
        print_command("To resume:", f"pigment-sync resume {shlex.quote(result.workspace)}")
    elif not is_approved and (_has_changes(result) or has_approvable_holds(result.planned)):
        click.echo("Nothing was written.", err=True)
        print_command("To apply:", f'pigment-sync undo {run_id} --approve {result.digest} --reason "…"')
        return ExitCode.HELD
    return result.exit_code


def _has_changes(result: RunResult) -> bool:
    return isinstance(result.planned, Plan) and bool(result.planned.changes)
