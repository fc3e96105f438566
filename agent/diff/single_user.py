"""Keep of a plan what one person's sync needs (`--user EMAIL`): their own changes and those that these wait for."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from agent.model import Change, Hold, Plan
from agent.model.email import normalize
from connectors.base import PersonKey

__all__ = ["restrict_to_user"]


def _entry_addresses(entry: Change | Hold) -> set[str]:
    """Return the current, wanted and previous addresses of the member or person of an entry."""
    if isinstance(entry, Hold):
        return {normalize(entry.email), normalize(entry.wanted or "")}
    return {normalize(entry.email), normalize(entry.before.email or "")}


def restrict_to_user(plan: Plan, email: str, keys: Set[PersonKey] = frozenset(), ids: Set[str] = frozenset()) -> Plan:
    """Return the plan of the people who have, want or had *email*, with the email changes that must come first.

    *keys* and *ids* are people and members to include whatever their addresses are now.

    The counts of sources and members stay those of the whole workspace.
    """
    wanted = normalize(email)
    everything: list[Change | Hold] = [*plan.changes, *plan.holds]
    entries = [entry for entry in everything if wanted in _entry_addresses(entry)]
    people = keys | {entry.person for entry in entries if entry.person is not None}
    members = ids | {entry.scim_id for entry in entries if entry.scim_id is not None}
    kept = {change for change in plan.changes if change.person in people or change.scim_id in members}
    movers = {change.scim_id: change for change in plan.changes if change.changes_email}
    waiting = list(kept)
    while waiting:
        mover = movers.get(waiting.pop().waits_for)
        if mover is not None and mover not in kept:
            kept.add(mover)
            waiting.append(mover)
    # A member that is adopted only in this plan must be adopted before it can move away.
    moved = {change.scim_id for change in kept}
    kept.update(change for change in plan.changes if change.scim_id is not None and change.scim_id in moved)
    holds = tuple(hold for hold in plan.holds if hold.person in people or hold.scim_id in members)
    related: list[Change | Hold] = [*kept, *holds]
    addresses = {wanted, *(address for entry in related for address in _entry_addresses(entry))} - {""}
    notes = tuple(note for note in plan.notes if normalize(note.email) in addresses)
    changes = tuple(change for change in plan.changes if change in kept)
    return replace(plan, changes=changes, holds=holds, notes=notes)
