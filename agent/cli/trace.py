"""The option `--trace`, of the root command and of each command: people write it in either place."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import click

from agent.errors import UsageError

__all__ = ["accept_trace", "trace_option"]

PATH_KEY, OPENED_KEY = "pigment_sync.trace", "pigment_sync.trace_opened"
NAME = "trace"


def trace_option(command: click.Group) -> click.Group:
    """Give the root command the option."""
    _add_option(command, hidden=False)
    return command


def accept_trace(command: click.Command) -> None:
    """Let *command* and those below it accept the option. Their help does not repeat it."""
    if not any(each.name == NAME for each in command.params):
        _add_option(command, hidden=True)
    if isinstance(command, click.Group):
        for each in command.commands.values():
            accept_trace(each)


def _add_option(command: click.Command, *, hidden: bool) -> None:
    option = click.Option(
        ["--trace"],
        type=click.Path(path_type=Path),
        metavar="FILE",
        callback=_note_path,
        expose_value=False,
        hidden=hidden,
        help="Append a line of JSON for each HTTP request to FILE; also accepted after the command.",
    )
    command.params.append(option)
    if command.callback is not None:
        command.callback = _with_trace(command.callback)


def _note_path(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is not None and context.meta.setdefault(PATH_KEY, path) is not path:
        raise UsageError("--trace is given twice.", "Name one file, before or after the command.")


def _with_trace(callback: Callable[..., object]) -> Callable[..., object]:
    """Return *callback* so that the trace is open when it begins: parsing a command line alone writes nothing."""

    @wraps(callback)
    def traced(*arguments: object, **options: object) -> object:
        context = click.get_current_context()
        if PATH_KEY in context.meta and not context.meta.get(OPENED_KEY):
            # httpx is not needed for the list of commands.
            from agent.request_trace import trace_requests

            context.find_root().with_resource(trace_requests(context.meta[PATH_KEY]))
            context.meta[OPENED_KEY] = True
        return callback(*arguments, **options)

    return traced
