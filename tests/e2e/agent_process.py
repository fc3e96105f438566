"""Run the real command as a real process against a sandbox, as an operator would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.fork_server import REPOSITORY, ForkedProcess, fork
from tests.waiting import LONGEST_SECONDS

__all__ = ["LONGEST_SECONDS", "REPOSITORY", "Agent", "AgentProcess", "Ran"]

AgentProcess = ForkedProcess | subprocess.Popen[bytes]


@dataclass(frozen=True)
class Ran:
    """The result of a command: its exit code and what it printed to each stream."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Agent:
    """A configuration, and commands with it.

    Not *forked*: Python starts from the beginning, as it does for an operator (`tests.e2e.fork_server`).
    """

    config: Path
    forked: bool = True

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "agent", "--config", str(self.config), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the machine's TLS settings or terminal reaches the agent."""
        dropped = {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NO_COLOR"}
        return {name: value for name, value in os.environ.items() if name not in dropped} | {"NO_PROXY": "127.0.0.1"}

    def run(self, *arguments: str, timeout: float = LONGEST_SECONDS, **more: str) -> Ran:
        process = self.start(*arguments, variables=more)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return Ran(process.wait(), out.decode(), err.decode())

    def start(
        self,
        *arguments: str,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        variables: Mapping[str, str] | None = None,
    ) -> AgentProcess:
        """Start a command and return at once; *variables* are added to its environment."""
        environment = self.environment | dict(variables or {})
        if self.forked:
            streams = subprocess.DEVNULL, stdout, stderr
            return fork(["--config", str(self.config), *arguments], environment, REPOSITORY, streams)
        return subprocess.Popen(self.command(*arguments), stdout=stdout, stderr=stderr, cwd=REPOSITORY, env=environment)
