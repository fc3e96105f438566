"""Keep what systems answer to reads, as it is, until the recording is written. Only in memory: it names people."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import httpx

from agent.recording.address import System
from connectors.entra.auth import roles_from_token

__all__ = ["KeptAnswer", "Recorder"]

NO_ANSWER = 504
"""Stands for a request without an answer: the agent treats both alike."""

KEPT_HEADERS = ("link", "after-cursor", "total-count", "location", "content-type")
RATE_LIMIT_HEADERS = ("retry-after", "x-rate-limit-remaining", "x-ratelimit-remaining")
FORBIDDEN, TOO_MANY = 403, 429
REPEATED_STATUSES = frozenset({401, FORBIDDEN, 408, 425, TOO_MANY, *range(500, 600)})
"""Statuses after which the agent may send the same request again."""

HIDDEN_ROLE = "Member.Read.Hidden"


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """One answer with its original values. The body is compressed."""

    system: System
    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    packed: bytes

    @property
    def body(self) -> bytes:
        return zlib.decompress(self.packed)


@dataclass(slots=True)
class Recorder:
    """Keeps the answers of *systems*. What others answer, such as token endpoints, is passed on and not kept.

    *hidden_members* maps an Entra system to whether its token has the permission to read hidden members, None where
    the token does not show its permissions.
    """

    systems: Sequence[System]
    hidden_members: dict[str, bool | None] = field(default_factory=dict)
    _kept: dict[int, KeptAnswer] = field(default_factory=dict)
    _requests: int = 0

    def wrap(self, transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        return _RecordingTransport(transport, self)

    def begin(self, request: httpx.Request) -> Callable[[int, httpx.Headers, bytes], None] | None:
        """Return what keeps the answer to *request*, None for one that is not kept."""
        system = self._system(request)
        if system is None:
            return None
        if system.kind == "entra":
            token = request.headers.get("authorization", "").rpartition(" ")[2]
            roles = roles_from_token(token)
            self.hidden_members[system.name] = None if roles is None else HIDDEN_ROLE in roles
        self._requests += 1
        number, url = self._requests, str(request.url)

        def keep(status: int, headers: httpx.Headers, body: bytes) -> None:
            # A 403 by a rate limit is not one by a missing permission, and only headers distinguish them.
            if status == FORBIDDEN and any(name in headers for name in RATE_LIMIT_HEADERS):
                status = TOO_MANY
            kept = tuple((name, value) for name, value in headers.multi_items() if name.lower() in KEPT_HEADERS)
            self._kept[number] = KeptAnswer(system, url, status, kept, zlib.compress(body))

        return keep

    def _system(self, request: httpx.Request) -> System | None:
        if request.method != "GET":
            return None
        url = str(request.url)
        found = [each for each in self.systems if each.relative_path(url) is not None]
        # Two workspaces may share a host: the longer address is the more precise.
        return max(found, key=lambda each: len(each.base_url), default=None)

    def answers(self) -> Iterator[KeptAnswer]:
        """Yield the answers in the order of their requests, without those after which the same was asked again.

        A request that was always answered alike has one answer. Any other has each, because a replay counts them.
        """
        by_request: dict[tuple[str, str], list[KeptAnswer]] = {}
        for number in sorted(self._kept):
            each = self._kept[number]
            by_request.setdefault((each.system.name, each.url), []).append(each)
        for answers in by_request.values():
            final = [each for each in answers if each.status not in REPEATED_STATUSES or each is answers[-1]]
            yield from final[:1] if all(each == final[0] for each in final) else final


@dataclass(slots=True)
class _RecordingTransport(httpx.AsyncBaseTransport):
    inner: httpx.AsyncBaseTransport
    recorder: Recorder

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        keep = self.recorder.begin(request)
        if keep is None:
            return await self.inner.handle_async_request(request)
        try:
            response = await self.inner.handle_async_request(request)
        except httpx.TransportError:
            keep(NO_ANSWER, httpx.Headers(), b"")
            raise
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("an asynchronous transport answers with an asynchronous stream")
        response.stream = _KeptStream(response.stream, response.status_code, response.headers, keep)
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


@dataclass(slots=True)
class _KeptStream(httpx.AsyncByteStream):
    """Passes a body on, and keeps it once it is complete."""

    stream: httpx.AsyncByteStream
    status: int
    headers: httpx.Headers
    keep: Callable[[int, httpx.Headers, bytes], None]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks: list[bytes] = []
        is_complete = False
        try:
            async for chunk in self.stream:
                chunks.append(chunk)
                yield chunk
            is_complete = True
        finally:
            if is_complete:
                body = httpx.Response(self.status, headers=self.headers, content=b"".join(chunks)).content
                self.keep(self.status, self.headers, body)
            else:
                self.keep(NO_ANSWER, httpx.Headers(), b"")

    async def aclose(self) -> None:
        await self.stream.aclose()
