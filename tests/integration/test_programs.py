"""Tests that need another program are skipped where it is missing, and what is missing is named with its package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import programs

ROOT = Path(__file__).parents[2]
SHELL = ("bash", "dirname", "grep", "id")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Leave only what the script itself calls in PATH, and return that PATH."""
    for name in SHELL:
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    return str(tmp_path)


def test_missing_program_skips_its_test(bare: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs promtool; as root: apt-get install prometheus"):
        programs.require("promtool")


def test_missing_program_fails_its_test_in_ci(bare: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs promtool"):
        programs.require("promtool")


def test_missing_programs_are_named_with_the_command_that_installs_them(bare: str) -> None:
    script = str(ROOT / "scripts" / "packages")
    ended = subprocess.run(
        [script, "--missing", "test"], env={"PATH": bare}, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    line = ended.stderr.splitlines()[-1]
    assert "not on this machine: chromium-headless-shell curl git" in line
    assert (
        "as root: apt-get update && apt-get install -y --no-install-recommends chromium-headless-shell curl git" in line
    )
    assert "podman" not in line


def test_program_that_the_list_does_not_have_is_an_error() -> None:
    with pytest.raises(KeyError):
        programs.require("a-program-without-a-package")
