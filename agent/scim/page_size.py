"""How many members to ask a workspace for at a time: a fixed number, or what its server accepts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agent.errors import StateError
from agent.model.page_size import LARGEST_PAGE, SMALL_PAGE, LearnedPageSize
from agent.ports.page_sizes import PageSizes
from agent.scim.tokens import WarnFunction

__all__ = ["FixedPageSize", "NegotiatedPageSize", "PageSize"]


class PageSize(Protocol):
    """The size of the pages of one workspace."""

    @property
    def largest(self) -> int:
        """The largest size that a listing asks for."""
        ...

    async def requested(self) -> int:
        """Return the size to ask for."""
        ...

    def smaller(self, refused: int) -> int | None:
        """Return the size to try after the server refused pages of *refused*, None for no other."""
        ...

    async def learn(self, accepted: int) -> None:
        """Record that *accepted* is the largest size that the server accepts. Raises nothing."""
        ...


@dataclass(frozen=True, slots=True)
class FixedPageSize:
    """The size that the configuration sets."""

    largest: int

    async def requested(self) -> int:
        return self.largest

    def smaller(self, refused: int) -> int | None:  # noqa: ARG002
        return None

    async def learn(self, accepted: int) -> None:
        """Do nothing: the configuration decides."""


class _Clock(Protocol):
    def now(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class NegotiatedPageSize:
    """1,000, or 100 where the server of *target* refuses that. A refusal is remembered for 30 days."""

    name: str
    target: str
    state: PageSizes
    clock: _Clock
    warn: WarnFunction

    @property
    def largest(self) -> int:
        return LARGEST_PAGE

    async def requested(self) -> int:
        """Return the size to ask for. Raises `StateError`."""
        learned = await self.state.load_page_size(self.target)
        return learned.size if learned is not None and learned.is_valid(self.clock.now()) else LARGEST_PAGE

    def smaller(self, refused: int) -> int | None:
        return SMALL_PAGE if refused > SMALL_PAGE else None

    async def learn(self, accepted: int) -> None:
        learned = None if accepted >= LARGEST_PAGE else LearnedPageSize(accepted, self.clock.now())
        try:
            await self.state.record_page_size(self.target, learned)
        except StateError as error:
            # The listing is complete all the same. The next one learns it again.
            self.warn("page-size.not-recorded", workspace=self.name, error=error.message)
