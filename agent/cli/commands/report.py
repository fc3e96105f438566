"""`report`: show a past run or a saved plan, in any format."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from agent.cli.commands.report_delivery import list_reports, send
from agent.cli.options import bom_option, report_format_option, verbose_option
from agent.cli.output import format_link_edits, link_count, print_report, print_text, render_options, write_evidence
from agent.cli.runtime import run_with_components
from agent.errors import ExitCode, UsageError
from agent.model.provenance import Provenance
from agent.model.run import LinkEdit, Run, Trigger
from agent.plan_parser import parse_document, parse_workspace
from agent.report.document import plan_document
from agent.report.escape import escape_control
from agent.report.evidence import MANIFEST_NAME, Evidence, evidence_files, manifest
from agent.report.render import NO_OUTCOMES, Format, RenderOptions
from agent.report.run_identity import format_utc, made_with_facts, run_object, with_run
from agent.report.schema import Document, OutcomeRow, Outcomes
from agent.version import installed_commit, installed_version

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["report"]


TRIGGERS_WITHOUT_PLAN = frozenset({Trigger.LINKS, Trigger.PAUSE, Trigger.RESUME, Trigger.WORKSPACES})


class _ReportGroup(click.Group):
    """`report RUN` as ever, and the commands below `report` where the first word is one of their names."""

    allow_interspersed_args = True

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in self.commands:
            plain = click.Group(self.name, self.commands, help=self.help)
            return plain.make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return click.Command.collect_usage_pieces(self, ctx)


@click.group(cls=_ReportGroup, invoke_without_command=True)
@click.argument("source", metavar="RUN|PLAN.json")
@report_format_option
@bom_option
@click.option(
    "--evidence",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write all formats, the plan, the journal's rows and a manifest with digests into a new folder.",
)
@verbose_option
@click.pass_context
def report(
    context: click.Context, source: str, output_format: Format, bom: bool, folder: Path | None, verbose: bool
) -> int:
    """Show a past run or a saved plan, in any format.

    RUN is an id from `history`, read from the journal; PLAN.json is a file that `plan --out` wrote. A run that changed
    links, paused or resumed a workspace has no plan: its author, reason and links are shown as text. Writes nothing,
    except with --evidence: then FOLDER gets every format and a manifest to sign.

    `report send` and `report list` are about the reports of the configuration. A file of such a name is ./send.

    \b
    pigment-sync report 20260301-120000-3f9a1c
    pigment-sync report 20260301-120000-3f9a1c --format html > run.html
    pigment-sync report 20260301-120000-3f9a1c --evidence evidence-3f9a1c
    pigment-sync report plan.json --format csv --bom > plan.csv
    """
    outcomes: Outcomes = NO_OUTCOMES
    approves = True
    path = Path(source)
    if folder is not None:
        _refuse_other_output(context, path, source)
    if path.suffix == ".json" or path.exists():
        document = _read_saved_plan(path)
    else:
        loaded = run_with_components(context, lambda components: _load_past_run(components, source), is_reading=True)
        if isinstance(loaded, str):
            if output_format is not Format.TEXT or folder is not None:
                option = "--format" if folder is None else "--evidence"
                raise UsageError(f"The run {source} has no plan, so it is shown only as text.", f"Remove {option}.")
            print_text(loaded)
            return ExitCode.DONE
        approves = loaded.run.trigger is not Trigger.UNDO
        if folder is not None:
            return _write_evidence(loaded, folder, RenderOptions(shows_approval=approves))
        document, outcomes = loaded.document, loaded.outcomes
    shown = replace(render_options(verbose=verbose, bom=bom), shows_approval=approves)
    print_report(document, output_format, shown, outcomes)
    return ExitCode.DONE


report.add_command(send)
report.add_command(list_reports)


def _refuse_other_output(context: click.Context, path: Path, source: str) -> None:
    if path.suffix == ".json" or path.exists():
        raise UsageError(
            f"{source} is a saved plan, and evidence is of a run.", "Name a run of `pigment-sync history`."
        )
    if context.get_parameter_source("output_format") is not ParameterSource.DEFAULT:
        raise UsageError("--evidence writes every format.", "Remove --format.")


def _write_evidence(evidence: Evidence, folder: Path, options: RenderOptions) -> int:
    if evidence.run.finished_at is None:
        raise UsageError(f"The run {evidence.run.id} has not ended.", "Write its evidence once it has.")
    files = evidence_files(evidence, options)
    tool = Provenance(version=installed_version(), commit=installed_commit())
    listed = manifest(evidence, files, tool, datetime.now(UTC))
    write_evidence(folder, files, listed)
    print_text(
        f"Evidence of the run {evidence.run.id}: {len(files) + 1} files in {folder}.\n"
        f"SHA-256 of {MANIFEST_NAME}: {hashlib.sha256(listed).hexdigest()}\n"
    )
    return ExitCode.DONE


def _read_saved_plan(path: Path) -> Document:
    try:
        return parse_document(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(
            f"{path} can't be read ({error.strerror}).",
            "Name a run of `pigment-sync history`, or a file written by `plan --out`.",
        ) from error


async def _load_past_run(components: Components, run_id: str) -> Evidence | str:
    """Return what the journal has of a run; for a run without a plan, its text."""
    state = components.state
    run = await state.load_run(run_id)
    if run is None:
        raise UsageError(f"There is no run {run_id}.", "See: pigment-sync history")
    if run.trigger in TRIGGERS_WITHOUT_PLAN:
        return _format_manual_run(run, await state.load_link_edits(run_id))
    if run.document is None:
        raise UsageError(
            f"The run {run_id} ended before it had a plan: {run.error or run.status}.", "See: pigment-sync history"
        )
    records = await state.load_changes(run_id)
    approvals = await state.load_run_approvals(run_id)
    lines = [OutcomeRow(each.seq, each.change.kind, each.change.email, each.outcome, each.detail) for each in records]
    planned = parse_workspace(run.document)
    document = plan_document(
        [with_run(planned, run, approvals)], format_utc(run.finished_at or run.started_at), run.user
    )
    # By the name in the plan: the workspace may have been renamed since.
    return Evidence(run, document, {planned["name"]: lines} if lines else {}, approvals, records)


def _format_manual_run(run: Run, edits: Sequence[LinkEdit]) -> str:
    why = f": {run.reason}" if run.reason else ", without a reason"
    first = f"{run.id}  {run.workspace}  {run.trigger} by {run.by} at {run.started_at:%Y-%m-%d %H:%M} UTC{why}"
    changed = f"{link_count(edits)} changed:\n{format_link_edits(edits)}" if edits else ""
    made_with = "".join(f"{label:15}{value}\n" for label, value in made_with_facts(run_object(run, ())))
    return f"{escape_control(first)}\n{changed}{made_with}"
