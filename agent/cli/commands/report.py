"""`report`: show a past run or a saved plan, in any format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from agent.bootstrap import Components
from agent.cli.options import bom_option, report_format_option, verbose_option
from agent.cli.output import format_link_edits, link_count, print_text, render_options
from agent.cli.runtime import run_with_components
from agent.errors import ExitCode, UsageError
from agent.model.run import LinkEdit, Run, Trigger
from agent.plan_parser import parse_document, parse_workspace
from agent.report.document import plan_document
from agent.report.escape import escape_control
from agent.report.render import Format, render
from agent.report.run_identity import format_utc, with_run
from agent.report.schema import Document, OutcomeRow

__all__ = ["report"]


TRIGGERS_WITHOUT_PLAN = frozenset({Trigger.LINKS, Trigger.PAUSE, Trigger.RESUME, Trigger.WORKSPACES})


@click.command()
@click.argument("source", metavar="RUN|PLAN.json")
@report_format_option
@bom_option
@verbose_option
@click.pass_context
def report(context: click.Context, source: str, output_format: Format, bom: bool, verbose: bool) -> int:
    """Show a past run or a saved plan, in any format.

    RUN is an id from `history`, read from the journal; PLAN.json is a file that `plan --out` wrote. A run that changed
    links, paused or resumed a workspace has no plan: its author, reason and links are shown as text. Writes nothing.

    \b
    pigment-sync report 20260301-120000-3f9a1c
    pigment-sync report 20260301-120000-3f9a1c --format html > run.html
    pigment-sync report plan.json --format csv --bom > plan.csv
    """
    outcomes: dict[str, list[OutcomeRow]] = {}
    approves = True
    path = Path(source)
    if path.suffix == ".json" or path.exists():
        document = _read_saved_plan(path)
    else:
        loaded = run_with_components(context, lambda components: _load_past_run(components, source), is_reading=True)
        if isinstance(loaded, str):
            if output_format is not Format.TEXT:
                raise UsageError(f"The run {source} has no plan, so it is shown only as text.", "Remove --format.")
            print_text(loaded)
            return ExitCode.DONE
        document, outcomes, approves = loaded
    shown = replace(render_options(verbose=verbose, bom=bom), shows_approval=approves)
    print_text(render(document, output_format, shown, outcomes))
    return ExitCode.DONE


def _read_saved_plan(path: Path) -> Document:
    try:
        return parse_document(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(
            f"{path} can't be read ({error.strerror}).",
            "Name a run of `pigment-sync history`, or a file written by `plan --out`.",
        ) from error


async def _load_past_run(
    components: Components, run_id: str
) -> tuple[Document, dict[str, list[OutcomeRow]], bool] | str:
    """Return the plan of a run, its outcomes and whether `sync` can approve it; for a run without a plan, its text."""
    run = await components.state.load_run(run_id)
    if run is None:
        raise UsageError(f"There is no run {run_id}.", "See: pigment-sync history")
    if run.trigger in TRIGGERS_WITHOUT_PLAN:
        return _format_manual_run(run, await components.state.load_link_edits(run_id))
    if run.document is None:
        raise UsageError(
            f"The run {run_id} ended before it had a plan: {run.error or run.status}.", "See: pigment-sync history"
        )
    records = await components.state.load_changes(run_id)
    when = format_utc(run.finished_at or run.started_at)
    lines = [OutcomeRow(each.seq, each.change.kind, each.change.email, each.outcome, each.detail) for each in records]
    planned = parse_workspace(run.document)
    approvals = await components.state.load_run_approvals(run_id)
    document = plan_document([with_run(planned, run, approvals)], when, run.user)
    # By the name in the plan: the workspace may have been renamed since.
    return document, {planned["name"]: lines} if lines else {}, run.trigger is not Trigger.UNDO


def _format_manual_run(run: Run, edits: Sequence[LinkEdit]) -> str:
    why = f": {run.reason}" if run.reason else ", without a reason"
    first = f"{run.id}  {run.workspace}  {run.trigger} by {run.by} at {run.started_at:%Y-%m-%d %H:%M} UTC{why}"
    changed = f"{link_count(edits)} changed:\n{format_link_edits(edits)}" if edits else ""
    return f"{escape_control(first)}\n{changed}"
