"""The release and the commit of this installation."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distribution
from pathlib import Path

__all__ = ["DISTRIBUTION_NAME", "installed_commit", "installed_version", "known_commit"]

DISTRIBUTION_NAME = "pigment-sync"
REVISION_VARIABLE = "PIGMENT_SYNC_REVISION"
COMMIT_PATTERN = re.compile(r"[0-9a-f]{7,64}")
CHECKOUT_ROOT = Path(__file__).parents[1]
# `git archive`, from which a wheel is built, writes the commit into this file.
COMMIT_FILE = Path(__file__).with_name("commit.txt")


def installed_version() -> str:
    return distribution(DISTRIBUTION_NAME).version


def installed_commit() -> str:
    """Return the commit of this installation; empty if it is not known."""
    return known_commit(os.environ, distribution(DISTRIBUTION_NAME), CHECKOUT_ROOT)


def known_commit(
    environ: Mapping[str, str], installed: Distribution, checkout: Path, commit_file: Path = COMMIT_FILE
) -> str:
    """Return the first candidate that is a commit; empty if none is."""
    candidates = _commit_candidates(environ, installed, checkout, commit_file)
    return next((commit for commit in candidates if COMMIT_PATTERN.fullmatch(commit)), "")


def _commit_candidates(
    environ: Mapping[str, str], installed: Distribution, checkout: Path, commit_file: Path
) -> Iterator[str]:
    """Yield the revision of the image, the commit of the wheel, that of pip (PEP 610), and HEAD of the checkout."""
    yield environ.get(REVISION_VARIABLE, "").strip().lower()
    yield _read_text(commit_file)
    yield _pip_commit(installed)
    yield _git_commit(checkout / ".git")


def _read_text(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, ValueError):
        return ""


def _pip_commit(installed: Distribution) -> str:
    try:
        origin = json.loads(installed.read_text("direct_url.json") or "{}")
        return str(origin.get("vcs_info", {}).get("commit_id", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _git_commit(folder: Path) -> str:
    """Return the commit of HEAD, read from git's files because the image has no git."""
    head = _read_text(folder / "HEAD")
    name = head.removeprefix("ref: ")
    if name == head:
        return head
    if (folder / name).exists():
        return _read_text(folder / name)
    packed = _read_text(folder / "packed-refs")
    return next((line.partition(" ")[0] for line in packed.splitlines() if line.endswith(f" {name}")), "")
