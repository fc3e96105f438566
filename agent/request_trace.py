"""One event for each HTTP request: in the log at level debug, and as a line of JSON in the file of `--trace`.

No event has a query, a header, a body or an id of a person: what is not a fixed word of an API is `{id}` in a path.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import structlog

from agent.errors import UsageError
from connectors.http import ATTEMPT_EXTENSION, REAL_TIME, Timer, request_id_from_headers

__all__ = ["ObservedTransport", "RequestEvent", "TraceFile", "path_template", "trace_requests"]

log = structlog.get_logger()
API_WORDS = frozenset(
    {
        *("2", "api", "apps", "appRoleAssignedTo", "auth", "beta", "deletedItems", "directory", "events", "groups"),
        *("logs", "members", "memberOf", "microsoft.graph.user", "oauth2", "organization", "roles", "scim", "token"),
        *("servicePrincipals", "transitiveMemberOf", "transitiveMembers", "users", "v1", "v1.0", "v2", "v2.0"),
        *("Groups", "ResourceTypes", "Schemas", "ServiceProviderConfig", "Users"),
        *(".well-known", "identity", "metadata", "openid-configuration", "rate_limit"),
    }
)
"""The fixed segments of the paths that are requested. Any other segment is an id, an address or a tenant."""

UNUSABLE_HINT = "Name a new file in a folder that this user can write to, or one that an earlier --trace wrote."
FIRST_LINE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """One attempt at a request, from *at* (UTC). The shape of a line of the trace.

    *ms* counts until the last byte of the answer, without waits before the request. *bytes* is the size of the body as
    it was sent. *status* and *bytes* are None without an answer. *attempt* is 1 for the first. *request_id* is the
    vendor's, None where it has none.
    """

    at: str
    method: str
    host: str
    path: str
    status: int | None
    ms: int
    attempt: int
    bytes: int | None
    request_id: str | None


def path_template(path: str) -> str:
    """Return *path* with each segment that is not a fixed word of an API as `{id}`."""
    return "/".join(part if not part or part in API_WORDS else "{id}" for part in path.split("/"))


class TraceFile:
    """Appends events to a file. A failure to write is logged once and stops nothing."""

    def __init__(self, path: Path) -> None:
        """Open *path*, readable by this user only where it is new. Raises `UsageError`."""
        self._path = path
        self._is_failing = False
        self._has_torn_line = False
        try:
            # Not blocking, because a pipe without a reader would never open.
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"--trace: {path} can't be written ({why}).", UNUSABLE_HINT) from error
        try:
            self._refuse_other_file()
        except BaseException:
            self.close()
            raise

    def _refuse_other_file(self) -> None:
        """Raise `UsageError` unless the file is new or a trace: a mistyped name must not damage another file."""
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"--trace: {self._path} is not a file.", UNUSABLE_HINT)
        if not found.st_size:
            # A disk without room is reported now: creating a file may need none.
            self._require_room()
            return
        if not _is_event(os.pread(self._file, FIRST_LINE_BYTES, 0).split(b"\n")[0]):
            raise UsageError(f"--trace: {self._path} exists and is not a trace. It was not changed.", UNUSABLE_HINT)
        # A process that was killed may have left half a line.
        self._has_torn_line = os.pread(self._file, 1, found.st_size - 1) != b"\n"

    def _require_room(self) -> None:
        try:
            os.write(self._file, b"\n")
            os.ftruncate(self._file, 0)
        except OSError as error:
            raise UsageError(f"--trace: {self._path} can't be written ({error.strerror}).", UNUSABLE_HINT) from error

    def add(self, event: RequestEvent) -> None:
        """Append *event*: at once, so that a process that is killed leaves what it had sent."""
        self._write(json.dumps(asdict(event), sort_keys=True).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        if self._has_torn_line:
            line = b"\n" + line
        try:
            written, problem = os.write(self._file, line), "no room for a whole line"
        except OSError as error:
            written, problem = 0, error.strerror or type(error).__name__
        self._has_torn_line = 0 < written < len(line) or (self._has_torn_line and not written)
        if written < len(line) and not self._is_failing:
            log.warning("trace.not_written", file=str(self._path), reason=problem)
        self._is_failing = written < len(line)

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._file)


def _is_event(line: bytes) -> bool:
    try:
        document = json.loads(line)
    except ValueError:
        return False
    return isinstance(document, dict) and document.keys() == RequestEvent.__dataclass_fields__.keys()


# A variable of the context, so that each client of the process has it, also those that a library builds.
_trace_file: ContextVar[TraceFile | None] = ContextVar("trace_file", default=None)


@contextmanager
def trace_requests(path: Path) -> Iterator[None]:
    """Append the requests of this block to the file *path*. Raises `UsageError` before the first."""
    file = TraceFile(path)
    before = _trace_file.set(file)
    try:
        yield
    finally:
        _trace_file.reset(before)
        file.close()


def _is_logged() -> bool:
    # Until it is configured, structlog prints to stdout, which belongs to the result of a command.
    return logging.getLogger().isEnabledFor(logging.DEBUG) and structlog.is_configured()


def _record(event: RequestEvent) -> None:
    fields = asdict(event)
    # The log has a time of its own.
    del fields["at"]
    if _is_logged():
        log.debug("http.request", **fields)
    file = _trace_file.get()
    if file is not None:
        file.add(event)


class ObservedTransport(httpx.AsyncBaseTransport):
    """Records an event for each request: once its answer was read or given up, or as soon as it failed."""

    def __init__(self, transport: httpx.AsyncBaseTransport, timer: Timer = REAL_TIME) -> None:
        self._transport = transport
        self._timer = timer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if _trace_file.get() is None and not _is_logged():
            return await self._transport.handle_async_request(request)
        at = datetime.fromtimestamp(self._timer.wall(), UTC).isoformat(timespec="milliseconds")
        started = self._timer.now()

        def record(response: httpx.Response | None, size: int | None) -> None:
            _record(
                RequestEvent(
                    at.replace("+00:00", "Z"),
                    request.method,
                    request.url.host,
                    path_template(request.url.path),
                    None if response is None else response.status_code,
                    round((self._timer.now() - started) * 1000),
                    request.extensions.get(ATTEMPT_EXTENSION, 1),
                    size,
                    None if response is None else request_id_from_headers(response.headers, request.headers) or None,
                )
            )

        try:
            response = await self._transport.handle_async_request(request)
        except BaseException:
            record(None, None)
            raise
        if response.is_stream_consumed:  # an in-memory transport had it whole
            record(response, len(response.content))
        elif isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _CountedStream(response.stream, lambda size: record(response, size))
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()


class _CountedStream(httpx.AsyncByteStream):
    """Reports the number of its bytes once, when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, on_close: Callable[[int], None]) -> None:
        self._stream = stream
        self._on_close = on_close
        self._size = 0
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._size += len(part)
            yield part

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            if not self._is_closed:
                self._is_closed = True
                self._on_close(self._size)
