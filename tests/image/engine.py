"""Run the image as a cautious operator would: nothing writable except the mounts, no capability left."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["BASE", "HARDENED", "IMAGE", "Container", "Mount", "Ran", "inspected", "podman", "ran", "started"]

IMAGE = os.environ.get("IMAGE", "localhost/pigment-sync:test")
BASE = os.environ.get("IMAGE_BASE", "localhost/pigment-sync-base:bookworm")
HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges")
# The pretend systems listen on this machine's loopback.
SHARED = ("--network=host", "--no-healthcheck", "--tmpfs=/tmp:mode=1777", "--log-driver=k8s-file")
WITHIN_SECONDS = 60.0


@dataclass(frozen=True)
class Ran:
    """The result of a command: its exit code and what it printed to each stream."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Mount:
    """A mount: what is where in the container. *how* is ro or rw."""

    source: Path | str
    target: str
    how: str = "ro"

    def __str__(self) -> str:
        return f"--volume={self.source}:{self.target}:{self.how}"


def podman(*arguments: str) -> Ran:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=WITHIN_SECONDS, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


def ran(*command: str, mounts: Sequence[Mount] = (), user: str = "", more: Sequence[str] = ()) -> Ran:
    """Run *command* in a container of its own, and forget it."""
    return podman("run", "--rm", *_options(mounts, user, more), IMAGE, *command)


def _options(mounts: Sequence[Mount], user: str, more: Sequence[str]) -> list[str]:
    user_option = [f"--user={user}"] if user else []
    return [*HARDENED, *SHARED, *user_option, *(str(mount) for mount in mounts), *more]


def inspected(image: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(podman("image", "inspect", image).out)
    return found[0]


@dataclass
class Container:
    """A running container."""

    name: str
    log: list[dict[str, Any]] = field(default_factory=list)

    def inside(self, *command: str) -> Ran:
        return podman("exec", self.name, *command)

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of its log so far."""
        logs = podman("logs", self.name)
        return [json.loads(line) for line in f"{logs.out}{logs.err}".splitlines() if line.startswith("{")]

    def until(self, event: str) -> dict[str, Any]:
        """Return the first line of the log about *event*, once it is there."""
        ends = time.monotonic() + WITHIN_SECONDS
        while time.monotonic() < ends:
            found = [line for line in self.lines() if line["event"] == event]
            if found:
                return found[0]
            if not self.is_running():
                break
            time.sleep(0.2)
        logs = podman("logs", self.name)
        raise AssertionError(f"no {event}: {logs.out}{logs.err}")

    def is_running(self) -> bool:
        return podman("inspect", "--format", "{{.State.Running}}", self.name).out.strip() == "true"

    def terminated(self) -> tuple[int, float]:
        """Send SIGTERM and nothing else; return the exit code, and how many seconds the end took."""
        began = time.monotonic()
        podman("kill", "--signal=TERM", self.name)
        code = int(podman("wait", "--interval=100ms", self.name).out)
        return code, time.monotonic() - began


@contextmanager
def started(
    *command: str, mounts: Sequence[Mount] = (), user: str = "", more: Sequence[str] = ()
) -> Iterator[Container]:
    """Run *command* (default: the image's own command) in the background until the end of the block."""
    begun = podman("run", "--detach", *_options(mounts, user, more), IMAGE, *command)
    assert begun.code == 0, begun.err
    container = Container(begun.out.strip())
    try:
        yield container
    finally:
        podman("rm", "--force", "--time=0", container.name)
