"""What the state knows of the change feeds: where each goes on, and the people that it named."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta

from connectors.base import PersonKey

__all__ = ["ANYONE", "Announcement", "FeedCursor", "FeedLag", "NamedPerson", "WantedRun"]

ANYONE = ""
"""The id of an announcement that is about no single person: a change of a group or application, a lost cursor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedCursor:
    """Where the feed of a connector goes on. *account* is the fingerprint of the provider account that it is valid for.

    *cursor* may hold a token: it is in no log and no message. *begun_at* is when it began afresh, *polled_at* the last
    successful poll, and *event_at* the newest event so far by the provider's clock, None: none yet.
    """

    connector: str
    account: str
    cursor: str = field(repr=False)
    begun_at: datetime
    polled_at: datetime
    event_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NamedPerson:
    """A linked person of one workspace whom a feed named and who was not looked at conclusively since.

    *event_id* and *word* (the provider's type) are those of the first such event, *event_at* its time there, None: not
    given. *named_at* is when the newest one was read. *looks* counts the looks since, the next is due at *due_at*.
    """

    workspace: str
    person: PersonKey
    event_id: str
    word: str
    event_at: datetime | None
    named_at: datetime
    due_at: datetime
    _: KW_ONLY
    looks: int = 0


@dataclass(frozen=True, slots=True)
class Announcement:
    """That an event named a linked person of a workspace, at *named_at*. *event_at* is its time at the provider.

    The id `ANYONE` announces that anyone there may have left.
    """

    workspace: str
    person: PersonKey
    named_at: datetime
    event_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FeedLag:
    """How long after the provider's event a person was deactivated. *at* is the time of the deactivation."""

    workspace: str
    person: PersonKey
    at: datetime
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRun:
    """A run over everyone of *workspace* that a feed asks for, and *why*.

    *tries* were started so far. *run_id* is the newest run over everyone that began since the feed asked, empty: none.
    *since_last* is how long ago the newest one began or the last try was started, None: unknown.
    """

    workspace: str
    why: str
    tries: int = 0
    run_id: str = ""
    since_last: timedelta | None = None

    def is_too_early(self, pause: timedelta) -> bool:
        """Return whether *pause* has not passed since the last run. If that is in the future, a clock was set back."""
        return self.since_last is not None and abs(self.since_last) < pause
