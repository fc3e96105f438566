"""Rows 1 to 4, 6 and 7 of the planning table: compare a person with a member, and add the one change needed."""

from __future__ import annotations

from agent.diff import messages
from agent.diff.assignments import AssignedPerson
from agent.diff.builder import EmailClaim, PlanBuilder
from agent.model import NO_FIELDS, Change, Fields, Kind, Member
from agent.model.change import adopt_change
from agent.model.codes import ChangeCode, HoldCode, NoteCode
from agent.model.email import is_same_name, normalize
from agent.model.match import MatchVerdict, judge_match
from connectors.base import Person

__all__ = ["hold_contested_email", "is_spelled_alike", "match_member", "new_member_claim", "reconcile_member"]


def is_spelled_alike(person: Person, member: Member) -> bool:
    """Return whether an active member has letter by letter what its person has: then row 1 applies.

    That is so for nearly everyone, and takes a third of the time of `reconcile_member`.
    """
    return (
        person.email == member.email
        and person.display_name == member.display_name
        and member.active is True
        and member.email != ""
    )


def reconcile_member(builder: PlanBuilder, assigned: AssignedPerson, member: Member, *, adopted: bool = False) -> None:
    """Rows 1 to 4: bring a member in sync with its person."""
    person = assigned.person
    same_email = normalize(member.email) == assigned.email and assigned.email != ""
    named_alike = (
        not builder.policy.compares_names
        or not person.display_name
        or is_same_name(person.display_name, member.display_name)
    )
    if same_email and named_alike and member.active:
        builder.in_sync += not adopted
        builder.in_sync_people[member.scim_id] = assigned
    elif builder.is_protected(member):
        builder.add_note(
            NoteCode.PROTECTED, member.email, f"{messages.member_label(member)} is protected: nothing is changed."
        )
    elif member.active is None:
        _note_unreadable_member(builder, member)
    else:
        change = _member_update(assigned, member, same_email=same_email, named_alike=named_alike)
        if same_email:
            builder.changes.append(change)
        else:
            builder.email_claims.append(EmailClaim(change, assigned, assigned.email, member))


def _member_update(assigned: AssignedPerson, member: Member, *, same_email: bool, named_alike: bool) -> Change:
    """Return the one change that makes *member* agree: one request, whatever differs."""
    person = assigned.person
    email = member.email if same_email else person.email or ""
    before = Fields(
        None if same_email else member.email,
        None if named_alike else member.display_name,
        None if member.active else False,
    )
    after = Fields(
        None if same_email else email,
        None if named_alike else person.display_name,
        None if member.active else True,
    )
    name = member.display_name if named_alike else person.display_name
    through = messages.assignment_phrase(assigned)
    if not member.active:
        kind, code, reason = Kind.REACTIVATE, ChangeCode.ASSIGNED_AGAIN, f"{through}, and the member is inactive."
    elif not same_email:
        kind, code = Kind.UPDATE_EMAIL, ChangeCode.EMAIL_CHANGED
        reason = (
            f"The email of {messages.person_label(assigned)} in {assigned.key.connector} is "
            f"{email}, not {member.email}."
        )
    else:
        kind, code = Kind.UPDATE_NAME, ChangeCode.NAME_CHANGED
        reason = f"The display name in {assigned.key.connector} is {name}, not {member.display_name or 'empty'}."
    return Change(
        kind=kind,
        email=email,
        display_name=name,
        scim_id=member.scim_id,
        person=assigned.key,
        before=before,
        after=after,
        code=code,
        reason=reason,
        group_refs=assigned.groups,
    )


def _note_unreadable_member(builder: PlanBuilder, member: Member) -> None:
    builder.matched_ids.add(member.scim_id)
    reason = f"The listing has no readable active status for {messages.member_label(member)}: no change."
    builder.add_note(NoteCode.UNREADABLE_MEMBER, member.email, reason)


def _adopt_member(builder: PlanBuilder, assigned: AssignedPerson, member: Member, code: ChangeCode) -> None:
    if code is ChangeCode.MATCHED_BY_ALIAS:
        how = f"has {member.email} as an alias"
    elif code is ChangeCode.RELINKED:
        how = "is the same human by email, and the previous link no longer applies"
    else:
        how = "has the member's email"
    reason = f"{messages.assignment_phrase(assigned)} and {how}: the member is linked to them, nothing is sent."
    builder.matched_ids.add(member.scim_id)
    builder.changes.append(adopt_change(member, assigned.key, code, reason, assigned.groups))


def match_member(builder: PlanBuilder, assigned: AssignedPerson, member: Member, code: ChangeCode) -> None:
    """Rows 6 and 7: match a person to the member with their address, which no entitled person is linked to."""
    builder.matched_ids.add(member.scim_id)
    verdict = judge_match(assigned.person.display_name, member)
    if builder.is_protected(member):
        reason = (
            f"{messages.member_label(member)} is protected: the member is not linked to "
            f"{messages.person_label(assigned)}."
        )
        builder.add_note(NoteCode.PROTECTED, member.email, reason)
    elif verdict is MatchVerdict.UNREADABLE:
        _note_unreadable_member(builder, member)
    elif verdict is MatchVerdict.POSSIBLY_RECYCLED:
        reason = (
            f"{messages.person_label(assigned)} has the email of an inactive member named "
            f"{member.display_name or 'nothing'}, who may be another human."
        )
        assign = messages.assign_command(member.email, builder.policy.workspace, assigned.key)
        remedy = f"If they are one person: {assign}. If not, give {messages.person_label(assigned)} another email."
        builder.add_hold(Kind.REACTIVATE, HoldCode.POSSIBLE_RECYCLED_ADDRESS, assigned, member, (reason, remedy))
    else:
        _adopt_member(builder, assigned, member, code)
        reconcile_member(builder, assigned, member, adopted=True)


def hold_contested_email(builder: PlanBuilder, assigned: AssignedPerson, member: Member) -> None:
    builder.matched_ids.add(member.scim_id)
    kind = Kind.ADOPT if member.active else Kind.REACTIVATE
    builder.add_hold(
        kind,
        HoldCode.CONTESTED_EMAIL,
        assigned,
        member,
        messages.contested_email_message(builder.assignments.entitled_by_email[assigned.email]),
    )


def new_member_claim(assigned: AssignedPerson) -> EmailClaim:
    person = assigned.person
    email = person.email or ""
    change = Change(
        kind=Kind.CREATE,
        email=email,
        display_name=person.display_name,
        scim_id=None,
        person=assigned.key,
        before=NO_FIELDS,
        after=Fields(email, person.display_name, active=True),
        code=ChangeCode.ASSIGNED,
        reason=f"{messages.assignment_phrase(assigned)} and has no member.",
        group_refs=assigned.groups,
        given_name=person.given_name,
        family_name=person.family_name,
    )
    return EmailClaim(change, assigned, assigned.email, None)
