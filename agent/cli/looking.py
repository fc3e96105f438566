"""`check`, `members`, `history` and `report`: look, and change nothing."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from agent.bootstrap import Components
from agent.cli.commands.links import format_link_edits
from agent.cli.output import FormatChoice, print_json, print_text, render_options
from agent.cli.runtime import load_settings, run_with_components, workspace_option
from agent.engine.planner import select_workspaces
from agent.errors import ExitCode, UsageError, exit_code_for_read_error, worst_exit_code
from agent.model import Member
from agent.model.run import LinkEdit, Run, Trigger
from agent.report.csv import escape_cell
from agent.report.document import plan_document
from agent.report.escape import escape_control
from agent.report.parse import parse_document, parse_workspace
from agent.report.render import Format, render
from agent.report.schema import Document, OutcomeRow
from agent.settings.secret_checks import missing_secrets
from agent.settings.variables import variable_findings
from connectors.base import Finding, ReadError

__all__ = ["check", "history", "members", "report"]

TRIGGERS_WITHOUT_PLAN = frozenset({Trigger.LINKS, Trigger.PAUSE, Trigger.RESUME, Trigger.WORKSPACES})
CONFIG_VALID = Finding("ok", "config", "the configuration is valid")
LEVEL_LABELS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


@click.command()
@workspace_option
@click.pass_context
def check(context: click.Context, names: Sequence[str]) -> int:
    """Try everything that a run needs, and say what to mend.

    Checks the configuration, the variables that libraries know, and for each connector and workspace whether it can be
    reached, its credentials, its permissions, its application and groups; also pauses, where notices go, the login of
    the page and the port of serve. Sends and writes nothing.

    Exits 0 when a run would work, 6 when a connector, a workspace or the login would fail, 8 when the configuration or
    a variable is invalid, a secret is not usable, or a notice could not be sent.

    \b
    pigment-sync check
    pigment-sync --config /etc/pigment-sync/config.yaml check -w pigment-latam
    """

    settings = load_settings(context)
    variables = variable_findings(os.environ, settings)
    if any(finding.level == "error" for finding in variables):
        # Without a client that can be built, nothing can be asked.
        _print_findings([CONFIG_VALID, *variables])
        return ExitCode.CONFIG

    async def body(parts: Components) -> list[Finding]:
        return await parts.check(list(select_workspaces(parts.contexts, names)))

    findings = run_with_components(context, body, is_reading=True, warns=False)
    missing = list(missing_secrets(settings))
    unseen = [Finding("error", *each) for each in missing if each[0].startswith(("notify.", "server."))]
    lines = [CONFIG_VALID, *variables, *unseen, *findings]
    _print_findings(lines)
    wrong = [finding for finding in lines if finding.level == "error"]
    secrets = [message for _, message, _ in missing]
    return worst_exit_code(
        ExitCode.CONFIG if _is_config_error(finding, secrets) else ExitCode.INCOMPLETE for finding in wrong
    )


def _is_config_error(finding: Finding, secrets: Sequence[str]) -> bool:
    return finding.subject.startswith("notify.") or any(message in finding.message for message in secrets)


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        print_text(
            f"{LEVEL_LABELS[finding.level]}  {escape_control(finding.subject)}: {escape_control(finding.message)}\n"
        )
        if finding.remedy and finding.level != "ok":
            print_text(f"         {escape_control(finding.remedy)}\n")


def _member_rows(found: Sequence[tuple[str, Member]]) -> list[dict[str, object]]:
    return [
        {
            "workspace": name,
            "email": member.email,
            "display_name": member.display_name,
            "active": member.active,
            "scim_id": member.scim_id,
        }
        for name, member in found
    ]


@click.command()
@workspace_option
@click.option("--email", metavar="E", help="Only the member with this email: one request for each workspace.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "csv"]),
    default="text",
    show_default=True,
    help="How it is shown.",
)
@click.pass_context
def members(context: click.Context, names: Sequence[str], email: str | None, form: str) -> int:
    """List the members of workspaces, inactive ones too.

    Reads the workspaces and nothing else; writes nothing. Exits 6 when one of them could not be read; the others are
    shown.

    \b
    pigment-sync members
    pigment-sync members --email ana.souza@acme.com
    pigment-sync members -w pigment-latam --format csv > members.csv
    """
    found, failures = run_with_components(context, lambda parts: _read_members(parts, names, email), is_reading=True)
    rows = _member_rows(found)
    if form == "json":
        print_json(rows)
    elif form == "csv":
        print_text(_members_csv(rows))
    else:
        print_text("".join(_member_line(name, member) for name, member in found))
    for failure in failures:
        click.echo(f"pigment-sync: {escape_control(failure)}", err=True)
    return worst_exit_code(failures.values())


async def _read_members(
    parts: Components, names: Sequence[str], email: str | None
) -> tuple[list[tuple[str, Member]], dict[str, ExitCode]]:
    """Return the members, and a sentence with its exit code for each workspace that could not be read."""
    found: list[tuple[str, Member]] = []
    failures = {}
    for name, site in select_workspaces(parts.read_only_workspaces, names).items():
        try:
            if email is not None:
                listed = await site.reader.find(email)
            else:
                listed = (await site.reader.list_members(parts.planner.progress)).members
        except ReadError as error:
            failures[f"{name}: {error.message} {error.hint}"] = exit_code_for_read_error(error.code)
            continue
        found.extend((name, member) for member in listed)
    return found, failures


ACTIVE_LABELS = {True: "active", False: "inactive", None: "unreadable"}


def _member_line(workspace: str, member: Member) -> str:
    cells = (workspace, member.email, member.display_name, ACTIVE_LABELS[member.active], member.scim_id)
    return "\t".join(map(escape_control, cells)) + "\n"


def _members_csv(rows: Sequence[dict[str, object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["workspace", "email", "display_name", "active", "scim_id"])
    for row in rows:
        writer.writerow([escape_cell(str(value)) for value in row.values()])
    return out.getvalue()


@click.command()
@workspace_option
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    metavar="YYYY-MM-DD[Thh:mm:ss]",
    help="Only runs from this time on (UTC).",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How it is shown."
)
@click.pass_context
def history(context: click.Context, names: Sequence[str], since: datetime | None, limit: int, form: str) -> int:
    """List past runs, newest first.

    Reads the journal; writes nothing. Each line has the id that `report` and `undo` take.

    \b
    pigment-sync history
    pigment-sync history -w pigment-latam --since 2026-06-01 --limit 100
    pigment-sync history --format json
    """

    async def body(parts: Components) -> list[Run]:
        select_workspaces(parts.contexts, names)
        return await parts.state.load_runs(names, since.replace(tzinfo=UTC) if since else None, limit)

    runs = run_with_components(context, body, is_reading=True)
    if form == "json":
        print_json([_run_row(run) for run in runs])
        return ExitCode.DONE
    for run in runs:
        what = ("dry run" if run.dry_run else run.trigger) + (f" of {escape_control(run.user)}" if run.user else "")
        why = escape_control(f"{run.by} {run.reason}".strip())
        print_text(f"{run.id}  {run.workspace}  {what}  {run.status}  {why}".rstrip() + "\n")
    return ExitCode.DONE


def _run_row(run: Run) -> dict[str, object]:
    shown = ("id", "workspace", "trigger", "dry_run", "user", "status", "started_at", "finished_at", "by", "reason")
    return {name: getattr(run, name) for name in (*shown, "approved", "digest", "error", "requests")}


@click.command()
@click.argument("source", metavar="RUN|PLAN.json")
@click.option("--format", "form", type=FormatChoice(), default="text", show_default=True, help="How it is shown.")
@click.option("--bom", is_flag=True, help="Begin CSV with a byte-order mark, for spreadsheets.")
@click.option("-v", "--verbose", is_flag=True, help="Show every note instead of counts.")
@click.pass_context
def report(context: click.Context, source: str, form: Format, bom: bool, verbose: bool) -> int:
    """Show a past run, or a plan that was saved, in any format.

    RUN is an id of `history` and read from the journal; PLAN.json is what `plan --out` wrote. A run that mended links,
    paused or resumed has no plan: of it, who and why, and each link are told as text. Writes nothing.

    \b
    pigment-sync report 20260301-120000-3f9a1c
    pigment-sync report 20260301-120000-3f9a1c --format html > run.html
    pigment-sync report plan.json --format csv --bom > plan.csv
    """
    outcomes: dict[str, list[OutcomeRow]] = {}
    approves = True
    path = Path(source)
    if path.suffix == ".json" or path.exists():
        whole = _read_saved_plan(path)
    else:
        told = run_with_components(context, lambda parts: _load_past_run(parts, source), is_reading=True)
        if isinstance(told, str):
            if form is not Format.TEXT:
                raise UsageError(f"The run {source} has no plan, so it is shown as text only.", "Leave --format out.")
            print_text(told)
            return ExitCode.DONE
        whole, outcomes, approves = told
    shown = replace(render_options(verbose=verbose, bom=bom), shows_approval=approves)
    print_text(render(whole, form, shown, outcomes))
    return ExitCode.DONE


def _format_manual_run(run: Run, mends: Sequence[LinkEdit]) -> str:
    why = f": {run.reason}" if run.reason else ", without a reason"
    first = f"{run.id}  {run.workspace}  {run.trigger} by {run.by} at {run.started_at:%Y-%m-%d %H:%M} UTC{why}"
    counted = f"{len(mends)} links mended:\n{format_link_edits(mends)}" if mends else ""
    return f"{escape_control(first)}\n{counted}"


def _read_saved_plan(path: Path) -> Document:
    try:
        return parse_document(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(
            f"{path} can't be read ({error.strerror}).",
            "Name a run of `pigment-sync history`, or a file of `plan --out`.",
        ) from error


async def _load_past_run(parts: Components, run_id: str) -> tuple[Document, dict[str, list[OutcomeRow]], bool] | str:
    """Return the plan of a run, what became of it and whether `sync` approves it; or a text for one without a plan."""
    run = await parts.state.load_run(run_id)
    if run is None:
        raise UsageError(f"There is no run {run_id}.", "See: pigment-sync history")
    if run.trigger in TRIGGERS_WITHOUT_PLAN:
        return _format_manual_run(run, await parts.state.load_link_edits(run_id))
    if run.document is None:
        raise UsageError(
            f"The run {run_id} ended before it had a plan: {run.error or run.status}.", "See: pigment-sync history"
        )
    records = await parts.state.load_changes(run_id)
    when = (run.finished_at or run.started_at).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [OutcomeRow(each.seq, each.change.kind, each.change.email, each.outcome, each.detail) for each in records]
    planned = parse_workspace(run.document)
    whole = plan_document([planned], when, run.user)
    # By the name in the plan: the workspace may have been renamed since.
    return whole, {planned["name"]: lines} if lines else {}, run.trigger is not Trigger.UNDO
