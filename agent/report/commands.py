"""Find the commands in prose, and write them so that they can be copied: whole, alone, with their configuration."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

__all__ = ["split_commands", "with_config"]

# In backquotes as written there; else the words of a command, its argument and its options.
COMMAND = re.compile(
    r"`(?P<quoted>pigment-sync [^`]+)`|(?P<bare>pigment-sync [a-z][a-z-]+(?: [^\s-]\S*){0,2}(?: --[a-z-]+ \S+)+)"
)
SUBCOMMAND = re.compile(
    r"(?<![\w/.-])pigment-sync(?= (?:access|apply|check|compare|explain|history|links|members|pause|plan|probe|report"
    r"|resume|state|sync|undo|workspaces)\b)"
)
END = ".,;:"


def split_commands(words: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of *words* in their order: prose, and each command with True.

    A command is without the mark that ends its sentence, and so is the prose that begins after it.
    """
    start = 0
    for found in COMMAND.finditer(words):
        if prose := words[start : found.start()].strip():
            yield prose, False
        yield (found["quoted"] or found["bare"]).rstrip(END), True
        start = found.end()
    if prose := words[start:].lstrip(END + " "):
        yield prose, False


def with_config(text: str, config: Path | None) -> str:
    """Return *text* with `--config` in each command that needs the configuration *config*; None: the default one."""
    if config is None:
        return text
    command = f"pigment-sync --config {shlex.quote(str(config))}"
    return SUBCOMMAND.sub(lambda _: command, text)
