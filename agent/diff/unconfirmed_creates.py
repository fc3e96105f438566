"""Resolve creates with an unknown outcome before any member is matched by email. Pure.

person       the member that the create made        result
-----------  -------------------------------------  --------------------------------------------------------------
no link      is listed                              adopt, code `create-settled`
no link      is not listed, the create is awaited   no other create: hold `create-unsettled` (module entitled)
no link      may be listed yet, under another       the same: the workspace would take a second create, for it has
             address than the person has now        another address
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
    """A member that an unconfirmed create made."""

    create: UnconfirmedCreate
    member: Member


def resolve_unconfirmed_creates(builder: PlanBuilder) -> None:
    """Link the members that unconfirmed creates made to people without a link; a second member is a duplicate.

    No member had the email when the create was planned. So a member without a link that has it now, under the name that
    was sent, is the one that the create made. It is remembered by its SCIM id.
    """
    made: dict[PersonKey, list[_CreatedMember]] = {}
    explained = {
        unconfirmed.person
        for unconfirmed in builder.inputs.memory.unconfirmed_creates
        if unconfirmed.scim_id in builder.person_by_scim_id
    }
    unconfirmed_creates = builder.inputs.memory.unconfirmed_creates
    for unconfirmed in sorted(unconfirmed_creates, key=lambda each: (each.person, each.email, each.run_id, each.seq)):
        found = _candidate_members(builder, unconfirmed)
        builder.checked_creates.append(replace(unconfirmed, scim_id=found[0].scim_id if found else None))
        if not found and (unconfirmed.is_awaited or _may_be_doubled(builder, unconfirmed)):
            builder.awaited_creates.setdefault(unconfirmed.person, unconfirmed)
        made.setdefault(unconfirmed.person, []).extend(_CreatedMember(unconfirmed, member) for member in found)
    # People without a member of an unconfirmed create come first: a new person of the same name must not get theirs.
    for person in sorted(made, key=lambda key: (key in explained, not _is_entitled(builder, key), key)):
        _link_created_members(builder, person, made[person])


def _may_be_doubled(builder: PlanBuilder, unconfirmed: UnconfirmedCreate) -> bool:
    """Return whether another create could make a second member: a listing may lag, and the address is another one now.

    With the same address the workspace itself refuses a second member.
    """
    assigned = builder.assignments.by_key.get(unconfirmed.person)
    return unconfirmed.may_appear and assigned is not None and assigned.email != normalize(unconfirmed.email)


def _is_entitled(builder: PlanBuilder, key: PersonKey) -> bool:
    assigned = builder.assignments.by_key.get(key)
    return assigned is not None and assigned.entitlement is Entitlement.ENTITLED


def _candidate_members(builder: PlanBuilder, unconfirmed: UnconfirmedCreate) -> list[Member]:
    """Return the members without a link that the create may have made, the one that was seen before first."""
    remembered = builder.members.get(unconfirmed.scim_id or "")
    alike = [
        member
        for member in builder.members_by_email.get(normalize(unconfirmed.email), ())
        if is_same_name(member.display_name, unconfirmed.display_name) and member is not remembered
    ]
    found = [remembered, *alike] if remembered is not None else alike
    return [member for member in found if member.scim_id not in builder.person_by_scim_id]


def _link_created_members(builder: PlanBuilder, person: PersonKey, made: list[_CreatedMember]) -> None:
    assigned = builder.assignments.by_key.get(person)
    email = assigned.email if assigned else ""
    # One that has the present address first.
    waiting = sorted(made, key=lambda each: normalize(each.member.email) != email)
    link = builder.link_by_person.get(person)
    for each in waiting:
        member = each.member
        if member.scim_id in builder.person_by_scim_id:
            continue
        if link is None:
            link = _adopt_created_member(builder, each)
        elif link.scim_id in builder.members or normalize(member.email) != email:
            builder.person_by_scim_id[member.scim_id] = person
            builder.duplicates.append((each.create, member))


def _adopt_created_member(builder: PlanBuilder, made: _CreatedMember) -> Link:
    # A protected member is the person's too while this plan is made: without that, they would get a second member.
    person, member = made.create.person, made.member
    assigned = builder.assignments.by_key.get(person)
    # For a person who is not shown, take the groups of the create: guards compare a leaver's groups with earlier ones.
    groups = assigned.groups if assigned else made.create.groups
    link = builder.link_by_person[person] = Link(person, member.scim_id, groups)
    builder.person_by_scim_id[member.scim_id] = person
    builder.recovered_links.append(link)
    if builder.is_protected(member):
        return link
    reason = f"A create for {member.email} was sent and its answer was lost: this is the member that it made."
    builder.changes.append(adopt_change(member, person, ChangeCode.CREATE_SETTLED, reason, groups))
    return link
