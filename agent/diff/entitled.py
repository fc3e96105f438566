"""Rows 5 and 8 to 13 of the planning table: which member a person who is entitled has, if any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.address import folded, folded_name, is_allowed
from agent.diff import words
from agent.diff.draft import Draft
from agent.diff.match import compare, creation, hold_contested, meet
from agent.diff.roster import Assigned, Standing
from agent.model import Kind, Link, Member
from connectors.base import PersonKey

__all__ = ["decide_entitled"]


def decide_entitled(draft: Draft) -> None:
    """Decide for everybody who is entitled: those with a link first, then by email, by alias, by name, by nothing."""
    strangers = []
    for assigned in draft.roster.by_key.values():
        if assigned.standing is not Standing.ENTITLED:
            continue
        link = draft.link_of.get(assigned.key)
        if link is None:
            strangers.append(assigned)
            continue
        if link.groups != assigned.groups or link.missed_reads:
            draft.seen.append(Link(link.person, link.scim_id, assigned.groups))
        member = draft.members.get(link.scim_id)
        if member is None:
            _linked_member_missing(draft, assigned)
        else:
            compare(draft, assigned, member)
    left = [assigned for assigned in strangers if not _matched_by_email(draft, assigned)]
    left = _unmatched_by_alias(draft, left)
    _renamed_or_new(draft, left)


def _linked_member_missing(draft: Draft, assigned: Assigned) -> None:
    """Row 5: the member we remember is not in the listing."""
    holders = draft.holders.get(assigned.email, ())
    if len(holders) == 1 and holders[0].scim_id not in draft.owner_of:
        if draft.roster.is_contested(assigned.email):
            hold_contested(draft, assigned, holders[0])
        else:
            meet(draft, assigned, holders[0], "relinked")
        return
    link = draft.link_of[assigned.key]
    reason = f"The member {link.scim_id} of {words.title(assigned)} is not in the listing any more."
    remedy = (
        f"If another member is theirs: "
        f"{words.remedy_assign('EMAIL', draft.policy.workspace, assigned.key)}. If they are to get a new one: "
        f"pigment-sync links forget {assigned.key.connector}:{assigned.key.id} --workspace {draft.policy.workspace}"
    )
    draft.hold(Kind.CREATE, "linked-member-missing", assigned, None, (reason, remedy))


def _owner(draft: Draft, claims: Sequence[Assigned]) -> Assigned:
    """Return who of several sources' people with one email has the member: the linked one, else the first listed."""
    linked = [claim for claim in claims if claim.key in draft.link_of]
    return min(linked or claims, key=lambda claim: (claim.rank, claim.key))


def _matched_by_email(draft: Draft, assigned: Assigned) -> bool:
    """Rows 6 to 10. Return whether the address has settled what becomes of the person."""
    claims = draft.roster.claims.get(assigned.email, (assigned,))
    contested = draft.roster.is_contested(assigned.email)
    if len(claims) > 1 and not contested:
        owner = _owner(draft, claims)
        if owner is not assigned:
            reason = (
                f"{words.title(assigned)} of {assigned.key.connector} is the same human as in {owner.key.connector}."
            )
            draft.note("also-in", assigned.person.email, reason)
            return True
    holders = draft.holders.get(assigned.email, ())
    if not holders:
        if contested:
            draft.wants.append(creation(assigned))
        return contested
    linked = [member for member in holders if member.scim_id in draft.owner_of]
    if contested and not linked:
        hold_contested(draft, assigned, holders[0])
    elif len(holders) > 1 or contested:
        draft.wants.append(creation(assigned))
    elif linked:
        _occupied(draft, assigned, linked[0])
    else:
        meet(draft, assigned, holders[0], "matched-by-email")
    return True


def _occupied(draft: Draft, assigned: Assigned, member: Member) -> None:
    """Rows 8 to 10: the member with the address is linked to somebody else."""
    key = draft.owner_of[member.scim_id]
    other = draft.roster.by_key.get(key)
    if draft.is_protected(member):
        reason = f"{words.member_title(member)} is protected: the member is not linked to {words.title(assigned)}."
        draft.note("protected", member.email, reason)
    elif other is not None and other.standing is Standing.ENTITLED:
        draft.wants.append(creation(assigned))
    elif key.connector == assigned.key.connector:
        reason = (
            f"{words.title(assigned)} has the email of a member that is linked to another person of {key.connector} "
            f"({key.id}): the account must not pass on."
        )
        assign = words.remedy_assign(member.email, draft.policy.workspace, assigned.key)
        remedy = f"Give {words.title(assigned)} another email; or, if both are one human: {assign}"
        draft.hold(Kind.CREATE, "recycled-address", assigned, None, (reason, remedy))
    elif key.connector in draft.connectors and _is_gone(draft, key, other):
        draft.moved.add(key)
        meet(draft, assigned, member, "relinked")
    elif other is not None and other.email == assigned.email and key.connector in draft.connectors:
        reason = f"{words.title(assigned)} of {assigned.key.connector} is the same human as in {key.connector}."
        draft.note("also-in", assigned.person.email, reason)
    else:
        reason = (
            f"{words.title(assigned)} of {assigned.key.connector} has the email of a member that is linked to a "
            f"person of {key.connector} ({key.id})."
        )
        remedy = words.remedy_move(key.connector, assigned.key.connector, draft.policy.workspace)
        draft.hold(Kind.ADOPT, "source-changed", assigned, member, (reason, remedy))


