"""Find the programs other than Python that some tests call; a test is skipped if its program is missing."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

import pytest

__all__ = ["find", "require"]

LIST = Path(__file__).parents[1] / "scripts" / "packages.txt"


@cache
def _packages() -> dict[str, str]:
    rows = (line.split() for line in LIST.read_text("utf-8").splitlines() if not line.startswith("#"))
    return {program: package for _, program, package in rows}


def find(program: str) -> str | None:
    """Return the path of *program*, or None. Raises `KeyError` unless `scripts/packages.txt` lists it."""
    if program not in _packages():
        raise KeyError(program)
    # Debian keeps PostgreSQL's server programs and libraries out of PATH.
    pattern = f"*/{program}" if ".so." in program else f"postgresql/*/bin/{program}"
    installed = sorted(Path("/usr/lib").glob(pattern))
    return shutil.which(program) or (str(installed[-1]) if installed else None)


def require(program: str) -> str:
    """Return the path of *program*. Where it is missing, the calling test is skipped, and with `CI=true` it fails."""
    found = find(program)
    if found is not None:
        return found
    reason = f"needs {program}; as root: apt-get install {_packages()[program]}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
