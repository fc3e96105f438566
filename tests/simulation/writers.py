"""Which changes of another agent a plan must name: judged by the truth and the journal, not by the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model import Kind, LastSeen, Policy
from agent.model.email import normalize
from agent.model.run import MAY_BE_MADE, ChangeRecord, Outcome
from connectors.base import Person, PersonKey, Status
from tests.simulation.invariants import counted_groups, is_entitled
from tests.simulation.world import Workspace, World

__all__ = ["Shown", "Writers", "members_now"]

Shown = dict[str, tuple[str, str, bool]]
"""Email, name and status of members by SCIM id."""
DAY = timedelta(hours=24)
UNCERTAIN = MAY_BE_MADE - {Outcome.DONE}


def members_now(workspace: Workspace) -> Shown:
    return {member.id: (member.user_name, member.display_name, member.active) for member in workspace.space.members}


@dataclass
class Writers:
    """What the truth and our journal record of a change. *taken* is when and how our last run left the members.

    *ours* are our changes, *links* our links. Where our own part is not certain, nothing is required: a write without
    an answer, a run that ended after *taken* in the middle, a value that we sent before.
    """

    world: World
    policy: Policy
    taken: tuple[datetime, tuple[LastSeen, ...]]
    links: Mapping[str, PersonKey]
    ours: Sequence[ChangeRecord]

    def is_anothers(self, scim_id: str, before: tuple[str, str, bool] | None, now: tuple[str, str, bool]) -> bool:
        """Return whether a plan must name what another agent made of a member: *now*, of *before*."""
        left = {each.scim_id: (each.email, each.display_name, each.active) for each in self.taken[1]}
        if left.get(scim_id) != before or before == now or normalize(now[0]) in self.policy.protect:
            return False
        own_changes = [each for each in self.ours if each.scim_id == scim_id and each.change.kind is not Kind.ADOPT]
        if any(each.sent_at > self.taken[0] or each.outcome is not Outcome.DONE or each.detail for each in own_changes):
            return False
        if before is None:
            return scim_id not in self.links and not own_changes and self._is_made_for(now)
        return self._undoes(before, now, own_changes) or self._is_as_sources(scim_id, before, now, own_changes)

    def _undoes(
        self, before: tuple[str, str, bool], now: tuple[str, str, bool], own_changes: Sequence[ChangeRecord]
    ) -> bool:
        """Return whether a field is not any more what we wrote of it last, within a day."""
        for place in range(3):
            sent = [(each.sent_at, _after(each)[place]) for each in own_changes if _after(each)[place] is not None]
            if not sent or before[place] == now[place]:
                continue
            at, value = max(sent, key=lambda each: each[0])
            if value == before[place] and self.world.now() - at < DAY:
                return True
        return False

    def _is_as_sources(
        self,
        scim_id: str,
        before: tuple[str, str, bool],
        now: tuple[str, str, bool],
        own_changes: Sequence[ChangeRecord],
    ) -> bool:
        """Return whether the member of one of our people is now as the source has them."""
        person = self.world.people.get(self.links.get(scim_id, PersonKey("", "")))
        if person is not None and self._has_unanswered_create(person):
            return False
        has_sent = any(
            _after(each)[place] == now[place]
            for each in own_changes
            for place in range(3)
            if before[place] != now[place]
        )
        if person is None or has_sent or not self._is_alone(person):
            return False
        if is_entitled(person, self.policy):
            return now == (person.email, person.display_name, True)
        is_leaver = person.status is Status.SUSPENDED and bool(counted_groups(person, self.policy))
        return is_leaver and before == (*now[:2], True) and not now[2] and normalize(now[0]) == person.email

    def _is_made_for(self, now: tuple[str, str, bool]) -> bool:
        """Return whether a new member is that of a person who has none, and none of ours that had no answer."""
        people = [each for each in self.world.people.values() if each.email == now[0]]
        if len(people) != 1 or people[0].key in self.links.values():
            return False
        (person,) = people
        is_unconfirmed = any(each.change.kind is Kind.CREATE and each.outcome is not Outcome.DONE for each in self.ours)
        is_theirs = now == (person.email, person.display_name, True) and is_entitled(person, self.policy)
        return is_theirs and not is_unconfirmed and counted_groups(person, self.policy) != ()

    def _has_unanswered_create(self, person: Person) -> bool:
        """Return whether a create of ours that may have made any member of *person* had no certain answer."""
        creates = [each for each in self.ours if each.change.kind is Kind.CREATE and each.outcome in UNCERTAIN]
        return any(each.change.person == person.key or normalize(each.change.email) == person.email for each in creates)

    def _is_alone(self, person: Person) -> bool:
        return sum(each.email == person.email for each in self.world.people.values()) == 1


def _after(record: ChangeRecord) -> tuple[str | None, str | None, bool | None]:
    after = record.change.after
    return after.email, after.display_name, after.active
