"""How much processor time some processes took, and how busy the machine was meanwhile. Linux only."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cpu", "CpuMeter"]

TICKS = os.sysconf("SC_CLK_TCK")
OWN, WITH_ENDED_CHILDREN = slice(11, 13), slice(11, 15)
"""Places of the times in `/proc/PID/stat` after the name: user and system, then those of children that ended."""
PARENT = 1
IDLE = (3, 4)


@dataclass(frozen=True, slots=True)
class Cpu:
    """*seconds* are those of the watched processes, *machine* those of all, *wall* the time in between."""

    seconds: float
    machine: float
    wall: float

    def __str__(self) -> str:
        cores = os.cpu_count() or 1
        return (
            f"{self.seconds:.0f} CPU s of the bench are {self.seconds / self.wall / cores:.0%} of {cores} cores; "
            f"with all other processes {self.machine / self.wall / cores:.0%}"
        )


class CpuMeter:
    """Measures the processes *pids*, those added later, this one, and all children of *pids*."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.pids = {os.getpid(), *pids}
        self._ended = 0.0
        self._start = self._now()

    def restart(self) -> None:
        self._ended = 0.0
        self._start = self._now()

    def add(self, pid: int) -> None:
        self.pids.add(pid)

    def reap(self, pid: int) -> int:
        """Wait for a child that ends, count its time, and return its exit code."""
        _, status, used = os.wait4(pid, 0)
        self.pids.discard(pid)
        self._ended += used.ru_utime + used.ru_stime
        return os.waitstatus_to_exitcode(status)

    def read(self) -> Cpu:
        """Return the times since the start."""
        now = self._now()
        seconds, machine, wall = (end - start for end, start in zip(now, self._start, strict=True))
        return Cpu(seconds + self._ended, machine, wall)

    def _now(self) -> tuple[float, float, float]:
        return sum(map(self._seconds, self.pids)), _machine_seconds(), time.monotonic()

    def _seconds(self, pid: int) -> float:
        own = pid == os.getpid()
        alive = sum(_times(child, OWN) for child in ([] if own else _children(pid)))
        return _times(pid, OWN if own else WITH_ENDED_CHILDREN) + alive


def _times(pid: int, which: slice) -> float:
    return sum(map(int, _stat(pid)[which])) / TICKS


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 20


def _children(pid: int) -> list[int]:
    found = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    return [each for each in found if _stat(each)[PARENT] == str(pid)]


def _machine_seconds() -> float:
    numbers = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(numbers) - sum(numbers[place] for place in IDLE)) / TICKS
