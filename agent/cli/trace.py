"""The option `--trace`, of the root command and of each command: people write it in either place."""

from __future__ import annotations

from pathlib import Path

import click

from agent.errors import UsageError

__all__ = ["accept_trace", "trace_option"]

META_KEY = "pigment_sync.trace"


def _open_trace(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Trace the requests from now until the end of the root command. Raises `UsageError`."""
    if path is None or context.resilient_parsing:
        return
    # httpx is not needed for the list of commands.
    from agent.request_trace import trace_requests

    if context.meta.setdefault(META_KEY, path) is not path:
        raise UsageError("--trace is given twice.", "Name one file, before or after the command.")
    context.find_root().with_resource(trace_requests(path))


def _option(*, hidden: bool) -> click.Option:
    return click.Option(
        ["--trace"],
        type=click.Path(path_type=Path),
        metavar="FILE",
        callback=_open_trace,
        expose_value=False,
        hidden=hidden,
        help="Append a line of JSON for each HTTP request to FILE; also accepted after the command.",
    )


def trace_option(command: click.Group) -> click.Group:
    """Give the root command the option."""
    command.params.insert(1, _option(hidden=False))
    return command


def accept_trace(command: click.Command) -> None:
    """Let *command* and those below it accept the option. Their help does not repeat it."""
    if not any(each.name == "trace" for each in command.params):
        command.params.append(_option(hidden=True))
    if isinstance(command, click.Group):
        for each in command.commands.values():
            accept_trace(each)
