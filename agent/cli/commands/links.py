"""`links`: list and correct which member belongs to which person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from agent.cli.options import by_option, complete_connector, reason_option, required_workspace_option, workspace_option
from agent.cli.output import format_link_edits, link_count, print_table, print_text
from agent.cli.runtime import run_with_components
from agent.engine.links import LinkEditor, parse_person_key
from agent.engine.planner import select_workspaces
from agent.engine.request import RunRequest
from agent.errors import ExitCode
from agent.model.run import LinkEdit, Trigger
from agent.report.escape import escape_control

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["links"]

connector_option = partial(click.option, metavar="CONNECTOR", required=True, shell_complete=complete_connector)


@click.group()
def links() -> None:
    """List and correct which member belongs to which person.

    A link records which person a member belongs to. Nothing is sent to Pigment. The journal records each correction,
    with who made it and why.

    \b
    pigment-sync links list
    pigment-sync links move --from okta-main --to entra-eu
    """


@links.command("list")
@workspace_option
@click.pass_context
def list_links(context: click.Context, names: Sequence[str]) -> int:
    """List every link with its member.

    A table on a terminal, and tab-separated with a heading line in a pipe: workspace, email, CONNECTOR:ID of the
    person, member id, and whether the member is inactive. Reads the state and the workspaces; writes nothing.

    \b
    pigment-sync links list
    pigment-sync links list -w pigment-latam
    """

    async def body(components: Components) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for name in select_workspaces(components.read_only_workspaces, names):
            for link, member in await components.link_editor(name).list_links():
                email = member.email if member else "(not in the listing)"
                state = "" if member is None or member.active else "inactive"
                rows.append((name, email, f"{link.person.connector}:{link.person.id}", link.scim_id, state))
        return rows

    headings = ("workspace", "email", "person", "scim_id", "status")
    print_table(headings, run_with_components(context, body, is_reading=True))
    return ExitCode.DONE


async def _write_link_edits(
    editor: LinkEditor, edits: Sequence[LinkEdit], emails: Mapping[str, str], by: str, reason: str
) -> str:
    if not edits:
        return "No change: the links are already correct.\n"
    await editor.write(edits, RunRequest(Trigger.LINKS, by, reason))
    return f"{link_count(edits)} changed:\n{format_link_edits(edits, emails)}"


@links.command()
@connector_option("--from", "old", help="Connector that has the links now.")
@connector_option("--to", "new", help="Connector of the people to link to, matched by email.")
@workspace_option
@click.option("--yes", is_flag=True, help="Apply; without it, only show.")
@by_option
@reason_option
@click.pass_context
def move(  # noqa: PLR0913  (click hands each option by name)
    context: click.Context, old: str, new: str, names: Sequence[str], yes: bool, by: str, reason: str
) -> int:
    """Move links to the same people in another connector.

    For a company that changed its identity provider. Each link of --from moves to the person of --to with the email of
    the member. Reads the identity providers and the workspaces; writes links only with --yes, and nothing to Pigment.

    \b
    pigment-sync links move --from okta-main --to entra-eu
    pigment-sync links move --from okta-main --to entra-eu -w pigment-latam --yes --reason "migration to Entra"
    """

    async def body(components: Components) -> str:
        output = []
        for name, site in select_workspaces(components.read_only_workspaces, names).items():
            if not names and new not in {source.connector for source in site.policy.sources}:
                continue
            editor = components.link_editor(name)
            rebind = await editor.plan_rebind(old, new)
            edits = [edit for _, edit in rebind.edits]
            emails = {edit.link.scim_id: email for email, edit in rebind.edits if edit.link}
            output.append(
                f"{name}: {link_count(edits)} to move from {old} to {new}, {len(rebind.unmatched)} without a match\n"
            )
            output.extend(
                escape_control(f"  {email} stays: {new} has no single unlinked person with this email") + "\n"
                for email in rebind.unmatched
            )
            output.append(
                await _write_link_edits(editor, edits, emails, by, reason)
                if yes
                else format_link_edits(edits, emails, is_done=False)
            )
        if not yes:
            output.append("Nothing was written. To apply, add --yes\n")
        return "".join(output)

    print_text(run_with_components(context, body, is_reading=not yes))
    return ExitCode.DONE


@links.command()
@click.argument("email")
@required_workspace_option
@click.option(
    "--person", required=True, metavar="CONNECTOR:ID", help="Person to link to, as shown by plans and `links list`."
)
@by_option
@reason_option
@click.pass_context
def assign(context: click.Context, email: str, name: str, person: str, by: str, reason: str) -> int:
    """Link the member with EMAIL to a person.

    Clears holds that no rule can decide, such as possible-rename or possible-recycled-address. Reads the workspace;
    writes the link to the state.

    \b
    pigment-sync links assign ana.lima@acme.com -w pigment-latam --person okta-main:00u1 --reason "new surname"
    """

    async def body(components: Components) -> str:
        editor = components.link_editor(name)
        edits = await editor.plan_assign(email, parse_person_key(person))
        emails = {edit.link.scim_id: email for edit in edits if edit.link}
        return await _write_link_edits(editor, edits, emails, by, reason)

    print_text(run_with_components(context, body))
    return ExitCode.DONE


@links.command()
@click.argument("email")
@required_workspace_option
@click.option(
    "--person", required=True, metavar="CONNECTOR:ID", help="Person to create a member for, as shown by the hold."
)
@by_option
@reason_option
@click.pass_context
def new(context: click.Context, email: str, name: str, person: str, by: str, reason: str) -> int:
    """Record that a person is not the member with EMAIL.

    Clears a hold possible-rename of two people with the same name: the next run creates a member for the person. If
    they are one person, use `links assign`. Reads the identity providers and the workspace; writes to the state.

    \b
    pigment-sync links new ana.lima@acme.com -w pigment-latam --person okta-main:00u1 --reason "two people"
    """

    async def body(components: Components) -> str:
        editor = components.link_editor(name)
        pair = await editor.plan_new(email, parse_person_key(person))
        await editor.write_new(pair, RunRequest(Trigger.LINKS, by, reason, email))
        done = f"Recorded: {person} is not the member {email}. The next run of {name} creates a member for {person}."
        return escape_control(done) + "\n"

    print_text(run_with_components(context, body))
    return ExitCode.DONE


@links.command()
@click.argument("person", metavar="CONNECTOR:ID")
@required_workspace_option
@by_option
@reason_option
@click.pass_context
def forget(context: click.Context, person: str, name: str, by: str, reason: str) -> int:
    """Remove the link of a person whose member is gone.

    CONNECTOR:ID is the person as shown by `links list`. Reads and writes only the state.

    \b
    pigment-sync links forget okta-main:00u1 -w pigment-latam --reason "removed by Pigment support"
    """

    async def body(components: Components) -> str:
        editor = components.link_editor(name)
        edits = await editor.plan_forget(parse_person_key(person))
        return await _write_link_edits(editor, edits, {}, by, reason)

    print_text(run_with_components(context, body))
    return ExitCode.DONE
