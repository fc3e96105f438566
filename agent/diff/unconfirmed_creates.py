"""Settle creates with an unknown outcome, before their members can be matched to anyone by email. Pure.

person       the member that the create made        result
-----------  -------------------------------------  --------------------------------------------------------------
no link      is listed                              adopt, code `create-settled`
no link      is not listed, the create is awaited   no other create: hold `create-unsettled` (module entitled)
has a link   is listed                              hold `duplicate-member`; deactivated when the person leaves
any          is not listed                          nothing; forgotten after some complete listings and a week
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.diff.assignments import Entitlement
from agent.diff.builder import PlanBuilder
from agent.model import Link, Member, UnconfirmedCreate
from agent.model.change import adopt_change
from agent.model.codes import ChangeCode
from agent.model.email import is_same_name, normalize
from connectors.base import PersonKey

__all__ = ["resolve_unconfirmed_creates"]


@dataclass(frozen=True, slots=True)
class _CreatedMember:
    """A member that a lost create made."""

    create: UnconfirmedCreate
    member: Member


def resolve_unconfirmed_creates(draft: PlanBuilder) -> None:
    """Link the members that lost creates made for people without a link; a member made beside another is a duplicate.

    No member had the email when the create was planned. So a member without a link that has it now, under the name that
    was sent, is the one that the create made. It is remembered by its SCIM id.
    """
    made: dict[PersonKey, list[_CreatedMember]] = {}
    explained = {
        lost.person for lost in draft.inputs.memory.unconfirmed_creates if lost.scim_id in draft.person_by_scim_id
    }
    unsettled = draft.inputs.memory.unconfirmed_creates
    for lost in sorted(unsettled, key=lambda each: (each.person, each.email, each.run_id, each.seq)):
        found = _candidate_members(draft, lost)
        draft.checked_creates.append(replace(lost, scim_id=found[0].scim_id if found else None))
        if lost.is_awaited and not found:
            draft.awaited_creates.setdefault(lost.person, lost)
        made.setdefault(lost.person, []).extend(_CreatedMember(lost, member) for member in found)
    # People who have no member of a lost create yet come first: a newcomer of the same name must not get one of theirs.
    for person in sorted(made, key=lambda key: (key in explained, not _is_entitled(draft, key), key)):
        _link_created_members(draft, person, made[person])


def _is_entitled(draft: PlanBuilder, key: PersonKey) -> bool:
    assigned = draft.assignments.by_key.get(key)
    return assigned is not None and assigned.entitlement is Entitlement.ENTITLED


def _candidate_members(draft: PlanBuilder, lost: UnconfirmedCreate) -> list[Member]:
    """Return the members without a link that the create may have made, the one that was seen before first."""
    remembered = draft.members.get(lost.scim_id or "")
    alike = [
        member
        for member in draft.members_by_email.get(normalize(lost.email), ())
        if is_same_name(member.display_name, lost.display_name) and member is not remembered
    ]
    found = [remembered, *alike] if remembered is not None else alike
    return [member for member in found if member.scim_id not in draft.person_by_scim_id]


def _link_created_members(draft: PlanBuilder, person: PersonKey, made: list[_CreatedMember]) -> None:
    assigned = draft.assignments.by_key.get(person)
    email = assigned.email if assigned else ""
    # One that has the present address first.
    waiting = sorted(made, key=lambda each: draft.normalized_emails[each.member.scim_id] != email)
    link = draft.link_by_person.get(person)
    for each in waiting:
        member = each.member
        if member.scim_id in draft.person_by_scim_id:
            continue
        if link is None:
            link = _adopt_created_member(draft, each)
        elif link.scim_id in draft.members or draft.normalized_emails[member.scim_id] != email:
            draft.person_by_scim_id[member.scim_id] = person
            draft.duplicates.append((each.create, member))


def _adopt_created_member(draft: PlanBuilder, made: _CreatedMember) -> Link:
    # A protected member is the person's too while this plan is made: without that, they would get a second member.
    person, member = made.create.person, made.member
    assigned = draft.assignments.by_key.get(person)
    # Of who is not shown the create has the groups: guards compare a leaver's groups with what they were.
    groups = assigned.groups if assigned else made.create.groups
    link = draft.link_by_person[person] = Link(person, member.scim_id, groups)
    draft.person_by_scim_id[member.scim_id] = person
    draft.recovered_links.append(link)
    if draft.is_protected(member):
        return link
    reason = f"A create for {member.email} was sent and its answer was lost: this is the member that it made."
    draft.changes.append(adopt_change(member, person, ChangeCode.CREATE_SETTLED, reason, groups))
    return link
