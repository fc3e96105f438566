"""Options that several commands share."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from typing import TypeVar

import click

from agent.cli.completion import complete_workspace
from agent.cli.output import FormatChoice

__all__ = [
    "bom_option",
    "by_option",
    "format_option",
    "reason_option",
    "report_format_option",
    "required_workspace_option",
    "user_option",
    "verbose_option",
    "wait_option",
    "workspace_option",
]

F = TypeVar("F", bound=Callable[..., object])


def os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that has no name.
        return f"uid {os.getuid()}"


workspace_option = click.option(
    "-w",
    "--workspace",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this workspace; repeatable.",
    shell_complete=complete_workspace,
)
required_workspace_option = click.option(
    "-w",
    "--workspace",
    "name",
    required=True,
    metavar="NAME",
    help="Workspace of the link.",
    shell_complete=complete_workspace,
)
user_option = click.option(
    "--user", default="", metavar="EMAIL", help="Only this person (current, wanted or previous email)."
)
wait_option = click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Maximum wait for another run to end.",
)
by_option = click.option(
    "--by",
    default=os_user,
    show_default="the OS user",
    metavar="WHO",
    help="Who requests this; recorded in the journal.",
)
reason_option = click.option("--reason", default="", metavar="TEXT", help="Reason, recorded in the journal.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="List every note instead of counts.")
bom_option = click.option("--bom", is_flag=True, help="Start CSV with a byte-order mark, for spreadsheets.")
report_format_option = click.option(
    "--format", "output_format", type=FormatChoice(), default="text", show_default=True, help="Output format."
)


def format_option(*choices: str) -> Callable[[F], F]:
    """Return a `--format` option with *choices*; `text` is the default."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(choices),
        default="text",
        show_default=True,
        help="Output format.",
    )
