"""`sandbox --replay` as a process: it prints the commands, serves until a signal, and plans as it was recorded."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.app import run_cli
from agent.recording.file import read_recording
from sandbox.server import run_sandbox

pytestmark = pytest.mark.traced
SECONDS = 120


def free_port() -> int:
    """Return the first of two ports that are free now."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        try:
            two.bind(("127.0.0.1", port + 1))
        except OSError:
            return free_port()
        return port


def test_a_replay_serves_until_a_signal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with run_sandbox(seed=4, size=30) as served:
        config = served.write_config(tmp_path)
        text = config.read_text("utf-8")
        start, end = text.index("  entra-eu:"), text.index("workspaces:")
        only = text[:start] + text[end : text.index("  pigment-eu:")]
        config.write_text(only, "utf-8")
        assert run_cli(["--config", str(config), "record", "--out", str(tmp_path / "problem.jsonl")]) == 0
    command = [sys.executable, "-m", "agent", "sandbox", "--replay", str(tmp_path / "problem.jsonl")]
    command += ["--port", str(free_port()), "--out", str(tmp_path / "replay")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown: list[str] = []
        while not shown or not shown[-1].startswith("Plan again"):
            line = process.stdout.readline()
            assert line, "the replay ended before it served"
            shown.append(line)
        capfd.readouterr()
        replay = tmp_path / "replay" / "replay.yaml"
        assert run_cli(["--config", str(replay), "plan", "--format", "json"]) == 0
        (planned,) = json.loads(capfd.readouterr().out)["workspaces"]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "The replay has stopped." in rest
    (recorded,) = [each for each in read_recording(tmp_path / "problem.jsonl") if each["kind"] == "plan"]
    assert planned["counts"] == recorded["counts"]
    assert f"plan -w {recorded['workspace']}" in "".join(shown)
