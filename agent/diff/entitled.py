"""Rows 5 and 8 to 13 of the planning table: which member a person who is entitled has, if any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.diff import messages
from agent.diff.assignments import AssignedPerson, Entitlement
from agent.diff.builder import PlanBuilder
from agent.diff.match import hold_contested_email, is_spelled_alike, match_member, new_member_claim, reconcile_member
from agent.model import Kind, Link, Member
from agent.model.codes import ChangeCode, HoldCode, NoteCode
from agent.model.email import is_allowed, normalize, normalize_name
from connectors.base import PersonKey

__all__ = ["decide_entitled"]


def decide_entitled(builder: PlanBuilder) -> None:
    """Decide for all entitled people: linked ones first, then by email, by alias, by name, and the rest."""
    strangers = []
    links, members = builder.link_by_person, builder.members
    for key, assigned in builder.assignments.by_key.items():
        if assigned.entitlement is not Entitlement.ENTITLED:
            continue
        link = links.get(key)
        if link is None:
            strangers.append(assigned)
            continue
        if link.groups != assigned.groups or link.missed_reads:
            builder.updated_links.append(Link(link.person, link.scim_id, assigned.groups))
        member = members.get(link.scim_id)
        if member is None:
            _relink_or_hold_missing_member(builder, assigned)
        elif is_spelled_alike(assigned.person, member):
            builder.add_in_sync(assigned, member)
        else:
            reconcile_member(builder, assigned, member)
    left = [assigned for assigned in strangers if not _match_by_email(builder, assigned)]
    left = _match_by_alias(builder, left)
    _create_or_hold_rename(builder, left)


def _relink_or_hold_missing_member(builder: PlanBuilder, assigned: AssignedPerson) -> None:
    """Row 5: the member we remember is not in the listing."""
    holders = builder.members_by_email.get(assigned.email, ())
    if len(holders) == 1 and holders[0].scim_id not in builder.person_by_scim_id:
        if builder.assignments.is_contested(assigned.email):
            hold_contested_email(builder, assigned, holders[0])
        else:
            match_member(builder, assigned, holders[0], ChangeCode.RELINKED)
        return
    link = builder.link_by_person[assigned.key]
    reason = f"The member {link.scim_id} of {messages.person_label(assigned)} is no longer in the listing."
    remedy = (
        f"If another member belongs to them: "
        f"{messages.assign_command('EMAIL', builder.policy.workspace, assigned.key)}. To create a new one: "
        f"pigment-sync links forget {assigned.key.connector}:{assigned.key.id} --workspace {builder.policy.workspace}"
    )
    builder.add_hold(Kind.CREATE, HoldCode.LINKED_MEMBER_MISSING, assigned, None, (reason, remedy))


def _preferred_claimant(builder: PlanBuilder, claims: Sequence[AssignedPerson]) -> AssignedPerson:
    """Return who of several sources' people with one email has the member: the linked one, else the first listed."""
    linked = [claim for claim in claims if claim.key in builder.link_by_person]
    return min(linked or claims, key=lambda claim: (claim.source_rank, claim.key))


def _match_by_email(builder: PlanBuilder, assigned: AssignedPerson) -> bool:
    """Rows 6 to 10. Return whether the address has settled what becomes of the person."""
    claims = builder.assignments.entitled_by_email.get(assigned.email, (assigned,))
    contested = builder.assignments.is_contested(assigned.email)
    if len(claims) > 1 and not contested:
        owner = _preferred_claimant(builder, claims)
        if owner is not assigned:
            reason = (
                f"{messages.person_label(assigned)} of {assigned.key.connector} is the same "
                f"human as in {owner.key.connector}."
            )
            builder.add_note(NoteCode.ALSO_IN, assigned.person.email, reason)
            return True
    holders = builder.members_by_email.get(assigned.email, ())
    if not holders:
        if contested:
            builder.email_claims.append(new_member_claim(assigned))
        return contested
    linked = [member for member in holders if member.scim_id in builder.person_by_scim_id]
    if contested and not linked:
        hold_contested_email(builder, assigned, holders[0])
    elif len(holders) > 1 or contested:
        builder.email_claims.append(new_member_claim(assigned))
    elif linked:
        _resolve_email_held_by_other(builder, assigned, linked[0])
    else:
        match_member(builder, assigned, holders[0], ChangeCode.MATCHED_BY_EMAIL)
    return True


def _resolve_email_held_by_other(builder: PlanBuilder, assigned: AssignedPerson, member: Member) -> None:
    """Rows 8 to 10: the member with the address is linked to another person."""
    key = builder.person_by_scim_id[member.scim_id]
    other = builder.assignments.by_key.get(key)
    if builder.is_protected(member):
        reason = (
            f"{messages.member_label(member)} is protected: the member is not linked to "
            f"{messages.person_label(assigned)}."
        )
        builder.add_note(NoteCode.PROTECTED, member.email, reason)
    elif other is not None and other.entitlement is Entitlement.ENTITLED:
        builder.email_claims.append(new_member_claim(assigned))
    elif key.connector == assigned.key.connector:
        reason = (
            f"{messages.person_label(assigned)} has the email of a member that is linked to another "
            f"person of {key.connector} "
            f"({key.id}). The account must not pass to another human."
        )
        assign = messages.assign_command(member.email, builder.policy.workspace, assigned.key)
        remedy = f"Give {messages.person_label(assigned)} another email; or, if both are the same human: {assign}"
        builder.add_hold(Kind.CREATE, HoldCode.RECYCLED_ADDRESS, assigned, None, (reason, remedy))
    elif key.connector in builder.connectors and _is_no_longer_entitled(builder, key, other):
        builder.relinked_people.add(key)
        match_member(builder, assigned, member, ChangeCode.RELINKED)
    elif other is not None and other.email == assigned.email and key.connector in builder.connectors:
        reason = (
            f"{messages.person_label(assigned)} of {assigned.key.connector} is the same human as in {key.connector}."
        )
        builder.add_note(NoteCode.ALSO_IN, assigned.person.email, reason)
    else:
        reason = (
            f"{messages.person_label(assigned)} of {assigned.key.connector} has the email of a member "
            "that is linked to a "
            f"person of {key.connector} ({key.id})."
        )
        remedy = messages.links_move_remedy(key.connector, assigned.key.connector, builder.policy.workspace)
        builder.add_hold(Kind.ADOPT, HoldCode.SOURCE_CHANGED, assigned, member, (reason, remedy))


