"""`completion`: the TAB key, in three shells; and what it offers for names of workspaces and connectors."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from agent.cli.output import print_text
from agent.errors import ExitCode
from agent.settings.file import find_config_file, read_config_file

__all__ = ["complete_connector", "complete_workspace", "completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print what makes a shell complete commands at the TAB key.

    Options and the names of workspaces and connectors too: those come from the configuration that the command itself
    would read. Writes nothing.

    \b
    eval "$(pigment-sync completion bash)"    # in ~/.bashrc; bash 4.4 or newer
    eval "$(pigment-sync completion zsh)"     # in ~/.zshrc, after compinit
    pigment-sync completion fish > ~/.config/fish/completions/pigment-sync.fish
    """
    root = context.find_root()
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"{shell} is not known here")
    made = kind(root.command, {}, "pigment-sync", "_PIGMENT_SYNC_COMPLETE")
    # Not made.source(): it would start a bash to ask for its version.
    print_text(made.source_template % made.source_vars())
    return ExitCode.DONE


def complete_workspace(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the workspaces of the configuration whose names begin so."""
    return _complete_from_config(context, "workspaces", incomplete)


def complete_connector(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the connectors of the configuration whose names begin so."""
    return _complete_from_config(context, "connectors", incomplete)


def _complete_from_config(context: click.Context, section: str, incomplete: str) -> list[str]:
    path = context.find_root().params.get("config")
    try:
        names = read_config_file(find_config_file(path if isinstance(path, Path) else None, os.environ)).get(section)
    except Exception:  # noqa: BLE001  (whatever it is: nobody wants to read of it in the middle of a line)
        return []
    return [str(name) for name in names if str(name).startswith(incomplete)] if isinstance(names, dict) else []
