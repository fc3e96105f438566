"""Rows 14 to 18 of the planning table: links whose person is not entitled."""

from __future__ import annotations

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
from agent.model.change import deactivate_change
from agent.model.codes import ChangeCode, HoldCode, NoteCode
from agent.model.email import normalize
from connectors.base import PersonKey

__all__ = ["decide_leavers", "note_or_hold_undecided", "would_deactivate"]

NO_PERSON = PersonKey("", "")


def decide_leavers(builder: PlanBuilder) -> None:
    """Decide for people who have a link and are not entitled."""
    for link in (*builder.inputs.memory.links, *builder.recovered_links):
        assigned = builder.assignments.by_key.get(link.person)
        if (
            assigned is None or assigned.entitlement is not Entitlement.ENTITLED
        ) and link.person not in builder.relinked_people:
            _decide_linked_person(builder, link, assigned)
    for unconfirmed, member in builder.duplicates:
        _decide_duplicate_member(builder, unconfirmed, member)


def would_deactivate(builder: PlanBuilder, member: Member) -> bool:
    """Return whether this plan would deactivate an inactive *member*, by its link, if it were active."""
    link = builder.link_by_person.get(builder.person_by_scim_id.get(member.scim_id, NO_PERSON))
    if (
        link is None
        or link.scim_id != member.scim_id
        or link.person in builder.relinked_people
        or builder.is_protected(member)
    ):
        return False
    assigned = builder.assignments.by_key.get(link.person)
    if assigned is not None and assigned.entitlement is Entitlement.ENTITLED:
        return False
    tried = replace(builder, changes=[], holds=[], notes=[])
    _decide_active_member(tried, link, assigned, replace(member, active=True))
    return bool(tried.changes)


def _decide_linked_person(builder: PlanBuilder, link: Link, assigned: AssignedPerson | None) -> None:
    """Apply rows 14 and 15 to the link of a person who is not entitled, then the other rows."""
    member = builder.members.get(link.scim_id)
    if assigned is None and link.person.connector in builder.connectors:
        _count_missed_read(builder, link)
    if member is None:
        return
    if member.active is False:
        builder.in_sync += 1
    elif builder.is_protected(member):
        reason = f"{messages.member_label(member)} is protected: the member stays active."
        builder.add_note(NoteCode.PROTECTED, member.email, reason)
    elif member.active is None:
        who = messages.member_label(member)
        reason = f"The listing has no readable active status for {who}: no change."
        builder.add_note(NoteCode.UNREADABLE_MEMBER, member.email, reason)
    else:
        _decide_active_member(builder, link, assigned, member)


def _decide_duplicate_member(builder: PlanBuilder, unconfirmed: UnconfirmedCreate, member: Member) -> None:
    """Handle a second member of a person, made by an unconfirmed create: it is deactivated when the person leaves."""
    if member.active is False:
        return
    if member.active is None or builder.is_protected(member):
        _decide_linked_person(
            builder, Link(unconfirmed.person, member.scim_id), builder.assignments.by_key.get(unconfirmed.person)
        )
        return
    assigned, own = builder.assignments.by_key.get(unconfirmed.person), builder.link_by_person[unconfirmed.person]
    if unconfirmed.person in builder.relinked_people or (
        assigned is not None and assigned.entitlement is Entitlement.ENTITLED
    ):
        _hold_duplicate_member(builder, unconfirmed, member, own)
        return
    planned = len(builder.changes)
    _decide_active_member(builder, replace(own, scim_id=member.scim_id), assigned, member)
    for place in range(planned, len(builder.changes)):
        left = builder.changes[place]
        reason = f"{left.reason} An unconfirmed create made this member in addition to their own."
        code = (
            ChangeCode.DUPLICATE_LEFT
            if left.code in {ChangeCode.LEFT_GROUPS, ChangeCode.NO_LONGER_ASSIGNED}
            else left.code
        )
        builder.changes[place] = replace(left, code=code, reason=reason)


