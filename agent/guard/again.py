"""What of a plan that was made again, in the middle of applying, may go on."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace

from agent.address import folded
from agent.model import Change, Kind, Plan
from connectors.base import PersonKey

__all__ = ["Content", "contents", "in_grace", "only_again", "released_again", "still_held"]

Content = tuple[object, ...]


def content(change: Change) -> Content:
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


def contents(plan: Plan) -> frozenset[Content]:
    return frozenset(map(content, plan.changes))


def released_again(plan: Plan, unguarded: Plan, approved: AbstractSet[Content]) -> Plan:
    """Return *plan* with holds turned back into changes where an approval released the identical change before.

    *unguarded* is the same plan before any guard, which gives the order of applying.
    """
    freed = {hold.change for hold in plan.holds if hold.change is not None and content(hold.change) in approved}
    held = {hold.scim_id for hold in plan.holds if hold.change not in freed}
    freed = {change for change in freed if change.waits_for is None or change.waits_for not in held}
    allowed = freed.union(plan.changes)
    changes = [change for change in unguarded.changes if change in allowed]
    changes.extend(sorted(freed.difference(changes), key=lambda change: folded(change.email)))
    kept = tuple(hold for hold in plan.holds if hold.change not in freed)
    return replace(plan, changes=tuple(changes), holds=kept)


def only_again(plan: Plan, first: AbstractSet[Content], waiting: AbstractSet[PersonKey], *, is_exact: bool) -> Plan:
    """Return *plan* without what a run may not do in its second half.

    *first* is what it set out to do; where that alone was asked for (*is_exact*) nothing else is done. *waiting* are
    people whose grace counts reads of different runs.
    """

    def may_go(change: Change) -> bool:
        if change.kind is Kind.DEACTIVATE and change.person in waiting:
            return False
        return not is_exact or content(change) in first

    return replace(plan, changes=tuple(filter(may_go, plan.changes)))


def in_grace(plan: Plan) -> frozenset[PersonKey]:
    """Return the people of *plan* who were not found, and may yet be."""
    return frozenset(link.person for link in plan.seen if link.missed_reads)


def still_held(change: Change, plan: Plan) -> str:
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
