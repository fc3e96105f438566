"""Decide who may have the address they want: checks of the address first, then chains of moves from their free end.

A: ann@ -> bea@      B: bea@ -> eve@      eve@ is free     B first, then A
A: ann@ -> bea@      B: bea@ -> ann@                       `email-swap`: neither can go first
A: ann@ -> bea@      B: bea@ -> x@ is held                 `waits-for-held`
A: ann@ -> bea@      B stays at bea@                       `email-taken`
"""

from __future__ import annotations

from dataclasses import replace

from agent.diff import messages
from agent.diff.builder import EmailClaim, PlanBuilder
from agent.model import Change, Hold, Kind, Member
from agent.model.email import is_allowed, is_valid

__all__ = ["resolve_email_claims"]

NO_HOLD = ""


def resolve_email_claims(draft: PlanBuilder) -> dict[str, int]:
    """Turn every want into a change or a hold.

    Return, for each SCIM id that moves, how many moves must come before its own.
    """
    wants = sorted(draft.email_claims, key=lambda want: (want.email, want.assigned.key))
    codes = _invalid_claim_codes(draft, wants)
    movers = {want.member.scim_id: index for index, want in enumerate(wants) if want.member is not None}
    before = _find_blocking_claims(draft, wants, movers, codes)
    steps = _resolve_chains(before, codes)
    depths: dict[str, int] = {}
    for index, want in enumerate(wants):
        code = codes.get(index, NO_HOLD)
        if code != NO_HOLD:
            draft.holds.append(_claim_hold(draft, want, code))
            continue
        waited = wants[before[index]].member if index in before else None
        change = replace(want.change, waits_for=waited.scim_id) if waited else want.change
        if want.member is not None:
            depths[want.member.scim_id] = steps.get(index, 0)
        if want.same_name_members:
            draft.holds.append(_possible_rename_hold(draft, want, change))
        else:
            draft.changes.append(change)
    return depths


def _invalid_claim_codes(draft: PlanBuilder, wants: list[EmailClaim]) -> dict[int, str]:
    """Return the code of each want that its own address holds, whatever others do."""
    targets: dict[str, int] = {}
    for want in wants:
        targets[want.email] = targets.get(want.email, 0) + 1
    return {index: code for index, want in enumerate(wants) if (code := _claim_code(draft, want, targets[want.email]))}


def _claim_code(draft: PlanBuilder, want: EmailClaim, rivals: int) -> str:
    person = want.assigned.person
    if not person.email or not is_valid(person.email):
        return "invalid-email"
    if want.change.kind is Kind.CREATE and not want.change.display_name.strip():
        return "missing-display-name"
    if not is_allowed(person.email, draft.policy.allowed_domains):
        return "domain-not-allowed"
    if rivals > 1 or draft.assignments.is_contested(want.email):
        return "contested-email"
    return NO_HOLD


def _other_holders(draft: PlanBuilder, want: EmailClaim) -> list[Member]:
    own = want.member.scim_id if want.member else None
    return [member for member in draft.members_by_email.get(want.email, ()) if member.scim_id != own]


def _find_blocking_claims(
    draft: PlanBuilder, wants: list[EmailClaim], movers: dict[str, int], codes: dict[int, str]
) -> dict[int, int]:
    """Map a want to the one that must free its address, and hold those whose address nobody frees."""
    before: dict[int, int] = {}
    for index, want in enumerate(wants):
        if index in codes:
            continue
        holders = _other_holders(draft, want)
        if not holders:
            continue
        mover = movers.get(holders[0].scim_id)
        if len(holders) > 1 or mover is None:
            codes[index] = "email-taken"
        else:
            before[index] = mover
    return before


def _resolve_chains(before: dict[int, int], codes: dict[int, str]) -> dict[int, int]:
    """Give every want that waits a code: walk its chain to the free end, to a held one, or round the circle.

    Return how many moves come before each of the free ones.
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
            codes.update(dict.fromkeys(path[places[index] :], "email-swap"))
            path = path[: places[index]]
        if codes.get(index, NO_HOLD) != NO_HOLD:
            codes.update(dict.fromkeys(path, "waits-for-held"))
            continue
        for distance, each in enumerate(reversed(path), start=steps.get(index, 0) + 1):
            codes[each] = NO_HOLD
            steps[each] = distance
    return steps


def _claim_hold(draft: PlanBuilder, want: EmailClaim, code: str) -> Hold:
    reason, remedy = _hold_message(draft, want, code)
    member = want.member
    return Hold(
        want.change.kind,
        code,
        member.email if member else want.change.email,
        reason,
        remedy,
        want.change.email if member else None,
        member.scim_id if member else None,
        want.assigned.key,
    )


def _hold_message(draft: PlanBuilder, want: EmailClaim, code: str) -> tuple[str, str]:
    who, connector = messages.person_label(want.assigned), want.assigned.key.connector
    email = want.assigned.person.email
    holders = [member for member in draft.members_by_email.get(want.email, ()) if member is not want.member]
    holder = messages.member_label(holders[0]) if holders else "another member"
    match code:
        case "invalid-email":
            said = f"{email!r} is not an email address" if email else "has no email address"
            return f"{who}: {said}.", f"Give {who} a valid email in {connector}."
        case "missing-display-name":
            return f"{who} has no display, given or family name.", f"Give {who} a display name in {connector}."
        case "domain-not-allowed":
            setting = f"workspaces.{draft.policy.workspace}.allowed_domains"
            reason = f"The domain of {email} is not among the allowed ones of {draft.policy.workspace}."
            return reason, f"Add the domain to {setting} and to the workspace's own list, or give {who} another email."
        case "contested-email":
            claims = [each.assigned for each in draft.email_claims if each.email == want.email]
            return messages.contested_email_message(draft.assignments.entitled_by_email.get(want.email, claims))
        case "email-taken":
            reason = f"{who} wants {email}, which {holder} has and keeps."
            return reason, f"Give {holder} another email, or give {who} another one in {connector}."
        case "email-swap":
            reason = (
                f"{who} wants {email} of {holder}, and round the circle somebody wants theirs: nobody can go first."
            )
            return reason, f"Give one of them an address that nobody has for one run of {draft.policy.workspace}."
        case _:
            reason = f"{who} wants {email} of {holder}, whose own move away is held."
            return reason, f"Clear the hold of {holder} first."


def _possible_rename_hold(draft: PlanBuilder, want: EmailClaim, change: Change) -> Hold:
    """Row 12: a create would double somebody whose former address we never knew."""
    who = messages.person_label(want.assigned)
    named = messages.format_list(f"{member.email} ({member.scim_id})" for member in want.same_name_members)
    assign = messages.assign_command(want.same_name_members[0].email, draft.policy.workspace, want.assigned.key)
    return Hold(
        Kind.CREATE,
        "possible-rename",
        want.change.email,
        f"{who} has no member by email, and a member that nobody matches has the same name: {named}.",
        f"If they are one person: {assign}. If not, approve this plan, and a new member is made.",
        person=want.assigned.key,
        change=change,
    )
