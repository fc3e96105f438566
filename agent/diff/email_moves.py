"""Decide which claims get their address: checks of the address first, then chains of email changes.

A: ann@ -> bea@      B: bea@ -> eve@      eve@ is free     B first, then A
A: ann@ -> bea@      B: bea@ -> ann@                       `email-swap`: neither can go first
A: ann@ -> bea@      B: bea@ -> x@ is held                 `waits-for-held`
A: ann@ -> bea@      B stays at bea@                       `email-taken`
"""

from __future__ import annotations

from dataclasses import replace

from agent.diff import messages
from agent.diff.builder import EmailClaim, PlanBuilder
from agent.model import Hold, Kind, Member
from agent.model.codes import HoldCode
from agent.model.email import is_allowed, is_valid

__all__ = ["resolve_email_claims"]


def resolve_email_claims(builder: PlanBuilder) -> dict[str, int]:
    """Turn every claim into a change or a hold.

    Return, for each SCIM id that changes its email, how many such changes must come before.
    """
    claims = sorted(builder.email_claims, key=lambda claim: (claim.email, claim.assigned.key))
    codes = _invalid_claim_codes(builder, claims)
    movers = {claim.member.scim_id: index for index, claim in enumerate(claims) if claim.member is not None}
    before = _find_blocking_claims(builder, claims, movers, codes)
    steps = _resolve_chains(before, codes)
    depths: dict[str, int] = {}
    for index, claim in enumerate(claims):
        code = codes.get(index)
        if code is not None:
            builder.holds.append(_claim_hold(builder, claim, code))
            continue
        waited = claims[before[index]].member if index in before else None
        change = replace(claim.change, waits_for=waited.scim_id) if waited else claim.change
        if claim.member is not None:
            depths[claim.member.scim_id] = steps.get(index, 0)
        if claim.same_name_members:
            builder.holds.append(_possible_rename_hold(builder, claim))
        else:
            builder.changes.append(change)
    return depths


def _invalid_claim_codes(builder: PlanBuilder, claims: list[EmailClaim]) -> dict[int, HoldCode | None]:
    """Return the hold code of each claim that fails on its own, whatever the others do."""
    targets: dict[str, int] = {}
    for claim in claims:
        targets[claim.email] = targets.get(claim.email, 0) + 1
    return {
        index: code for index, claim in enumerate(claims) if (code := _claim_code(builder, claim, targets[claim.email]))
    }


def _claim_code(builder: PlanBuilder, claim: EmailClaim, rivals: int) -> HoldCode | None:
    person = claim.assigned.person
    if not person.email or not is_valid(person.email):
        return HoldCode.INVALID_EMAIL
    if claim.change.kind is Kind.CREATE and not claim.change.display_name.strip():
        return HoldCode.MISSING_DISPLAY_NAME
    if not is_allowed(person.email, builder.policy.allowed_domains):
        return HoldCode.DOMAIN_NOT_ALLOWED
    if rivals > 1 or builder.assignments.is_contested(claim.email):
        return HoldCode.CONTESTED_EMAIL
    return None


def _other_holders(builder: PlanBuilder, claim: EmailClaim) -> list[Member]:
    own = claim.member.scim_id if claim.member else None
    return [member for member in builder.members_by_email.get(claim.email, ()) if member.scim_id != own]


def _find_blocking_claims(
    builder: PlanBuilder, claims: list[EmailClaim], movers: dict[str, int], codes: dict[int, HoldCode | None]
) -> dict[int, int]:
    """Map a claim to the one that must free its address first, and hold those without a free address."""
    before: dict[int, int] = {}
    for index, claim in enumerate(claims):
        if index in codes:
            continue
        holders = _other_holders(builder, claim)
        if not holders:
            continue
        mover = movers.get(holders[0].scim_id)
        if len(holders) > 1 or mover is None:
            codes[index] = HoldCode.EMAIL_TAKEN
        else:
            before[index] = mover
    return before


