"""Complete the names of workspaces and connectors in the shell."""

from __future__ import annotations

import os
from pathlib import Path

import click

from agent.settings.file import find_config_file, read_config_file

__all__ = ["complete_connector", "complete_workspace"]


def complete_workspace(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the workspaces of the configuration that start with *incomplete*."""
    return _complete_from_config(context, "workspaces", incomplete)


def complete_connector(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the connectors of the configuration that start with *incomplete*."""
    return _complete_from_config(context, "connectors", incomplete)


def _complete_from_config(context: click.Context, section: str, incomplete: str) -> list[str]:
    path = context.find_root().params.get("config")
    try:
        names = read_config_file(find_config_file(path if isinstance(path, Path) else None, os.environ)).get(section)
    except Exception:  # noqa: BLE001  (an error message would garble the command line that is being typed)
        return []
    return [str(name) for name in names if str(name).startswith(incomplete)] if isinstance(names, dict) else []
