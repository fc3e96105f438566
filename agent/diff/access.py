"""Who has access to a workspace now, through which group, and what is not as it should be. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agent.answer import Access
from agent.diff.draft import Draft, draft
from agent.diff.roster import Assigned, Standing, roster
from agent.model import Left, Member, Policy, Reads
from agent.ports import MemberHistory
from connectors.base import PersonKey

__all__ = ["access_now", "access_then"]


WORDS = {
    Standing.INACTIVE: "inactive",
    Standing.INDIVIDUAL: "individual-assignment",
    Standing.UNKNOWN: "unknown-status",
    Standing.PENDING: "assignment-pending",
}


def access_now(reads: Reads, policy: Policy, history: Mapping[str, MemberHistory]) -> tuple[Access, ...]:
    """Return every member that is active, or may be, sorted by email."""
    people = roster(reads.snapshots, policy)
    known = draft(reads, policy, people)
    rows = [
        _row(known, member, history.get(member.scim_id))
        for member in reads.listing.members
        if member.active is not False
    ]
    return tuple(sorted(rows, key=lambda row: (row.email.casefold(), row.scim_id)))


def _row(known: Draft, member: Member, past: MemberHistory | None) -> Access:
    key = known.owner_of.get(member.scim_id)
    assigned = _assigned(known, member, key)
    exceptions = sorted({*_exceptions(known, key, assigned), *(["protected"] if known.is_protected(member) else [])})
    return Access(
        known.policy.workspace,
        member.email,
        member.display_name,
        member.scim_id,
        assigned.key if assigned else key,
        tuple(sorted({group.name for group in assigned.groups})) if assigned else (),
        tuple(exceptions),
        past.since if past else None,
        past.first_seen if past else None,
        past.last_at if past else None,
        past.last_kind if past else None,
    )


def _assigned(known: Draft, member: Member, key: PersonKey | None) -> Assigned | None:
    if key is not None:
        return known.roster.by_key.get(key)
    email = known.folds[member.scim_id]
    found = known.roster.claims.get(email) or known.roster.others.get(email) or ()
    return found[0] if len(found) == 1 else None


def _exceptions(known: Draft, key: PersonKey | None, assigned: Assigned | None) -> list[str]:
    if key is not None and key.connector not in known.connectors:
        return ["source-changed"]
    if assigned is None:
        return ["unmanaged"] if key is None else ["not-assigned"]
    words = [WORDS[assigned.standing]] if assigned.standing in WORDS else []
    if assigned.standing is Standing.ENTITLED and not assigned.groups:
        words.append("individual-assignment")
    return [*words, *(["not-linked"] if key is None else [])]


def access_then(workspace: str, left: tuple[Left, ...]) -> tuple[Access, ...]:
    """Return who had access when a past run ended, as the journal has it: without what the sources said of them."""
    return tuple(
        Access(
            workspace,
            each.email,
            each.display_name,
            each.scim_id,
            each.person,
            each.groups,
            () if each.person else ("unmanaged",),
        )
        for each in sorted(left, key=lambda each: (each.email.casefold(), each.scim_id))
        if each.active is not False
    )
