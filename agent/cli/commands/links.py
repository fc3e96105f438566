"""`links`: which member belongs to which person, and mending it, with who and why in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from agent.bootstrap import Components
from agent.cli.completion import complete_connector
from agent.cli.options import by_option, reason_option, required_workspace_option, workspace_option
from agent.cli.output import format_link_edits, print_text
from agent.cli.runtime import run_with_components
from agent.engine.links import LinkEditor
from agent.engine.planner import select_workspaces
from agent.engine.request import RunRequest
from agent.errors import ExitCode, UsageError
from agent.model.run import LinkEdit, Trigger
from agent.report.escape import escape_control
from connectors.base import PersonKey

__all__ = ["links"]

connector_option = partial(click.option, metavar="CONNECTOR", required=True, shell_complete=complete_connector)


@click.group()
def links() -> None:
    """Inspect and mend which member belongs to which person.

    Links are the memory of the agent. Nothing here is ever sent to Pigment; each mend is kept in the journal, with who
    and why.

    \b
    pigment-sync links list
    pigment-sync links move --from okta-main --to entra-eu
    """


@links.command("list")
@workspace_option
@click.pass_context
def list_links(context: click.Context, names: Sequence[str]) -> int:
    """List every link with its member.

    One line for each: workspace, email, CONNECTOR:ID of the person, id of the member, and whether it is inactive. Reads
    the state and the workspaces; writes nothing.

    \b
    pigment-sync links list
    pigment-sync links list -w pigment-latam
    """

    async def body(parts: Components) -> str:
        lines = []
        for name in select_workspaces(parts.read_only_workspaces, names):
            for link, member in await parts.link_editor(name).list_links():
                email = member.email if member else "(not in the listing)"
                state = "" if member is None or member.active else "inactive"
                row = (name, email, f"{link.person.connector}:{link.person.id}", link.scim_id, state)
                lines.append("\t".join(escape_control(cell) for cell in row).rstrip())
        return "".join(f"{line}\n" for line in lines)

    print_text(run_with_components(context, body, is_reading=True))
    return ExitCode.DONE


def _parse_person_key(text: str) -> PersonKey:
    connector, colon, name = text.partition(":")
    if not (connector and colon and name):
        raise UsageError(f"{text} names no person.", "Write CONNECTOR:ID, as plans and `links list` show it.")
    return PersonKey(connector, name)


async def _write_link_edits(mending: LinkEditor, mends: Sequence[LinkEdit], by: str, reason: str) -> str:
    if not mends:
        return "Nothing to mend: it is so already.\n"
    await mending.write(mends, RunRequest(Trigger.LINKS, by, reason))
    return f"{len(mends)} links mended:\n{format_link_edits(mends)}"


@links.command()
@connector_option("--from", "old", help="Whose links are to move.")
@connector_option("--to", "new", help="Whose people they are to belong to, by email.")
@workspace_option
@click.option("--yes", is_flag=True, help="Do it; without, only show it.")
@by_option
@reason_option
@click.pass_context
def move(  # noqa: PLR0913  (click hands each option by name)
    context: click.Context, old: str, new: str, names: Sequence[str], yes: bool, by: str, reason: str
) -> int:
    """Move links to the same people in another identity provider.

    For a company that moved from one to another: each link of --from goes to the person of --to who has the member's
    email. Reads the identity providers and the workspaces; writes links only with --yes, and nothing to Pigment.

    \b
    pigment-sync links move --from okta-main --to entra-eu
    pigment-sync links move --from okta-main --to entra-eu -w pigment-latam --yes --reason "we moved to Entra"
    """

    async def body(parts: Components) -> str:
        told = []
        for name, site in select_workspaces(parts.read_only_workspaces, names).items():
            if not names and new not in {source.connector for source in site.policy.sources}:
                continue
            mending = parts.link_editor(name)
            found = await mending.plan_rebind(old, new)
            told.append(f"{name}: {len(found.edits)} links move from {old} to {new}, {len(found.unmatched)} stay\n")
            told.extend(
                escape_control(f"  {email} stays: nobody, or not one unlinked person, of {new} has it") + "\n"
                for email in found.unmatched
            )
            mends = [mend for _, mend in found.edits]
            told.append(await _write_link_edits(mending, mends, by, reason) if yes else format_link_edits(mends))
        if not yes:
            told.append("Nothing was written. To do it, add --yes\n")
        return "".join(told)

    print_text(run_with_components(context, body, is_reading=not yes))
    return ExitCode.DONE


@links.command()
@click.argument("email")
@required_workspace_option
@click.option("--person", required=True, metavar="CONNECTOR:ID", help="Whose it is, as plans and `links list` show it.")
@by_option
@reason_option
@click.pass_context
def assign(context: click.Context, email: str, name: str, person: str, by: str, reason: str) -> int:
    """Say that the member with EMAIL belongs to a person.

    Clears holds that no rule can decide, as possible-rename or possible-recycled-address. Reads the identity providers
    and the workspace; writes the link.

    \b
    pigment-sync links assign ana.lima@acme.com -w pigment-latam --person okta-main:00u1 --reason "she married"
    """

    async def body(parts: Components) -> str:
        mending = parts.link_editor(name)
        return await _write_link_edits(mending, await mending.plan_assign(email, _parse_person_key(person)), by, reason)

    print_text(run_with_components(context, body))
    return ExitCode.DONE


@links.command()
@click.argument("person", metavar="CONNECTOR:ID")
@required_workspace_option
@by_option
@reason_option
@click.pass_context
def forget(context: click.Context, person: str, name: str, by: str, reason: str) -> int:
    """Forget the link of a person whose member is gone for good.

    CONNECTOR:ID is the person as `links list` shows it. Reads the workspace; writes the link's end.

    \b
    pigment-sync links forget okta-main:00u1 -w pigment-latam --reason "removed by Pigment's support"
    """

    async def body(parts: Components) -> str:
        mending = parts.link_editor(name)
        return await _write_link_edits(mending, await mending.plan_forget(_parse_person_key(person)), by, reason)

    print_text(run_with_components(context, body))
    return ExitCode.DONE
