"""The guards of one workspace: which of a plan's changes each of them holds, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from agent.model import Change, Guard, Kind, Plan, Policy, Recent

__all__ = ["FLOOR", "Baselines", "History", "Verdict", "percent_limit", "verdicts"]

Baselines = Mapping[tuple[str, str], tuple[str, int]]
# Below so many deactivations a percentage means nothing: one of five people is 20 %.
FLOOR = 3
# A group of fewer people at the baseline may shrink as it likes, and a larger one by half.
SMALL_GROUP = 10
MAX_SHRINK = 0.5


NO_RECENT = Recent()


@dataclass(frozen=True, slots=True)
class History:
    """What the journal adds to a plan: counts of the last 60 minutes, and the groups' sizes when last accepted.

    *baselines* map (connector, group id) to the group's name and size.
    """

    recent: Recent = NO_RECENT
    baselines: Baselines = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A guard that tripped. *holds* tells which changes; *cause* is the sentence of their holds, without numbers that
    move with the clock; *is_final* says that an approval does not release them."""

    guard: Guard
    holds: Callable[[Change], bool]
    cause: str
    remedy: str
    is_final: bool = False


def percent_limit(percent: float, of: int) -> float:
    """Return how many may go: *percent* of *of*, and never fewer than the floor."""
    return max(FLOOR, percent * of / 100)


def is_deactivation(change: Change) -> bool:
    return change.kind is Kind.DEACTIVATE


def is_creation(change: Change) -> bool:
    return change.kind is Kind.CREATE


def is_email_change(change: Change) -> bool:
    return change.changes_email


def tripped(
    code: str, changes: Sequence[Change], holds: Callable[[Change], bool], recent: int, limit: str, message: str
) -> Guard:
    affected = tuple(change.email for change in changes if holds(change))
    return Guard(code, len(affected), recent, limit, message, affected)


APPROVE = "Review whom it affects, then approve this plan by its digest."


def verdicts(plan: Plan, policy: Policy, history: History) -> Iterator[Verdict]:
    """Yield the guards that trip on *plan*, the one whose code a hold takes first."""
    yield from _toggles(plan, policy)
    changes = [change for change in plan.changes if not is_toggled_off(change, policy)]
    yield from _empty_source(plan, changes)
    yield from _group_shrink(plan, changes, history)
    yield from _max_deactivations(plan, changes, policy, history)
    yield from _max_creates(changes, policy, history)
    yield from _max_email_changes(changes, policy, history)
    yield from _approval_required(changes, policy)


def is_toggled_off(change: Change, policy: Policy) -> bool:
    """Tell whether a toggle keeps the change from being made at all; such a change trips no other guard."""
    toggles = policy.toggles
    match change.kind:
        case Kind.CREATE:
            return not toggles.create
        case Kind.REACTIVATE:
            return not toggles.create or (change.changes_email and not toggles.update)
        case Kind.UPDATE_NAME | Kind.UPDATE_EMAIL:
            return not toggles.update
        case Kind.DEACTIVATE:
            return not toggles.deactivate
        case Kind.ADOPT:
            return False
        case _:
            assert_never(change.kind)


def _toggles(plan: Plan, policy: Policy) -> Iterator[Verdict]:
    def holds(change: Change) -> bool:
        return is_toggled_off(change, policy)

    count = sum(map(holds, plan.changes))
    if count:
        off = ", ".join(name for name in ("create", "update", "deactivate") if not getattr(policy.toggles, name))
        message = f"{count} changes are not made, because the config turns off: {off}."
        remedy = f"Set workspaces.{policy.workspace}.toggles in the config; an approval does not release it."
        guard = tripped("toggle-off", plan.changes, holds, 0, f"toggles off: {off}", message)
        yield Verdict(guard, holds, "The config turns this kind of change off.", remedy, is_final=True)


def _empty_source(plan: Plan, changes: Sequence[Change]) -> Iterator[Verdict]:
    empty = [f"{source.connector} {source.app}" for source in plan.sources if source.entitled == 0]
    if empty and any(map(is_deactivation, changes)):
        named = ", ".join(empty)
        message = f"Nobody is entitled in {named}, so all deactivations are held."
        guard = tripped("empty-source", changes, is_deactivation, 0, "no source without anybody entitled", message)
        yield Verdict(guard, is_deactivation, f"Nobody is entitled in {named}.", APPROVE)


