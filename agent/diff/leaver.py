"""Rows 14 to 18 of the planning table, and the members that no link and nobody entitled stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent.diff import words
from agent.diff.draft import Draft
from agent.diff.roster import Assigned, Standing
from agent.model import NO_FIELDS, Change, Fields, GroupRef, Hold, Kind, Link, Member, Unmanaged, Unsettled
from connectors.base import PersonKey

__all__ = ["decide_leavers", "would_deactivate"]

NO_ONE = PersonKey("", "")


def decide_leavers(draft: Draft) -> None:
    """Decide for links whose person is not entitled, for unlinked people who are not, and for unmanaged members."""
    for link in (*draft.reads.memory.links, *draft.settled):
        assigned = draft.roster.by_key.get(link.person)
        if link.person not in draft.moved and (assigned is None or assigned.standing is not Standing.ENTITLED):
            _linked(draft, link, assigned)
    for lost, member in draft.duplicates:
        _duplicate(draft, lost, member)
    for assigned in draft.roster.by_key.values():
        if assigned.standing is not Standing.ENTITLED and assigned.key not in draft.link_of:
            _unlinked(draft, assigned, draft.roster.others.get(assigned.email, ()))
    for member in draft.reads.listing.members:
        if member.scim_id not in draft.owner_of and member.scim_id not in draft.matched:
            _unmanaged(draft, member)


def would_deactivate(draft: Draft, member: Member) -> bool:
    """Return whether this plan would deactivate an inactive *member*, by its link, if it were active."""
    link = draft.link_of.get(draft.owner_of.get(member.scim_id, NO_ONE))
    if link is None or link.scim_id != member.scim_id or link.person in draft.moved or draft.is_protected(member):
        return False
    assigned = draft.roster.by_key.get(link.person)
    if assigned is not None and assigned.standing is Standing.ENTITLED:
        return False
    tried = replace(draft, changes=[], holds=[], notes=[])
    _active(tried, link, assigned, replace(member, active=True))
    return bool(tried.changes)


def _linked(draft: Draft, link: Link, assigned: Assigned | None) -> None:
    """Rows 14 and 15 for one link whose person is not entitled, then the others."""
    member = draft.members.get(link.scim_id)
    if assigned is None and link.person.connector in draft.connectors:
        _count_missed_read(draft, link)
    if member is None:
        return
    if member.active is False:
        draft.in_sync += 1
    elif draft.is_protected(member):
        reason = f"{words.member_title(member)} is protected: the member stays active."
        draft.note("protected", member.email, reason)
    elif member.active is None:
        who = words.member_title(member)
        reason = f"The listing does not say in a readable way whether {who} is active: no change."
        draft.note("unreadable-member", member.email, reason)
    else:
        _active(draft, link, assigned, member)


def _duplicate(draft: Draft, lost: Unsettled, member: Member) -> None:
    """A second member of a person, made by a lost create. It is deactivated when the person leaves."""
    if member.active is False:
        return
    if member.active is None or draft.is_protected(member):
        _linked(draft, Link(lost.person, member.scim_id), draft.roster.by_key.get(lost.person))
        return
    assigned, own = draft.roster.by_key.get(lost.person), draft.link_of[lost.person]
    if lost.person in draft.moved or (assigned is not None and assigned.standing is Standing.ENTITLED):
        _hold_duplicate(draft, lost, member, own)
        return
    planned = len(draft.changes)
    _active(draft, replace(own, scim_id=member.scim_id), assigned, member)
    for place in range(planned, len(draft.changes)):
        left = draft.changes[place]
        reason = f"{left.reason} A create whose answer was lost made this member beside their own."
        code = "duplicate-left" if left.code in {"left-groups", "no-longer-assigned"} else left.code
        draft.changes[place] = replace(left, code=code, reason=reason)


def _hold_duplicate(draft: Draft, lost: Unsettled, member: Member, own: Link) -> None:
    mine = draft.members.get(own.scim_id)
    other = f"{mine.email} ({mine.scim_id})" if mine else own.scim_id
    who = f"{lost.person.connector}:{lost.person.id}"
    reason = (
        f"A create for {lost.email}, whose answer was lost, made a second member for {words.member_title(member)} "
        f"({who}): {member.email} ({member.scim_id}) is active beside {other}."
    )
    if draft.policy.unmanaged is Unmanaged.DEACTIVATE:
        _deactivate(draft, lost.person, member, ("duplicate-member", reason), ())
        return
    remedy = (
        f"It is deactivated when {who} leaves. To clear it earlier, deactivate {member.email} in Pigment; or, if it is "
        f"another person's: pigment-sync links assign {member.email} --workspace {draft.policy.workspace} "
        f"--person CONNECTOR:ID"
    )
    draft.holds.append(
        Hold(
            Kind.DEACTIVATE,
            "duplicate-member",
            member.email,
            reason,
            remedy,
            scim_id=member.scim_id,
            person=lost.person,
        )
    )


def _active(draft: Draft, link: Link, assigned: Assigned | None, member: Member) -> None:
    """Rows 16 to 18, unless the link belongs to a source that is none any more."""
    if link.person.connector not in draft.connectors:
        _hold_moved_source(draft, link, member)
    elif assigned is not None and assigned.standing is not Standing.INACTIVE:
        _unjudged(draft, assigned, member)
    elif not _spared_by_other_source(draft, link, member):
        _leave(draft, link, assigned, member)


def _count_missed_read(draft: Draft, link: Link) -> None:
    # It need not be counted further than it matters: the state is then not written at each run.
    if link.missed_reads < draft.policy.grace_reads:
        draft.seen.append(Link(link.person, link.scim_id, link.groups, link.missed_reads + 1))


def _hold_moved_source(draft: Draft, link: Link, member: Member) -> None:
    old = link.person.connector
    new = next((source.connector for source in draft.policy.sources if source.connector != old), old)
    reason = (
        f"{words.member_title(member)} is linked to a person of {old}, which is no source of this workspace any more."
    )
    remedy = words.remedy_move(old, new, draft.policy.workspace)
    _hold_leaver(draft, "source-changed", link.person, member, (reason, remedy))


def _unjudged(draft: Draft, assigned: Assigned, member: Member | None) -> None:
    """Row 16, and those of whom a read does not say enough: noted, or held where a member would be deactivated."""
    who, email = words.title(assigned), member.email if member else assigned.person.email
    connector = assigned.key.connector
    match assigned.standing:
        case Standing.PENDING:
            where = words.groups(assigned.groups) if assigned.groups else "a group that can't be told"
            reason = f"{who} is in {where}, and {connector} does not show the assignment yet."
            draft.note("assignment-pending", email, reason)
        case Standing.UNKNOWN:
            word = assigned.person.source_status or "none"
            draft.note(
                "unknown-status", email, f"The status of {who} in {connector} can't be judged ({word}): no change."
            )
        case Standing.INDIVIDUAL if member is not None:
            _hold_individual(draft, assigned, member)
        case _:
            # Individual, and without a member: whoever is entitled or inactive has been judged before.
            reason = f"{who} is assigned in {connector} individually, not through a group: nothing is done."
            draft.note("individual-assignment", email, reason)


def _hold_individual(draft: Draft, assigned: Assigned, member: Member) -> None:
    who = words.title(assigned)
    reason = f"{who} is not assigned through a group any more, and still individually in {assigned.key.connector}."
    remedy = (
        f"Take the individual assignment of {who} away, add {who} to an assigned group, or set "
        f"workspaces.{draft.policy.workspace}.individual_assignments to include or ignore."
    )
    _hold_leaver(draft, "individual-assignment", assigned.key, member, (reason, remedy))


def _hold_leaver(draft: Draft, code: str, person: PersonKey, member: Member, why: tuple[str, str]) -> None:
    """Hold a deactivation; *why* is the reason and the remedy."""
    hold = Hold(Kind.DEACTIVATE, code, member.email, *why, scim_id=member.scim_id, person=person)
    draft.holds.append(hold)


def _spared_by_other_source(draft: Draft, link: Link, member: Member) -> bool:
    """Leave the member alone while another source shows the same human and does not say enough of them."""
    for other in draft.roster.others.get(draft.folds[member.scim_id], ()):
        if other.key.connector != link.person.connector and other.standing is not Standing.INACTIVE:
            _unjudged(draft, other, member)
            return True
    return False


def _leave(draft: Draft, link: Link, assigned: Assigned | None, member: Member) -> None:
    """Rows 17 and 18."""
    if assigned is not None:
        stays = {group.id for group in assigned.groups}
        left = tuple(group for group in link.groups if group.id not in stays)
        _deactivate_or_hold(draft, link, member, ("suspended", words.inactive_because(assigned)), left)
        return
    unseen = draft.roster.unseen.get(link.person.connector, frozenset())
    if "" in unseen or draft.folds[member.scim_id] in unseen:
        reason = (
            f"{words.member_title(member)} is not among the assigned, and {link.person.connector} returned rows "
            f"without an id, one of which may be theirs: no change."
        )
        draft.note("unidentified-row", member.email, reason)
    elif link.missed_reads + 1 < draft.policy.grace_reads:
        reason = (
            f"{words.member_title(member)} is not assigned in {link.person.connector} any more: missing in "
            f"{link.missed_reads + 1} of {draft.policy.grace_reads} reads before the deactivation."
        )
        draft.note("in-grace", member.email, reason)
    elif (found := draft.reads.whereabouts.get(link.person)) is not None and found.groups and found.is_assigned:
        reason, remedy = words.source_disagrees(member, link, found.groups)
        _hold_leaver(draft, "source-disagrees", link.person, member, (reason, remedy))
    else:
        _deactivate_or_hold(draft, link, member, words.left_because(member, link, found), link.groups)


def _deactivate_or_hold(
    draft: Draft, link: Link, member: Member, because: tuple[str, str], left: tuple[GroupRef, ...]
) -> None:
    """Deactivate a leaver, unless a new person has the address: then both may be one human under two ids."""
    claims = draft.roster.claims.get(draft.folds[member.scim_id], ())
    newcomer = next((claim for claim in claims if claim.key not in draft.link_of), None)
    if newcomer is None:
        _deactivate(draft, link.person, member, because, left)
        return
    who, connector, workspace = words.title(newcomer), newcomer.key.connector, draft.policy.workspace
    reason = (
        f"{because[1]} {who} of {connector} ({newcomer.key.id}) is assigned and has the same email: "
        f"they may be the same human."
    )
    remedy = (
        f"If they are: {words.remedy_assign(member.email, workspace, newcomer.key)}. If everyone got a new id: "
        f"pigment-sync links move --from {link.person.connector} --to {connector} --workspace {workspace}. "
        f"If they are two people, give {who} another email; the next run then deactivates the member."
    )
    draft.holds.append(
        Hold(
            Kind.DEACTIVATE,
            "recycled-address",
            member.email,
            reason,
            remedy,
            scim_id=member.scim_id,
            person=link.person,
        )
    )


def _deactivate(
    draft: Draft, person: PersonKey | None, member: Member, because: tuple[str, str], left: tuple[GroupRef, ...]
) -> None:
    draft.changes.append(
        Change(
            Kind.DEACTIVATE,
            member.email,
            member.display_name,
            member.scim_id,
            person,
            Fields(active=True),
            Fields(active=False),
            because[0],
            because[1],
            left,
        )
    )


def _unlinked(draft: Draft, assigned: Assigned, people: Sequence[Assigned]) -> None:
    """Someone assigned without a link who is not entitled: their member is adopted only to be deactivated."""
    members = draft.holders.get(assigned.email, ())
    free = [member for member in members if member.scim_id not in draft.owner_of]
    draft.matched.update(member.scim_id for member in free)
    if assigned.standing is not Standing.INACTIVE:
        _unjudged(draft, assigned, None)
        return
    # Somebody entitled, or not yet judged, has the same address: then the member is theirs.
    if assigned.email in draft.roster.claims or any(each.standing is not Standing.INACTIVE for each in people):
        return
    active = [member for member in free if member.active and not draft.is_protected(member)]
    if len(active) != 1:
        _note_protected(draft, free)
    elif any(each.key.connector == assigned.key.connector for each in people if each is not assigned):
        draft.hold(Kind.DEACTIVATE, "contested-email", assigned, active[0], words.contested(people))
    elif assigned is people[0]:
        _adopt_and_deactivate(draft, assigned, active[0])


def _note_protected(draft: Draft, members: list[Member]) -> None:
    for member in members:
        if member.active and draft.is_protected(member):
            draft.note(
                "protected", member.email, f"{words.member_title(member)} is protected: the member stays active."
            )


def _adopt_and_deactivate(draft: Draft, assigned: Assigned, member: Member) -> None:
    because = words.inactive_because(assigned)
    draft.changes.append(
        Change(
            Kind.ADOPT,
            member.email,
            member.display_name,
            member.scim_id,
            assigned.key,
            NO_FIELDS,
            NO_FIELDS,
            "matched-by-email",
            f"{because} The member with this email is linked to them, nothing is sent.",
            assigned.groups,
        )
    )
    _deactivate(draft, assigned.key, member, ("suspended", because), ())


def _unmanaged(draft: Draft, member: Member) -> None:
    """A member whom no link and no person stands for."""
    email = draft.folds[member.scim_id]
    if not member.active or email in draft.roster.claims:
        return
    who = words.member_title(member)
    if draft.is_protected(member):
        draft.note("protected", member.email, f"{who} is protected, and nobody assigned has this email.")
    elif draft.policy.unmanaged is Unmanaged.REPORT:
        draft.note("unmanaged", member.email, f"{who} is active, and nobody assigned has this email.")
    elif any("" in emails or email in emails for emails in draft.roster.unseen.values()):
        reason = f"{who} is active without an assignment, and a source returned rows without an id: no change."
        draft.note("unidentified-row", member.email, reason)
    elif draft.roster.has_nameless:
        reason = f"{who} is active without an assignment, and a source shows a person without an email: no change."
        draft.note("unidentified-row", member.email, reason)
    else:
        reason = f"{who} is active, and nobody assigned has this email; unmanaged members are deactivated here."
        _deactivate(draft, None, member, ("unmanaged", reason), ())
