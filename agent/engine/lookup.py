"""Look leavers up at their sources. No failure here ends a run: the reason of the deactivation mentions it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from agent.model import Policy
from connectors.base import Connector, PersonKey, ReadError, Snapshot, Source, Status, Whereabouts

__all__ = ["Lookups"]

AT_ONCE = 4
MOST_FAILURES = 3
"""Failures in a row after which a connector is not asked any more: the next would most likely fail too."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Lookups:
    """Looks leavers up at their connectors. One instance serves one command: failures add up over its workspaces.

    *seconds* bounds one lookup with its retries: a provider that does not answer costs one such wait and not 25.
    """

    connectors: Mapping[str, Connector]
    seconds: float = 20
    failures: Counter[str] = field(default_factory=Counter)

    async def ask(
        self, people: Sequence[PersonKey], snapshots: Sequence[Snapshot], policy: Policy
    ) -> dict[PersonKey, Whereabouts]:
        """Return where *people* are, each with those of their groups only that the workspace counts. Raises nothing."""
        at_once = asyncio.Semaphore(AT_ONCE)
        counted = {each.source: frozenset(group.id for group in each.groups) for each in snapshots}

        async def one(key: PersonKey) -> Whereabouts:
            async with at_once:
                sources = [source for source in policy.sources if source.connector == key.connector]
                found = [_counted(await self._answer(key, source), counted[source]) for source in sources]
                # Of several applications of one connector, one that still counts the person is enough.
                return min(found, key=lambda each: (not each.is_assigned, bool(each.failure)))

        return dict(zip(people, await asyncio.gather(*map(one, people)), strict=True))

    async def _answer(self, key: PersonKey, source: Source) -> Whereabouts:
        name = key.connector
        if self.failures[name] >= MOST_FAILURES:
            return Whereabouts(Status.UNKNOWN, failure="not tried after other lookups failed")
        try:
            async with asyncio.timeout(self.seconds):
                found = await self.connectors[name].lookup(key.id, source)
        except ReadError as error:
            failure, message = error.cause, error.message
        except TimeoutError:
            failure, message = "no answer in time", f"no answer within {self.seconds:g} s"
        else:
            self.failures[name] = 0
            if found.groups_failure:
                log.warning("lookup.without_groups", connector=name, person=key.id, error=found.groups_error)
            return found
        self.failures[name] += 1
        log.warning("lookup.failed", connector=name, person=key.id, error=message)
        return Whereabouts(Status.UNKNOWN, failure=failure)


def _counted(found: Whereabouts, counted: frozenset[str]) -> Whereabouts:
    return found if found.groups is None else replace(found, groups=found.groups & counted)
