"""Limits on connections: how many are open, how long a request's head may take, and what is logged.

uvicorn limits requests, but does not count a connection that never completes one. A client that opens connections
without end must not use up the file descriptors that the syncs need.
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

__all__ = ["BACKLOG", "ConnectionLimit", "LogRateLimit", "bounded_protocol", "limit_logs", "raise_file_limit"]

log = structlog.get_logger()
MAX_CONNECTIONS = 512
HEAD_TIMEOUT_SECONDS = 10.0
RESERVED_FILES = 200
"""For the state, identity providers, workspaces, and connections that are accepted but not yet counted."""
MIN_CONNECTIONS = 16
BACKLOG = 64
"""asyncio accepts this many at once, and logs this many times that it can't: a bug of Python 3.11 to 3.13."""
MAX_FILES = 65_536
LOG_INTERVAL_SECONDS = 60.0


class LogRateLimit:
    """Admit one line of a kind a minute, and count the others."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last_admitted_at: dict[str, float] = {}
        self._suppressed: Counter[str] = Counter()

    def admit(self, kind: str) -> int | None:
        """Return how many lines of *kind* were left out since the last one, None to leave this one out too."""
        now = self._now()
        if now - self._last_admitted_at.get(kind, float("-inf")) < LOG_INTERVAL_SECONDS:
            self._suppressed[kind] += 1
            return None
        self._last_admitted_at[kind] = now
        return self._suppressed.pop(kind, 0)


class ConnectionLimit:
    """The open connections, *most* at once, each of which has *head_timeout_seconds* for the head of a request.

    A further connection replaces the oldest one without a complete request, from the address that has most of them.
    """

    def __init__(
        self, most: int, head_seconds: float = HEAD_TIMEOUT_SECONDS, limit: LogRateLimit | None = None
    ) -> None:
        self.head_timeout_seconds = head_seconds
        self._max_open = most
        self._log_limit = limit or LogRateLimit()
        self._open: set[BoundedConnection] = set()
        self._waiting: dict[BoundedConnection, str] = {}

    def admit(self, connection: BoundedConnection) -> bool:
        """Count *connection*, and return False if there is no room for it."""
        if len(self._open) >= self._max_open:
            left_out = self._log_limit.admit("server.connections_full")
            if left_out is not None:
                log.warning("server.connections_full", most=self._max_open, left_out=left_out)
            victim = self._connection_to_evict()
            if victim is None:
                return False
            self.forget(victim)
            victim.drop()
        self._open.add(connection)
        return True

    def _connection_to_evict(self) -> BoundedConnection | None:
        counts = Counter(self._waiting.values()).most_common(1)
        return next((each for each, address in self._waiting.items() if address == counts[0][0]), None)

    def mark_waiting(self, connection: BoundedConnection, address: str) -> None:
        if connection in self._open:
            self._waiting[connection] = address

    def mark_served(self, connection: BoundedConnection) -> None:
        self._waiting.pop(connection, None)

    def forget(self, connection: BoundedConnection) -> None:
        self._open.discard(connection)
        self._waiting.pop(connection, None)


class BoundedConnection(H11Protocol):
    """A connection that is counted, and closed when the head of a request takes too long."""

    counted: ConnectionLimit
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if self.counted.admit(self):
            self._update_head_timer()
        else:
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head_timer()
        self.counted.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._update_head_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # A second request may be in the buffer, in part.
        self._update_head_timer()

    def drop(self) -> None:
        self.transport.abort()

    def _update_head_timer(self) -> None:
        """Start the timer for the head of a request, at its first byte or at the start of the connection.

        The body has a bound of its own, in `agent.web.middleware`, and an idle connection has uvicorn's.
        """
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self.counted.mark_waiting(self, self.client[0] if self.client else "")
        else:
            self.counted.mark_served(self)
        if self.conn.their_state is not h11.IDLE:
            self._cancel_head_timer()
        elif self._head_timer is None and self.timeout_keep_alive_task is None:
            self._head_timer = self.loop.call_later(self.counted.head_timeout_seconds, self._drop_on_timeout)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _drop_on_timeout(self) -> None:
        self._head_timer = None
        # A loop that was busy may have read the rest a moment ago.
        if self.conn.their_state is h11.IDLE:
            self.drop()


def bounded_protocol(most: int, head_seconds: float = HEAD_TIMEOUT_SECONDS) -> type[H11Protocol]:
    """Return the protocol of a server with a limit on its connections."""
    return type("BoundedProtocol", (BoundedConnection,), {"counted": ConnectionLimit(most, head_seconds)})


def raise_file_limit() -> int:
    """Raise the limit of open files as far as allowed, and return the number of connections that it supports."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            # A service manager may forbid the call; its own limit applies then.
            log.warning("server.file_limit", files=soft, error=str(error))
        else:
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, soft - RESERVED_FILES))


class _RateLimitFilter(logging.Filter):
    """Admit each warning of the server once a minute: unauthenticated clients can cause any number of them."""

    def __init__(self, limit: LogRateLimit) -> None:
        super().__init__()
        self._limit = limit

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or record.exc_info:
            return True
        left_out = self._limit.admit(record.getMessage())
        if left_out:
            record.msg = f"{record.msg} ({left_out} more were left out)"
        return left_out is not None


def limit_logs(loop: asyncio.AbstractEventLoop) -> None:
    """Limit what unauthenticated clients can make this process log: bad requests and refused connections."""
    limit = LogRateLimit()
    logging.getLogger("uvicorn.error").addFilter(_RateLimitFilter(limit))

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not str(context.get("message", "")).startswith("socket.accept()"):
            loop.default_exception_handler(context)
            return
        left_out = limit.admit("server.out_of_files")
        if left_out is not None:
            error = context.get("exception")
            log.error("server.out_of_files", error=str(error), left_out=left_out)

    loop.set_exception_handler(report)
