"""What must hold of every write, while it is made: nobody is touched who must not be, for no reason that is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.address import folded
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


@dataclass
class Watch:
    """Looks at each write before the workspace makes it."""

    world: World
    policy: Policy
    state: MemoryState
    owners: dict[str, PersonKey] = field(default_factory=dict)

    def write(self, method: str, member: Member | None, body: Mapping[str, object]) -> None:
        """Raise `Broken` for a write that must never be made. *member* is as it was before it, None for a create."""
        if member is None:
            return
        links = {link.scim_id: link.person for link in self.state.links.get("latam", {}).values()}
        address = folded(member.user_name)
        if address in self.policy.protect and folded(str(body.get("userName", ""))) != address:
            raise Broken(f"{method} to the protected {address}")
        if member.id not in links or not _deactivates(method, body):
            return
        person = self.world.people.get((links[member.id].connector, links[member.id].id))
        if person is not None and _may_not_lose(person, self.policy):
            raise Broken(f"{links[member.id]} is deactivated and should not be")

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


def check_run(run_id: str, told: tuple[ChangeRecord, ...], state: MemoryState, world: World) -> None:
    """Check a run that ended by itself: its journal, its order, and that what it calls done is done."""
    if state.journal[run_id].status is RunStatus.RUNNING:
        raise Broken("a run that ended is not closed")
    if tuple(record for _, record in sorted(state.records.get(run_id, {}).items())) != told:
        raise Broken("the journal says something else than the run")
    phases = [EMAIL_PHASE if each.change.changes_email else PHASES.get(each.change.kind, 0) for each in told]
    sent = [phase for phase, each in zip(phases, told, strict=True) if each.change.kind is not Kind.ADOPT]
    # A create made room for comes after the move that makes it, so creates are last in any case.
    if sent != sorted(sent):
        raise Broken(f"the changes were made in the order {sent}")
    members = {member.id: member for member in world.space.members}
    links = state.links.get("latam", {})
    for each in told:
        if each.outcome is Outcome.DONE and each.change.kind is not Kind.ADOPT:
            _check_done(each, members.get(each.scim_id or ""))
            if each.change.kind is Kind.CREATE and (
                each.change.person not in links or links[each.change.person].scim_id != each.scim_id
            ):
                raise Broken(f"{each.change.person} was created and is not linked")


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
