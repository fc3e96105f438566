"""An application's whole response, captured so that it can be changed before it is sent."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CapturedResponse", "capture_response", "json_response"]

CHUNK_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class CapturedResponse:
    """*headers* have lower-case names. *padding_bytes* is the number of spaces sent after the body's first byte."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    padding_bytes: int = 0

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def with_header(self, name: str, value: str | None) -> CapturedResponse:
        """Return the answer with this one header set, or with None without it."""
        kept = tuple(pair for pair in self.headers if pair[0] != name)
        return dataclasses.replace(self, headers=kept if value is None else (*kept, (name, value)))

    def with_body(self, body: bytes, media_type: str | None = None) -> CapturedResponse:
        answer = dataclasses.replace(self, body=body, padding_bytes=0)
        return answer if media_type is None else answer.with_header("content-type", media_type)

    def with_json(self, document: object) -> CapturedResponse:
        return self.with_body(orjson.dumps(document))

    def json(self) -> object:
        """Return the parsed body, None when it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    async def send_to(self, send: Send) -> None:
        length = len(self.body) + self.padding_bytes
        kept = [pair for pair in self.headers if pair[0] not in ("content-length", "transfer-encoding")]
        if self.status not in (204, 304):
            kept.append(("content-length", str(length)))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for piece in self._chunks():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # lets the server see that a client has gone
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _chunks(self) -> Iterator[bytes]:
        if not self.padding_bytes:
            yield self.body
            return
        yield self.body[:1]
        for at in range(0, self.padding_bytes, CHUNK_BYTES):
            yield b" " * min(CHUNK_BYTES, self.padding_bytes - at)
        yield self.body[1:]


def json_response(
    status: int, document: object, headers: dict[str, str], media_type: str = "application/json"
) -> CapturedResponse:
    lower = tuple((name.lower(), value) for name, value in headers.items())
    return CapturedResponse(status, (("content-type", media_type), *lower), orjson.dumps(document))


async def capture_response(app: ASGIApp, scope: Scope, receive: Receive) -> CapturedResponse:
    """Return the response of *app* without sending it."""
    head: list[Message] = []
    body = bytearray()

    async def hold(message: Message) -> None:
        if message["type"] == "http.response.start":
            head.append(message)
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))

    await app(scope, receive, hold)
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in head[0]["headers"])
    return CapturedResponse(head[0]["status"], headers, bytes(body))
