"""`plan`, `sync` and `apply`: what would be done, doing it, and doing exactly what was reviewed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from agent.bootstrap import Components
from agent.cli.output import FormatChoice, document_from_results, outcomes_by_workspace, print_document, write_file
from agent.cli.runtime import by_option, reason_option, run_with_components, warn, workspace_option
from agent.engine.approval import digest_prefix
from agent.engine.dryrun import dry_run
from agent.engine.records import outcome_summary
from agent.engine.request import RunRequest, RunResult
from agent.engine.retention import prune_old_runs
from agent.engine.state_checks import empty_state_warning
from agent.errors import ExitCode, UsageError, worst_exit_code
from agent.model.run import Trigger
from agent.report.document import encode_document
from agent.report.escape import escape_control
from agent.report.parse import parse_document
from agent.report.render import Format
from agent.report.view import wrong_target_message

__all__ = ["apply", "plan", "sync"]

user_option = click.option(
    "--user", default="", metavar="EMAIL", help="Only this person (present, wanted or former address)."
)
wait_option = click.option(
    "--wait", "wait_seconds", type=click.FloatRange(min=0), default=0, metavar="SECONDS", help="Wait for another run."
)
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Show every note instead of counts.")


@click.command()
@workspace_option
@user_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Also write the plan as JSON."
)
@click.option("--format", "form", type=FormatChoice(), default="text", show_default=True, help="How it is shown.")
@click.option(
    "--exit-code", is_flag=True, help="Exit 3 if a sync would change something, 4 if a guard holds something."
)
@verbose_option
@click.pass_context
def plan(  # noqa: PLR0913  (click hands each option by name)
    context: click.Context,
    names: Sequence[str],
    user: str,
    out: Path | None,
    form: Format,
    exit_code: bool,
    verbose: bool,
) -> int:
    """Show what a sync would do, and why: the dry run.

    Reads the identity providers, the workspaces and the state. Nothing can be written to a workspace; the run is kept
    in the journal. Exits 6 when a read was not complete; with --exit-code also 3 and 4.

    \b
    pigment-sync plan
    pigment-sync plan -w pigment-latam --format html > plan.html
    pigment-sync plan --user ana.souza@acme.com -v
    pigment-sync plan --out plan.json && pigment-sync apply plan.json
    """

    async def body(parts: Components) -> list[RunResult]:
        order = RunRequest(Trigger.PLAN, user=user)
        return await dry_run(parts.planner, parts.read_only_workspaces, names, order, exit_code=exit_code)

    results = run_with_components(context, body, is_reading=True)
    warn_about_state(results)
    whole = document_from_results(results, user)
    if out is not None:
        write_file(out, encode_document(whole))
    print_document(whole, form, {}, verbose=verbose)
    return worst_exit_code(result.exit_code for result in results)


def run_sync(context: click.Context, names: Sequence[str], order: RunRequest, form: Format, verbose: bool) -> int:
    async def body(parts: Components) -> list[RunResult]:
        results = await parts.sync.run(names, order)
        # Of a run for one person nobody can say that the workspace is fine again.
        if order.is_for_everyone:
            await parts.notify(results)
            await prune_old_runs(parts.state, parts.clock)
        return results

    results = run_with_components(context, body)
    warn_about_state(results)
    print_document(document_from_results(results, order.user), form, outcomes_by_workspace(results), verbose=verbose)
    for result in results:
        _print_why_not_written(result)
    return worst_exit_code(result.exit_code for result in results)


def warn_about_state(results: Sequence[RunResult]) -> None:
    for result in results:
        if reason := empty_state_warning(result.document):
            warn(reason)


def _print_why_not_written(result: RunResult) -> None:
    """Say on stderr why nothing, or not everything, was written."""
    name = result.workspace
    if result.error:
        click.echo(escape_control(f"{name}: {result.error}"), err=True)
    elif result.pause is not None:
        since = result.pause.since.strftime("%Y-%m-%d %H:%M UTC")
        why = f": {result.pause.reason}" if result.pause.reason else ""
        made = outcome_summary(result.records) or "Nothing was written."
        click.echo(escape_control(f"{name}: paused by {result.pause.by} since {since}{why}. {made}"), err=True)
        click.echo(f"  To go on: pigment-sync resume {name}", err=True)
    elif result.document["status"] == "planned" and result.document["mode"] == "dry-run":
        click.echo(f"{name}: in mode dry-run, so nothing was written.", err=True)
        click.echo(f"  To let it be written to: set workspaces.{name}.mode to enforce.", err=True)
    elif result.exit_code is ExitCode.HELD and (message := wrong_target_message(result.document)):
        click.echo(escape_control(f"{name}: {message}"), err=True)
    elif result.exit_code is ExitCode.HELD:
        click.echo(f"{name}: a guard holds changes, or they wait for an approval.", err=True)
        click.echo(f"  To review and approve them: pigment-sync plan --workspace {name}", err=True)


@click.command()
@workspace_option
@user_option
@click.option(
    "--approve",
    "digests",
    multiple=True,
    metavar="DIGEST",
    help="Release what guards hold in exactly this plan; the first 8 or more digits are enough.",
)
@by_option
@reason_option
@wait_option
@click.option("--format", "form", type=FormatChoice(), default="text", show_default=True, help="How it is shown.")
@verbose_option
@click.pass_context
def sync(  # noqa: PLR0913  (click hands each option by name)
    context: click.Context,
    names: Sequence[str],
    user: str,
    digests: Sequence[str],
    by: str,
    reason: str,
    wait_seconds: float,
    form: Format,
    verbose: bool,
) -> int:
    """Bring workspaces in step, under the guards of the schedule.

    Reads as `plan` does, then writes what differs to each workspace in mode enforce, deactivations first; links and the
    journal are written with each change. What a guard holds waits for --approve with the digest that `plan` shows.

    Exits 2 when --approve is not a digest or its workspace is paused or in mode dry-run, 4 when a guard holds something
    or it waits for an approval (what the planning table holds does not count), 5 when a change failed, 6 when a read
    was not complete (nothing was written then), 7 when another run holds the workspace, 9 when the plan is no longer
    the approved one.

    \b
    pigment-sync sync
    pigment-sync sync --user ana.souza@acme.com --reason "called the help desk"
    pigment-sync sync -w pigment-latam --approve sha256:… --reason "the reorganisation of March"
    pigment-sync sync --wait 300
    """
    order = RunRequest(Trigger.SYNC, by, reason, user, frozenset(map(digest_prefix, digests)), wait_seconds)
    return run_sync(context, names, order, form, verbose)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="PLAN.json")
@by_option
@reason_option
@wait_option
@click.option("--format", "form", type=FormatChoice(), default="text", show_default=True, help="How it is shown.")
@verbose_option
@click.pass_context
def apply(  # noqa: PLR0913  (click hands each option by name)
    context: click.Context, file: Path, by: str, reason: str, wait_seconds: float, form: Format, verbose: bool
) -> int:
    """Apply exactly the plan that was saved, if it still holds.

    PLAN.json is what `plan --out` wrote. Reads everything again and writes what the plan says, changes that guards hold
    included: to apply is to approve. If the world has moved, nothing at all is written, and the difference is shown
    (exit code 9). The other exit codes are those of `sync`.

    \b
    pigment-sync plan --out plan.json
    pigment-sync apply plan.json --by ana@acme.com --reason "reviewed in change 4711"
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        hint = "Name a file that `pigment-sync plan --out FILE` wrote."
        raise UsageError(f"{file} can't be read ({error.strerror}).", hint) from error
    saved = parse_document(raw, str(file))
    names = [workspace["name"] for workspace in saved["workspaces"]]
    unplanned = [each["name"] for each in saved["workspaces"] if each["status"] != "planned"]
    if unplanned or not names:
        raise UsageError(
            f"{file} has no plan for {', '.join(unplanned) or 'any workspace'}: their reads were not complete.",
            "Make a new plan once they can be read, or plan only the others with --workspace.",
        )
    digests = frozenset(workspace["digest"] for workspace in saved["workspaces"])
    reviewed = tuple(saved["workspaces"])
    order = RunRequest(Trigger.APPLY, by, reason, saved.get("user", ""), digests, wait_seconds, reviewed)
    return run_sync(context, names, order, form, verbose)
