"""`--version`: the release, its commit and the Python version."""

from __future__ import annotations

import platform

import click

from agent.version import DISTRIBUTION_NAME, installed_commit, installed_version

__all__ = ["version_line", "version_option"]


def version_line(version: str, commit: str) -> str:
    """Return `pigment-sync 1.2.3 (commit abcdef1, Python 3.11.7)`, without the commit if it is unknown."""
    parts = [*([f"commit {commit[:7]}"] if commit else []), f"Python {platform.python_version()}"]
    return f"{DISTRIBUTION_NAME} {version} ({', '.join(parts)})"


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(version_line(installed_version(), installed_commit()))
        context.exit()


version_option = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the release, its commit and the Python version.",
)
