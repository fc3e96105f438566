"""`--version`: which release this is, of which commit, on which Python."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distribution
from pathlib import Path

import click

__all__ = ["commits", "version_line", "version_option"]

NAME = "pigment-sync"
VARIABLE = "PIGMENT_SYNC_REVISION"
COMMIT = re.compile(r"[0-9a-f]{7,64}")
CHECKOUT = Path(__file__).parents[2]


def version_line(environ: Mapping[str, str], installed: Distribution, checkout: Path = CHECKOUT) -> str:
    """Return `pigment-sync 1.2.3 (commit abcdef1, Python 3.11.7)`, without the commit where nobody knows it."""
    known = (commit for commit in commits(environ, installed, checkout) if COMMIT.fullmatch(commit))
    parts = [
        *(f"commit {commit[:7]}" for commit in [next(known, None)] if commit),
        f"Python {platform.python_version()}",
    ]
    return f"{NAME} {installed.version} ({', '.join(parts)})"


def commits(environ: Mapping[str, str], installed: Distribution, checkout: Path) -> Iterator[str]:
    """Yield what may be the commit: of the image, of what pip installed (PEP 610), of the checkout that this is in."""
    yield environ.get(VARIABLE, "").strip().lower()
    yield _of_pip(installed)
    yield _of_git(checkout / ".git")


def _of_pip(installed: Distribution) -> str:
    try:
        origin = json.loads(installed.read_text("direct_url.json") or "{}")
        return str(origin.get("vcs_info", {}).get("commit_id", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _of_git(folder: Path) -> str:
    """Return what HEAD is, read as git keeps it: no image has a git to ask."""
    try:
        head = (folder / "HEAD").read_text("utf-8").strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return head
        if (folder / name).exists():
            return (folder / name).read_text("utf-8").strip()
        packed = (folder / "packed-refs").read_text("utf-8")
    except (OSError, ValueError):
        return ""
    return next((line.partition(" ")[0] for line in packed.splitlines() if line.endswith(f" {name}")), "")


def _show(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(version_line(os.environ, distribution(NAME)))
        context.exit()


version_option = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show,
    help="Show the release, its commit and the Python that runs it.",
)
