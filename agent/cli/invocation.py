"""What the root command passes to the commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

__all__ = ["Invocation", "config_path"]


@dataclass(frozen=True, slots=True)
class Invocation:
    """The value of --config, and *run*, which runs a command line."""

    config: Path | None
    run: Callable[[Sequence[str]], int]


def config_path(context: click.Context) -> Path | None:
    """Return the value of --config."""
    invocation = context.find_root().obj
    return invocation.config if isinstance(invocation, Invocation) else None
