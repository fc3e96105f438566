"""Build wheel and source distribution of the commit that is checked out: what is not committed is not in them.

Usage: wheel.py FOLDER. Outside a repository (in a source distribution that was unpacked) the folder itself is built,
and SOURCE_DATE_EPOCH is the time of its files.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(folder: Path) -> None:
    """Build into *folder*, and print the digest of each file."""
    folder.mkdir(parents=True, exist_ok=True)
    with source() as (tree, epoch), tempfile.TemporaryDirectory(dir=folder) as made:
        run(sys.executable, "-m", "hatchling", "build", "-d", made, cwd=tree, epoch=epoch)
        for file in sorted(Path(made).iterdir()):
            print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}")
            file.replace(folder / file.name)


@contextmanager
def source() -> Iterator[tuple[Path, str]]:
    """Yield the folder to build from, and the time that its files are given, in seconds since 1970."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not (ROOT / ".git").exists():
        if not epoch:
            sys.exit("wheel: this is not a repository; set SOURCE_DATE_EPOCH to the time of its files")
        yield ROOT, epoch
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        run("git", "archive", "--format=tar", f"--output={tree / 'source.tar'}", "HEAD", cwd=ROOT)
        run("tar", "-xf", "source.tar", cwd=tree)
        (tree / "source.tar").unlink()
        yield tree, epoch or run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()


def run(*command: str, cwd: Path, epoch: str = "") -> str:
    """Return the output of *command*; a failure ends the build with its whole output."""
    environ = os.environ | ({"SOURCE_DATE_EPOCH": epoch} if epoch else {})
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}wheel: {command[0]} ended with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