def _is_no_longer_entitled(builder: PlanBuilder, key: PersonKey, other: AssignedPerson | None) -> bool:
    """Return whether a person of another source is surely no longer entitled, so that the link may move."""
    if other is not None:
        return other.entitlement in {Entitlement.INACTIVE, Entitlement.INDIVIDUAL}
    return not builder.assignments.unidentified_emails.get(key.connector)


def _members_by_alias(builder: PlanBuilder, assigned: AssignedPerson) -> list[Member]:
    """Return the unlinked active members that have an alias of the person, unless it is another person's email."""
    found = {}
    for alias in assigned.person.aliases:
        email = normalize(alias)
        if email in builder.assignments.entitled_by_email or email in builder.assignments.not_entitled_by_email:
            continue
        if not is_allowed(alias, builder.policy.allowed_domains):
            continue
        for member in builder.members_by_email.get(email, ()):
            if member.active and member.scim_id not in builder.person_by_scim_id:
                found[member.scim_id] = member
    return [found[scim_id] for scim_id in sorted(found)]


def _match_by_alias(builder: PlanBuilder, people: Iterable[AssignedPerson]) -> list[AssignedPerson]:
    """Row 11. Return the people without a match by alias."""
    left, matches = [], []
    rivals: dict[str, int] = {}
    for assigned in people:
        found = _members_by_alias(builder, assigned) if assigned.person.aliases else []
        if found:
            matches.append((assigned, found))
        else:
            left.append(assigned)
        for member in found:
            rivals[member.scim_id] = rivals.get(member.scim_id, 0) + 1
    for assigned, found in matches:
        if len(found) == 1 and rivals[found[0].scim_id] == 1:
            match_member(builder, assigned, found[0], ChangeCode.MATCHED_BY_ALIAS)
            continue
        builder.matched_ids.update(member.scim_id for member in found)
        named = messages.format_list(member.email for member in found)
        who = messages.person_label(assigned)
        reason = f"Aliases of {who} match {named} ambiguously: not exactly one member for one person."
        remedy = messages.assign_command(found[0].email, builder.policy.workspace, assigned.key)
        builder.add_hold(
            Kind.ADOPT, HoldCode.AMBIGUOUS_ALIAS, assigned, found[0], (reason, f"Assign the member: {remedy}")
        )
    return left


def _create_or_hold_rename(builder: PlanBuilder, people: Sequence[AssignedPerson]) -> None:
    """Rows 12 and 13: at most a name matches, which counts only while the workspace has no links."""
    remembered: dict[PersonKey, list[str]] = {}
    for key, scim_id in builder.inputs.memory.possible_renames:
        remembered.setdefault(key, []).append(scim_id)
    ids_by_name = _member_ids_by_name(builder) if people and not builder.link_by_person else {}
    for assigned in people:
        if assigned.key in builder.awaited_creates:
            _hold_awaited_create(builder, assigned)
            continue
        claim = new_member_claim(assigned)
        ids = {*remembered.get(assigned.key, ()), *ids_by_name.get(normalize_name(assigned.person.display_name), ())}
        ids = {each for each in ids if (assigned.key, each) not in builder.inputs.memory.different_people}
        claim.same_name_members = [builder.members[each] for each in sorted(ids) if _is_unclaimed_member(builder, each)]
        builder.possible_renames.update((assigned.key, member.scim_id) for member in claim.same_name_members)
        builder.email_claims.append(claim)
    builder.matched_ids.update(scim_id for _, scim_id in builder.possible_renames)


def _hold_awaited_create(builder: PlanBuilder, assigned: AssignedPerson) -> None:
    unconfirmed = builder.awaited_creates[assigned.key]
    sent = (
        f"The workspace accepted a create for {unconfirmed.email} and"
        if unconfirmed.is_awaited
        else f"The outcome of a create for {unconfirmed.email} is unknown, and the workspace"
    )
    reason = f"{sent} does not list the member yet: {messages.person_label(assigned)} is not created a second time."
    remedy = (
        "Each run looks for the member. After three complete listings without it, and an hour, it is created again. "
        "If Pigment shows the member, ask Pigment's support why its SCIM listing does not."
    )
    builder.add_hold(Kind.CREATE, HoldCode.CREATE_UNSETTLED, assigned, None, (reason, remedy))


def _is_unclaimed_member(builder: PlanBuilder, scim_id: str) -> bool:
    if scim_id not in builder.members or scim_id in builder.person_by_scim_id or scim_id in builder.matched_ids:
        return False
    email = normalize(builder.members[scim_id].email)
    return (
        email not in builder.assignments.entitled_by_email
        and email not in builder.assignments.not_entitled_by_email
        and not builder.protected_pattern.match(email)
    )


def _member_ids_by_name(builder: PlanBuilder) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for scim_id, member in builder.members.items():
        name = normalize_name(member.display_name)
        if name:
            found.setdefault(name, []).append(scim_id)
    return found
