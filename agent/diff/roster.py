"""Who is assigned: the people of all snapshots, each once, with what may be concluded about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from agent.address import folded
from agent.model import GroupRef, Individual, Policy
from connectors.base import Person, PersonKey, Snapshot, Status

__all__ = ["Assigned", "Roster", "Standing", "roster"]


class Standing(Enum):
    """What the snapshots say of one assigned person."""

    ENTITLED = "entitled"
    UNKNOWN = "unknown"
    """The status at the source is a word nobody knows, or two sources contradict each other: no change."""
    PENDING = "pending"
    """In a group, and not (yet) shown by the application: no change."""
    INDIVIDUAL = "individual"
    """Active, and assigned to the application directly only."""
    INACTIVE = "inactive"


UNJUDGED = frozenset({Standing.UNKNOWN, Standing.PENDING, Standing.INDIVIDUAL})


@dataclass(slots=True)
class Assigned:
    """One person of the workspace's sources. *rank* is the place of the first source that shows them."""

    person: Person
    key: PersonKey
    standing: Standing
    email: str
    groups: tuple[GroupRef, ...]
    rank: int


@dataclass(frozen=True, slots=True)
class Roster:
    """Everybody who is assigned. *claims* are the entitled by folded email, *others* everybody else by theirs.

    *unseen* are, for each connector, the folded emails of rows without an id: no one with such an
    email is known to be absent, and an empty string among them means that it may be anyone. *has_nameless*: a person of
    unknown status shows no address, so a member that seems to belong to no one may be theirs.
    """

    by_key: dict[PersonKey, Assigned]
    claims: dict[str, tuple[Assigned, ...]]
    others: dict[str, tuple[Assigned, ...]]
    unseen: dict[str, frozenset[str]]
    has_nameless: bool = False

    def is_contested(self, email: str) -> bool:
        """Tell whether two people of one connector claim the address, neither of whom a guess may prefer."""
        claims = self.claims.get(email, ())
        return len(claims) > 1 and len({claim.key.connector for claim in claims}) < len(claims)


def _standing(person: Person, policy: Policy) -> Standing | None:
    """Return None for somebody who is to be taken for not assigned."""
    # Without a group and not individual: pending, or of an unknown kind, of which nothing may be concluded.
    if person.individual and not person.groups and policy.individual_assignments is Individual.IGNORE:
        return None
    if person.status is not Status.ACTIVE:
        return Standing.UNKNOWN if person.status is Status.UNKNOWN else Standing.INACTIVE
    if person.pending:
        return Standing.PENDING
    if not person.groups and policy.individual_assignments is Individual.HOLD:
        return Standing.INDIVIDUAL
    return Standing.ENTITLED


def _merged(first: Assigned, second: Assigned) -> Assigned:
    """Join what two sources on one connector show of one person: the union of the groups."""
    pair = {first.standing, second.standing}
    if Standing.UNKNOWN in pair or (Standing.INACTIVE in pair and len(pair) > 1):
        standing = Standing.UNKNOWN
    elif Standing.ENTITLED in pair:
        standing = Standing.ENTITLED
    else:
        standing = min(pair, key=lambda each: each is not Standing.PENDING)
    groups = tuple(sorted({*first.groups, *second.groups}))
    leading = min(first, second, key=lambda each: (each.standing is not standing, each.rank))
    return Assigned(leading.person, first.key, standing, leading.email, groups, min(first.rank, second.rank))


def _people(snapshots: Sequence[Snapshot], policy: Policy) -> dict[PersonKey, Assigned]:
    found: dict[PersonKey, Assigned] = {}
    for rank, source in enumerate(policy.sources):
        for snapshot in (each for each in snapshots if each.source == source):
            names = {group.id: GroupRef(group.id, group.name) for group in snapshot.groups}
            known: dict[tuple[str, ...], tuple[GroupRef, ...]] = {}
            for person in snapshot.people:
                standing = _standing(person, policy)
                if standing is None:
                    continue
                groups = known.get(person.groups)
                if groups is None:
                    groups = known[person.groups] = tuple(sorted(names[each] for each in set(person.groups)))
                key = PersonKey(person.connector, person.id)
                assigned = Assigned(person, key, standing, folded(person.email or ""), groups, rank)
                earlier = found.get(key)
                found[key] = assigned if earlier is None else _merged(earlier, assigned)
    return found


def _by_email(people: Iterable[Assigned]) -> dict[str, tuple[Assigned, ...]]:
    """Group people by folded email, the first listed source first; people without an email stand nowhere."""
    claims: dict[str, tuple[Assigned, ...]] = {}
    rivals: dict[str, list[Assigned]] = {}
    for assigned in people:
        # Nearly everybody has an address of their own: only those who do not cost a list.
        if assigned.email and claims.setdefault(assigned.email, one := (assigned,)) is not one:
            rivals.setdefault(assigned.email, list(claims[assigned.email])).append(assigned)
    for email, several in rivals.items():
        claims[email] = tuple(sorted(several, key=lambda each: (each.rank, each.key)))
    return claims


def roster(snapshots: Sequence[Snapshot], policy: Policy) -> Roster:
    """Return everybody of *snapshots*, one for each of the policy's sources, as *policy* takes them."""
    people = _people(snapshots, policy)
    unseen: dict[str, set[str]] = {}
    for snapshot in snapshots:
        if snapshot.unidentified:
            emails = {folded(email) for email in snapshot.unidentified}
            unseen.setdefault(snapshot.source.connector, set()).update(emails)
    return Roster(
        people,
        _by_email(each for each in people.values() if each.standing is Standing.ENTITLED),
        _by_email(each for each in people.values() if each.standing is not Standing.ENTITLED),
        {connector: frozenset(emails) for connector, emails in unseen.items()},
        any(each.standing is Standing.UNKNOWN and not each.email for each in people.values()),
    )
