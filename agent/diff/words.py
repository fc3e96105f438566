"""The sentences of a plan: each names the person and the cause, and for a hold what clears it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.diff.roster import Assigned
from agent.model import GroupRef, Link, Member
from connectors.base import PersonKey, Status, Whereabouts

__all__ = [
    "assigned_through",
    "contested",
    "groups",
    "inactive_because",
    "left_because",
    "listed",
    "member_title",
    "remedy_assign",
    "remedy_move",
    "source_disagrees",
    "title",
]


def listed(words: Iterable[str]) -> str:
    """Return `A`, `A and B`, `A, B and C`."""
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last


def title(assigned: Assigned) -> str:
    person = assigned.person
    return person.display_name or person.email or f"person {person.id} of {person.connector}"


def member_title(member: Member) -> str:
    return member.display_name or member.email or f"member {member.scim_id}"


def groups(refs: Iterable[GroupRef]) -> str:
    return listed(sorted({ref.name for ref in refs}))


def assigned_through(assigned: Assigned) -> str:
    if not assigned.groups:
        return f"{title(assigned)} is assigned individually in {assigned.key.connector}"
    return f"{title(assigned)} is assigned through {groups(assigned.groups)} in {assigned.key.connector}"


def remedy_assign(email: str, workspace: str, key: PersonKey) -> str:
    """Return how to say that a member belongs to a person after all."""
    return f"pigment-sync links assign {email} --workspace {workspace} --person {key.connector}:{key.id}"


def remedy_move(old: str, new: str, workspace: str) -> str:
    """Return how to bind the members of one connector to the people of another."""
    return (
        f"If {new} has taken the place of {old}: "
        f"pigment-sync links move --from {old} --to {new} --workspace {workspace}"
    )


def contested(claims: Sequence[Assigned]) -> tuple[str, str]:
    """Return reason and remedy for an address that several people of one source have."""
    people = sorted(f"{title(claim)} ({claim.key.connector}:{claim.key.id})" for claim in claims)
    email = min(claim.person.email or "" for claim in claims)
    return (
        f"{email} is claimed by {listed(people)}.",
        "Give each of them an email of their own in the identity provider, or take all but one off the groups.",
    )


def source_disagrees(member: Member, link: Link, found: frozenset[str]) -> tuple[str, str]:
    """Return reason and remedy for a leaver that the source still shows in the counted groups *found* (ids)."""
    connector = link.person.connector
    names = {ref.id: ref.name for ref in link.groups}
    named = listed(sorted(names.get(each, each) for each in found))
    reason = (
        f"{member_title(member)} is missing from the lists of {connector}, read twice, but a lookup in {connector} "
        f"shows them in {named}."
    )
    remedy = (
        f"A later run looks again, and ends this hold once both agree. If it persists, look {link.person.id} up in "
        f"{connector}, and report lists that leave people out to its support."
    )
    return reason, remedy


def inactive_because(assigned: Assigned) -> str:
    word = f" ({assigned.person.source_status})" if assigned.person.source_status else ""
    return f"{title(assigned)} is not active in {assigned.key.connector}{word}."


def left_because(member: Member, link: Link, found: Whereabouts | None) -> tuple[str, str]:
    """Return code and sentence for somebody whom no source shows any more."""
    who, connector = member_title(member), link.person.connector
    if found is not None and found.status is Status.DELETED:
        return "deleted", f"{who} was deleted in {connector}."
    if found is not None and found.status is Status.SUSPENDED:
        return "suspended", f"{who} is not active in {connector} and not assigned any more."
    if found is not None and found.failure:
        fate = f"no longer assigned (could not be looked up: {found.failure})."
        if link.groups:
            return "left-groups", f"{who} left {groups(link.groups)} in {connector}: {fate}"
        return "no-longer-assigned", f"{who} of {connector} is {fate}"
    failure = found.groups_failure if found is not None else ""
    but = f" (their groups could not be looked up: {failure})" if failure else ""
    if link.groups:
        return "left-groups", f"{who} left {groups(link.groups)} in {connector}{but}."
    return "no-longer-assigned", f"{who} is not assigned in {connector} any more{but}."
