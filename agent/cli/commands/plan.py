"""`plan`: the dry run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from agent.cli.options import report_format_option, user_option, verbose_option, workspace_option
from agent.cli.output import document_from_results, print_document, print_report, render_options, write_file
from agent.cli.runtime import load_settings, run_with_components, run_with_settings, warn, warn_about_state
from agent.engine.dryrun import dry_run
from agent.engine.planner import select_workspaces
from agent.engine.request import RunRequest, RunResult
from agent.errors import UsageError, worst_exit_code
from agent.model.run import Trigger
from agent.report.document import document_parts, plan_document
from agent.report.render import Format
from agent.report.schema import MembersFileObject
from agent.settings.root import STATE_FILE_NAME, Settings
from agent.settings.variables import refuse_invalid_variables

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["plan"]


@click.command()
@workspace_option
@user_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also save the plan as JSON, for apply.",
)
@click.option(
    "--members",
    "members_path",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Plan one workspace against an exported member list instead of its SCIM listing.",
)
@report_format_option
@click.option("--exit-code", is_flag=True, help="Exit 3 if a sync would make changes, 4 if a guard holds changes.")
@verbose_option
@click.pass_context
def plan(  # noqa: PLR0913  (click hands each option by name)
    context: click.Context,
    names: Sequence[str],
    user: str,
    out: Path | None,
    members_path: Path | None,
    output_format: Format,
    exit_code: bool,
    verbose: bool,
) -> int:
    """Show what a sync would change, and why (dry run).

    Reads the identity providers, the workspaces and the state. Never writes to a workspace; records the run in the
    journal. Exits 6 if a read was incomplete; with --exit-code also 3 and 4.

    With --members it reads the members from a CSV file (column email; also name and status) and sends nothing to the
    workspace, so SCIM may still be off. Such a plan is a first look: it is not recorded, and can't be applied.

    \b
    pigment-sync plan
    pigment-sync plan -w pigment-latam --format html > plan.html
    pigment-sync plan --user ana.souza@acme.com -v
    pigment-sync plan --out plan.json && pigment-sync apply plan.json
    pigment-sync plan -w pigment-latam --members members.csv
    """
    if members_path is not None:
        if out is not None:
            raise UsageError(
                "--members and --out can't be used together: a plan from a file can't be applied.",
                "To keep the plan, redirect --format json. To apply one, plan without --members.",
            )
        return _plan_members_file(
            context, names, members_path, user, output_format, exit_code=exit_code, verbose=verbose
        )

    async def body(components: Components) -> list[RunResult]:
        request = RunRequest(Trigger.PLAN, user=user)
        return await dry_run(
            components.planner,
            components.read_only_workspaces,
            names,
            request,
            exit_code=exit_code,
            tracer=components.tracer,
        )

    results = run_with_components(context, body, is_reading=True)
    warn_about_state(results)
    document = document_from_results(results, user)
    if out is not None:
        write_file(out, document_parts(document))
    print_document(document, output_format, {}, verbose=verbose, shows_digest=out is not None)
    return worst_exit_code(result.exit_code for result in results)


def _plan_members_file(  # noqa: PLR0913  (the options of the command, each by name)
    context: click.Context,
    names: Sequence[str],
    path: Path,
    user: str,
    output_format: Format,
    *,
    exit_code: bool,
    verbose: bool,
) -> int:
    """Plan the one workspace of *names* against the member list at *path*."""
    # A schedule plans without a file, and starts faster without what reads one.
    from agent.engine.members_plan import MembersPlan, plan_with_members
    from agent.members_file import read_members_file

    settings = load_settings(context)
    refuse_invalid_variables(os.environ, settings)
    name = _only_workspace(settings, names)
    members = read_members_file(path)
    for notice in members.notices:
        warn(notice)
    origin: MembersFileObject = {"file": members.name, "rows": len(members.members), "sha256": members.digest}

    async def body(components: Components) -> MembersPlan:
        return await plan_with_members(
            components.planner,
            components.contexts[name].policy,
            members,
            origin,
            has_names=members.has_names,
            user=user,
            exit_code=exit_code,
        )

    with TemporaryDirectory(prefix="pigment-sync-") as folder:
        # The real state could only mislead: its links name SCIM ids, which a file does not have.
        alone = settings.with_one_workspace(name, f"sqlite:///{folder}/{STATE_FILE_NAME}")
        planned = run_with_settings(alone, body, is_reading=False, warns=False)
    document = plan_document([planned.workspace], datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), user)
    options = replace(render_options(verbose=verbose), shows_approval=False)
    print_report(document, output_format, options)
    return planned.exit_code


def _only_workspace(settings: Settings, names: Sequence[str]) -> str:
    selected = list(select_workspaces(settings.workspaces, names))
    if len(selected) != 1:
        raise UsageError(
            f"--members needs one workspace, and {len(selected)} are meant: {', '.join(selected)}.",
            "Name the one that the file was exported from: --workspace NAME.",
        )
    return selected[0]
