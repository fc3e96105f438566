"""Parse command lines in documents as the real command does, without running them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from agent.cli.app import app

__all__ = ["calls", "parsed"]

BEFORE = {"--", "agent", "do", "exec", "then", "!"}
SHELL = {"&&", "||", "&", "|", ">", ">>", "<", ";", "2>"}


def calls(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each `pigment-sync` in *line*, as a shell would pass them."""
    inner = re.search(r"\$\((pigment-sync [^)]*)\)", line)
    words = shlex.split(inner[1] if inner else line, comments=True)
    starts = [place for place, word in enumerate(words) if _is_called(word, words[place - 1] if place else "")]
    for start in starts:
        stop = next((place for place, word in enumerate(words) if place > start and word in SHELL), len(words))
        yield words[start + 1 : stop]


def _is_called(word: str, before: str) -> bool:
    """Return whether *word* is our command, and not a release, a unit, a namespace or an image of the same name."""
    if word != "pigment-sync":
        return word.endswith("/bin/pigment-sync")
    return not before or before in SHELL | BEFORE or before.partition("=")[0].isupper()


def parsed(arguments: list[str]) -> tuple[str, ...]:
    """Parse *arguments* and return the path of their command, without running it.

    Raises `click.UsageError` for a command or an option that does not exist.
    """
    command: click.Command = app
    context = app.make_context("pigment-sync", list(arguments))
    path: tuple[str, ...] = ()
    while isinstance(command, click.Group):
        words = [*context._protected_args, *context.args]
        if not words and command.invoke_without_command:
            # `report RUN` is a command and a group.
            break
        name, found, rest = command.resolve_command(context, words)
        assert name is not None
        assert found is not None
        path = (*path, name)
        context = found.make_context(name, rest, parent=context)
        command = context.command
    return path
