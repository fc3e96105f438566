"""`serve`: the daemon, in the foreground; `hash-token`: a token for its page and API."""

from __future__ import annotations

import asyncio
import os
import sys

import click

from agent.cli.output import print_text
from agent.cli.runtime import config_path, configure_logs, load_settings
from agent.errors import ExitCode
from agent.settings.token import Role, hashed_token, new_token

__all__ = ["hash_token", "serve"]


@click.command()
@click.pass_context
def serve(context: click.Context) -> int:
    """Run the daemon: schedules, page, API and metrics.

    Runs in the foreground. SIGTERM and SIGINT let the change in flight be answered, close the runs and end within 30
    seconds. A changed configuration file, or SIGHUP, is taken at once if it is valid; else the former stays in force.
    Reads and writes as `sync` does, at the times that each workspace's schedule says.

    \b
    pigment-sync serve
    pigment-sync --config /etc/pigment-sync/config.yaml serve
    """
    # The server and the scheduler would make every other command start later.
    from agent.server import serve as serve_until_stopped

    settings = load_settings(context)
    asyncio.run(serve_until_stopped(config_path(context), os.environ, settings, configure_logs))
    return ExitCode.DONE


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
