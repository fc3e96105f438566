"""Spans of a run: what was read and written, and how long each step took.

Attributes are names of the configuration, fixed words, numbers and ids of runs and requests: never a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["NO_TRACER", "Attributes", "Span", "Tracer"]

Attributes = Mapping[str, str | int]


class Span(Protocol):
    """One step while it is in progress."""

    def set(self, attributes: Attributes) -> None:
        """Add what is known only now."""
        ...

    def fail(self, code: str) -> None:
        """Mark the step as failed. *code* is one of our own, or the name of an exception's class."""
        ...


class Tracer(Protocol):
    """Records spans. A span that begins within another one belongs to it, also over asyncio's tasks."""

    def span(self, name: str, attributes: Attributes, /) -> AbstractContextManager[Span]:
        """Return a span for the block. An exception that leaves the block marks the span as failed."""
        ...


class _NoSpan:
    def set(self, attributes: Attributes) -> None:
        """Record nothing."""

    def fail(self, code: str) -> None:
        """Record nothing."""


class _NoTracer:
    def span(self, _name: str, _attributes: Attributes, /) -> AbstractContextManager[Span]:
        return nullcontext(_NoSpan())


NO_TRACER: Tracer = _NoTracer()