def _hold_duplicate_member(builder: PlanBuilder, unconfirmed: UnconfirmedCreate, member: Member, own: Link) -> None:
    own_member = builder.members.get(own.scim_id)
    other = f"{own_member.email} ({own_member.scim_id})" if own_member else own.scim_id
    who = f"{unconfirmed.person.connector}:{unconfirmed.person.id}"
    reason = (
        f"A create for {unconfirmed.email}, whose answer was lost, made a second member for "
        f"{messages.member_label(member)} ({who}): {member.email} ({member.scim_id}) is active in addition to {other}."
    )
    if builder.policy.unmanaged is UnmanagedAction.DEACTIVATE:
        builder.changes.append(deactivate_change(member, unconfirmed.person, ChangeCode.DUPLICATE_MEMBER, reason))
        return
    remedy = (
        f"It is deactivated when {who} leaves. To clear it earlier, deactivate {member.email} in Pigment; or, if it is "
        f"another person's: pigment-sync links assign {member.email} --workspace {builder.policy.workspace} "
        f"--person CONNECTOR:ID"
    )
    _hold_deactivation(builder, HoldCode.DUPLICATE_MEMBER, unconfirmed.person, member, (reason, remedy))


def _decide_active_member(builder: PlanBuilder, link: Link, assigned: AssignedPerson | None, member: Member) -> None:
    """Apply rows 16 to 18, unless the link belongs to a connector that is no longer a source."""
    if link.person.connector not in builder.connectors:
        _hold_source_changed(builder, link, member)
    elif assigned is not None and assigned.entitlement is not Entitlement.INACTIVE:
        note_or_hold_undecided(builder, assigned, member)
    elif not _defer_to_other_source(builder, link, member):
        _decide_leaver(builder, link, assigned, member)


def _count_missed_read(builder: PlanBuilder, link: Link) -> None:
    # Counting stops at the limit, so that the state is not written at each run.
    if link.missed_reads < builder.policy.grace_reads:
        builder.updated_links.append(Link(link.person, link.scim_id, link.groups, link.missed_reads + 1))


def _hold_source_changed(builder: PlanBuilder, link: Link, member: Member) -> None:
    old = link.person.connector
    new = next((source.connector for source in builder.policy.sources if source.connector != old), old)
    reason = (
        f"{messages.member_label(member)} is linked to a person of {old}, which is no longer a "
        "source of this workspace."
    )
    remedy = messages.links_move_remedy(old, new, builder.policy.workspace)
    _hold_deactivation(builder, HoldCode.SOURCE_CHANGED, link.person, member, (reason, remedy))


def note_or_hold_undecided(builder: PlanBuilder, assigned: AssignedPerson, member: Member | None) -> None:
    """Row 16, and people about whom the reads are inconclusive: a note, or a hold of the deactivation."""
    who, email = messages.person_label(assigned), member.email if member else assigned.person.email
    connector = assigned.key.connector
    match assigned.entitlement:
        case Entitlement.PENDING:
            where = messages.format_groups(assigned.groups) if assigned.groups else "an unknown group"
            reason = f"{who} is in {where}, and {connector} does not show the assignment yet."
            builder.add_note(NoteCode.ASSIGNMENT_PENDING, email, reason)
        case Entitlement.UNKNOWN:
            word = assigned.person.source_status or "none"
            builder.add_note(
                NoteCode.UNKNOWN_STATUS,
                email,
                f"The status of {who} in {connector} is not known to the agent ({word}): no change.",
            )
        case Entitlement.INDIVIDUAL if member is not None:
            _hold_individual_assignment(builder, assigned, member)
        case _:
            # Individual, without a member. Entitled and inactive people never get here.
            reason = f"{who} is assigned in {connector} individually, not through a group: no change."
            builder.add_note(NoteCode.INDIVIDUAL_ASSIGNMENT, email, reason)


