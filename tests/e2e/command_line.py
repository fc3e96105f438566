"""Run the whole command line in this process, and capture its output."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from agent.cli.app import run_cli
from tests.e2e.agent_process import Ran

__all__ = ["CommandLine", "run_command"]


@dataclass(frozen=True)
class CommandLine:
    """A configuration, and commands with it in this process: half as much CPU as in a forked one.

    For tests of what a command does. How one starts, is signalled and ends is seen only with `agent_process.Agent`.
    Not while this process has a connection to the same SQLite file: as the agent opens the file, the locks of this
    process on it end (fcntl(2)), and an agent in another process would take it for its own.
    """

    config: Path

    def run(self, *arguments: str) -> Ran:
        return run_command(self.config, *arguments)


def run_command(config: Path, *arguments: str) -> Ran:
    """Run a command and return its output, byte for byte as a pipe would get it."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        code = run_cli(["--config", str(config), *arguments])
    return Ran(code, _text(out), _text(err))


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    if not isinstance(buffer, io.BytesIO):
        raise TypeError("not a stream of ours")
    return buffer.getvalue().decode()
