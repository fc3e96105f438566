"""`--version`: the release, its commit and the Python version."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distribution
from pathlib import Path

import click

__all__ = ["commit_candidates", "version_line", "version_option"]

DISTRIBUTION_NAME = "pigment-sync"
REVISION_VARIABLE = "PIGMENT_SYNC_REVISION"
COMMIT_PATTERN = re.compile(r"[0-9a-f]{7,64}")
CHECKOUT_ROOT = Path(__file__).parents[2]


def version_line(environ: Mapping[str, str], installed: Distribution, checkout: Path = CHECKOUT_ROOT) -> str:
    """Return `pigment-sync 1.2.3 (commit abcdef1, Python 3.11.7)`, without the commit if it is unknown."""
    known = (commit for commit in commit_candidates(environ, installed, checkout) if COMMIT_PATTERN.fullmatch(commit))
    parts = [
        *(f"commit {commit[:7]}" for commit in [next(known, None)] if commit),
        f"Python {platform.python_version()}",
    ]
    return f"{DISTRIBUTION_NAME} {installed.version} ({', '.join(parts)})"


def commit_candidates(environ: Mapping[str, str], installed: Distribution, checkout: Path) -> Iterator[str]:
    """Yield candidates: the revision of the image, the commit that pip installed (PEP 610), HEAD of the checkout."""
    yield environ.get(REVISION_VARIABLE, "").strip().lower()
    yield _pip_commit(installed)
    yield _git_commit(checkout / ".git")


def _pip_commit(installed: Distribution) -> str:
    try:
        origin = json.loads(installed.read_text("direct_url.json") or "{}")
        return str(origin.get("vcs_info", {}).get("commit_id", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _git_commit(folder: Path) -> str:
    """Return the commit of HEAD, read from git's files because the image has no git."""
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


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(version_line(os.environ, distribution(DISTRIBUTION_NAME)))
        context.exit()


version_option = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the release, its commit and the Python version.",
)
