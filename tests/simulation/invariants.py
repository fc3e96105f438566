"""What must hold of every write, while it is made: nobody is touched who must not be, for no reason that is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.address import folded
from agent.engine.order import Result
from agent.model import Individual, Kind, Policy
from agent.ports import ChangeRecord, Outcome, RunStatus
from connectors.base import Person, PersonKey, Status
from sandbox.pigment.member import Member
from tests.memory_state import MemoryState
from tests.simulation.world import World

__all__ = ["Broken", "Watch", "check_run", "is_entitled"]

PHASES = {Kind.DEACTIVATE: 0, Kind.REACTIVATE: 2, Kind.UPDATE_NAME: 3, Kind.CREATE: 4}
EMAIL_PHASE = 1


class Broken(AssertionError):
    """An invariant does not hold."""


def is_entitled(person: Person, policy: Policy) -> bool:
    counts_alone = policy.individual_assignments is Individual.INCLUDE
    return person.status is Status.ACTIVE and bool(person.groups or (person.individual and counts_alone))


def _may_not_lose(person: Person, policy: Policy) -> bool:
    """Tell whether a member of this person must stay active, be it only until a human decides."""
    waits = policy.individual_assignments is Individual.HOLD and person.individual
    return is_entitled(person, policy) or (person.status is Status.ACTIVE and waits)


def _is_shown(person: Person, policy: Policy) -> bool:
    """Tell whether the source shows somebody as assigned, active or not."""
    return bool(person.groups or (person.individual and policy.individual_assignments is not Individual.IGNORE))


@dataclass
class Watch:
    """Looks at each write before the workspace makes it."""

    world: World
    policy: Policy
    state: MemoryState
    owners: dict[str, PersonKey] = field(default_factory=dict)

    def write(self, method: str, member: Member, body: Mapping[str, object]) -> None:
        """Raise `Broken` for a write that must never be made. *member* is as it was before it."""
        links = {link.scim_id: link for link in self.state.links.get("latam", {}).values()}
        address = folded(member.user_name)
        # Nobody can know of an address that a member got since it was listed.
        if (
            not self.world.unrest
            and address in self.policy.protect
            and folded(str(body.get("userName", ""))) != address
        ):
            raise Broken(f"{method} to the protected {address}")
        if member.id not in links or not _deactivates(method, body):
            return
        link = links[member.id]
        person = self.world.people.get((link.person.connector, link.person.id))
        if person is not None and _may_not_lose(person, self.policy):
            raise Broken(f"{link.person} is deactivated and should not be")
        is_missed = person is None or not _is_shown(person, self.policy)
        if is_missed and link.missed_reads < self.policy.grace_reads != 1:
            raise Broken(f"{link.person} is deactivated within the grace")

    def links(self) -> None:
        """A member never goes from one person to another of the same connector."""
        for link in self.state.links.get("latam", {}).values():
            former = self.owners.setdefault(link.scim_id, link.person)
            if former != link.person and former.connector == link.person.connector:
                raise Broken(f"the member of {former} was given to {link.person}")
            self.owners[link.scim_id] = link.person


def _deactivates(method: str, body: Mapping[str, object]) -> bool:
    if method == "PUT":
        return body.get("active") is False
    operations = body.get("Operations")
    asked = operations if isinstance(operations, list) else []
    return any(str(each.get("path", "")).lower() == "active" and each.get("value") is False for each in asked)


def check_run(result: Result, state: MemoryState, world: World) -> None:
    """Check a run that ended by itself: its journal, its order, and that what it calls done is done."""
    told = result.records
    if state.journal[result.run_id].status is RunStatus.RUNNING:
        raise Broken("a run that ended is not closed")
    if tuple(record for _, record in sorted(state.records.get(result.run_id, {}).items())) != told:
        raise Broken("the journal says something else than the run")
    sent = [each for each in told if each.change.kind is not Kind.ADOPT]
    phases = [EMAIL_PHASE if each.change.changes_email else PHASES[each.change.kind] for each in sent]
    if phases != sorted(phases):
        raise Broken(f"the changes were made in the order {phases}")
    members = {member.id: member for member in world.space.members}
    for each in sent:
        if each.outcome is Outcome.DONE:
            if not world.unrest:
                _check_done(each, members.get(each.scim_id or ""))
            _check_linked(each, state)


def _check_linked(record: ChangeRecord, state: MemoryState) -> None:
    links = {link.person: link.scim_id for link in state.links.get("latam", {}).values()}
    person = record.change.person
    if record.change.kind is Kind.CREATE and person and links.get(person) != record.scim_id:
        raise Broken(f"{person} was created and is not linked")


def _check_done(record: ChangeRecord, member: Member | None) -> None:
    after = record.change.after
    if member is None:
        raise Broken(f"{record.change} is called done, and there is no member")
    is_shown = (
        (after.email is None or folded(member.user_name) == folded(after.email))
        and (after.active is None or member.active is after.active)
        # A create that met a member leaves its name to the next run.
        and (after.display_name is None or record.detail or member.display_name == after.display_name)
    )
    if not is_shown:
        raise Broken(f"{record.change} is called done and is not")
