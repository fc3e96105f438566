"""`explain` and `access`: why one person is in or out, and who has access to what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click

from agent.bootstrap import Components
from agent.cli.output import print_json, print_text
from agent.cli.runtime import run_with_components, workspace_option
from agent.engine.queries import explain_person, list_access, list_past_access
from agent.errors import ExitCode, exit_code_for_read_error, worst_exit_code
from agent.model import Unplanned
from agent.model.access import Access, Explanation
from agent.report.access import access_csv, access_html, access_text
from agent.report.escape import escape_control

__all__ = ["access", "explain"]

STEPS = ("source", "scope", "match", "decision", "actions")


@click.command()
@click.argument("email")
@workspace_option
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How it is shown."
)
@click.pass_context
def explain(context: click.Context, email: str, names: Sequence[str], form: str) -> int:
    """Say why one person is in or out of each workspace.

    Shows five steps: source, scope, match, decision, last actions. Reads the identity providers, the workspaces and the
    journal; writes nothing. Exits 2 when no workspace knows the address, 6 when a workspace could not be planned; the
    others are shown.

    \b
    pigment-sync explain ana.souza@acme.com
    pigment-sync explain ana.souza@acme.com -w pigment-latam --format json
    """

    async def body(parts: Components) -> list[Explanation | Unplanned]:
        return await explain_person(parts.planner, parts.read_only_workspaces, names, email)

    explained = run_with_components(context, body, is_reading=True)
    if form == "json":
        print_json([asdict(each) for each in explained])
    else:
        print_text("".join(map(_format_explanation, explained)))
    if all(isinstance(each, Explanation) and not each.found for each in explained):
        click.echo(
            escape_control(f"pigment-sync: No person or member has {email} in {_workspace_names(explained)}."), err=True
        )
        click.echo("  Check the spelling. A person is found by their current, wanted or previous address.", err=True)
        return ExitCode.USAGE
    return worst_exit_code(exit_code_for_read_error(each.code) for each in explained if isinstance(each, Unplanned))


def _workspace_names(explained: Sequence[Explanation | Unplanned]) -> str:
    return ", ".join(each.workspace for each in explained)


def _format_explanation(each: Explanation | Unplanned) -> str:
    lines = [f"── {each.workspace}"]
    if isinstance(each, Unplanned):
        return "\n".join([*lines, f"  {escape_control(each.message)}", f"  → {escape_control(each.remedy)}", "", ""])
    for number, step in enumerate(STEPS, start=1):
        first, *rest = getattr(each, step)
        lines.append(f"  {number} {step:<9} {escape_control(first)}")
        lines += [f"              {escape_control(sentence)}" for sentence in rest]
    if each.near:
        lines.append("    resembling:")
        lines += [f"              {escape_control(sentence)}" for sentence in each.near]
    return "\n".join([*lines, "", ""])


@click.command()
@workspace_option
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The end of that day (UTC), from the journal.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "html"]),
    default="text",
    show_default=True,
    help="How it is shown.",
)
@click.option("--bom", is_flag=True, help="Begin CSV with a byte-order mark, for spreadsheets.")
@click.pass_context
def access(context: click.Context, names: Sequence[str], as_of: datetime | None, form: str, bom: bool) -> int:
    """List who has access: through which group, and since when.

    Every active member of each workspace, with the last change and what is out of order. *since* is when a run created
    or reactivated it. It is empty where the access is older than the journal, or was given by something else.
    *first_seen* is when the journal first recorded the member. Reads the identity providers, the workspaces and the
    journal, or with --as-of the journal alone; writes nothing. Exits 6 when a workspace is missing.

    \b
    pigment-sync access
    pigment-sync access --format csv > access.csv
    pigment-sync access -w pigment-latam --as-of 2026-06-30
    """
    failures: dict[str, ExitCode] = {}

    async def body(parts: Components) -> tuple[list[Access], str]:
        if as_of is None:
            rows: list[Access] = []
            for each in await list_access(parts.planner, parts.read_only_workspaces, names):
                if isinstance(each, Unplanned):
                    failures[f"{each.workspace}: {each.message} {each.remedy}"] = exit_code_for_read_error(each.code)
                else:
                    rows.extend(each)
            return rows, parts.clock.now().strftime("%Y-%m-%d %H:%M UTC")
        return await _load_past_access(parts, names, as_of.replace(tzinfo=UTC) + timedelta(days=1), failures)

    rows, when = run_with_components(context, body, is_reading=True)
    match form:
        case "csv":
            print_text(access_csv(rows, bom=bom))
        case "html":
            print_text(access_html(rows, when))
        case _:
            print_text(access_text(rows))
    for failure in failures:
        click.echo(f"pigment-sync: {escape_control(failure)}", err=True)
    return worst_exit_code(failures.values())


async def _load_past_access(
    parts: Components, names: Sequence[str], until: datetime, failures: dict[str, ExitCode]
) -> tuple[list[Access], str]:
    rows: list[Access] = []
    times = []
    for name, taken, found in await list_past_access(parts.planner, parts.read_only_workspaces, names, until):
        if taken is None:
            sentence = f"{name}: the journal has no run until then. See: pigment-sync history --workspace {name}"
            failures[sentence] = ExitCode.INCOMPLETE
        else:
            rows.extend(found)
            times.append(f"{name} {taken:%Y-%m-%d %H:%M} UTC")
    return rows, ", ".join(times)
