"""Run the real command as a real process against a sandbox, as an operator would."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LONGEST_SECONDS", "Agent", "Ran"]

REPOSITORY = Path(__file__).parent.parent.parent
# Longer than any command takes on a busy machine: it only keeps a hung command from hanging the suite.
LONGEST_SECONDS = 300.0


@dataclass(frozen=True)
class Ran:
    """The result of a command: its exit code and what it printed to each stream."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Agent:
    """A configuration, and commands with it. Not *traced*: twice as fast, but not counted in coverage."""

    config: Path
    traced: bool = True

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "agent", "--config", str(self.config), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the machine's TLS settings or terminal reaches the agent."""
        dropped = {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NO_COLOR"}
        if not self.traced:
            dropped.add("COVERAGE_PROCESS_CONFIG")
        return {name: value for name, value in os.environ.items() if name not in dropped} | {"NO_PROXY": "127.0.0.1"}

    def run(self, *arguments: str, timeout: float = LONGEST_SECONDS, **more: str) -> Ran:
        ran = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            timeout=timeout,
            cwd=REPOSITORY,
            env=self.environment | more,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command and return at once."""
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=REPOSITORY,
            env=self.environment,
        )
