"""Apply the guards of `COUNT_GUARDS`: changes of this plan and of the last 60 minutes against the configured limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agent.guard.count_table import COUNT_GUARDS, CountGuard, change_subject
from agent.guard.results import APPROVE_REMEDY, GuardHistory, GuardResult, make_guard
from agent.model import Change, Limits, Plan, Policy

__all__ = ["PERCENT_FLOOR", "count_guard_results", "percent_floor", "percent_limit"]

# Below so many deactivations a percentage means nothing: one of five people is 20 %.
PERCENT_FLOOR = 3


def count_guard_results(
    plan: Plan, changes: Sequence[Change], policy: Policy, history: GuardHistory
) -> Iterator[GuardResult]:
    """Yield the counting guards that trip on *changes* of *plan*."""
    kinds = {change.kind for change in changes}
    for guard in COUNT_GUARDS:
        planned = [] if guard.counts.kinds.isdisjoint(kinds) else list(filter(guard.counts.matches, changes))
        recent = len(history.recent_changes[guard.code].difference(map(change_subject, planned)))
        limit, words = _limit(guard, policy.limits, plan, planned)
        if planned and limit is not None and len(planned) + recent > limit:
            message = f"{_count_phrase(len(planned), recent)} {guard.verb}; the limit is {words}."
            tripped = make_guard(guard.code, changes, guard.counts.matches, recent, words, message)
            yield GuardResult(guard=tripped, affects=guard.counts.matches, cause=guard.cause, remedy=APPROVE_REMEDY)


def _limit(guard: CountGuard, limits: Limits, plan: Plan, planned: Sequence[Change]) -> tuple[float | None, str]:
    """Return the limit that applies, and how a message shows it."""
    limit, percent = limits.counts[guard.code], limits.percents.get(guard.code)
    if limit is None or percent is None:
        return limit, str(limit)
    of = plan.members.guarded
    least, words = percent_floor(plan, planned)
    lower = min(limit, percent_limit(percent, of, least))
    return lower, f"{int(lower)}: the lower of {limit} and {percent:g} % of {of}{words}"


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
