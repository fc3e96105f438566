"""The commands of the guides run as written, page by page, against a sandbox."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from sandbox.server import run_sandbox
from tests.e2e.agent_process import Agent
from tests.e2e.fork_server import EXECUTABLE
from tests.e2e.forked_command import forked_command, forked_reader
from tests.guide_page import Page, pages
from tests.programs import require

# Commands that a page may call in addition to ours.
PROGRAMS = ("curl", "sqlite3", "openssl", "jq", "sha256sum")
PAGES = [page for page in pages() if any(block.mark.startswith("runs: ") for block in page.blocks)]
# Where `pigment-sync sandbox` listens if nothing else is asked for; a test takes the ports that are free.
DOCUMENTED = {"okta": 8700, "entra": 8701, "onelogin": 8702, "pigment": 8703, "admin": 8704}

# Its people with a part in the guides are in a sandbox of any size; only this page names others, of the documented one.
SMALL, SIZES = 30, {"docs/email-changes.md": 120}


def _expected(mark: str) -> int:
    return int(mark.partition("exit ")[2] or 0)


@pytest.mark.parametrize("guide", PAGES, ids=lambda guide: guide.name)
def test_commands_of_a_guide_do_what_they_are_there_for(guide: Page, tmp_path: Path) -> None:
    commands = "\n".join(block.text for block in guide.blocks if block.mark.startswith("runs: "))
    for program in PROGRAMS:
        if re.search(rf"\b{program}\b", commands):
            require(program)
    folder = tmp_path / "folder"
    with (
        run_sandbox(seed=1, size=SIZES.get(guide.name, SMALL)) as sandbox,
        forked_command() as binaries,
        forked_reader() as python,
    ):
        agent = Agent(sandbox.write_config(folder))
        (folder / "sandbox-out").symlink_to(".")
        environment = agent.environment | {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "COLUMNS": "120",
            EXECUTABLE: str(python),
        }
        for block in guide.blocks:
            if not block.mark.startswith("runs: "):
                continue
            text = block.text
            for name, port in DOCUMENTED.items():
                text = text.replace(f"http://127.0.0.1:{port}", sandbox.urls[name])
            ran = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=folder,
                env=environment,
                capture_output=True,
                timeout=300,
                check=False,
            )
            assert ran.returncode == _expected(block.mark), (
                f"{block.place}\n{text}\n{ran.stdout.decode()[-3000:]}\n{ran.stderr.decode()[-3000:]}"
            )
            assert b"Traceback" not in ran.stderr, block.place
