"""Rows 1 to 4, 6 and 7 of the planning table: a person beside a member, and the one change that brings them in step."""

from __future__ import annotations

from agent.address import folded_name, same_name
from agent.diff import words
from agent.diff.draft import Draft, Want
from agent.diff.roster import Assigned
from agent.model import NO_FIELDS, Change, Fields, Kind, Member

__all__ = ["compare", "creation", "hold_contested", "meet"]


def compare(draft: Draft, assigned: Assigned, member: Member, *, adopted: bool = False) -> None:
    """Rows 1 to 4: bring a member in step with its person."""
    person = assigned.person
    same_email = draft.folds[member.scim_id] == assigned.email and assigned.email != ""
    named_alike = not person.display_name or same_name(person.display_name, member.display_name)
    if same_email and named_alike and member.active:
        draft.in_sync += not adopted
        draft.in_step[member.scim_id] = assigned
    elif draft.is_protected(member):
        draft.note("protected", member.email, f"{words.member_title(member)} is protected: nothing is changed.")
    elif member.active is None:
        _unreadable(draft, member)
    else:
        change = _difference(assigned, member, same_email=same_email, named_alike=named_alike)
        if same_email:
            draft.changes.append(change)
        else:
            draft.wants.append(Want(change, assigned, assigned.email, member))


def _difference(assigned: Assigned, member: Member, *, same_email: bool, named_alike: bool) -> Change:
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
    through = words.assigned_through(assigned)
    if not member.active:
        kind, code, reason = Kind.REACTIVATE, "assigned-again", f"{through}, and the member is inactive."
    elif not same_email:
        kind, code = Kind.UPDATE_EMAIL, "email-changed"
        reason = f"The email of {words.title(assigned)} in {assigned.key.connector} is {email}, not {member.email}."
    else:
        kind, code = Kind.UPDATE_NAME, "name-changed"
        reason = f"The display name in {assigned.key.connector} is {name}, not {member.display_name or 'empty'}."
    return Change(kind, email, name, member.scim_id, assigned.key, before, after, code, reason, assigned.groups)


def _unreadable(draft: Draft, member: Member) -> None:
    draft.matched.add(member.scim_id)
    reason = f"The listing does not say in a readable way whether {words.member_title(member)} is active: no change."
    draft.note("unreadable-member", member.email, reason)


def _adopt(draft: Draft, assigned: Assigned, member: Member, code: str) -> None:
    how = {
        "matched-by-email": "has the member's email",
        "matched-by-alias": f"has {member.email} as an alias",
        "relinked": "is the same human by email, and the former link does not hold any more",
    }[code]
    reason = f"{words.assigned_through(assigned)} and {how}: the member is linked to them, nothing is sent."
    draft.matched.add(member.scim_id)
    draft.changes.append(
        Change(
            Kind.ADOPT,
            member.email,
            member.display_name,
            member.scim_id,
            assigned.key,
            NO_FIELDS,
            NO_FIELDS,
            code,
            reason,
            assigned.groups,
        )
    )


def meet(draft: Draft, assigned: Assigned, member: Member, code: str) -> None:
    """Rows 6 and 7: a person meets the member that has their address and that nobody entitled is linked to."""
    draft.matched.add(member.scim_id)
    name = folded_name(assigned.person.display_name)
    if draft.is_protected(member):
        reason = f"{words.member_title(member)} is protected: the member is not linked to {words.title(assigned)}."
        draft.note("protected", member.email, reason)
    elif member.active is None:
        _unreadable(draft, member)
    elif not member.active and (not name or name != folded_name(member.display_name)):
        reason = (
            f"{words.title(assigned)} has the email of an inactive member named "
            f"{member.display_name or 'nothing'}, who may be somebody else."
        )
        assign = words.remedy_assign(member.email, draft.policy.workspace, assigned.key)
        remedy = f"If they are one person: {assign}. If not, give {words.title(assigned)} another email."
        draft.hold(Kind.REACTIVATE, "possible-recycled-address", assigned, member, (reason, remedy))
    else:
        _adopt(draft, assigned, member, code)
        compare(draft, assigned, member, adopted=True)


def hold_contested(draft: Draft, assigned: Assigned, member: Member) -> None:
    draft.matched.add(member.scim_id)
    kind = Kind.ADOPT if member.active else Kind.REACTIVATE
    draft.hold(kind, "contested-email", assigned, member, words.contested(draft.roster.claims[assigned.email]))


def creation(assigned: Assigned) -> Want:
    person = assigned.person
    email = person.email or ""
    change = Change(
        Kind.CREATE,
        email,
        person.display_name,
        None,
        assigned.key,
        NO_FIELDS,
        Fields(email, person.display_name, active=True),
        "assigned",
        f"{words.assigned_through(assigned)} and has no member.",
        assigned.groups,
        given_name=person.given_name,
        family_name=person.family_name,
    )
    return Want(change, assigned, assigned.email, None)
