"""What the root command passes to the commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

__all__ = ["Invocation", "config_path"]


@dataclass(slots=True)
class Invocation:
    """*run*, which runs a command line, and the value of --config, once it is parsed."""

    run: Callable[[Sequence[str]], int]
    config: Path | None = None


def config_path(context: click.Context) -> Path | None:
    """Return the value of --config."""
    invocation = context.find_root().obj
    return invocation.config if isinstance(invocation, Invocation) else None