def _is_gone(draft: Draft, key: PersonKey, other: Assigned | None) -> bool:
    """Tell whether a person of another source is surely not entitled any more, so that the link may move."""
    if other is not None:
        return other.standing in {Standing.INACTIVE, Standing.INDIVIDUAL}
    return not draft.roster.unseen.get(key.connector)


def _alias_matches(draft: Draft, assigned: Assigned) -> list[Member]:
    """Return the unlinked active members that have an alias of the person and that nobody has by email."""
    found = {}
    for alias in assigned.person.aliases:
        email = folded(alias)
        if email in draft.roster.claims or email in draft.roster.others:
            continue
        if not is_allowed(alias, draft.policy.allowed_domains):
            continue
        for member in draft.holders.get(email, ()):
            if member.active and member.scim_id not in draft.owner_of:
                found[member.scim_id] = member
    return [found[scim_id] for scim_id in sorted(found)]


def _unmatched_by_alias(draft: Draft, people: Iterable[Assigned]) -> list[Assigned]:
    """Row 11. Return those whom no alias matched."""
    left, matches = [], []
    rivals: dict[str, int] = {}
    for assigned in people:
        found = _alias_matches(draft, assigned) if assigned.person.aliases else []
        if found:
            matches.append((assigned, found))
        else:
            left.append(assigned)
        for member in found:
            rivals[member.scim_id] = rivals.get(member.scim_id, 0) + 1
    for assigned, found in matches:
        if len(found) == 1 and rivals[found[0].scim_id] == 1:
            meet(draft, assigned, found[0], "matched-by-alias")
            continue
        draft.matched.update(member.scim_id for member in found)
        named = words.listed(member.email for member in found)
        reason = f"Aliases of {words.title(assigned)} match {named}, and not one member of one person only."
        remedy = words.remedy_assign(found[0].email, draft.policy.workspace, assigned.key)
        draft.hold(Kind.ADOPT, "ambiguous-alias", assigned, found[0], (reason, f"Say whose it is: {remedy}"))
    return left


def _renamed_or_new(draft: Draft, people: Sequence[Assigned]) -> None:
    """Rows 12 and 13: nothing matches but perhaps a name, which counts only while nothing else could have told."""
    remembered: dict[PersonKey, list[str]] = {}
    for key, scim_id in draft.reads.memory.possible_renames:
        remembered.setdefault(key, []).append(scim_id)
    namesakes = _namesakes(draft) if people and not draft.link_of else {}
    for assigned in people:
        if assigned.key in draft.awaited:
            _hold_awaited(draft, assigned)
            continue
        want = creation(assigned)
        ids = {*remembered.get(assigned.key, ()), *namesakes.get(folded_name(assigned.person.display_name), ())}
        want.namesakes = [draft.members[each] for each in sorted(ids) if _is_nobodys(draft, each)]
        draft.renames.update((assigned.key, member.scim_id) for member in want.namesakes)
        draft.wants.append(want)
    draft.matched.update(scim_id for _, scim_id in draft.renames)


def _hold_awaited(draft: Draft, assigned: Assigned) -> None:
    lost = draft.awaited[assigned.key]
    reason = (
        f"The workspace accepted a create for {lost.email} and does not list the member yet: "
        f"{words.title(assigned)} is not created a second time."
    )
    remedy = (
        "Each run looks for the member. After three complete listings without it, and an hour, it is created again. "
        "If Pigment shows the member, ask Pigment's support why its SCIM listing does not."
    )
    draft.hold(Kind.CREATE, "create-unsettled", assigned, None, (reason, remedy))


def _is_nobodys(draft: Draft, scim_id: str) -> bool:
    if scim_id not in draft.members or scim_id in draft.owner_of or scim_id in draft.matched:
        return False
    email = draft.folds[scim_id]
    return email not in draft.roster.claims and email not in draft.roster.others and not draft.protected.match(email)


def _namesakes(draft: Draft) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for scim_id, member in draft.members.items():
        name = folded_name(member.display_name)
        if name:
            found.setdefault(name, []).append(scim_id)
    return found