def _resolve_chains(before: dict[int, int], codes: dict[int, HoldCode | None]) -> dict[int, int]:
    """Give every waiting claim a code by following its chain to a free address, a held claim, or back to itself.

    Return how many email changes come before each of the free ones.
    """
    steps: dict[int, int] = {}
    for start in before:
        path: list[int] = []
        places: dict[int, int] = {}
        index = start
        while index in before and index not in codes and index not in places:
            places[index] = len(path)
            path.append(index)
            index = before[index]
        if index in places:
            codes.update(dict.fromkeys(path[places[index] :], HoldCode.EMAIL_SWAP))
            path = path[: places[index]]
        if codes.get(index) is not None:
            codes.update(dict.fromkeys(path, HoldCode.WAITS_FOR_HELD))
            continue
        for distance, each in enumerate(reversed(path), start=steps.get(index, 0) + 1):
            codes[each] = None
            steps[each] = distance
    return steps


def _claim_hold(builder: PlanBuilder, claim: EmailClaim, code: HoldCode) -> Hold:
    reason, remedy = _hold_message(builder, claim, code)
    member = claim.member
    return Hold(
        kind=claim.change.kind,
        code=code,
        email=member.email if member else claim.change.email,
        reason=reason,
        remedy=remedy,
        wanted=claim.change.email if member else None,
        scim_id=member.scim_id if member else None,
        person=claim.assigned.key,
    )


def _hold_message(builder: PlanBuilder, claim: EmailClaim, code: HoldCode) -> tuple[str, str]:
    who, connector = messages.person_label(claim.assigned), claim.assigned.key.connector
    email = claim.assigned.person.email
    holders = [member for member in builder.members_by_email.get(claim.email, ()) if member is not claim.member]
    holder = messages.member_label(holders[0]) if holders else "another member"
    match code:
        case HoldCode.INVALID_EMAIL:
            problem = f"{email!r} is not an email address" if email else "has no email address"
            return f"{who}: {problem}.", f"Give {who} a valid email in {connector}."
        case HoldCode.MISSING_DISPLAY_NAME:
            return f"{who} has no display, given or family name.", f"Give {who} a display name in {connector}."
        case HoldCode.DOMAIN_NOT_ALLOWED:
            setting = f"workspaces.{builder.policy.workspace}.allowed_domains"
            reason = f"The domain of {email} is not allowed in {builder.policy.workspace}."
            return reason, f"Add the domain to {setting} and to the workspace's own list, or give {who} another email."
        case HoldCode.CONTESTED_EMAIL:
            people = [each.assigned for each in builder.email_claims if each.email == claim.email]
            return messages.contested_email_message(builder.assignments.entitled_by_email.get(claim.email, people))
        case HoldCode.EMAIL_TAKEN:
            reason = f"{who} wants {email}, which {holder} has and keeps."
            return reason, f"Give {holder} another email, or give {who} another one in {connector}."
        case HoldCode.EMAIL_SWAP:
            reason = f"{who} wants {email} of {holder}, and the claims form a circle, so none can go first."
            return reason, f"Give one of them an unused address for one run of {builder.policy.workspace}."
        case _:
            reason = f"{who} wants {email} of {holder}, but the email change of that member is on hold."
            return reason, f"Clear the hold of {holder} first."


def _possible_rename_hold(builder: PlanBuilder, claim: EmailClaim) -> Hold:
    """Row 12: a create might duplicate a human with an unknown old address. Only a command decides which it is."""
    who = messages.person_label(claim.assigned)
    named = messages.format_list(f"{member.email} ({member.scim_id})" for member in claim.same_name_members)
    email, name, key = claim.same_name_members[0].email, builder.policy.workspace, claim.assigned.key
    assign, new = messages.assign_command(email, name, key), messages.new_command(email, name, key)
    return Hold(
        kind=Kind.CREATE,
        code=HoldCode.POSSIBLE_RENAME,
        email=claim.change.email,
        reason=f"{who} has no member by email, and an unmatched member has the same name: {named}.",
        remedy=f"If they are one person: {assign}. If they are two: {new}, and the next run creates a member.",
        person=claim.assigned.key,
    )
