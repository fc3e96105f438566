"""Record which leavers a run over everyone found, so that the feed's polls can count those that no event announced.

The poll counts, and not the run: an event may arrive after the run that found the leaver.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model import Kind, Plan, Policy
from agent.model.codes import ChangeCode, NoteCode
from agent.model.email import normalize
from agent.model.feed import Announcement, FeedLag
from agent.model.run import ChangeRecord, Lease, Outcome
from agent.ports.state import State
from connectors.base import PersonKey

__all__ = ["LeaverRecorder", "leavers_of_plan"]

LOST_ENTITLEMENT = frozenset(
    {ChangeCode.DELETED, ChangeCode.LEFT_GROUPS, ChangeCode.NO_LONGER_ASSIGNED, ChangeCode.SUSPENDED}
)
BEFORE_READ = timedelta(minutes=5)
"""How long before the previous read began an event may have named someone whom that read still showed: replicas lag."""


def leavers_of_plan(plan: Plan) -> frozenset[PersonKey]:
    """Return the people of *plan* (before any guard) who lost their entitlement, also those on hold.

    A member that another tool made active again is left out: their person left earlier.
    """
    changed_elsewhere = {
        normalize(note.email) for note in plan.notes if note.code in {NoteCode.DRIFT, NoteCode.ANOTHER_WRITER}
    }
    changes = [*plan.changes, *(hold.change for hold in plan.holds if hold.change is not None)]
    return frozenset(
        change.person
        for change in changes
        if change.kind is Kind.DEACTIVATE
        and change.person is not None
        and change.code in LOST_ENTITLEMENT
        and normalize(change.email) not in changed_elsewhere
    )


@dataclass(frozen=True, slots=True)
class LeaverRecorder:
    """Records the leavers of *policy*'s workspace. *feeds* are the connectors with a change feed."""

    state: State
    policy: Policy
    feeds: Collection[str]

    async def record(
        self, lease: Lease, plan: Plan, began_at: datetime, records: Iterable[ChangeRecord]
    ) -> tuple[FeedLag, ...]:
        """Record the leavers of a complete run over everyone, and return how late those were whom an event had named.

        *plan* is the plan before any guard, *records* what the run made.
        """
        name = self.policy.workspace
        connectors = sorted({source.connector for source in self.policy.sources}.intersection(self.feeds))
        if not connectors:
            return ()
        reads = await self.state.load_feed_reads(name)
        since = {each: await self._announced_since(each, reads.get(each)) for each in connectors}
        await self.state.record_found_leavers(lease, name, began_at, since, leavers_of_plan(plan))
        named = await self.state.load_announcements(name, min(reads.values(), default=began_at))
        lags = tuple(_lags(name, named, reads, records))
        await self.state.record_lags(lags)
        return lags

    async def _announced_since(self, connector: str, previous: datetime | None) -> datetime | None:
        """Return from when on an announcement of a leaver counts; None where the feed could not have seen them leave.

        It could not where it began, or lost its cursor, after the previous run over everyone began to read; and with a
        grace the person left before that.
        """
        if previous is None or self.policy.grace_reads > 1:
            return None
        cursor = await self.state.load_feed_cursor(connector)
        if cursor is None or cursor.begun_at > previous or cursor.account != dict(self.policy.tenants).get(connector):
            return None
        return previous - BEFORE_READ


def _lags(
    workspace: str,
    named: Mapping[PersonKey, Announcement],
    reads: Mapping[str, datetime],
    records: Iterable[ChangeRecord],
) -> Iterable[FeedLag]:
    for record in records:
        person, answered_at = record.change.person, record.answered_at
        if person is None or record.change.kind is not Kind.DEACTIVATE or record.outcome is not Outcome.DONE:
            continue
        announcement = named.get(person)
        # One that is older than the previous read, which still showed the person, was about something else.
        if announcement is None or announcement.event_at is None or answered_at is None:
            continue
        if announcement.named_at >= reads.get(person.connector, announcement.named_at):
            seconds = max(0.0, (answered_at - announcement.event_at).total_seconds())
            yield FeedLag(workspace, person, answered_at, seconds)