def _group_shrink(plan: Plan, changes: Sequence[Change], history: History) -> Iterator[Verdict]:
    sizes = {(source.connector, group[0]): group[2] for source in plan.sources for group in source.groups}
    connectors = {source.connector for source in plan.sources}
    shrunk = {
        key: (name, size, sizes.get(key, 0))
        for key, (name, size) in sorted(history.baselines.items())
        if key[0] in connectors and size >= SMALL_GROUP and size - sizes.get(key, 0) > MAX_SHRINK * size
    }

    def holds(change: Change) -> bool:
        connector = change.person.connector if change.person else ""
        return is_deactivation(change) and any((connector, group.id) in shrunk for group in change.group_refs)

    if any(map(holds, changes)):
        named = "; ".join(f"{name} has {now} people and had {was}" for name, was, now in shrunk.values())
        limit = f"a group of {SMALL_GROUP} or more may lose {MAX_SHRINK:.0%}"
        guard = tripped("group-shrink", changes, holds, 0, limit, f"{named}: its leavers are held.")
        yield Verdict(guard, holds, "A group that this person left lost more than half of its people.", APPROVE)


def _max_deactivations(plan: Plan, changes: Sequence[Change], policy: Policy, history: History) -> Iterator[Verdict]:
    planned = sum(map(is_deactivation, changes))
    count = planned + history.recent.deactivations
    limits, of = policy.limits, plan.members.guarded
    share = percent_limit(limits.max_deactivations_percent, of)
    if not planned or (count <= limits.max_deactivations and count <= share):
        return
    limit = f"{limits.max_deactivations}, or {limits.max_deactivations_percent:g} % of {of} where that is over {FLOOR}"
    message = f"{_counted(planned, history.recent.deactivations)} would be deactivated; the limit is {limit}."
    recent = history.recent.deactivations
    guard = tripped("max-deactivations", changes, is_deactivation, recent, limit, message)
    yield Verdict(guard, is_deactivation, "More members would be deactivated than the limits allow.", APPROVE)


def _max_creates(changes: Sequence[Change], policy: Policy, history: History) -> Iterator[Verdict]:
    limit, recent = policy.limits.max_creates, history.recent.creates
    planned = sum(map(is_creation, changes))
    if limit is not None and planned and planned + recent > limit:
        message = f"{_counted(planned, recent)} would be created; the limit is {limit}."
        guard = tripped("max-creates", changes, is_creation, recent, str(limit), message)
        yield Verdict(guard, is_creation, "More members would be created than the limit allows.", APPROVE)


def _max_email_changes(changes: Sequence[Change], policy: Policy, history: History) -> Iterator[Verdict]:
    limit, recent = policy.limits.max_email_changes, history.recent.email_changes
    planned = sum(map(is_email_change, changes))
    if planned and planned + recent > limit:
        message = f"{_counted(planned, recent)} would get another email; the limit is {limit}."
        guard = tripped("max-email-changes", changes, is_email_change, recent, str(limit), message)
        yield Verdict(guard, is_email_change, "More emails would change than the limit allows.", APPROVE)


def _approval_required(changes: Sequence[Change], policy: Policy) -> Iterator[Verdict]:
    kinds = policy.require_approval

    def holds(change: Change) -> bool:
        return change.kind in kinds or (change.changes_email and Kind.UPDATE_EMAIL in kinds)

    if any(map(holds, changes)):
        named = ", ".join(sorted(kinds))
        message = f"{sum(map(holds, changes))} changes need an approval, as the config asks for: {named}."
        guard = tripped("approval-required", changes, holds, 0, f"require_approval: {named}", message)
        yield Verdict(guard, holds, "The config asks for an approval of this kind of change.", APPROVE)


def _counted(planned: int, recent: int) -> str:
    members = "1 member" if planned == 1 else f"{planned} members"
    return f"{members} ({planned + recent} with the {recent} of the last 60 minutes)" if recent else members
