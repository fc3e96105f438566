"""A second copy of the directory that is some seconds behind: Graph answers from either, and does not show which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sandbox.company import Directory, Group, Person
from sandbox.company.events import CompanyEvent, EventLog, Happening

__all__ = ["LaggingReplica"]

STOPPED = frozenset({Happening.DEACTIVATED, Happening.SUSPENDED})
CREATED = frozenset({Happening.HIRED, Happening.RESTORED})


class LaggingReplica:
    """Shows people and their groups without what happened in the last seconds."""

    def __init__(self, directory: Directory, log: EventLog) -> None:
        self._directory = directory
        self._log = log

    def person(self, key: str, seconds: float, lacks: frozenset[Happening]) -> Person | None:
        """Return the person with the id or address *key* as they were; None for one who did not exist."""
        found = self._directory.person(key) or self._directory.deleted.get(key)
        is_there = found is not None and found.id in self._directory.people
        if found is None:
            return None
        words = self._directory.status_words
        for event in self._recent(found.id, seconds, lacks):
            if event.happening in CREATED:
                is_there = False
            elif event.happening is Happening.DELETED:
                is_there = True
            elif event.happening in STOPPED:
                found = replace(found, status=words.active)
            elif event.happening is Happening.REINSTATED:
                found = replace(found, status=words.suspended)
        return found if is_there else None

    def groups_of(self, person_id: str, seconds: float, lacks: frozenset[Happening]) -> list[Group]:
        groups = {group.id for group in self._directory.groups_of(person_id)}
        for event in self._recent(person_id, seconds, lacks):
            if event.happening is Happening.JOINED:
                groups.discard(event.group)
            elif event.happening is Happening.QUIT:
                groups.add(event.group)
        return [group for key, group in self._directory.groups.items() if key in groups]

    def _recent(self, person_id: str, seconds: float, lacks: frozenset[Happening]) -> Iterator[CompanyEvent]:
        """Yield what the replica lacks of a person, the newest first."""
        since = self._log.now() - seconds
        for event in reversed(self._log.events):
            if event.at <= since:
                return
            if event.person == person_id and event.happening in lacks:
                yield event
