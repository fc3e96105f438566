"""A command whose module is imported when the command is used: `--help` and completion stay fast."""

from __future__ import annotations

import gc
import importlib
import sys
from types import ModuleType
from typing import Any

import click

from agent.cli.trace import accept_trace

__all__ = ["LazyCommand"]


class LazyCommand(click.Command):
    """The name and the summary of a command in `agent.cli.commands`, for the list of commands.

    The module and its command are called like *name*, with underscores. Parsing arguments imports the module.
    """

    def __init__(self, name: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self.module = name.replace("-", "_")

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return a context of the command itself, which click then invokes or completes."""
        module = _import_permanently(f"agent.cli.commands.{self.module}")
        command: click.Command = getattr(module, self.module)
        accept_trace(command)
        return command.make_context(info_name, args, parent, **extra)


def _import_permanently(name: str) -> ModuleType:
    """Import a module with all that it needs, and exclude what this makes from garbage collection.

    It lives as long as the process, and to search it for garbage is a quarter of the work of a small plan.
    """
    if name in sys.modules or not gc.isenabled():
        return importlib.import_module(name)
    gc.disable()
    try:
        module = importlib.import_module(name)
        gc.freeze()
    finally:
        gc.enable()
    return module
