"""`probe`: prove at a real workspace what the agent assumes of it, on a canary."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from agent.cli.options import by_option, complete_workspace, format_option
from agent.cli.output import print_text
from agent.cli.runtime import run_with_components
from agent.engine.planner import select_workspaces
from agent.engine.probe import ProbeResult, find_newest_probe, refuse_unsuitable
from agent.errors import UsageError
from agent.model import Policy
from agent.report.document import to_json_bytes
from agent.report.escape import escape_control
from agent.report.probe import probe_json, probe_text

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["probe"]


@click.command()
@click.option(
    "-w",
    "--workspace",
    "name",
    required=True,
    metavar="NAME",
    help="Workspace to probe.",
    shell_complete=complete_workspace,
)
@click.option("--as", "canary", default="", metavar="EMAIL", help="Address of the canary; no person may have it.")
@click.option("--show", is_flag=True, help="Show the newest result; send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@by_option
@format_option("text", "json")
@click.pass_context
def probe(  # noqa: PLR0913  (click hands each option by name)
    context: click.Context, name: str, canary: str, show: bool, yes: bool, by: str, output_format: str
) -> int:
    """Prove what is assumed of a workspace, on a canary.

    Reads as `plan` does, then writes to the workspace, in mode dry-run too, but to its own canary alone: creates it,
    renames it, changes its email and back, deactivates and reactivates it, and tries a second create and one in the
    domain example.invalid. Every member that it created is inactive at the end. If it was stopped or killed, the next
    probe first undoes what is left. Keeps the result in the state: `check` shows it, and later runs use it.

    The canary must be an address that no person and no member has, in the workspace's allowed_domains, or the canary of
    an earlier probe. It also uses the same address with +probe, and in example.invalid.

    Exits 0 if everything is as assumed, 2 if the canary is refused or the workspace is paused, 3 if something differs,
    4 if the state knows the workspace as another one, 6 if it could not come to its end, 7 if a run holds the
    workspace.

    \b
    pigment-sync probe -w pigment-latam --as canary@acme.com
    pigment-sync probe -w pigment-latam --as canary@acme.com --yes --format json
    pigment-sync probe -w pigment-latam --show
    """
    if show:
        return _show(context, name, output_format)
    if not canary:
        raise UsageError("The canary is missing.", f"Name one: pigment-sync probe -w {name} --as canary@acme.com")

    async def body(components: Components) -> ProbeResult:
        policy = select_workspaces(components.contexts, [name])[name].policy
        refuse_unsuitable(canary, policy)
        _announce(policy, canary)
        if not yes:
            _confirm()
        return await components.prober(name).probe(canary, by)

    result = run_with_components(context, body)
    _print_result(result, output_format)
    for problem in result.problems:
        click.echo(escape_control(f"{name}: {problem}"), err=True)
    return result.exit_code


def _announce(policy: Policy, canary: str) -> None:
    """Write to stderr what the probe is about to write, and where."""
    click.echo(
        escape_control(
            f"{policy.workspace} (mode {policy.mode}): this probe writes to {policy.target or 'the workspace'}, to its "
            f"canary {canary} alone. It creates, renames, moves, deactivates and reactivates the canary, may create a "
            "member in example.invalid, and leaves both inactive."
        ),
        err=True,
    )


def _confirm() -> None:
    """Ask on a terminal. Raises `UsageError` where no one can answer, and `click.Abort` for a no."""
    if not sys.stdin.isatty():
        raise UsageError("A probe writes, and no terminal can confirm it. Nothing was sent.", "Add --yes.")
    click.confirm("Begin?", abort=True, err=True)


def _show(context: click.Context, name: str, output_format: str) -> int:
    async def body(components: Components) -> ProbeResult:
        select_workspaces(components.contexts, [name])
        newest = await find_newest_probe(components.state, name)
        if newest is None:
            raise UsageError(
                f"{name} was never probed.", f"Probe it: pigment-sync probe -w {name} --as canary@acme.com"
            )
        return ProbeResult(newest)

    result = run_with_components(context, body, is_reading=True)
    _print_result(result, output_format)
    return result.exit_code


def _print_result(result: ProbeResult, output_format: str) -> None:
    if output_format == "json":
        print_text(to_json_bytes(probe_json(result.verification)).decode())
    else:
        print_text(probe_text(result.verification))
