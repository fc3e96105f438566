"""A sync as a real, running process; its output can be read while it works."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.agent_process import LONGEST_SECONDS, Agent, AgentProcess
from tests.waiting import wait_until

__all__ = ["Running", "started"]


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

        def holds_before_the_end() -> object:
            # In this order: the end may be what makes it hold.
            is_over = self.process.poll() is not None
            found = holds()
            assert found or not is_over, f"it ended before: {self.out} {self.err}"
            return found

        wait_until(holds_before_the_end, "a moment of the sync")

    def end(self) -> int:
        return self.process.wait(LONGEST_SECONDS)


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
