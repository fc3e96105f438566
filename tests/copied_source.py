"""Copy the source of the project while other test processes write bytecode into it."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["copy_source"]

BYTECODE = "__pycache__"
UNFINISHED_BYTECODE = "*.pyc.[0-9]*"
"""Python and pytest write bytecode under such a name and rename it, so the file may be gone before it is copied."""


def copy_source(source: Path, target: Path, *, with_bytecode: bool = False) -> None:
    """Copy the folder *source* to *target*, which must not exist. *with_bytecode* saves compiling it again."""
    unwanted = UNFINISHED_BYTECODE if with_bytecode else BYTECODE
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(unwanted, "*.egg-info"))