def _hold_individual_assignment(builder: PlanBuilder, assigned: AssignedPerson, member: Member) -> None:
    who = messages.person_label(assigned)
    reason = f"{who} is no longer assigned through a group, but still individually in {assigned.key.connector}."
    remedy = (
        f"Remove the individual assignment of {who}, add {who} to an assigned group, or set "
        f"workspaces.{builder.policy.workspace}.individual_assignments to include or ignore."
    )
    _hold_deactivation(builder, HoldCode.INDIVIDUAL_ASSIGNMENT, assigned.key, member, (reason, remedy))


def _hold_deactivation(
    builder: PlanBuilder, code: HoldCode, person: PersonKey, member: Member, why: tuple[str, str]
) -> None:
    """Hold a deactivation; *why* is the reason and the remedy."""
    reason, remedy = why
    builder.holds.append(
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


def _defer_to_other_source(builder: PlanBuilder, link: Link, member: Member) -> bool:
    """Leave the member unchanged while another source shows the same human inconclusively; return whether one does."""
    for other in builder.assignments.not_entitled_by_email.get(normalize(member.email), ()):
        if other.key.connector != link.person.connector and other.entitlement is not Entitlement.INACTIVE:
            note_or_hold_undecided(builder, other, member)
            return True
    return False


def _decide_leaver(builder: PlanBuilder, link: Link, assigned: AssignedPerson | None, member: Member) -> None:
    """Rows 17 and 18."""
    if assigned is not None:
        stays = {group.id for group in assigned.groups}
        left = tuple(group for group in link.groups if group.id not in stays)
        _deactivate_or_hold(builder, link, member, (ChangeCode.SUSPENDED, messages.inactive_reason(assigned)), left)
        return
    unseen = builder.assignments.unidentified_emails.get(link.person.connector, frozenset())
    if "" in unseen or normalize(member.email) in unseen:
        reason = (
            f"{messages.member_label(member)} is not assigned, and {link.person.connector} returned rows "
            f"without an id, one of which may be theirs: no change."
        )
        builder.add_note(NoteCode.UNIDENTIFIED_ROW, member.email, reason)
    elif link.missed_reads + 1 < builder.policy.grace_reads:
        reason = (
            f"{messages.member_label(member)} is not assigned in {link.person.connector} any more: missing in "
            f"{link.missed_reads + 1} of {builder.policy.grace_reads} reads before the deactivation."
        )
        builder.add_note(NoteCode.IN_GRACE, member.email, reason)
    elif (found := builder.inputs.leaver_status.get(link.person)) is not None and found.groups and found.is_assigned:
        reason, remedy = messages.source_disagrees_message(member, link, found.groups)
        _hold_deactivation(builder, HoldCode.SOURCE_DISAGREES, link.person, member, (reason, remedy))
    else:
        _deactivate_or_hold(builder, link, member, messages.leaver_reason(member, link, found), link.groups)


def _deactivate_or_hold(
    builder: PlanBuilder, link: Link, member: Member, because: tuple[ChangeCode, str], left: tuple[GroupRef, ...]
) -> None:
    """Deactivate a leaver, unless a new person has the address: both may be one human under two ids."""
    claims = builder.assignments.entitled_by_email.get(normalize(member.email), ())
    newcomer = next((claim for claim in claims if claim.key not in builder.link_by_person), None)
    if newcomer is None:
        builder.changes.append(deactivate_change(member, link.person, *because, left))
        return
    who, connector, workspace = messages.person_label(newcomer), newcomer.key.connector, builder.policy.workspace
    reason = (
        f"{because[1]} {who} of {connector} ({newcomer.key.id}) is assigned and has the same email: "
        f"they may be the same human."
    )
    remedy = (
        f"If they are: {messages.assign_command(member.email, workspace, newcomer.key)}. If everyone got a new id: "
        f"pigment-sync links move --from {link.person.connector} --to {connector} --workspace {workspace}. "
        f"If they are two people, give {who} another email; the next run then deactivates the member."
    )
    _hold_deactivation(builder, HoldCode.RECYCLED_ADDRESS, link.person, member, (reason, remedy))
