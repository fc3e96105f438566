"""What the requests of a piece of work are for, which the request budget needs to know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from agent.model.request_budget import RequestPurpose

__all__ = ["purpose_of", "requests_for"]

READ_METHODS = frozenset({"GET", "HEAD"})

# A variable of the context, because what a request is for is known several calls above where it waits: the look-up
# that follows a lost deactivation belongs to the deactivation.
_purpose: ContextVar[RequestPurpose | None] = ContextVar("purpose", default=None)


@contextmanager
def requests_for(purpose: RequestPurpose) -> Iterator[None]:
    """Count all requests of this block as being for *purpose*."""
    before = _purpose.set(purpose)
    try:
        yield
    finally:
        _purpose.reset(before)


def purpose_of(method: str) -> RequestPurpose:
    """Return what a request with *method* is for, in the present block."""
    known = _purpose.get()
    if known is not None:
        return known
    return RequestPurpose.READ if method in READ_METHODS else RequestPurpose.WRITE
