"""`sync`: run a sync that writes."""

from __future__ import annotations

from collections.abc import Sequence

import click

from agent.cli.options import (
    by_option,
    exit_code_option,
    guard_option,
    reason_option,
    report_format_option,
    user_option,
    verbose_option,
    wait_option,
    workspace_option,
)
from agent.cli.runtime import run_sync
from agent.engine.approval import digest_prefix
from agent.engine.plan_approval import parse_guards
from agent.engine.request import RunRequest
from agent.errors import UsageError
from agent.model.run import Trigger
from agent.report.render import Format

__all__ = ["sync"]


@click.command()
@workspace_option
@user_option
@click.option(
    "--approve",
    "approved_digests",
    multiple=True,
    metavar="DIGEST",
    help="Approve the plan with this digest, including changes on hold; 8 digits are enough.",
)
@guard_option
@by_option
@reason_option
@wait_option
@report_format_option
@exit_code_option
@verbose_option
@click.pass_context
def sync(  # noqa: PLR0913  (click hands each option by name)
    context: click.Context,
    names: Sequence[str],
    user: str,
    approved_digests: Sequence[str],
    guards: Sequence[str],
    by: str,
    reason: str,
    wait_seconds: float,
    output_format: Format,
    exit_code: bool,
    verbose: bool,
) -> int:
    """Sync workspaces, within the limits of the guards.

    Reads as `plan` does, then writes the differences to each workspace in mode enforce, deactivations first. Records
    each change in the links and the journal. Changes that a guard holds need --approve with the digest that `plan`
    shows, and --reason; --guard approves what one guard holds and nothing else. Where the configuration needs two
    people (`approvals.needed: 2`), the first approval is recorded and writes nothing.

    Exits 2 if --approve is not a digest or its workspace is paused or in mode dry-run, if the reason is missing, or if
    --guard holds nothing in the plan; 4 if changes need an approval or a second person's (other holds do not count), 5
    if a change failed, 6 if a read was incomplete (nothing was written), 7 if another run holds the workspace, 9 if the
    plan is no longer the approved one. With --exit-code also 3 if something was written, and 4 if anything on hold
    waits for a person. Toggles, a pause and mode dry-run do not count.

    \b
    pigment-sync sync
    pigment-sync sync --user ana.souza@acme.com --reason "help desk request"
    pigment-sync sync -w pigment-latam --approve sha256:… --reason "March reorganisation"
    pigment-sync sync -w pigment-latam --approve sha256:… --guard max-deactivations --reason "March reorganisation"
    pigment-sync sync --wait 300
    pigment-sync sync --exit-code
    """
    if guards and not approved_digests:
        raise UsageError("--guard narrows an approval, and --approve is missing.", "Give the digest with --approve.")
    request = RunRequest(
        Trigger.SYNC,
        by,
        reason,
        user,
        frozenset(map(digest_prefix, approved_digests)),
        wait_seconds,
        approved_guards=parse_guards(guards),
    )
    return run_sync(context, names, request, output_format, verbose=verbose, exit_code=exit_code)
