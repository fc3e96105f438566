"""Completion in a real bash, and the scripts of the other shells."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.cli.app import app
from tests.e2e.forked_command import forked_command

pytestmark = pytest.mark.traced

CONFIG = """\
connectors: {okta-main: {}, entra-eu: {}}
workspaces: {pigment-latam: {}, pigment-eu: {}, other: {}}
"""
# What readline does at TAB, except the bell: it passes the words, the cursor position and the function.
TAB = """\
source completion.bash
complete -p pigment-sync
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_pigment_sync_completion pigment-sync
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two configurations, the command below `bin`, and its script for bash."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "config.yaml").write_text(CONFIG, "utf-8")
    (folder / "elsewhere.yaml").write_text("workspaces: {pigment-apac: {}}\n", "utf-8")
    with forked_command() as binaries:
        (folder / "bin").symlink_to(binaries)
        script = subprocess.check_output([folder / "bin" / "pigment-sync", "completion", "bash"])
        (folder / "completion.bash").write_bytes(script)
        yield folder


def tab(folder: Path, *words: str, **more: str) -> list[str]:
    """Return what bash offers for the last of *words*."""
    ran = subprocess.run(
        ["bash", "--norc", "-c", TAB, "bash", *words],
        cwd=folder,
        env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **more},
        capture_output=True,
        check=True,
    )
    assert ran.stderr.decode() == ""
    setup, *offered = ran.stdout.decode().splitlines()
    assert setup.endswith("-F _pigment_sync_completion pigment-sync")
    return offered


def test_bash_completes_commands_options_and_values(folder: Path) -> None:
    assert tab(folder, "pigment-sync", "pl") == ["plan"]
    assert tab(folder, "pigment-sync", "plan", "--exit") == ["--exit-code"]
    assert tab(folder, "pigment-sync", "plan", "--format", "m") == ["markdown"]
    assert tab(folder, "pigment-sync", "links", "") == ["assign", "forget", "list", "move", "new"]


def test_bash_completes_names_of_the_configuration(folder: Path) -> None:
    assert tab(folder, "pigment-sync", "plan", "--workspace", "pig") == ["pigment-latam", "pigment-eu"]
    assert tab(folder, "pigment-sync", "pause", "o") == ["other"]
    assert tab(folder, "pigment-sync", "links", "move", "--from", "okta") == ["okta-main"]
    assert tab(folder, "pigment-sync", "--config", "elsewhere.yaml", "sync", "-w", "") == ["pigment-apac"]
    assert tab(folder, "pigment-sync", "sync", "-w", "", PIGMENT_SYNC_CONFIG="elsewhere.yaml") == ["pigment-apac"]


def offered(config: Path) -> Result:
    """Return what the command offers to a shell, run in this process."""
    words = f"pigment-sync --config {config} plan -w "
    environment = {"_PIGMENT_SYNC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "5"}
    return CliRunner().invoke(app, prog_name="pigment-sync", env=environment)


@pytest.mark.parametrize("content", ["", "workspaces: [", "workspaces: [a]", "workspaces:", "\0", None])
def test_unreadable_configuration_offers_nothing_and_prints_nothing(content: str | None, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    if content is not None:
        config.write_text(content, "utf-8")
    ran = offered(config)
    assert (ran.output.strip(), ran.stderr, ran.exit_code) == ("", "", 0)
    config.write_text(CONFIG, "utf-8")
    assert offered(config).stdout.split() == ["plain,pigment-latam", "plain,pigment-eu", "plain,other"]


@pytest.mark.parametrize(
    ("shell", "piece"),
    [
        ("bash", "complete -o nosort -F _pigment_sync_completion pigment-sync"),
        ("zsh", "#compdef pigment-sync"),
        ("fish", "complete --no-files --command pigment-sync"),
    ],
)
def test_each_shell_has_its_script(shell: str, piece: str) -> None:
    ran = CliRunner().invoke(app, ["completion", shell])
    assert ran.exit_code == 0
    assert piece in ran.stdout
    assert f"_PIGMENT_SYNC_COMPLETE={shell}_complete" in ran.stdout


def test_other_shells_are_refused() -> None:
    ran = CliRunner().invoke(app, ["completion", "tcsh"])
    assert ran.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in ran.stderr
