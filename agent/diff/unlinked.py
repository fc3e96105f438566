"""People without a link who are not entitled, and unmanaged members."""

from __future__ import annotations

from collections.abc import Sequence

from agent.diff import messages
from agent.diff.assignments import AssignedPerson, Entitlement
from agent.diff.builder import PlanBuilder
from agent.diff.leavers import note_or_hold_undecided
from agent.model import Kind, Member, UnmanagedAction
from agent.model.change import adopt_change, deactivate_change
from agent.model.codes import ChangeCode, HoldCode, NoteCode
from agent.model.email import normalize

__all__ = ["decide_unlinked"]


def decide_unlinked(builder: PlanBuilder) -> None:
    """Decide for people who have no link and are not entitled, then for the members that no person matches."""
    for assigned in builder.assignments.by_key.values():
        if assigned.entitlement is not Entitlement.ENTITLED and assigned.key not in builder.link_by_person:
            _decide_unlinked_person(
                builder, assigned, builder.assignments.not_entitled_by_email.get(assigned.email, ())
            )
    for member in builder.inputs.listing.members:
        if member.scim_id not in builder.person_by_scim_id and member.scim_id not in builder.matched_ids:
            _decide_unmanaged_member(builder, member)


def _decide_unlinked_person(builder: PlanBuilder, assigned: AssignedPerson, people: Sequence[AssignedPerson]) -> None:
    """Decide for an assigned person without a link who is not entitled: adopt their member only to deactivate it."""
    members = builder.members_by_email.get(assigned.email, ())
    free = [member for member in members if member.scim_id not in builder.person_by_scim_id]
    builder.matched_ids.update(member.scim_id for member in free)
    if assigned.entitlement is not Entitlement.INACTIVE:
        note_or_hold_undecided(builder, assigned, None)
        return
    # An entitled or undecided person with the same address owns the member.
    if assigned.email in builder.assignments.entitled_by_email or any(
        each.entitlement is not Entitlement.INACTIVE for each in people
    ):
        return
    active = [member for member in free if member.active and not builder.is_protected(member)]
    if len(active) != 1:
        _note_protected_members(builder, free)
    elif any(each.key.connector == assigned.key.connector for each in people if each is not assigned):
        builder.add_hold(
            Kind.DEACTIVATE, HoldCode.CONTESTED_EMAIL, assigned, active[0], messages.contested_email_message(people)
        )
    elif assigned is people[0]:
        _adopt_and_deactivate(builder, assigned, active[0])


def _note_protected_members(builder: PlanBuilder, members: list[Member]) -> None:
    for member in members:
        if member.active and builder.is_protected(member):
            builder.add_note(
                NoteCode.PROTECTED,
                member.email,
                f"{messages.member_label(member)} is protected: the member stays active.",
            )


def _adopt_and_deactivate(builder: PlanBuilder, assigned: AssignedPerson, member: Member) -> None:
    because = messages.inactive_reason(assigned)
    reason = f"{because} The member with this email is linked to them, nothing is sent."
    builder.changes.append(adopt_change(member, assigned.key, ChangeCode.MATCHED_BY_EMAIL, reason, assigned.groups))
    builder.changes.append(deactivate_change(member, assigned.key, ChangeCode.SUSPENDED, because))


def _decide_unmanaged_member(builder: PlanBuilder, member: Member) -> None:
    """Note or deactivate a member without a link and without a matching person."""
    email = normalize(member.email)
    if not member.active or email in builder.assignments.entitled_by_email:
        return
    who = messages.member_label(member)
    if member.scim_id in builder.inputs.memory.canary_ids:
        reason = f"{who} is the canary of a probe that did not end: run `pigment-sync probe` again."
        builder.add_note(NoteCode.PROTECTED, member.email, reason)
    elif builder.is_protected(member):
        builder.add_note(
            NoteCode.PROTECTED, member.email, f"{who} is protected, and no assigned person has this email."
        )
    elif builder.policy.unmanaged is UnmanagedAction.REPORT:
        builder.add_note(NoteCode.UNMANAGED, member.email, f"{who} is active, and no assigned person has this email.")
    elif any("" in emails or email in emails for emails in builder.assignments.unidentified_emails.values()):
        reason = f"{who} is active without an assignment, and a source returned rows without an id: no change."
        builder.add_note(NoteCode.UNIDENTIFIED_ROW, member.email, reason)
    elif builder.assignments.has_unknown_without_email:
        reason = f"{who} is active without an assignment, and a source shows a person without an email: no change."
        builder.add_note(NoteCode.UNIDENTIFIED_ROW, member.email, reason)
    else:
        reason = f"{who} is active, and no assigned person has this email; the policy deactivates unmanaged members."
        builder.changes.append(deactivate_change(member, None, ChangeCode.UNMANAGED, reason))
