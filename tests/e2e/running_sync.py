"""A sync as a real, running process; its output can be read while it works."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.agent_process import Agent, AgentProcess

__all__ = ["PATIENCE_SECONDS", "Running", "started"]

PATIENCE_SECONDS = 300


@dataclass
class Running:
    """A sync under way, with what it has printed so far."""

    process: AgentProcess
    folder: Path

    @property
    def out(self) -> str:
        return " ".join((self.folder / "out").read_text("utf-8").split())

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text("utf-8")

    def wait_until(self, holds: Callable[[], object]) -> None:
        """Wait until *holds*; raises when the process ends before it does."""
        for _ in range(PATIENCE_SECONDS * 20):
            if holds():
                return
            assert self.process.poll() is None, f"it ended before: {self.out} {self.err}"
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        raise TimeoutError

    def end(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def started(agent: Agent, folder: Path, *arguments: str) -> Iterator[Running]:
    """Start a command, and kill it at the end; what it prints is kept in *folder*."""
    folder.mkdir()
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = agent.start(*arguments, stdout=out.fileno(), stderr=err.fileno())
        try:
            yield Running(process, folder)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
