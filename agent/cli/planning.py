"""`plan`, `sync` and `apply`: what would be done, doing it, and doing exactly what was reviewed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from agent.cli.output import Form, document_of, outcomes_of, show, write_file
from agent.cli.running import by_option, reason_option, run_within, warn, workspace_option
from agent.engine.approval import digest_prefix
from agent.engine.dryrun import dry_run
from agent.engine.memory import state_warning
from agent.engine.order import Order, Result
from agent.engine.retention import forget_old_runs
from agent.engine.run import counted
from agent.errors import Exit, UsageError, worst
from agent.ports import Trigger
from agent.report.document import encode
from agent.report.escape import harmless
from agent.report.rendering import Format
from agent.report.saved import parse
from agent.report.view import wrong_target
from agent.wiring import Parts

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
@click.option("--format", "form", type=Form(), default="text", show_default=True, help="How it is shown.")
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

    async def body(parts: Parts) -> list[Result]:
        order = Order(Trigger.PLAN, user=user)
        return await dry_run(parts.survey, parts.read_sites, names, order, exit_code=exit_code)

    results = run_within(context, body, is_reading=True)
    _warn(results)
    whole = document_of(results, user)
    if out is not None:
        write_file(out, encode(whole))
    show(whole, form, {}, verbose=verbose)
    return worst(result.exit for result in results)


def _synced(context: click.Context, names: Sequence[str], order: Order, form: Format, verbose: bool) -> int:
    async def body(parts: Parts) -> list[Result]:
        results = await parts.sync.run(names, order)
        # Of a run for one person nobody can say that the workspace is fine again.
        if order.is_whole:
            await parts.tell(results)
            await forget_old_runs(parts.state, parts.clock)
        return results

    results = run_within(context, body)
    _warn(results)
    show(document_of(results, order.user), form, outcomes_of(results), verbose=verbose)
    for result in results:
        _explain(result)
    return worst(result.exit for result in results)


def _warn(results: Sequence[Result]) -> None:
    for result in results:
        if reason := state_warning(result.object):
            warn(reason)


def _explain(result: Result) -> None:
    """Say on stderr why nothing, or not everything, was written."""
    name = result.workspace
    if result.error:
        click.echo(harmless(f"{name}: {result.error}"), err=True)
    elif result.pause is not None:
        since = result.pause.since.strftime("%Y-%m-%d %H:%M UTC")
        why = f": {result.pause.reason}" if result.pause.reason else ""
        made = counted(result.records) or "Nothing was written."
        click.echo(harmless(f"{name}: paused by {result.pause.by} since {since}{why}. {made}"), err=True)
        click.echo(f"  To go on: pigment-sync resume {name}", err=True)
    elif result.object["status"] == "planned" and result.object["mode"] == "dry-run":
        click.echo(f"{name}: in mode dry-run, so nothing was written.", err=True)
        click.echo(f"  To let it be written to: set workspaces.{name}.mode to enforce.", err=True)
    elif result.exit is Exit.HELD and (message := wrong_target(result.object)):
        click.echo(harmless(f"{name}: {message}"), err=True)
    elif result.exit is Exit.HELD:
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
@click.option("--format", "form", type=Form(), default="text", show_default=True, help="How it is shown.")
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
    order = Order(Trigger.SYNC, by, reason, user, frozenset(map(digest_prefix, digests)), wait_seconds)
    return _synced(context, names, order, form, verbose)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="PLAN.json")
@by_option
@reason_option
@wait_option
@click.option("--format", "form", type=Form(), default="text", show_default=True, help="How it is shown.")
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
    saved = parse(raw, str(file))
    names = [workspace["name"] for workspace in saved["workspaces"]]
    unplanned = [each["name"] for each in saved["workspaces"] if each["status"] != "planned"]
    if unplanned or not names:
        raise UsageError(
            f"{file} has no plan for {', '.join(unplanned) or 'any workspace'}: their reads were not complete.",
            "Make a new plan once they can be read, or plan only the others with --workspace.",
        )
    digests = frozenset(workspace["digest"] for workspace in saved["workspaces"])
    reviewed = tuple(saved["workspaces"])
    order = Order(Trigger.APPLY, by, reason, saved.get("user", ""), digests, wait_seconds, reviewed)
    return _synced(context, names, order, form, verbose)
