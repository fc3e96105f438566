"""What happened in the company, in the order in which it was recorded: the source of the providers' change feeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["CompanyEvent", "EventLog", "Happening"]


class Happening(StrEnum):
    HIRED = "hired"
    DEACTIVATED = "deactivated"
    SUSPENDED = "suspended"
    REINSTATED = "reinstated"
    DELETED = "deleted"
    RESTORED = "restored"
    """A deleted person is back, in their groups too (Entra)."""
    PURGED = "purged"
    """A deleted person is gone for good (Entra)."""
    RENAMED = "renamed"
    JOINED = "joined"
    """A person joined a group."""
    QUIT = "quit"
    """A person left a group."""
    ASSIGNED = "assigned"
    """A person was assigned to an application directly."""
    UNASSIGNED = "unassigned"
    GROUP_ASSIGNED = "group-assigned"
    GROUP_UNASSIGNED = "group-unassigned"
    GROUP_DELETED = "group-deleted"


@dataclass(frozen=True, slots=True)
class CompanyEvent:
    """One happening. *at* is in seconds since 1970; *person*, *group* and *app* are ids, empty where none is meant."""

    number: int
    at: float
    directory: str
    happening: Happening
    person: str = ""
    group: str = ""
    app: str = ""


@dataclass(slots=True)
class EventLog:
    """*now* returns seconds since 1970."""

    now: Callable[[], float]
    events: list[CompanyEvent] = field(default_factory=list)
    listeners: list[Callable[[CompanyEvent], None]] = field(default_factory=list)
    """Called with each event, before anything else happens."""

    def add(self, directory: str, happening: Happening, person: str = "", group: str = "", app: str = "") -> None:
        number = len(self.events) + 1
        event = CompanyEvent(number, self.now(), directory, happening, person, group, app)
        self.events.append(event)
        for listener in self.listeners:
            listener(event)

    def of(self, directory: str, after: int = 0) -> list[CompanyEvent]:
        """Return the events of *directory* with a number above *after*."""
        return [each for each in self.events[after:] if each.directory == directory]
