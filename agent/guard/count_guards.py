"""The guards that count members, over this plan and the last 60 minutes.

A new one is a row of `COUNT_GUARDS`, with its limit in `Limits` and in the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from agent.guard.results import (
    APPROVE_REMEDY,
    GuardHistory,
    GuardResult,
    is_creation,
    is_deactivation,
    is_email_change,
    make_guard,
)
from agent.model import Change, Limits, Plan, Policy, RecentChanges
from agent.model.codes import GuardCode
from connectors.base import PersonKey

__all__ = ["PERCENT_FLOOR", "count_guard_results", "percent_floor", "percent_limit"]

# Below so many deactivations a percentage means nothing: one of five people is 20 %.
PERCENT_FLOOR = 3
Subject = PersonKey | str | None
"""Whom a change is about, as `RecentChanges` counts: the person of a create, the SCIM id of everything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountGuard:
    """A guard with a plain number as its limit; None: no limit. *verb* ends "3 members …"."""

    code: GuardCode
    affects: Callable[[Change], bool]
    subject: Callable[[Change], Subject]
    recent: Callable[[RecentChanges], frozenset[PersonKey] | frozenset[str]]
    limit: Callable[[Limits], int | None]
    verb: str
    cause: str


COUNT_GUARDS = (
    CountGuard(
        code=GuardCode.MAX_CREATES,
        affects=is_creation,
        subject=lambda change: change.person,
        recent=lambda recent: recent.created_people,
        limit=lambda limits: limits.max_creates,
        verb="would be created",
        cause="More members would be created than the limit allows.",
    ),
    CountGuard(
        code=GuardCode.MAX_EMAIL_CHANGES,
        affects=is_email_change,
        subject=lambda change: change.scim_id,
        recent=lambda recent: recent.email_changed_ids,
        limit=lambda limits: limits.max_email_changes,
        verb="would get a new email",
        cause="More emails would change than the limit allows.",
    ),
)


def count_guard_results(
    plan: Plan, changes: Sequence[Change], policy: Policy, history: GuardHistory
) -> Iterator[GuardResult]:
    """Yield the counting guards that trip on *changes* of *plan*."""
    yield from _max_deactivations_guard(plan, changes, policy, history)
    for guard in COUNT_GUARDS:
        yield from _count_guard(guard, changes, policy, history)


def _count_guard(
    guard: CountGuard, changes: Sequence[Change], policy: Policy, history: GuardHistory
) -> Iterator[GuardResult]:
    limit = guard.limit(policy.limits)
    planned = [guard.subject(change) for change in changes if guard.affects(change)]
    recent = len(guard.recent(history.recent_changes).difference(planned))
    if limit is not None and planned and len(planned) + recent > limit:
        message = f"{_count_phrase(len(planned), recent)} {guard.verb}; the limit is {limit}."
        tripped = make_guard(guard.code, changes, guard.affects, recent, str(limit), message)
        yield GuardResult(guard=tripped, affects=guard.affects, cause=guard.cause, remedy=APPROVE_REMEDY)


def _max_deactivations_guard(
    plan: Plan, changes: Sequence[Change], policy: Policy, history: GuardHistory
) -> Iterator[GuardResult]:
    going = list(filter(is_deactivation, changes))
    recent = len(history.recent_changes.deactivated_ids.difference(change.scim_id for change in going))
    count = len(going) + recent
    limits, of = policy.limits, plan.members.guarded
    least, words = percent_floor(plan, going)
    share = percent_limit(limits.max_deactivations_percent, of, least)
    if not going or (count <= limits.max_deactivations and count <= share):
        return
    lower = int(min(limits.max_deactivations, share))
    parts = f"{limits.max_deactivations} and {limits.max_deactivations_percent:g} % of {of}{words}"
    limit = f"{lower}: the lower of {parts}"
    message = f"{_count_phrase(len(going), recent)} would be deactivated; the limit is {limit}."
    guard = make_guard(GuardCode.MAX_DEACTIVATIONS, changes, is_deactivation, recent, limit, message)
    yield GuardResult(
        guard=guard,
        affects=is_deactivation,
        cause="More members would be deactivated than the limits allow.",
        remedy=APPROVE_REMEDY,
    )


def percent_limit(percent: float, of: int, least: int = PERCENT_FLOOR) -> float:
    """Return how many may go: *percent* of *of*, and never fewer than *least*."""
    return max(least, percent * of / 100)


def percent_floor(plan: Plan, going: Iterable[Change]) -> tuple[int, str]:
    """Return how many of *going* may be deactivated whatever the percentage, with the words that follow the percentage.

    The floor must never cover all managed members, nor unmanaged ones while no link shows which are managed.
    """
    ours = [change.person is not None for change in going]
    if 0 < plan.members.guarded <= sum(ours):
        return 0, " (this would deactivate every member of the workspace)"
    if not plan.members.linked and not all(ours):
        return 0, " (the workspace has no links yet, so the owners of unmanaged members are not known)"
    return PERCENT_FLOOR, f" (at least {PERCENT_FLOOR})"


def _count_phrase(planned: int, recent: int) -> str:
    members = "1 member" if planned == 1 else f"{planned} members"
    return f"{members} ({planned + recent} with the {recent} of the last 60 minutes)" if recent else members
