"""Options that several commands share, and the completion of workspaces and connectors in the shell."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from agent.cli.output import FormatChoice
from agent.errors import UsageError
from agent.model.codes import APPROVABLE_GUARDS
from agent.settings.file import find_config_file, read_config_file

__all__ = [
    "bom_option",
    "by_option",
    "complete_connector",
    "complete_guard",
    "complete_workspace",
    "exit_code_option",
    "format_option",
    "guard_option",
    "os_user",
    "reason_option",
    "refuse_invalid_email",
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


def refuse_invalid_email(text: str) -> None:
    """Raise `UsageError` if *text* can't be an email address, such as a name.

    Less strict than the planner: a person whose address is not valid must be found.
    """
    local, _, domain = text.rpartition("@")
    if not local or not domain or any(letter.isspace() for letter in text):
        raise UsageError(f"{text!r} is not an email address.", "Write the whole address, such as ana.souza@acme.com.")


def complete_workspace(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the workspaces of the configuration that start with *incomplete*."""
    return _complete_from_config(context, "workspaces", incomplete)


def complete_connector(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the connectors of the configuration that start with *incomplete*."""
    return _complete_from_config(context, "connectors", incomplete)


def complete_guard(_context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the guards that an approval can release and that start with *incomplete*."""
    return [code for code in APPROVABLE_GUARDS if code.startswith(incomplete)]


def _complete_from_config(context: click.Context, section: str, incomplete: str) -> list[str]:
    path = context.find_root().params.get("config")
    try:
        names = read_config_file(find_config_file(path if isinstance(path, Path) else None, os.environ)).get(section)
    except Exception:  # noqa: BLE001  (an error message would garble the command line that is being typed)
        return []
    return [str(name) for name in names if str(name).startswith(incomplete)] if isinstance(names, dict) else []


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
guard_option = click.option(
    "--guard",
    "guards",
    multiple=True,
    metavar="CODE",
    help="Approve only what this guard holds, such as max-deactivations; repeatable.",
    shell_complete=complete_guard,
)
verbose_option = click.option("-v", "--verbose", is_flag=True, help="List every note instead of counts.")
bom_option = click.option("--bom", is_flag=True, help="Start CSV with a byte-order mark, for spreadsheets.")
report_format_option = click.option(
    "--format", "output_format", type=FormatChoice(), default="text", show_default=True, help="Output format."
)
exit_code_option = click.option(
    "--exit-code",
    is_flag=True,
    help="Exit 3 if something was written, 4 if anything on hold waits for a person.",
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
