"""`explain` and `access`: why one person is in or out, and who has access to what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click

from agent.answer import Access, Explanation
from agent.cli.output import print_json, print_text
from agent.cli.running import run_within, workspace_option
from agent.engine.inquiry import accesses, explanations, past_accesses
from agent.errors import Exit, unread, worst
from agent.model import Unplanned
from agent.report.access import access_page, access_sheet, access_text
from agent.report.escape import harmless
from agent.wiring import Parts

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

    async def body(parts: Parts) -> list[Explanation | Unplanned]:
        return await explanations(parts.survey, parts.read_sites, names, email)

    explained = run_within(context, body, is_reading=True)
    if form == "json":
        print_json([asdict(each) for each in explained])
    else:
        print_text("".join(map(_told, explained)))
    if all(isinstance(each, Explanation) and not each.found for each in explained):
        click.echo(harmless(f"pigment-sync: No person or member has {email} in {_names(explained)}."), err=True)
        click.echo("  Check the spelling. A person is found by their current, wanted or previous address.", err=True)
        return Exit.USAGE
    return worst(unread(each.code) for each in explained if isinstance(each, Unplanned))


def _names(explained: Sequence[Explanation | Unplanned]) -> str:
    return ", ".join(each.workspace for each in explained)


def _told(each: Explanation | Unplanned) -> str:
    lines = [f"── {each.workspace}"]
    if isinstance(each, Unplanned):
        return "\n".join([*lines, f"  {harmless(each.message)}", f"  → {harmless(each.remedy)}", "", ""])
    for number, step in enumerate(STEPS, start=1):
        first, *rest = getattr(each, step)
        lines.append(f"  {number} {step:<9} {harmless(first)}")
        lines += [f"              {harmless(sentence)}" for sentence in rest]
    if each.near:
        lines.append("    resembling:")
        lines += [f"              {harmless(sentence)}" for sentence in each.near]
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
    failures: dict[str, Exit] = {}

    async def body(parts: Parts) -> tuple[list[Access], str]:
        if as_of is None:
            rows: list[Access] = []
            for each in await accesses(parts.survey, parts.read_sites, names):
                if isinstance(each, Unplanned):
                    failures[f"{each.workspace}: {each.message} {each.remedy}"] = unread(each.code)
                else:
                    rows.extend(each)
            return rows, parts.clock.now().strftime("%Y-%m-%d %H:%M UTC")
        return await _past(parts, names, as_of.replace(tzinfo=UTC) + timedelta(days=1), failures)

    rows, when = run_within(context, body, is_reading=True)
    match form:
        case "csv":
            print_text(access_sheet(rows, bom=bom))
        case "html":
            print_text(access_page(rows, when))
        case _:
            print_text(access_text(rows))
    for failure in failures:
        click.echo(f"pigment-sync: {harmless(failure)}", err=True)
    return worst(failures.values())


async def _past(
    parts: Parts, names: Sequence[str], until: datetime, failures: dict[str, Exit]
) -> tuple[list[Access], str]:
    rows: list[Access] = []
    times = []
    for name, taken, found in await past_accesses(parts.survey, parts.read_sites, names, until):
        if taken is None:
            sentence = f"{name}: the journal has no run until then. See: pigment-sync history --workspace {name}"
            failures[sentence] = Exit.INCOMPLETE
        else:
            rows.extend(found)
            times.append(f"{name} {taken:%Y-%m-%d %H:%M} UTC")
    return rows, ", ".join(times)
