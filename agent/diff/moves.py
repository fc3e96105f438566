"""Decide who may have the address they want: checks of the address first, then chains of moves from their free end.

A: ann@ -> bea@      B: bea@ -> eve@      eve@ is free     B first, then A
A: ann@ -> bea@      B: bea@ -> ann@                       `email-swap`: neither can go first
A: ann@ -> bea@      B: bea@ -> x@ is held                 `waits-for-held`
A: ann@ -> bea@      B stays at bea@                       `email-taken`
"""

from __future__ import annotations

from dataclasses import replace

from agent.address import is_allowed, is_valid
from agent.diff import words
from agent.diff.draft import Draft, Want
from agent.model import Change, Hold, Kind, Member

__all__ = ["settle"]

FREE = ""


def settle(draft: Draft) -> dict[str, int]:
    """Turn every want into a change or a hold.

    Return, for each SCIM id that moves, how many moves must come before its own.
    """
    wants = sorted(draft.wants, key=lambda want: (want.target, want.assigned.key))
    codes = _checked(draft, wants)
    movers = {want.member.scim_id: index for index, want in enumerate(wants) if want.member is not None}
    before = _before(draft, wants, movers, codes)
    steps = _follow(before, codes)
    depths: dict[str, int] = {}
    for index, want in enumerate(wants):
        code = codes.get(index, FREE)
        if code != FREE:
            draft.holds.append(_held(draft, want, code))
            continue
        waited = wants[before[index]].member if index in before else None
        change = replace(want.change, waits_for=waited.scim_id) if waited else want.change
        if want.member is not None:
            depths[want.member.scim_id] = steps.get(index, 0)
        if want.namesakes:
            draft.holds.append(_held_rename(draft, want, change))
        else:
            draft.changes.append(change)
    return depths


def _checked(draft: Draft, wants: list[Want]) -> dict[int, str]:
    """Return the code of each want that its own address holds, whatever others do."""
    targets: dict[str, int] = {}
    for want in wants:
        targets[want.target] = targets.get(want.target, 0) + 1
    return {index: code for index, want in enumerate(wants) if (code := _check(draft, want, targets[want.target]))}


def _check(draft: Draft, want: Want, rivals: int) -> str:
    person = want.assigned.person
    if not person.email or not is_valid(person.email):
        return "invalid-email"
    if want.change.kind is Kind.CREATE and not want.change.display_name.strip():
        return "missing-display-name"
    if not is_allowed(person.email, draft.policy.allowed_domains):
        return "domain-not-allowed"
    if rivals > 1 or draft.roster.is_contested(want.target):
        return "contested-email"
    return FREE


def _others(draft: Draft, want: Want) -> list[Member]:
    own = want.member.scim_id if want.member else None
    return [member for member in draft.holders.get(want.target, ()) if member.scim_id != own]


def _before(draft: Draft, wants: list[Want], movers: dict[str, int], codes: dict[int, str]) -> dict[int, int]:
    """Map a want to the one that must free its address, and hold those whose address nobody frees."""
    before: dict[int, int] = {}
    for index, want in enumerate(wants):
        if index in codes:
            continue
        holders = _others(draft, want)
        if not holders:
            continue
        mover = movers.get(holders[0].scim_id)
        if len(holders) > 1 or mover is None:
            codes[index] = "email-taken"
        else:
            before[index] = mover
    return before


def _follow(before: dict[int, int], codes: dict[int, str]) -> dict[int, int]:
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
        if codes.get(index, FREE) != FREE:
            codes.update(dict.fromkeys(path, "waits-for-held"))
            continue
        for distance, each in enumerate(reversed(path), start=steps.get(index, 0) + 1):
            codes[each] = FREE
            steps[each] = distance
    return steps


def _held(draft: Draft, want: Want, code: str) -> Hold:
    reason, remedy = _words(draft, want, code)
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


def _words(draft: Draft, want: Want, code: str) -> tuple[str, str]:
    who, connector = words.title(want.assigned), want.assigned.key.connector
    email = want.assigned.person.email
    holders = [member for member in draft.holders.get(want.target, ()) if member is not want.member]
    holder = words.member_title(holders[0]) if holders else "another member"
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
            claims = [each.assigned for each in draft.wants if each.target == want.target]
            return words.contested(draft.roster.claims.get(want.target, claims))
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


def _held_rename(draft: Draft, want: Want, change: Change) -> Hold:
    """Row 12: a create would double somebody whose former address we never knew."""
    who = words.title(want.assigned)
    named = words.listed(f"{member.email} ({member.scim_id})" for member in want.namesakes)
    assign = words.remedy_assign(want.namesakes[0].email, draft.policy.workspace, want.assigned.key)
    return Hold(
        Kind.CREATE,
        "possible-rename",
        want.change.email,
        f"{who} has no member by email, and a member that nobody matches has the same name: {named}.",
        f"If they are one person: {assign}. If not, approve this plan, and a new member is made.",
        person=want.assigned.key,
        change=change,
    )
