"""`sync`: a run that writes."""

from __future__ import annotations

from collections.abc import Sequence

import click

from agent.cli.options import (
    by_option,
    reason_option,
    report_format_option,
    user_option,
    verbose_option,
    wait_option,
    workspace_option,
)
from agent.cli.runtime import run_sync
from agent.engine.approval import digest_prefix
from agent.engine.request import RunRequest
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
    help="Release what guards hold in exactly this plan; the first 8 or more digits are enough.",
)
@by_option
@reason_option
@wait_option
@report_format_option
@verbose_option
@click.pass_context
def sync(  # noqa: PLR0913  (click hands each option by name)
    context: click.Context,
    names: Sequence[str],
    user: str,
    approved_digests: Sequence[str],
    by: str,
    reason: str,
    wait_seconds: float,
    output_format: Format,
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
    order = RunRequest(Trigger.SYNC, by, reason, user, frozenset(map(digest_prefix, approved_digests)), wait_seconds)
    return run_sync(context, names, order, output_format, verbose)
