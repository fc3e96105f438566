"""Number the attempts at one request, for traces: a retry has the method and the URL of what it repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import httpx

__all__ = ["ATTEMPT_EXTENSION", "number_attempts", "set_attempt"]

ATTEMPT_EXTENSION = "pigment_sync.attempt"
"""The extension of a request that has its number, 1 for the first attempt."""

# A variable of the context, because msal sends its requests itself, from a thread.
_sent: ContextVar[Counter[tuple[str, str]] | None] = ContextVar("sent", default=None)


@contextmanager
def number_attempts() -> Iterator[None]:
    """Count the requests of this block by method and URL. Blocks within it count for themselves."""
    before = _sent.set(Counter())
    try:
        yield
    finally:
        _sent.reset(before)


def set_attempt(request: httpx.Request) -> None:
    """Give *request* its number in the block of `number_attempts` that it is sent in."""
    sent = _sent.get()
    if sent is None:
        return
    key = request.method, str(request.url)
    sent[key] += 1
    request.extensions[ATTEMPT_EXTENSION] = sent[key]
