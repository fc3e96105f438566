"""Collect the assigned people of all snapshots, each once, with what may be concluded about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from agent.model import GroupRef, IndividualAction, Policy
from agent.model.email import normalize
from connectors.base import Person, PersonKey, Snapshot, Status

__all__ = ["AssignedPerson", "Assignments", "Entitlement", "collect_assignments"]


class Entitlement(Enum):
    """What the snapshots show of one assigned person."""

    ENTITLED = "entitled"
    UNKNOWN = "unknown"
    """The status at the source is not known to us, or two sources contradict each other: no change."""
    PENDING = "pending"
    """In a group, and not (yet) shown by the application: no change."""
    INDIVIDUAL = "individual"
    """Active, and assigned to the application directly only."""
    INACTIVE = "inactive"


UNDECIDED = frozenset({Entitlement.UNKNOWN, Entitlement.PENDING, Entitlement.INDIVIDUAL})


# Not kw_only: one is made for each person of a snapshot, and keywords double the time of that.
@dataclass(slots=True)
class AssignedPerson:
    """One person of the workspace's sources. *source_rank* is the place of the first source that shows them."""

    person: Person
    key: PersonKey
    entitlement: Entitlement
    groups: tuple[GroupRef, ...]
    source_rank: int

    @property
    def email(self) -> str:
        """The normalized email, empty without one."""
        return normalize(self.person.email or "")


# No slots: what few plans need of everyone is computed when it is first needed.
@dataclass(frozen=True)
class Assignments:
    """All assigned people, the entitled ones and the others each by normalized email.

    *unidentified_emails* are, for each connector, the normalized emails of rows without an id. No one with such an
    email is known to be absent; an empty string stands for anyone.
    """

    by_key: dict[PersonKey, AssignedPerson]
    unidentified_emails: dict[str, frozenset[str]]

    @cached_property
    def entitled_by_email(self) -> dict[str, tuple[AssignedPerson, ...]]:
        return _people_by_email(each for each in self.by_key.values() if each.entitlement is Entitlement.ENTITLED)

    @cached_property
    def not_entitled_by_email(self) -> dict[str, tuple[AssignedPerson, ...]]:
        return _people_by_email(each for each in self.by_key.values() if each.entitlement is not Entitlement.ENTITLED)

    @cached_property
    def has_unknown_without_email(self) -> bool:
        """Whether a person of unknown status has no address, so that any unmanaged member may be theirs."""
        return any(each.entitlement is Entitlement.UNKNOWN and not each.email for each in self.by_key.values())

    def is_contested(self, email: str) -> bool:
        """Return whether two people of one connector claim the address, so that neither may be preferred."""
        claims = self.entitled_by_email.get(email, ())
        return len(claims) > 1 and len({claim.key.connector for claim in claims}) < len(claims)


def _entitlement(person: Person, policy: Policy) -> Entitlement | None:
    """Return None for a person who counts as not assigned."""
    # Nearly everyone.
    if person.groups and person.status is Status.ACTIVE and not person.pending:
        return Entitlement.ENTITLED
    # Without a group and not individual: pending, or of an unknown kind, of which nothing may be concluded.
    if person.individual and not person.groups and policy.individual_assignments is IndividualAction.IGNORE:
        return None
    if person.status is not Status.ACTIVE:
        return Entitlement.UNKNOWN if person.status is Status.UNKNOWN else Entitlement.INACTIVE
    if person.pending:
        return Entitlement.PENDING
    if not person.groups and policy.individual_assignments is IndividualAction.HOLD:
        return Entitlement.INDIVIDUAL
    return Entitlement.ENTITLED


def _combined_assignment(first: AssignedPerson, second: AssignedPerson) -> AssignedPerson:
    """Join what two sources on one connector show of one person: the union of the groups."""
    pair = {first.entitlement, second.entitlement}
    if Entitlement.UNKNOWN in pair or (Entitlement.INACTIVE in pair and len(pair) > 1):
        entitlement = Entitlement.UNKNOWN
    elif Entitlement.ENTITLED in pair:
        entitlement = Entitlement.ENTITLED
    else:
        entitlement = min(pair, key=lambda each: each is not Entitlement.PENDING)
    groups = tuple(sorted({*first.groups, *second.groups}))
    leading = min(first, second, key=lambda each: (each.entitlement is not entitlement, each.source_rank))
    return AssignedPerson(
        person=leading.person,
        key=first.key,
        entitlement=entitlement,
        groups=groups,
        source_rank=min(first.source_rank, second.source_rank),
    )


def _people_by_key(snapshots: Sequence[Snapshot], policy: Policy) -> dict[PersonKey, AssignedPerson]:
    found: dict[PersonKey, AssignedPerson] = {}
    for rank, source in enumerate(policy.sources):
        for snapshot in (each for each in snapshots if each.source == source):
            names = {group.id: GroupRef(group.id, group.name) for group in snapshot.groups}
            known: dict[tuple[str, ...], tuple[GroupRef, ...]] = {}
            for person in snapshot.people:
                entitlement = _entitlement(person, policy)
                if entitlement is None:
                    continue
                groups = known.get(person.groups)
                if groups is None:
                    groups = known[person.groups] = tuple(sorted(names[each] for each in set(person.groups)))
                key = PersonKey(person.connector, person.id)
                assigned = AssignedPerson(person, key, entitlement, groups, rank)
                earlier = found.setdefault(key, assigned)
                if earlier is not assigned:
                    found[key] = _combined_assignment(earlier, assigned)
    return found


def _people_by_email(people: Iterable[AssignedPerson]) -> dict[str, tuple[AssignedPerson, ...]]:
    """Group people by normalized email, the first listed source first; leave out people without an email."""
    claims: dict[str, tuple[AssignedPerson, ...]] = {}
    rivals: dict[str, list[AssignedPerson]] = {}
    for assigned in people:
        # Nearly all addresses are unique: only shared ones cost a list.
        email = assigned.email
        if email and claims.setdefault(email, one := (assigned,)) is not one:
            rivals.setdefault(email, list(claims[email])).append(assigned)
    for email, several in rivals.items():
        claims[email] = tuple(sorted(several, key=lambda each: (each.source_rank, each.key)))
    return claims


def collect_assignments(snapshots: Sequence[Snapshot], policy: Policy) -> Assignments:
    """Return the people of *snapshots*, one for each source of the policy, as *policy* counts them."""
    people = _people_by_key(snapshots, policy)
    unseen: dict[str, set[str]] = {}
    for snapshot in snapshots:
        if snapshot.unidentified:
            emails = {normalize(email) for email in snapshot.unidentified}
            unseen.setdefault(snapshot.source.connector, set()).update(emails)
    return Assignments(people, {connector: frozenset(emails) for connector, emails in unseen.items()})
