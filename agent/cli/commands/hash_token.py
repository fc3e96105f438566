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
    help="Role of the token.",
)
def hash_token(name: str, role: str) -> int:
    """Create a token for the page and the API of the daemon.

    Prints the entry for `server.tokens` to stdout and the token to stderr; reads and writes no file. NAME identifies
    the owner: the journal records it for each run that the token triggers or approves. Add the entry to the
    configuration and give the token to its owner. The token is shown only once.

    \b
    pigment-sync hash-token ana@acme.com --role operate
    pigment-sync hash-token grafana
    """
    token = new_token()
    entry = hashed_token(token, Role(role), name)
    print_text(f"{entry}\n")
    click.echo(f"Add the line above to server.tokens. The token of {name}, shown only once:\n{token}", sys.stderr)
    return ExitCode.DONE
