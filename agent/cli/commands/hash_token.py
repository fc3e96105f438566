"""`hash-token`: create a token for the page and the API."""

from __future__ import annotations

import sys

import click

from agent.cli.output import print_text
from agent.errors import ExitCode
from agent.settings.token import Role, hashed_token, new_token

__all__ = ["hash_token"]


@click.command("hash-token")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default="read",
    show_default=True,
    help="What it allows.",
)
def hash_token(name: str, role: str) -> int:
    """Make a token for the page and the API of the daemon.

    Prints its entry for `server.tokens`; reads and writes nothing. NAME says whose it is; the journal names it as
    whoever triggered or approved a run. The token is shown once and kept nowhere: the entry goes into the
    configuration, the token to its owner.

    \b
    pigment-sync hash-token ana@acme.com --role operate
    pigment-sync hash-token grafana
    """
    token = new_token()
    entry = hashed_token(token, Role(role), name)
    print_text(f"{entry}\n")
    click.echo(
        f"The line above goes into server.tokens. The token, for {name} and shown only now:\n{token}", sys.stderr
    )
    return ExitCode.DONE
