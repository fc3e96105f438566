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
    """Print the completion script of a shell.

    Completes commands, options, and the names of workspaces and connectors in the configuration. Writes nothing.

    \b
    eval "$(pigment-sync completion bash)"    # in ~/.bashrc; bash 4.4 or newer
    eval "$(pigment-sync completion zsh)"     # in ~/.zshrc, after compinit
    pigment-sync completion fish > ~/.config/fish/completions/pigment-sync.fish
    """
    root = context.find_root()
    script_class = get_completion_class(shell)
    if script_class is None:
        raise click.UsageError(f"{shell} is not supported")
    script = script_class(root.command, {}, "pigment-sync", "_PIGMENT_SYNC_COMPLETE")
    # Not script.source(), which starts bash to read its version.
    print_text(script.source_template % script.source_vars())
    return ExitCode.DONE
