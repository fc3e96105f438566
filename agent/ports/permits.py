"""The request budget that processes share: permits to send, taken in small batches and given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.model.request_budget import RequestPurpose

__all__ = ["AnsweredRequests", "PermitAnswer", "PermitLedger", "PermitRequest"]


@dataclass(frozen=True, slots=True)
class AnsweredRequests:
    """Requests that were answered, the last of them *seconds_ago*, measured before the call.

    *number* identifies them among those of their holder, so that a repeated call counts them once.
    """

    number: int
    count: int
    seconds_ago: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitRequest:
    """What one process reports of its requests to *host*, and asks for.

    *holder* is the process, *number* grows with each of its requests: one that arrives late changes nothing.
    *outstanding* permits may still be used, for at most *usable_seconds* from now, or their responses are pending.
    *waiting* are requests in order of arrival; *spare* is how many permits more to take while there are plenty.
    At most *requests* may be sent in any *window_seconds*. *pause_seconds* is the pause that the host asked for.
    """

    host: str
    holder: str
    number: int
    outstanding: int
    answered: Sequence[AnsweredRequests]
    waiting: Sequence[RequestPurpose]
    spare: int
    requests: int
    window_seconds: float
    usable_seconds: float
    pause_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitAnswer:
    """*admitted* are positions in `waiting`. *retry_seconds* is when more may be free; *free* are left for others."""

    admitted: tuple[int, ...] = ()
    spare: int = 0
    free: int = 0
    pause_seconds: float = 0.0
    retry_seconds: float = 1.0


class PermitLedger(Protocol):
    """Counts the requests of all processes to each host, by one clock."""

    async def exchange_permits(self, request: PermitRequest) -> PermitAnswer:
        """Record what *request* reports, and grant what the budget allows. Raises `StateError` within seconds."""
        ...
