"""Look leavers up at their sources. A failure never ends a run: the deactivation's reason mentions it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from agent.model import Policy
from connectors.base import Connector, LookupResult, PersonKey, ReadError, Snapshot, Source, Status

__all__ = ["Lookups"]

MAX_CONCURRENT = 4
MAX_FAILURES = 3
"""Consecutive failures after which a connector gets no more lookups: the next would most likely fail too."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Lookups:
    """Looks leavers up at their connectors. One instance serves one command: failures add up over its workspaces.

    *timeout_seconds* bounds one lookup with its retries, so an unresponsive provider costs few such waits.
    """

    connectors: Mapping[str, Connector]
    timeout_seconds: float = 20
    failures: Counter[str] = field(default_factory=Counter)

    async def look_up(
        self, people: Sequence[PersonKey], snapshots: Sequence[Snapshot], policy: Policy
    ) -> dict[PersonKey, LookupResult]:
        """Return each person's lookup, with only the groups that count for the workspace. Raises nothing."""
        at_once = asyncio.Semaphore(MAX_CONCURRENT)
        counted = {each.source: frozenset(group.id for group in each.groups) for each in snapshots}

        async def one(key: PersonKey) -> LookupResult:
            async with at_once:
                sources = [source for source in policy.sources if source.connector == key.connector]
                found = [
                    _restrict_groups(await self._look_up_person(key, source), counted[source]) for source in sources
                ]
                # If one of several applications still assigns the person, that is enough.
                return min(found, key=lambda each: (not each.is_assigned, bool(each.failure)))

        return dict(zip(people, await asyncio.gather(*map(one, people)), strict=True))

    async def _look_up_person(self, key: PersonKey, source: Source) -> LookupResult:
        name = key.connector
        if self.failures[name] >= MAX_FAILURES:
            return LookupResult(Status.UNKNOWN, failure="not tried after other lookups failed")
        try:
            async with asyncio.timeout(self.timeout_seconds):
                found = await self.connectors[name].lookup(key.id, source)
        except ReadError as error:
            failure, message = error.cause, error.message
        except TimeoutError:
            failure, message = "no answer in time", f"no answer within {self.timeout_seconds:g} s"
        else:
            self.failures[name] = 0
            if found.groups_failure:
                log.warning("lookup.without_groups", connector=name, person=key.id, error=found.groups_error)
            return found
        self.failures[name] += 1
        log.warning("lookup.failed", connector=name, person=key.id, error=message)
        return LookupResult(Status.UNKNOWN, failure=failure)


def _restrict_groups(found: LookupResult, counted: frozenset[str]) -> LookupResult:
    return found if found.groups is None else replace(found, groups=found.groups & counted)
