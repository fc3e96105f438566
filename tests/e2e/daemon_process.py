"""Run `serve` as a real process, and read its log as it comes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import httpx
import yaml

from agent.settings.token import Role, hashed_token
from sandbox.server import Sandbox
from tests import counted_lines
from tests.e2e.agent_process import LONGEST_SECONDS, Agent, AgentProcess
from tests.plain_http import get

__all__ = ["OPERATOR", "READER", "Serving", "access", "configured", "serving"]

OPERATOR, READER = "pgs_" + "o" * 43, "pgs_" + "r" * 43
Line = dict[str, Any]
ENDED: Line = {"event": "process.ended"}
# A daemon that does not end within its own 30 seconds is killed: another test checks that it ends.
ENDING_SECONDS = 40


@dataclass
class Serving:
    """A daemon process and the lines of its log."""

    process: AgentProcess
    lines: SimpleQueue[Line] = field(default_factory=SimpleQueue)
    seen: list[Line] = field(default_factory=list)
    port: int = 0

    def until(self, *events: str, holds: Callable[[Line], bool] = lambda _line: True) -> Line:
        """Return the next line about one of *events*; raises `AssertionError` if the process ends before."""
        wanted = " or ".join(events)
        while True:
            try:
                line = self.lines.get(timeout=LONGEST_SECONDS)
            except Empty:
                raise TimeoutError(f"no {wanted}; seen: {[each.get('event') for each in self.seen]}") from None
            self.seen.append(line)
            if line.get("event") in events and holds(line):
                return line
            if line is ENDED:
                # For the next call.
                self.lines.put(ENDED)
                raise AssertionError(f"no {wanted}: the process has ended; seen: {self.seen}")

    def answer(self, path: str) -> httpx.Response:
        return get(f"http://127.0.0.1:{self.port}{path}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(LONGEST_SECONDS)


@contextmanager
def serving(agent: Agent, **variables: str) -> Iterator[Serving]:
    """Run the daemon until the end of the block; *variables* are added to its environment."""
    process = agent.start("serve", variables=variables)
    assert process.stderr is not None
    found = Serving(process)
    log = process.stderr

    def read() -> None:
        for raw in log:
            found.lines.put(json.loads(raw) if raw.startswith(b"{") else {"event": "text", "text": raw.decode()})
        found.lines.put(ENDED)

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        found.port = int(found.until("server.listening")["port"])
        yield found
    finally:
        if counted_lines.VARIABLE in os.environ:
            _end(process)
        process.kill()
        process.wait()
        reader.join(LONGEST_SECONDS)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _end(process: AgentProcess) -> None:
    """Ask the process to end: a killed process does not record which lines it ran."""
    process.terminate()
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        return


def access() -> dict[str, object]:
    """Return `server:` with two tokens: ana@acme.com may operate, audit may read."""
    entries = [hashed_token(OPERATOR, Role.OPERATE, "ana@acme.com"), hashed_token(READER, Role.READ, "audit")]
    return {"port": 0, "tokens": [str(entry) for entry in entries]}


def configured(sandbox: Sandbox, folder: Path, schedule: object, **more: object) -> Agent:
    config = sandbox.write_config(folder)
    document = yaml.safe_load(config.read_text("utf-8"))
    for workspace in document["workspaces"].values():
        workspace["schedule"] = schedule
    config.write_text(yaml.safe_dump(document | {"server": {"port": 0}, "log": {"level": "info"}} | more), "utf-8")
    return Agent(config)
