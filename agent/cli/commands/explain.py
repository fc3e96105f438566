"""`explain`: why a person has or lacks access to each workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from agent.cli.options import format_option, refuse_invalid_email, workspace_option
from agent.cli.output import print_json, print_text
from agent.cli.runtime import run_with_components
from agent.diff.verdict import verdict_line
from agent.engine.queries import explain_person
from agent.errors import ExitCode, exit_code_for_read_error, worst_exit_code
from agent.model import Unplanned
from agent.model.access import Explanation
from agent.report.escape import escape_control

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["explain"]


STEPS = ("source", "scope", "match", "decision", "actions")


@click.command()
@click.argument("email")
@workspace_option
@format_option("text", "json")
@click.pass_context
def explain(context: click.Context, email: str, names: Sequence[str], output_format: str) -> int:
    """Show why a person has access to each workspace or not.

    The first line is the verdict. Then each workspace has five steps: source, scope, match, decision and last actions.
    Reads the identity providers, the workspaces and the journal; writes nothing. Exits 2 if the address is unknown or
    not an email address, 6 if a workspace could not be planned; the others are shown.

    \b
    pigment-sync explain ana.souza@acme.com
    pigment-sync explain ana.souza@acme.com -w pigment-latam --format json
    """

    refuse_invalid_email(email)

    async def body(components: Components) -> list[Explanation | Unplanned]:
        return await explain_person(components.planner, components.read_only_workspaces, names, email)

    explanations = run_with_components(context, body, is_reading=True)
    is_unknown = all(isinstance(each, Explanation) and not each.found for each in explanations)
    if output_format == "json":
        print_json([asdict(each) for each in explanations])
    else:
        verdict = "" if is_unknown else f"{escape_control(verdict_line(email, explanations))}\n\n"
        print_text(verdict + "".join(map(_format_explanation, explanations)))
    if is_unknown:
        click.echo(
            escape_control(f"pigment-sync: No person or member has {email} in {_workspace_names(explanations)}."),
            err=True,
        )
        click.echo("  Check the spelling. Current, wanted and previous addresses are searched.", err=True)
        return ExitCode.USAGE
    return worst_exit_code(exit_code_for_read_error(each.code) for each in explanations if isinstance(each, Unplanned))


def _workspace_names(explanations: Sequence[Explanation | Unplanned]) -> str:
    return ", ".join(each.workspace for each in explanations)


def _format_explanation(each: Explanation | Unplanned) -> str:
    lines = [f"── {each.workspace}"]
    if isinstance(each, Unplanned):
        return "\n".join([*lines, f"  {escape_control(each.message)}", f"  → {escape_control(each.remedy)}", "", ""])
    for number, step in enumerate(STEPS, start=1):
        first, *rest = getattr(each, step)
        lines.append(f"  {number} {step:<9} {escape_control(first)}")
        lines += [f"              {escape_control(sentence)}" for sentence in rest]
    if each.near:
        lines.append("    similar:")
        lines += [f"              {escape_control(sentence)}" for sentence in each.near]
    return "\n".join([*lines, "", ""])
