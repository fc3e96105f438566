"""`completion`: print the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from agent.cli.output import print_text
from agent.errors import ExitCode

__all__ = ["completion"]


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
