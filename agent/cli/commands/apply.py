"""`apply`: a run that writes exactly the plan that was reviewed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from agent.cli.options import (
    by_option,
    exit_code_option,
    guard_option,
    reason_option,
    report_format_option,
    verbose_option,
    wait_option,
)
from agent.cli.runtime import run_sync
from agent.engine.plan_approval import parse_guards
from agent.engine.request import ReviewedPlan, RunRequest
from agent.errors import UsageError
from agent.model.run import Trigger
from agent.plan_parser import parse_document
from agent.report.document import encode_workspace
from agent.report.render import Format

__all__ = ["apply"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="PLAN.json")
@guard_option
@by_option
@reason_option
@wait_option
@report_format_option
@exit_code_option
@verbose_option
@click.pass_context
def apply(  # noqa: PLR0913  (click hands each option by name)
    context: click.Context,
    file: Path,
    guards: Sequence[str],
    by: str,
    reason: str,
    wait_seconds: float,
    output_format: Format,
    exit_code: bool,
    verbose: bool,
) -> int:
    """Apply a saved plan, if it is still current.

    PLAN.json is a file that `plan --out` wrote. Reads everything again and writes exactly the changes of the plan. This
    approves the changes that guards hold, as `sync --approve` does, and then needs --reason. If the plan has changed
    since, nothing is written and the difference is shown (exit code 9). The other exit codes are those of `sync`.

    \b
    pigment-sync plan --out plan.json
    pigment-sync apply plan.json --by ana@acme.com --reason "reviewed in change 4711"
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        hint = "Name a file written by `pigment-sync plan --out FILE`."
        raise UsageError(f"{file} can't be read ({error.strerror}).", hint) from error
    saved = parse_document(raw, str(file))
    if any("members_from" in workspace for workspace in saved["workspaces"]):
        raise UsageError(
            f"{file} was planned against an exported member list, which has no SCIM ids. It can't be applied.",
            "Plan against the workspace: `pigment-sync plan --out FILE`.",
        )
    names = [workspace["name"] for workspace in saved["workspaces"]]
    unplanned = [each["name"] for each in saved["workspaces"] if each["status"] != "planned"]
    if unplanned or not names:
        raise UsageError(
            f"{file} has no plan for {', '.join(unplanned) or 'any workspace'}: their reads were incomplete.",
            "Plan again once they can be read, or plan only the other workspaces with --workspace.",
        )
    approved_digests = frozenset(workspace["digest"] for workspace in saved["workspaces"])
    reviewed = tuple(ReviewedPlan(each["name"], each["digest"], encode_workspace(each)) for each in saved["workspaces"])
    user, codes = saved.get("user", ""), parse_guards(guards)
    request = RunRequest(
        Trigger.APPLY, by, reason, user, approved_digests, wait_seconds, reviewed, approved_guards=codes
    )
    return run_sync(context, names, request, output_format, verbose=verbose, exit_code=exit_code)
