"""`state`: bring what is remembered up to this version, as a step of its own."""

from __future__ import annotations

import asyncio

import click

from agent.cli.running import loaded
from agent.errors import Exit
from agent.report.escape import harmless
from agent.wiring import lasting

__all__ = ["state"]


@click.group()
def state() -> None:
    """Look after the state: links, leases and the journal.

    Commands that only read never change the schema of a state: after an upgrade this command does, or the first one
    that writes.

    \b
    pigment-sync state migrate
    """


@state.command()
@click.pass_context
def migrate(context: click.Context) -> int:
    """Bring the schema of the state up to this version.

    Makes a state where there is none. `sync`, `apply`, `serve` and all others that write do the same when they start;
    commands that only read refuse a state that is older. Writes the schema; reads neither the identity providers nor
    Pigment. Back up the state first: a version before this one can't open it afterwards.

    \b
    pigment-sync state migrate
    """
    settings = loaded(context)

    async def body() -> tuple[str, bool]:
        async with lasting(settings) as kept:
            return kept.place, kept.is_new

    place, is_new = asyncio.run(body())
    click.echo(harmless(f"A new state was made at {place}." if is_new else f"The state {place} is up to date."))
    return Exit.DONE
