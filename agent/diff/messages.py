"""The sentences of a plan. Each names the person and the cause, and for a hold what clears it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.diff.assignments import AssignedPerson
from agent.model import GroupRef, Link, Member
from agent.model.codes import ChangeCode
from connectors.base import LookupResult, PersonKey, Status

__all__ = [
    "assign_command",
    "assignment_phrase",
    "contested_email_message",
    "format_groups",
    "format_list",
    "inactive_reason",
    "leaver_reason",
    "links_move_remedy",
    "member_label",
    "new_command",
    "person_label",
    "source_disagrees_message",
]


def format_list(words: Iterable[str]) -> str:
    """Return `A`, `A and B`, `A, B and C`."""
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last


def person_label(assigned: AssignedPerson) -> str:
    person = assigned.person
    return person.display_name or person.email or f"person {person.id} of {person.connector}"


def member_label(member: Member) -> str:
    return member.display_name or member.email or f"member {member.scim_id}"


def format_groups(refs: Iterable[GroupRef]) -> str:
    return format_list(sorted({ref.name for ref in refs}))


def assignment_phrase(assigned: AssignedPerson) -> str:
    if not assigned.groups:
        return f"{person_label(assigned)} is assigned individually in {assigned.key.connector}"
    return f"{person_label(assigned)} is assigned through {format_groups(assigned.groups)} in {assigned.key.connector}"


def assign_command(email: str, workspace: str, key: PersonKey) -> str:
    """Return the command that links a member to a person."""
    return f"pigment-sync links assign {email} --workspace {workspace} --person {key.connector}:{key.id}"


def new_command(email: str, workspace: str, key: PersonKey) -> str:
    """Return the command that records that a person is not the member of the same name."""
    return f"pigment-sync links new {email} --workspace {workspace} --person {key.connector}:{key.id}"


def links_move_remedy(old: str, new: str, workspace: str) -> str:
    """Return the remedy that moves links from one connector to another."""
    return f"If {new} has replaced {old}: pigment-sync links move --from {old} --to {new} --workspace {workspace}"


def contested_email_message(claims: Sequence[AssignedPerson]) -> tuple[str, str]:
    """Return reason and remedy for an address that several people of one source have."""
    people = sorted(f"{person_label(claim)} ({claim.key.connector}:{claim.key.id})" for claim in claims)
    email = min(claim.person.email or "" for claim in claims)
    return (
        f"{email} is claimed by {format_list(people)}.",
        "Give each of them a unique email in the identity provider, or remove all but one from the groups.",
    )


def source_disagrees_message(member: Member, link: Link, found: frozenset[str]) -> tuple[str, str]:
    """Return reason and remedy for a leaver that the source still shows in the counted groups *found* (ids)."""
    connector = link.person.connector
    names = {ref.id: ref.name for ref in link.groups}
    named = format_list(sorted(names.get(each, each) for each in found))
    reason = (
        f"{member_label(member)} is missing from the lists of {connector}, read twice, but a lookup in {connector} "
        f"shows them in {named}."
    )
    remedy = (
        f"A later run checks again and releases this hold once both agree. If it persists, look {link.person.id} up in "
        f"{connector}, and report the incomplete lists to its support."
    )
    return reason, remedy


def inactive_reason(assigned: AssignedPerson) -> str:
    word = f" ({assigned.person.source_status})" if assigned.person.source_status else ""
    return f"{person_label(assigned)} is not active in {assigned.key.connector}{word}."


def leaver_reason(member: Member, link: Link, found: LookupResult | None) -> tuple[ChangeCode, str]:
    """Return code and sentence for a leaver that no source shows any more."""
    who, connector = member_label(member), link.person.connector
    if found is not None and found.status is Status.DELETED:
        return ChangeCode.DELETED, f"{who} was deleted in {connector}."
    if found is not None and found.status is Status.SUSPENDED:
        return ChangeCode.SUSPENDED, f"{who} is not active in {connector} and no longer assigned."
    if found is not None and found.failure:
        fate = f"no longer assigned (could not be looked up: {found.failure})."
        if link.groups:
            return ChangeCode.LEFT_GROUPS, f"{who} left {format_groups(link.groups)} in {connector}: {fate}"
        return ChangeCode.NO_LONGER_ASSIGNED, f"{who} of {connector} is {fate}"
    failure = found.groups_failure if found is not None else ""
    but = f" (their groups could not be looked up: {failure})" if failure else ""
    if link.groups:
        return ChangeCode.LEFT_GROUPS, f"{who} left {format_groups(link.groups)} in {connector}{but}."
    return ChangeCode.NO_LONGER_ASSIGNED, f"{who} is not assigned in {connector} any more{but}."
