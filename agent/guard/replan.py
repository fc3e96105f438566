"""Restrict a plan that is recomputed in the middle of applying."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace

from agent.guard.release import Release
from agent.model import Change, Kind, Plan
from connectors.base import PersonKey

__all__ = [
    "ChangeContent",
    "hold_message",
    "people_in_grace",
    "plan_contents",
    "release_identical",
    "restrict_to_continuation",
]

ChangeContent = tuple[object, ...]


def change_content(change: Change) -> ChangeContent:
    """Return what *change* does, and to which member, without the words that explain it."""
    return (
        change.kind,
        change.scim_id,
        change.person,
        change.email,
        change.display_name,
        change.before,
        change.after,
    )


def plan_contents(plan: Plan) -> frozenset[ChangeContent]:
    return frozenset(map(change_content, plan.changes))


def release_identical(plan: Plan, unguarded: Plan, approved: AbstractSet[ChangeContent], release: Release) -> Plan:
    """Return *plan* with holds turned back into changes where an approval released the identical change before.

    A guard that holds it now must be approved too.

    *unguarded* is the same plan before any guard, which gives the order of applying.
    """
    freed = {
        hold.change
        for hold in plan.holds
        if hold.change is not None and change_content(hold.change) in approved and release.releases(hold.guards)
    }
    held = {hold.scim_id for hold in plan.holds if hold.change not in freed}
    freed = {change for change in freed if change.waits_for is None or change.waits_for not in held}
    allowed = freed.union(plan.changes)
    changes = tuple(change for change in unguarded.changes if change in allowed)
    kept = tuple(hold for hold in plan.holds if hold.change not in freed)
    return replace(plan, changes=changes, holds=kept)


def restrict_to_continuation(
    plan: Plan, first: AbstractSet[ChangeContent], waiting: AbstractSet[PersonKey], *, is_exact: bool
) -> Plan:
    """Return *plan* without what a run may not do in its second half.

    *first* is what it set out to do; where that alone was asked for (*is_exact*) nothing else is done. *waiting* are
    people in grace, which counts reads of different runs.
    """

    def may_go(change: Change) -> bool:
        if change.kind is Kind.DEACTIVATE and change.person in waiting:
            return False
        return not is_exact or change_content(change) in first

    return replace(plan, changes=tuple(filter(may_go, plan.changes)))


def people_in_grace(plan: Plan) -> frozenset[PersonKey]:
    """Return the people of *plan* who were not found, and may yet be."""
    return frozenset(link.person for link in plan.updated_links if link.missed_reads)


def hold_message(change: Change, plan: Plan) -> str:
    """Return why *plan* holds what *change* would do, empty when it does not."""
    return next(
        (
            f"{hold.reason} {hold.remedy}"
            for hold in plan.holds
            if hold.kind is change.kind
            and (hold.scim_id == change.scim_id if change.scim_id else hold.person == change.person)
        ),
        "",
    )
