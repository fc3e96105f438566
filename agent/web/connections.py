"""Bounds on the server's connections: how many are open, how long a request's head may take, and what is logged of it.

uvicorn bounds requests, and a connection that never completes one does not count. A client that opens connections
without end must not use up the files that the syncs need.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["BACKLOG", "Connections", "LogLimit", "bounded", "limit_logs", "raise_file_limit"]

log = structlog.get_logger()
MOST_CONNECTIONS = 512
HEAD_SECONDS = 10.0
RESERVED_FILES = 200
"""For the state, identity providers, workspaces, and connections that are accepted but not yet counted."""
FEWEST_CONNECTIONS = 16
BACKLOG = 64
"""asyncio accepts this many at once, and logs this many times that it can't: a bug of Python 3.11 to 3.13."""
MOST_FILES = 65_536
LOG_EVERY_SECONDS = 60.0


class LogLimit:
    """Lets one line of a kind through in a minute, and counts the others."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def allows(self, kind: str) -> int | None:
        """Return how many lines of *kind* were left out since the last one, None when this one is left out too."""
        now = self._now()
        if now - self._last.get(kind, float("-inf")) < LOG_EVERY_SECONDS:
            self._left_out[kind] += 1
            return None
        self._last[kind] = now
        return self._left_out.pop(kind, 0)


class Connections:
    """The open connections, *most* at once, each of which has *head_seconds* for the head of a request.

    One more than that takes the place of the oldest without a whole request, of the address that has most of those.
    """

    def __init__(self, most: int, head_seconds: float = HEAD_SECONDS, limit: LogLimit | None = None) -> None:
        self.head_seconds = head_seconds
        self._most = most
        self._limit = limit or LogLimit()
        self._open: set[Bounded] = set()
        self._waiting: dict[Bounded, str] = {}

    def admit(self, connection: Bounded) -> bool:
        """Count *connection* in. False: no room for it."""
        if len(self._open) >= self._most:
            left_out = self._limit.allows("server.connections_full")
            if left_out is not None:
                log.warning("server.connections_full", most=self._most, left_out=left_out)
            victim = self._victim()
            if victim is None:
                return False
            self.forget(victim)
            victim.drop()
        self._open.add(connection)
        return True

    def _victim(self) -> Bounded | None:
        counts = Counter(self._waiting.values()).most_common(1)
        return next((each for each, address in self._waiting.items() if address == counts[0][0]), None)

    def waits(self, connection: Bounded, address: str) -> None:
        if connection in self._open:
            self._waiting[connection] = address

    def is_served(self, connection: Bounded) -> None:
        self._waiting.pop(connection, None)

    def forget(self, connection: Bounded) -> None:
        self._open.discard(connection)
        self._waiting.pop(connection, None)


class Bounded(H11Protocol):
    """A connection that is counted, and closed when the head of a request takes too long."""

    counted: Connections
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if self.counted.admit(self):
            self._watch()
        else:
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self.counted.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # A second request may be in the buffer, in part.
        self._watch()

    def drop(self) -> None:
        self.transport.abort()

    def _watch(self) -> None:
        """Give the head of a request its time, from its first byte on, or from the connection's beginning.

        The body has a bound of its own, in `agent.web.shield`, and an idle connection has uvicorn's.
        """
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self.counted.waits(self, self.client[0] if self.client else "")
        else:
            self.counted.is_served(self)
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._overdue is None and self.timeout_keep_alive_task is None:
            self._overdue = self.loop.call_later(self.counted.head_seconds, self._drop_late)

    def _unwatch(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _drop_late(self) -> None:
        self._overdue = None
        # A loop that was busy may have read the rest a moment ago.
        if self.conn.their_state is h11.IDLE:
            self.drop()


def bounded(most: int, head_seconds: float = HEAD_SECONDS) -> type[H11Protocol]:
    """Return the protocol of a server whose connections are bounded."""
    return type("BoundedProtocol", (Bounded,), {"counted": Connections(most, head_seconds)})


def raise_file_limit() -> int:
    """Let this process open as many files as it may, and return how many connections leave enough of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            # A service manager may forbid the call: then what it set has to do.
            log.warning("server.file_limit", files=soft, error=str(error))
        else:
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, soft - RESERVED_FILES))


class _Sparing(logging.Filter):
    """Lets each warning of the server through once in a minute: strangers can cause them as often as they like."""

    def __init__(self, limit: LogLimit) -> None:
        super().__init__()
        self._limit = limit

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or record.exc_info:
            return True
        left_out = self._limit.allows(record.getMessage())
        if left_out:
            record.msg = f"{record.msg} ({left_out} more were left out)"
        return left_out is not None


def limit_logs(loop: asyncio.AbstractEventLoop) -> None:
    """Bound what strangers can make this process log: bad requests, and connections that can't be accepted."""
    limit = LogLimit()
    logging.getLogger("uvicorn.error").addFilter(_Sparing(limit))

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not str(context.get("message", "")).startswith("socket.accept()"):
            loop.default_exception_handler(context)
            return
        left_out = limit.allows("server.out_of_files")
        if left_out is not None:
            error = context.get("exception")
            log.error("server.out_of_files", error=str(error), left_out=left_out)

    loop.set_exception_handler(report)
