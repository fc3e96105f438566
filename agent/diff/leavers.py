"""Rows 14 to 18 of the planning table, and the members that no link and nobody entitled stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent.diff import messages
from agent.diff.assignments import AssignedPerson, Entitlement
from agent.diff.builder import PlanBuilder
from agent.model import (
    GroupRef,
    Hold,
    Kind,
    Link,
    Member,
    UnconfirmedCreate,
    UnmanagedAction,
)
from agent.model.change import adopt_change, deactivate_change
from agent.model.codes import ChangeCode, HoldCode, NoteCode
from connectors.base import PersonKey

__all__ = ["decide_leavers", "would_deactivate"]

NO_ONE = PersonKey("", "")


def decide_leavers(draft: PlanBuilder) -> None:
    """Decide for links whose person is not entitled, for unlinked people who are not, and for unmanaged members."""
    for link in (*draft.inputs.memory.links, *draft.recovered_links):
        assigned = draft.assignments.by_key.get(link.person)
        if link.person not in draft.relinked_people and (
            assigned is None or assigned.entitlement is not Entitlement.ENTITLED
        ):
            _decide_linked_person(draft, link, assigned)
    for lost, member in draft.duplicates:
        _decide_duplicate_member(draft, lost, member)
    for assigned in draft.assignments.by_key.values():
        if assigned.entitlement is not Entitlement.ENTITLED and assigned.key not in draft.link_by_person:
            _decide_unlinked_person(draft, assigned, draft.assignments.not_entitled_by_email.get(assigned.email, ()))
    for member in draft.inputs.listing.members:
        if member.scim_id not in draft.person_by_scim_id and member.scim_id not in draft.matched_ids:
            _decide_unmanaged_member(draft, member)


def would_deactivate(draft: PlanBuilder, member: Member) -> bool:
    """Return whether this plan would deactivate an inactive *member*, by its link, if it were active."""
    link = draft.link_by_person.get(draft.person_by_scim_id.get(member.scim_id, NO_ONE))
    if (
        link is None
        or link.scim_id != member.scim_id
        or link.person in draft.relinked_people
        or draft.is_protected(member)
    ):
        return False
    assigned = draft.assignments.by_key.get(link.person)
    if assigned is not None and assigned.entitlement is Entitlement.ENTITLED:
        return False
    tried = replace(draft, changes=[], holds=[], notes=[])
    _decide_active_member(tried, link, assigned, replace(member, active=True))
    return bool(tried.changes)


def _decide_linked_person(draft: PlanBuilder, link: Link, assigned: AssignedPerson | None) -> None:
    """Rows 14 and 15 for one link whose person is not entitled, then the others."""
    member = draft.members.get(link.scim_id)
    if assigned is None and link.person.connector in draft.connectors:
        _count_missed_read(draft, link)
    if member is None:
        return
    if member.active is False:
        draft.in_sync += 1
    elif draft.is_protected(member):
        reason = f"{messages.member_label(member)} is protected: the member stays active."
        draft.add_note(NoteCode.PROTECTED, member.email, reason)
    elif member.active is None:
        who = messages.member_label(member)
        reason = f"The listing does not say in a readable way whether {who} is active: no change."
        draft.add_note(NoteCode.UNREADABLE_MEMBER, member.email, reason)
    else:
        _decide_active_member(draft, link, assigned, member)


def _decide_duplicate_member(draft: PlanBuilder, lost: UnconfirmedCreate, member: Member) -> None:
    """A second member of a person, made by a lost create. It is deactivated when the person leaves."""
    if member.active is False:
        return
    if member.active is None or draft.is_protected(member):
        _decide_linked_person(draft, Link(lost.person, member.scim_id), draft.assignments.by_key.get(lost.person))
        return
    assigned, own = draft.assignments.by_key.get(lost.person), draft.link_by_person[lost.person]
    if lost.person in draft.relinked_people or (assigned is not None and assigned.entitlement is Entitlement.ENTITLED):
        _hold_duplicate_member(draft, lost, member, own)
        return
    planned = len(draft.changes)
    _decide_active_member(draft, replace(own, scim_id=member.scim_id), assigned, member)
    for place in range(planned, len(draft.changes)):
        left = draft.changes[place]
        reason = f"{left.reason} A create whose answer was lost made this member beside their own."
        code = (
            ChangeCode.DUPLICATE_LEFT
            if left.code in {ChangeCode.LEFT_GROUPS, ChangeCode.NO_LONGER_ASSIGNED}
            else left.code
        )
        draft.changes[place] = replace(left, code=code, reason=reason)


def _hold_duplicate_member(draft: PlanBuilder, lost: UnconfirmedCreate, member: Member, own: Link) -> None:
    mine = draft.members.get(own.scim_id)
    other = f"{mine.email} ({mine.scim_id})" if mine else own.scim_id
    who = f"{lost.person.connector}:{lost.person.id}"
    reason = (
        f"A create for {lost.email}, whose answer was lost, made a second member for {messages.member_label(member)} "
        f"({who}): {member.email} ({member.scim_id}) is active beside {other}."
    )
    if draft.policy.unmanaged is UnmanagedAction.DEACTIVATE:
        draft.changes.append(deactivate_change(member, lost.person, ChangeCode.DUPLICATE_MEMBER, reason))
        return
    remedy = (
        f"It is deactivated when {who} leaves. To clear it earlier, deactivate {member.email} in Pigment; or, if it is "
        f"another person's: pigment-sync links assign {member.email} --workspace {draft.policy.workspace} "
        f"--person CONNECTOR:ID"
    )
    draft.holds.append(
        Hold(
            kind=Kind.DEACTIVATE,
            code=HoldCode.DUPLICATE_MEMBER,
            email=member.email,
            reason=reason,
            remedy=remedy,
            scim_id=member.scim_id,
            person=lost.person,
        )
    )


def _decide_active_member(draft: PlanBuilder, link: Link, assigned: AssignedPerson | None, member: Member) -> None:
    """Rows 16 to 18, unless the link belongs to a source that is none any more."""
    if link.person.connector not in draft.connectors:
        _hold_source_changed(draft, link, member)
    elif assigned is not None and assigned.entitlement is not Entitlement.INACTIVE:
        _note_or_hold_undecided(draft, assigned, member)
    elif not _defer_to_other_source(draft, link, member):
        _decide_leaver(draft, link, assigned, member)


def _count_missed_read(draft: PlanBuilder, link: Link) -> None:
    # It need not be counted further than it matters: the state is then not written at each run.
    if link.missed_reads < draft.policy.grace_reads:
        draft.updated_links.append(Link(link.person, link.scim_id, link.groups, link.missed_reads + 1))


def _hold_source_changed(draft: PlanBuilder, link: Link, member: Member) -> None:
    old = link.person.connector
    new = next((source.connector for source in draft.policy.sources if source.connector != old), old)
    reason = (
        f"{messages.member_label(member)} is linked to a person of {old}, which is no source of "
        "this workspace any more."
    )
    remedy = messages.links_move_remedy(old, new, draft.policy.workspace)
    _hold_deactivation(draft, HoldCode.SOURCE_CHANGED, link.person, member, (reason, remedy))


def _note_or_hold_undecided(draft: PlanBuilder, assigned: AssignedPerson, member: Member | None) -> None:
    """Row 16, and those of whom a read does not say enough: noted, or held where a member would be deactivated."""
    who, email = messages.person_label(assigned), member.email if member else assigned.person.email
    connector = assigned.key.connector
    match assigned.entitlement:
        case Entitlement.PENDING:
            where = messages.format_groups(assigned.groups) if assigned.groups else "a group that can't be told"
            reason = f"{who} is in {where}, and {connector} does not show the assignment yet."
            draft.add_note(NoteCode.ASSIGNMENT_PENDING, email, reason)
        case Entitlement.UNKNOWN:
            word = assigned.person.source_status or "none"
            draft.add_note(
                NoteCode.UNKNOWN_STATUS,
                email,
                f"The status of {who} in {connector} can't be judged ({word}): no change.",
            )
        case Entitlement.INDIVIDUAL if member is not None:
            _hold_individual_assignment(draft, assigned, member)
        case _:
            # Individual, and without a member: whoever is entitled or inactive has been judged before.
            reason = f"{who} is assigned in {connector} individually, not through a group: nothing is done."
            draft.add_note(NoteCode.INDIVIDUAL_ASSIGNMENT, email, reason)


def _hold_individual_assignment(draft: PlanBuilder, assigned: AssignedPerson, member: Member) -> None:
    who = messages.person_label(assigned)
    reason = f"{who} is not assigned through a group any more, and still individually in {assigned.key.connector}."
    remedy = (
        f"Take the individual assignment of {who} away, add {who} to an assigned group, or set "
        f"workspaces.{draft.policy.workspace}.individual_assignments to include or ignore."
    )
    _hold_deactivation(draft, HoldCode.INDIVIDUAL_ASSIGNMENT, assigned.key, member, (reason, remedy))


def _hold_deactivation(
    draft: PlanBuilder, code: HoldCode, person: PersonKey, member: Member, why: tuple[str, str]
) -> None:
    """Hold a deactivation; *why* is the reason and the remedy."""
    reason, remedy = why
    draft.holds.append(
        Hold(
            kind=Kind.DEACTIVATE,
            code=code,
            email=member.email,
            reason=reason,
            remedy=remedy,
            scim_id=member.scim_id,
            person=person,
        )
    )


def _defer_to_other_source(draft: PlanBuilder, link: Link, member: Member) -> bool:
    """Leave the member alone while another source shows the same human and does not say enough of them."""
    for other in draft.assignments.not_entitled_by_email.get(draft.normalized_emails[member.scim_id], ()):
        if other.key.connector != link.person.connector and other.entitlement is not Entitlement.INACTIVE:
            _note_or_hold_undecided(draft, other, member)
            return True
    return False


def _decide_leaver(draft: PlanBuilder, link: Link, assigned: AssignedPerson | None, member: Member) -> None:
    """Rows 17 and 18."""
    if assigned is not None:
        stays = {group.id for group in assigned.groups}
        left = tuple(group for group in link.groups if group.id not in stays)
        _deactivate_or_hold(draft, link, member, (ChangeCode.SUSPENDED, messages.inactive_reason(assigned)), left)
        return
    unseen = draft.assignments.unidentified_emails.get(link.person.connector, frozenset())
    if "" in unseen or draft.normalized_emails[member.scim_id] in unseen:
        reason = (
            f"{messages.member_label(member)} is not among the assigned, and {link.person.connector} returned rows "
            f"without an id, one of which may be theirs: no change."
        )
        draft.add_note(NoteCode.UNIDENTIFIED_ROW, member.email, reason)
    elif link.missed_reads + 1 < draft.policy.grace_reads:
        reason = (
            f"{messages.member_label(member)} is not assigned in {link.person.connector} any more: missing in "
            f"{link.missed_reads + 1} of {draft.policy.grace_reads} reads before the deactivation."
        )
        draft.add_note(NoteCode.IN_GRACE, member.email, reason)
    elif (found := draft.inputs.leaver_status.get(link.person)) is not None and found.groups and found.is_assigned:
        reason, remedy = messages.source_disagrees_message(member, link, found.groups)
        _hold_deactivation(draft, HoldCode.SOURCE_DISAGREES, link.person, member, (reason, remedy))
    else:
        _deactivate_or_hold(draft, link, member, messages.leaver_reason(member, link, found), link.groups)


def _deactivate_or_hold(
    draft: PlanBuilder, link: Link, member: Member, because: tuple[ChangeCode, str], left: tuple[GroupRef, ...]
) -> None:
    """Deactivate a leaver, unless a new person has the address: then both may be one human under two ids."""
    claims = draft.assignments.entitled_by_email.get(draft.normalized_emails[member.scim_id], ())
    newcomer = next((claim for claim in claims if claim.key not in draft.link_by_person), None)
    if newcomer is None:
        draft.changes.append(deactivate_change(member, link.person, *because, left))
        return
    who, connector, workspace = messages.person_label(newcomer), newcomer.key.connector, draft.policy.workspace
    reason = (
        f"{because[1]} {who} of {connector} ({newcomer.key.id}) is assigned and has the same email: "
        f"they may be the same human."
    )
    remedy = (
        f"If they are: {messages.assign_command(member.email, workspace, newcomer.key)}. If everyone got a new id: "
        f"pigment-sync links move --from {link.person.connector} --to {connector} --workspace {workspace}. "
        f"If they are two people, give {who} another email; the next run then deactivates the member."
    )
    draft.holds.append(
        Hold(
            kind=Kind.DEACTIVATE,
            code=HoldCode.RECYCLED_ADDRESS,
            email=member.email,
            reason=reason,
            remedy=remedy,
            scim_id=member.scim_id,
            person=link.person,
        )
    )


def _decide_unlinked_person(draft: PlanBuilder, assigned: AssignedPerson, people: Sequence[AssignedPerson]) -> None:
    """Someone assigned without a link who is not entitled: their member is adopted only to be deactivated."""
    members = draft.members_by_email.get(assigned.email, ())
    free = [member for member in members if member.scim_id not in draft.person_by_scim_id]
    draft.matched_ids.update(member.scim_id for member in free)
    if assigned.entitlement is not Entitlement.INACTIVE:
        _note_or_hold_undecided(draft, assigned, None)
        return
    # Somebody entitled, or not yet judged, has the same address: then the member is theirs.
    if assigned.email in draft.assignments.entitled_by_email or any(
        each.entitlement is not Entitlement.INACTIVE for each in people
    ):
        return
    active = [member for member in free if member.active and not draft.is_protected(member)]
    if len(active) != 1:
        _note_protected_members(draft, free)
    elif any(each.key.connector == assigned.key.connector for each in people if each is not assigned):
        draft.add_hold(
            Kind.DEACTIVATE, HoldCode.CONTESTED_EMAIL, assigned, active[0], messages.contested_email_message(people)
        )
    elif assigned is people[0]:
        _adopt_and_deactivate(draft, assigned, active[0])


def _note_protected_members(draft: PlanBuilder, members: list[Member]) -> None:
    for member in members:
        if member.active and draft.is_protected(member):
            draft.add_note(
                NoteCode.PROTECTED,
                member.email,
                f"{messages.member_label(member)} is protected: the member stays active.",
            )


def _adopt_and_deactivate(draft: PlanBuilder, assigned: AssignedPerson, member: Member) -> None:
    because = messages.inactive_reason(assigned)
    reason = f"{because} The member with this email is linked to them, nothing is sent."
    draft.changes.append(adopt_change(member, assigned.key, ChangeCode.MATCHED_BY_EMAIL, reason, assigned.groups))
    draft.changes.append(deactivate_change(member, assigned.key, ChangeCode.SUSPENDED, because))


def _decide_unmanaged_member(draft: PlanBuilder, member: Member) -> None:
    """A member whom no link and no person stands for."""
    email = draft.normalized_emails[member.scim_id]
    if not member.active or email in draft.assignments.entitled_by_email:
        return
    who = messages.member_label(member)
    if draft.is_protected(member):
        draft.add_note(NoteCode.PROTECTED, member.email, f"{who} is protected, and nobody assigned has this email.")
    elif draft.policy.unmanaged is UnmanagedAction.REPORT:
        draft.add_note(NoteCode.UNMANAGED, member.email, f"{who} is active, and nobody assigned has this email.")
    elif any("" in emails or email in emails for emails in draft.assignments.unidentified_emails.values()):
        reason = f"{who} is active without an assignment, and a source returned rows without an id: no change."
        draft.add_note(NoteCode.UNIDENTIFIED_ROW, member.email, reason)
    elif draft.assignments.has_unknown_without_email:
        reason = f"{who} is active without an assignment, and a source shows a person without an email: no change."
        draft.add_note(NoteCode.UNIDENTIFIED_ROW, member.email, reason)
    else:
        reason = f"{who} is active, and nobody assigned has this email; unmanaged members are deactivated here."
        draft.changes.append(deactivate_change(member, None, ChangeCode.UNMANAGED, reason))
