"""`links`: which member belongs to which person, and mending it, with who and why in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from agent.cli.completing import connector_names, workspace_names
from agent.cli.output import print_text
from agent.cli.running import by_option, reason_option, run_within, workspace_option
from agent.engine.links import Links
from agent.engine.order import Order
from agent.engine.survey import chosen
from agent.errors import Exit, UsageError
from agent.ports import Mend, Trigger
from agent.report.escape import harmless
from agent.wiring import Parts
from connectors.base import PersonKey

__all__ = ["links", "mended_lines"]

one_workspace = click.option(
    "-w", "--workspace", "name", required=True, metavar="NAME", help="Whose link.", shell_complete=workspace_names
)
connector = partial(click.option, metavar="CONNECTOR", required=True, shell_complete=connector_names)


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

    async def body(parts: Parts) -> str:
        lines = []
        for name in chosen(parts.read_sites, names):
            for link, member in await parts.links(name).listed():
                email = member.email if member else "(not in the listing)"
                state = "" if member is None or member.active else "inactive"
                row = (name, email, f"{link.person.connector}:{link.person.id}", link.scim_id, state)
                lines.append("\t".join(harmless(cell) for cell in row).rstrip())
        return "".join(f"{line}\n" for line in lines)

    print_text(run_within(context, body, is_reading=True))
    return Exit.DONE


def _person(text: str) -> PersonKey:
    connector, colon, name = text.partition(":")
    if not (connector and colon and name):
        raise UsageError(f"{text} names no person.", "Write CONNECTOR:ID, as plans and `links list` show it.")
    return PersonKey(connector, name)


def mended_lines(mends: Sequence[Mend]) -> str:
    """Return a line for each of *mends*: the member, whose it was, whose it is."""

    def side(mend: Mend, *, former: bool) -> str:
        link = mend.was if former else mend.link
        return f"{link.person.connector}:{link.person.id}" if link else "nobody"

    def scim_id(mend: Mend) -> str:
        link = mend.link or mend.was
        return link.scim_id if link else ""

    return "".join(
        harmless(f"  member {scim_id(mend)}: {side(mend, former=True)} -> {side(mend, former=False)}") + "\n"
        for mend in mends
    )


async def _written(mending: Links, mends: Sequence[Mend], by: str, reason: str) -> str:
    if not mends:
        return "Nothing to mend: it is so already.\n"
    await mending.write(mends, Order(Trigger.LINKS, by, reason))
    return f"{len(mends)} links mended:\n{mended_lines(mends)}"


@links.command()
@connector("--from", "old", help="Whose links are to move.")
@connector("--to", "new", help="Whose people they are to belong to, by email.")
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

    async def body(parts: Parts) -> str:
        told = []
        for name, site in chosen(parts.read_sites, names).items():
            if not names and new not in {source.connector for source in site.policy.sources}:
                continue
            mending = parts.links(name)
            found = await mending.moved(old, new)
            told.append(f"{name}: {len(found.mends)} links move from {old} to {new}, {len(found.unmatched)} stay\n")
            told.extend(
                harmless(f"  {email} stays: nobody, or not one unlinked person, of {new} has it") + "\n"
                for email in found.unmatched
            )
            mends = [mend for _, mend in found.mends]
            told.append(await _written(mending, mends, by, reason) if yes else mended_lines(mends))
        if not yes:
            told.append("Nothing was written. To do it, add --yes\n")
        return "".join(told)

    print_text(run_within(context, body, is_reading=not yes))
    return Exit.DONE


@links.command()
@click.argument("email")
@one_workspace
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

    async def body(parts: Parts) -> str:
        mending = parts.links(name)
        return await _written(mending, await mending.assigned(email, _person(person)), by, reason)

    print_text(run_within(context, body))
    return Exit.DONE


@links.command()
@click.argument("person", metavar="CONNECTOR:ID")
@one_workspace
@by_option
@reason_option
@click.pass_context
def forget(context: click.Context, person: str, name: str, by: str, reason: str) -> int:
    """Forget the link of a person whose member is gone for good.

    CONNECTOR:ID is the person as `links list` shows it. Reads the workspace; writes the link's end.

    \b
    pigment-sync links forget okta-main:00u1 -w pigment-latam --reason "removed by Pigment's support"
    """

    async def body(parts: Parts) -> str:
        mending = parts.links(name)
        return await _written(mending, await mending.forgotten(_person(person)), by, reason)

    print_text(run_within(context, body))
    return Exit.DONE
