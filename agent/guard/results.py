"""What a guard knows in addition to the plan, and what it returns when it trips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agent.guard.count_table import COUNT_GUARDS
from agent.guard.empty_groups import GroupSightings
from agent.model import TARGET_UNCHANGED, Change, Guard, Kind, RecentChanges, TargetCheck
from agent.model.codes import GuardCode

__all__ = [
    "APPROVE_REMEDY",
    "Baselines",
    "GuardHistory",
    "GuardResult",
    "format_times",
    "is_deactivation",
    "make_guard",
]

Baselines = Mapping[tuple[str, str], tuple[str, int]]
"""The name and size of each group by (connector, group id)."""

APPROVE_REMEDY = "Review the affected people, then approve this plan by its digest."


def _no_recent_changes() -> RecentChanges:
    return {guard.code: frozenset() for guard in COUNT_GUARDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardHistory:
    """What the journal adds to a plan: members changed in the last 60 minutes, group sizes of the last 24 hours.

    *baselines* map (connector, group id) to the group's name and size. *contested_members* map a SCIM id to when the
    member was deactivated within the last 24 hours, twice or more often and never reactivated by us. *target_check* is
    whether this is the workspace that the state knows. *newly_empty_groups* are the groups that `emptied_groups`
    returns.
    """

    recent_changes: RecentChanges = field(default_factory=_no_recent_changes)
    baselines: Baselines = field(default_factory=dict)
    contested_members: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    target_check: TargetCheck = TARGET_UNCHANGED
    newly_empty_groups: GroupSightings = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardResult:
    """A guard that tripped. *affects* decides which changes; *cause* is the sentence of their holds, without numbers
    that move with the clock; *is_final*: an approval does not release them. *cause_by_scim_id* has the sentences of
    single members, by SCIM id."""

    guard: Guard
    affects: Callable[[Change], bool]
    cause: str
    remedy: str
    is_final: bool = False
    cause_by_scim_id: Mapping[str, str] = field(default_factory=dict)


def is_deactivation(change: Change) -> bool:
    return change.kind is Kind.DEACTIVATE


def make_guard(
    code: GuardCode, changes: Sequence[Change], holds: Callable[[Change], bool], recent: int, limit: str, message: str
) -> Guard:
    affected = tuple(change.email for change in changes if holds(change))
    return Guard(code=code, count=len(affected), recent=recent, limit=limit, message=message, affected=affected)


def format_times(times: Sequence[datetime]) -> str:
    return " and ".join(time.strftime("%Y-%m-%d %H:%M:%S UTC") for time in times[-2:])
