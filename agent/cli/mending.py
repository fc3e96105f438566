"""`links`, `undo`, `pause` and `resume`: put right what was linked or done, with who and why in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import click

from agent.cli.completing import connector_names, workspace_names
from agent.cli.output import document_of, look, outcomes_of, print_text
from agent.cli.running import by_option, reason_option, run_within, workspace_option
from agent.engine.dryrun import dry_run
from agent.engine.links import Links
from agent.engine.order import Order, Result
from agent.engine.run import noted
from agent.engine.survey import chosen
from agent.errors import Exit, UsageError, worst
from agent.ports import Mend, Pause, Trigger
from agent.report.escape import harmless
from agent.report.rendering import Format, render
from agent.report.view import approvable
from agent.wiring import Parts
from connectors.base import PersonKey

__all__ = ["links", "pause", "resume", "undo"]

one_workspace = click.option(
    "-w", "--workspace", "name", required=True, metavar="NAME", help="Whose link.", shell_complete=workspace_names
)
connector = partial(click.option, metavar="CONNECTOR", required=True, shell_complete=connector_names)


@click.group()
def links() -> None:
    """Inspect and mend the memory of which member belongs to which person."""


@links.command("list")
@workspace_option
@click.pass_context
def list_links(context: click.Context, names: Sequence[str]) -> int:
    """List every link with its member."""

    async def body(parts: Parts) -> str:
        lines = []
        for name in chosen(parts.read_sites, names):
            for link, member in await parts.links(name).listed():
                email = member.email if member else "(not in the listing)"
                state = "" if member is None or member.active else "inactive"
                row = (name, email, f"{link.person.connector}:{link.person.id}", link.scim_id, state)
                lines.append("\t".join(harmless(cell) for cell in row).rstrip())
        return "".join(f"{line}\n" for line in lines)

    print_text(run_within(context, body))
    return Exit.DONE


def _person(text: str) -> PersonKey:
    connector, colon, name = text.partition(":")
    if not (connector and colon and name):
        raise UsageError(f"{text} names no person.", "Write CONNECTOR:ID, as plans and `links list` show it.")
    return PersonKey(connector, name)


def _told(mends: Sequence[Mend]) -> str:
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
    return f"{len(mends)} links mended:\n{_told(mends)}"


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
    """Re-bind the links of one connector to the people of another who have the members' emails.

    For a company that moved from one identity provider to another: nothing is sent to Pigment.
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
            told.append(await _written(mending, mends, by, reason) if yes else _told(mends))
        if not yes:
            told.append("Nothing was written. To do it, add --yes\n")
        return "".join(told)

    print_text(run_within(context, body))
    return Exit.DONE


@links.command()
@click.argument("email")
@one_workspace
@click.option("--person", required=True, metavar="CONNECTOR:ID")
@by_option
@reason_option
@click.pass_context
def assign(context: click.Context, email: str, name: str, person: str, by: str, reason: str) -> int:
    """Say that the member with EMAIL belongs to a person: clears holds that no rule can decide."""

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
    """Forget a person's link: for a member that is gone from the listing for good."""

    async def body(parts: Parts) -> str:
        mending = parts.links(name)
        return await _written(mending, await mending.forgotten(_person(person)), by, reason)

    print_text(run_within(context, body))
    return Exit.DONE


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--approve", "digest", metavar="DIGEST", help="Do it; without, only show it.")
@by_option
@reason_option
@click.pass_context
def undo(context: click.Context, run_id: str, digest: str | None, by: str, reason: str) -> int:
    """Put back what a run did, and pause its workspace so that the schedule does not redo it.

    Members that somebody has changed since are left alone and named.
    """

    async def body(parts: Parts) -> list[Result]:
        run = await parts.state.run(run_id)
        if run is None:
            raise UsageError(f"There is no run {run_id}.", "See: pigment-sync history")
        chosen(parts.sites, [run.workspace])
        order = Order(Trigger.UNDO, by, reason or f"undo of {run_id}", approvals=frozenset({digest} if digest else ()))
        if digest is None:
            return await dry_run(parts.undoing(run_id), parts.read_sites, [run.workspace], order)
        results = await parts.undoing_sync(run_id).run([run.workspace], order)
        pausing = Pause(parts.clock.now(), by, order.reason)
        await parts.state.pause(run.workspace, pausing)
        return results

    results = run_within(context, body)
    shown = replace(look(verbose=True), approves=False)
    print_text(render(document_of(results), Format.TEXT, shown, outcomes_of(results)))
    for result in results:
        waits = bool(result.object["changes"]) or approvable(result.object)
        if digest is None and waits:
            again = f"pigment-sync undo {run_id} --approve {result.object['digest']}"
            click.echo(f"Nothing was written. To do it: {again}", err=True)
            return Exit.HELD
        if digest is not None:
            click.echo(f"{result.workspace} is paused. To go on: pigment-sync resume {result.workspace}", err=True)
    return worst(result.exit for result in results)


@click.command()
@click.argument("name", metavar="WORKSPACE", shell_complete=workspace_names)
@by_option
@reason_option
@click.pass_context
def pause(context: click.Context, name: str, by: str, reason: str) -> int:
    """Stop writing to a workspace until `resume`; it is still planned and reported."""

    async def body(parts: Parts) -> None:
        chosen(parts.sites, [name])
        now = parts.clock.now()
        await parts.state.pause(name, Pause(now, by, reason))
        await parts.state.record_run(noted(name, Order(Trigger.PAUSE, by, reason), now))

    run_within(context, body)
    click.echo(f"{name} is paused. To go on: pigment-sync resume {name}")
    return Exit.DONE


@click.command()
@click.argument("name", metavar="WORKSPACE", shell_complete=workspace_names)
@by_option
@reason_option
@click.pass_context
def resume(context: click.Context, name: str, by: str, reason: str) -> int:
    """Let a paused workspace be written to again."""

    async def body(parts: Parts) -> bool:
        chosen(parts.sites, [name])
        if await parts.state.paused(name) is None:
            return False
        await parts.state.pause(name, None)
        await parts.state.record_run(noted(name, Order(Trigger.RESUME, by, reason), parts.clock.now()))
        return True

    was_paused = run_within(context, body)
    click.echo(f"{name} is written to again." if was_paused else f"{name} was not paused.")
    return Exit.DONE
