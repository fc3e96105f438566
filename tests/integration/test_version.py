"""`--version` shows the release, its commit if known, and the Python version."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli import version
from agent.cli.app import app
from agent.version import COMMIT_FILE, known_commit
from tests.programs import require

PYTHON = f"Python {platform.python_version()}"
IMAGE, PIP, CHECKOUT = "1" * 40, "2" * 40, "3" * 40


def version_line(environ: Mapping[str, str], installed: Distribution, checkout: Path) -> str:
    return version.version_line(installed.version, known_commit(environ, installed, checkout))


def installed(folder: Path, origin: object = None) -> PathDistribution:
    """Return an installed distribution, with *origin* as its `direct_url.json`."""
    info = folder / "pigment_sync-1.2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: pigment-sync\nVersion: 1.2.3\n", "utf-8")
    if origin is not None:
        text = origin if isinstance(origin, str) else json.dumps(origin)
        (info / "direct_url.json").write_text(text, "utf-8")
    return PathDistribution(info)


def checkout(folder: Path, *, packed: bool = False) -> Path:
    git = folder / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n", "utf-8")
    if packed:
        (git / "packed-refs").write_text(f"# pack-refs\n{'4' * 40} refs/heads/not/main\n{CHECKOUT} refs/heads/main\n")
    else:
        (git / "refs" / "heads" / "main").write_text(f"{CHECKOUT}\n", "utf-8")
    return folder


def test_image_names_its_commit_before_anything_else(tmp_path: Path) -> None:
    pip = installed(tmp_path, {"vcs_info": {"vcs": "git", "commit_id": PIP}})
    environ = {"PIGMENT_SYNC_REVISION": f"{IMAGE}\n"}
    assert version_line(environ, pip, checkout(tmp_path)) == f"pigment-sync 1.2.3 (commit 1111111, {PYTHON})"


def test_installation_from_git_names_its_commit(tmp_path: Path) -> None:
    pip = installed(tmp_path, {"vcs_info": {"vcs": "git", "commit_id": PIP}})
    assert version_line({}, pip, checkout(tmp_path)) == f"pigment-sync 1.2.3 (commit 2222222, {PYTHON})"


@pytest.mark.parametrize("packed", [False, True])
def test_checkout_names_its_commit(packed: bool, tmp_path: Path) -> None:
    pip = installed(tmp_path, {"dir_info": {"editable": True}})
    line = version_line({}, pip, checkout(tmp_path, packed=packed))
    assert line == f"pigment-sync 1.2.3 (commit 3333333, {PYTHON})"


def test_detached_checkout_names_its_commit(tmp_path: Path) -> None:
    checkout(tmp_path)
    (tmp_path / ".git" / "HEAD").write_text(f"{PIP}\n", "utf-8")
    assert version_line({}, installed(tmp_path), tmp_path) == f"pigment-sync 1.2.3 (commit 2222222, {PYTHON})"


@pytest.mark.parametrize(
    "origin", [None, "", "{", "[]", {"vcs_info": {}}, {"vcs_info": "x"}, {"vcs_info": {"commit_id": 7}}]
)
@pytest.mark.parametrize("revision", ["", "unknown", "\x1b[31m", "abc"])
def test_unknown_commit_is_omitted(origin: object, revision: str, tmp_path: Path) -> None:
    line = version_line({"PIGMENT_SYNC_REVISION": revision}, installed(tmp_path, origin), tmp_path)
    assert line == f"pigment-sync 1.2.3 ({PYTHON})"


def test_broken_checkout_names_no_commit(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: elsewhere\n", "utf-8")
    assert version_line({}, installed(tmp_path), tmp_path) == f"pigment-sync 1.2.3 ({PYTHON})"
    (tmp_path / ".git").unlink()
    checkout(tmp_path)
    (tmp_path / ".git" / "refs" / "heads" / "main").unlink()
    assert version_line({}, PathDistribution(tmp_path / "pigment_sync-1.2.3.dist-info"), tmp_path).count("commit") == 0


def test_option_prints_only_the_version() -> None:
    release = distribution("pigment-sync").version
    ran = CliRunner().invoke(app, ["--version"], env={"PIGMENT_SYNC_REVISION": IMAGE})
    assert (ran.exit_code, ran.stdout) == (0, f"pigment-sync {release} (commit 1111111, {PYTHON})\n")


def test_checkout_is_read_as_git_reads_it(tmp_path: Path) -> None:
    git = require("git")
    author = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
    for words in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "First"], ["pack-refs", "--all"]):
        subprocess.run([git, "-C", str(tmp_path), *words], check=True)
    head = subprocess.check_output([git, "-C", str(tmp_path), "rev-parse", "HEAD"]).decode()
    assert f"(commit {head[:7]}, " in version_line({}, installed(tmp_path), tmp_path)


def test_archive_of_a_commit_names_it(tmp_path: Path) -> None:
    git = require("git")
    root = Path(__file__).parents[2]
    shutil.copy(root / ".gitattributes", tmp_path)
    (tmp_path / "agent").mkdir()
    shutil.copy(COMMIT_FILE, tmp_path / "agent")
    author = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "First"]):
        subprocess.run([git, "-C", str(tmp_path), *words], check=True)
    head = subprocess.check_output([git, "-C", str(tmp_path), "rev-parse", "HEAD"]).decode().strip()
    subprocess.run([git, "-C", str(tmp_path), "archive", "--output=wheel.tar", "HEAD", "agent"], check=True)
    with tarfile.open(tmp_path / "wheel.tar") as archive:
        archive.extractall(tmp_path / "wheel", filter="data")

    found = known_commit({}, installed(tmp_path), checkout(tmp_path / "wheel"), tmp_path / "wheel/agent/commit.txt")

    assert found == head
