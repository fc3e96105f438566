"""End the process when its event loop hangs, so that a hung daemon can't look healthy.

It runs in its own thread and only checks that the loop responds. The supervisor restarts the daemon; the journal and
the lease are made for a process that dies at any line.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import structlog

__all__ = ["HANG_LIMIT_SECONDS", "HUNG_EXIT_CODE", "Silence", "Watchdog", "force_exit_after"]

log = structlog.get_logger()
HANG_LIMIT_SECONDS = 30.0
"""A plan of a million people takes 12 s of one processor; no intended work takes this long."""
HUNG_EXIT_CODE = 70
"""The exit code, which no command uses: EX_SOFTWARE of sysexits.h."""
CHECK_INTERVAL_SECONDS = 1.0
LOG_TIMEOUT_SECONDS = 2.0
IDLE_SHARE = 0.001
"""A thread that used less of the time between two checks does not run at all."""
TOP_FRAMES = 8


@dataclass(slots=True)
class Silence:
    """How long the loop has not responded, in seconds in which it could have.

    Checks are counted, not the time between them: after a suspended machine or a stopped process resumes, there is
    one check. A busy loop counts by the processor time that it got, which is little on a loaded machine.
    """

    interval_seconds: float
    seconds: float = 0.0

    def update(self, *, has_answered: bool, used_seconds: float) -> float:
        """Count one check; the loop's thread used *used_seconds* of a processor before it. Return the silence."""
        if has_answered:
            self.seconds = 0.0
        elif used_seconds < self.interval_seconds * IDLE_SHARE:
            self.seconds += self.interval_seconds
        else:
            self.seconds += min(used_seconds, self.interval_seconds)
        return self.seconds


class Watchdog:
    """Watches the loop of the thread that starts it. *end* ends the process, whatever its other threads do."""

    def __init__(
        self,
        limit_seconds: float = HANG_LIMIT_SECONDS,
        check_interval_seconds: float = CHECK_INTERVAL_SECONDS,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._limit_seconds = limit_seconds
        self._check_interval_seconds = check_interval_seconds
        self._end = end
        self._closed = threading.Event()
        self._answered = threading.Event()

    def start(self) -> None:
        """Start to watch the running loop."""
        watching = threading.Thread(
            target=self._watch,
            args=[asyncio.get_running_loop(), threading.get_ident()],
            name="watchdog",
            daemon=True,
        )
        watching.start()

    def close(self) -> None:
        self._closed.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        silence = Silence(self._check_interval_seconds)
        self._answered.set()
        used = _thread_cpu_seconds(thread)
        while not self._closed.wait(self._check_interval_seconds):
            before, used = used, _thread_cpu_seconds(thread)
            has_answered = self._answered.is_set()
            if silence.update(has_answered=has_answered, used_seconds=used - before) >= self._limit_seconds:
                self._log_hang(thread, silence.seconds)
                self._end(HUNG_EXIT_CODE)
                return
            if has_answered:
                self._answered.clear()
                try:
                    loop.call_soon_threadsafe(self._answered.set)
                except RuntimeError:
                    # The loop was closed: the process ends.
                    return

    def _log_hang(self, thread: int, seconds: float) -> None:
        frame = sys._current_frames().get(thread)  # noqa: SLF001, documented; no other way to see another thread
        frames = traceback.extract_stack(frame)[-TOP_FRAMES:] if frame is not None else []
        where = [f"{each.filename}:{each.lineno} {each.name}" for each in reversed(frames)]

        _log_with_timeout("daemon.hung", silent_seconds=round(seconds), where=where)


def force_exit_after(seconds: float, end: Callable[[int], object] = os._exit) -> None:
    """End the process in *seconds*, unless it has ended by then."""

    def watch() -> None:
        threading.Event().wait(seconds)
        _log_with_timeout("daemon.stop_overdue", seconds=round(seconds))
        end(HUNG_EXIT_CODE)

    threading.Thread(target=watch, name="stop-watchdog", daemon=True).start()


def _log_with_timeout(event: str, **facts: object) -> None:
    """Log why the process ends, with a time-out: writer the log may be what hangs."""
    writer = threading.Thread(
        target=log.critical,
        args=[event],
        kwargs={"exit_code": HUNG_EXIT_CODE, **facts},
        name="watchdog-log",
        daemon=True,
    )
    writer.start()
    writer.join(LOG_TIMEOUT_SECONDS)


def _thread_cpu_seconds(thread: int) -> float:
    """Return the processor time of *thread*; on platforms without thread clocks, the monotonic time."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic()
    return time.clock_gettime(time.pthread_getcpuclockid(thread))
