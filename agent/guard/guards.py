"""The guards of one workspace: which of a plan's changes each of them holds, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from agent.guard.empty_groups import CONFIRMED_AFTER, GroupSightings
from agent.model import TARGET_UNCHANGED, Change, Guard, Kind, Plan, Policy, RecentChanges, TargetCheck, UndoneChange
from agent.model.codes import ChangeCode, GuardCode
from connectors.base import PersonKey

__all__ = [
    "PERCENT_FLOOR",
    "Baselines",
    "GuardHistory",
    "GuardResult",
    "guard_results",
    "percent_floor",
    "percent_limit",
    "repeats_of_undone",
]

Baselines = Mapping[tuple[str, str], tuple[str, int]]
# Below so many deactivations a percentage means nothing: one of five people is 20 %.
PERCENT_FLOOR = 3
# A group of fewer people at the baseline may shrink as it likes, and a larger one by half.
MIN_GROUP_SIZE = 10
MAX_SHRINK = 0.5


NO_RECENT_CHANGES = RecentChanges()
# What was held by these waits for a decision on that member alone, and uses up no limit of the others.
GROUP_LEAVER_CODES = frozenset({ChangeCode.LEFT_GROUPS, ChangeCode.DUPLICATE_LEFT})
INDIVIDUALLY_HELD_CODES = frozenset({GuardCode.UNDONE, GuardCode.CONTESTED_BY_ANOTHER_WRITER})
# What would repeat a change that an undo put back: a created member is inactive and without a link afterwards.
REPEATING_KINDS = {Kind.CREATE: (Kind.CREATE, Kind.ADOPT, Kind.REACTIVATE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardHistory:
    """What the journal adds to a plan: members changed in the last 60 minutes, group sizes of the last 24 hours.

    *baselines* map (connector, group id) to the group's name and size. *contested_members* map a SCIM id to when the
    member was deactivated within the last 24 hours, twice or more often and never reactivated by us. *target_check* is
    whether this is the workspace that the state knows. *newly_empty_groups* are the groups that `emptied_groups`
    returns.
    """

    recent_changes: RecentChanges = NO_RECENT_CHANGES
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


def percent_limit(percent: float, of: int, least: int = PERCENT_FLOOR) -> float:
    """Return how many may go: *percent* of *of*, and never fewer than *least*."""
    return max(least, percent * of / 100)


def percent_floor(plan: Plan, going: Iterable[Change]) -> tuple[int, str]:
    """Return how many of *going* may be deactivated whatever the percentage, with the words that follow the limit.

    The floor must never cover all managed members, nor unmanaged ones while no link shows which are managed.
    """
    ours = [change.person is not None for change in going]
    if 0 < plan.members.guarded <= sum(ours):
        return 0, ", and that is every member of the workspace"
    if not plan.members.linked and not all(ours):
        return 0, ", and the workspace has no links yet, so it is not known whose the unmanaged members are"
    return PERCENT_FLOOR, f" where that is over {PERCENT_FLOOR}"


def is_deactivation(change: Change) -> bool:
    return change.kind is Kind.DEACTIVATE


def is_creation(change: Change) -> bool:
    return change.kind is Kind.CREATE


def is_email_change(change: Change) -> bool:
    return change.changes_email


def make_guard(
    code: GuardCode, changes: Sequence[Change], holds: Callable[[Change], bool], recent: int, limit: str, message: str
) -> Guard:
    affected = tuple(change.email for change in changes if holds(change))
    return Guard(code=code, count=len(affected), recent=recent, limit=limit, message=message, affected=affected)


APPROVE_REMEDY = "Review whom it affects, then approve this plan by its digest."
UNDONE_REASON = "An undo put this back, and the groups, status and address at the source have not changed since."
UNDONE_REMEDY = (
    "Correct them at the source, which clears this; or, if the change is right, approve this plan by its digest."
)
CONTESTED_REMEDY = (
    "Find what reactivates the member, for example the identity provider's own provisioning into Pigment, and turn it "
    "off there; or approve this plan by its digest, which deactivates the member once more."
)


def guard_results(plan: Plan, policy: Policy, history: GuardHistory) -> Iterator[GuardResult]:
    """Yield the guards that trip on *plan*, the one whose code a hold takes first."""
    yield from _toggle_off_guard(plan, policy)
    changes = [change for change in plan.changes if not is_toggled_off(change, policy)]
    for verdict in (*_undone_guard(plan, changes), *_contested_guard(changes, history)):
        yield verdict
        changes = [change for change in changes if not verdict.affects(change)]
    yield from _empty_source_guard(plan, changes)
    yield from _group_emptied_guard(changes, history)
    yield from _group_shrink_guard(plan, changes, history)
    yield from _max_deactivations_guard(plan, changes, policy, history)
    yield from _max_creates_guard(changes, policy, history)
    yield from _max_email_changes_guard(changes, policy, history)
    yield from _approval_required_guard(changes, policy)


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


def _toggle_off_guard(plan: Plan, policy: Policy) -> Iterator[GuardResult]:
    def holds(change: Change) -> bool:
        return is_toggled_off(change, policy)

    count = sum(map(holds, plan.changes))
    if count:
        off = ", ".join(name for name in ("create", "update", "deactivate") if not getattr(policy.toggles, name))
        message = f"{count} changes are not made, because the config turns off: {off}."
        remedy = f"Set workspaces.{policy.workspace}.toggles in the config; an approval does not release it."
        guard = make_guard(GuardCode.TOGGLE_OFF, plan.changes, holds, 0, f"toggles off: {off}", message)
        yield GuardResult(
            guard=guard, affects=holds, cause="The config turns this kind of change off.", remedy=remedy, is_final=True
        )


def repeats_of_undone(plan: Plan, changes: Iterable[Change]) -> dict[Change, UndoneChange]:
    """Map those of *changes* that repeat what an undo put back to what that was; an undo of the undo may do so."""
    index: dict[tuple[PersonKey | str | None, Kind], UndoneChange] = {}
    for undone in plan.undone_changes:
        index.update(
            ((undone.person or undone.scim_id, kind), undone)
            for kind in REPEATING_KINDS.get(undone.kind, (undone.kind,))
        )
    asked = (change for change in changes if change.undone_change is None)
    found = ((change, index.get((change.person or change.scim_id, change.kind))) for change in asked)
    return {change: undone for change, undone in found if undone is not None}


def _undone_guard(plan: Plan, changes: Sequence[Change]) -> Iterator[GuardResult]:
    found = repeats_of_undone(plan, changes) if plan.undone_changes else {}
    if found:
        causes = {undone.scim_id: f"{UNDONE_REASON} It was put back by {undone.run_id}." for undone in found.values()}
        message = f"{len(found)} changes would repeat what an undo put back."
        guard = make_guard(GuardCode.UNDONE, changes, found.__contains__, 0, "the source has changed since", message)
        yield GuardResult(
            guard=guard, affects=found.__contains__, cause=UNDONE_REASON, remedy=UNDONE_REMEDY, cause_by_scim_id=causes
        )


def _contested_guard(changes: Sequence[Change], history: GuardHistory) -> Iterator[GuardResult]:
    causes = {
        scim_id: f"pigment-sync deactivated this member at {_format_times(times)}, and it is active again: "
        "another tool reactivates it."
        for scim_id, times in history.contested_members.items()
    }

    def holds(change: Change) -> bool:
        return is_deactivation(change) and change.scim_id in causes

    count = sum(map(holds, changes))
    if count:
        members = "1 member was" if count == 1 else f"{count} members were"
        message = (
            f"{members} deactivated by pigment-sync twice within 24 hours and reactivated by another tool each time."
        )
        limit = "a member is deactivated twice within 24 hours"
        guard = make_guard(GuardCode.CONTESTED_BY_ANOTHER_WRITER, changes, holds, 0, limit, message)
        yield GuardResult(guard=guard, affects=holds, cause=message, remedy=CONTESTED_REMEDY, cause_by_scim_id=causes)


def _format_times(times: Sequence[datetime]) -> str:
    return " and ".join(time.strftime("%Y-%m-%d %H:%M:%S UTC") for time in times[-2:])


def _empty_source_guard(plan: Plan, changes: Sequence[Change]) -> Iterator[GuardResult]:
    empty = [f"{source.connector} {source.app}" for source in plan.sources if source.entitled == 0]
    if empty and any(map(is_deactivation, changes)):
        named = ", ".join(empty)
        message = f"No one is entitled in {named}."
        guard = make_guard(
            GuardCode.EMPTY_SOURCE, changes, is_deactivation, 0, "no source without anybody entitled", message
        )
        yield GuardResult(guard=guard, affects=is_deactivation, cause=message, remedy=APPROVE_REMEDY)


def _group_emptied_guard(changes: Sequence[Change], history: GuardHistory) -> Iterator[GuardResult]:
    """Hold those who left a group that has just become empty, unless they are suspended or deleted."""
    causes: dict[str, str] = {}
    involved: GroupSightings = {}
    for change in changes:
        if (
            change.code not in {ChangeCode.LEFT_GROUPS, ChangeCode.DUPLICATE_LEFT}
            or change.person is None
            or change.scim_id is None
        ):
            continue
        left = {(change.person.connector, group.id) for group in change.group_refs}
        emptied = {key: seen for key, seen in history.newly_empty_groups.items() if key in left}
        if emptied:
            involved = {**involved, **emptied}
            causes[change.scim_id] = f"{_empty_groups_phrase(emptied)}. One read does not prove that."

    def holds(change: Change) -> bool:
        return is_deactivation(change) and change.scim_id in causes

    if causes:
        minutes = int(CONFIRMED_AFTER.total_seconds() // 60)
        begun = [seen.empty_since for seen in involved.values()]
        known = [since for since in begun if since is not None]
        until = (
            f"after {_format_times([max(known) + CONFIRMED_AFTER])}"
            if len(known) == len(begun)
            else f"{minutes} minutes on"
        )
        message = f"{_empty_groups_phrase(involved)}: held until a run {until} reads the same."
        limit = f"a group counts as empty once two runs, {minutes} minutes apart, read it as empty"
        guard = make_guard(GuardCode.GROUP_EMPTIED, changes, holds, 0, limit, message)
        remedy = (
            f"If a run at least {minutes} minutes after the first one still reads it as empty, that run deactivates "
            f"them. To do it now, approve this plan by its digest. If the group has people, check why the source does "
            f"not show them."
        )
        yield GuardResult(
            guard=guard,
            affects=holds,
            cause="A group that this person left is empty.",
            remedy=remedy,
            cause_by_scim_id=causes,
        )


def _empty_groups_phrase(emptied: GroupSightings) -> str:
    """Return `Sales of okta-main is empty and had 9 people`."""
    groups = sorted((seen.name, connector, seen.people) for (connector, _), seen in emptied.items())
    return "; ".join(
        f"{name} of {connector} is empty and had {people} {'person' if people == 1 else 'people'} at the last read"
        for name, connector, people in groups
    )


def _group_shrink_guard(plan: Plan, changes: Sequence[Change], history: GuardHistory) -> Iterator[GuardResult]:
    sizes = {(source.connector, group[0]): group[2] for source in plan.sources for group in source.groups}
    connectors = {source.connector for source in plan.sources}
    shrunk = {
        key: (name, size, sizes.get(key, 0))
        for key, (name, size) in sorted(history.baselines.items())
        if key[0] in connectors and size >= MIN_GROUP_SIZE and size - sizes.get(key, 0) > MAX_SHRINK * size
    }

    def holds(change: Change) -> bool:
        connector = change.person.connector if change.person else ""
        return is_deactivation(change) and any((connector, group.id) in shrunk for group in change.group_refs)

    if any(map(holds, changes)):
        named = "; ".join(f"{name} has {now} people and had {was}" for name, was, now in shrunk.values())
        limit = f"a group of {MIN_GROUP_SIZE} or more may lose {MAX_SHRINK:.0%}"
        guard = make_guard(GuardCode.GROUP_SHRINK, changes, holds, 0, limit, f"{named}.")
        yield GuardResult(
            guard=guard,
            affects=holds,
            cause="A group that this person left lost more than half of its people.",
            remedy=APPROVE_REMEDY,
        )


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
    limit = f"{limits.max_deactivations}, or {limits.max_deactivations_percent:g} % of {of}{words}"
    message = f"{_count_phrase(len(going), recent)} would be deactivated; the limit is {limit}."
    guard = make_guard(GuardCode.MAX_DEACTIVATIONS, changes, is_deactivation, recent, limit, message)
    yield GuardResult(
        guard=guard,
        affects=is_deactivation,
        cause="More members would be deactivated than the limits allow.",
        remedy=APPROVE_REMEDY,
    )


def _max_creates_guard(changes: Sequence[Change], policy: Policy, history: GuardHistory) -> Iterator[GuardResult]:
    limit, planned = policy.limits.max_creates, sum(map(is_creation, changes))
    recent = len(
        history.recent_changes.created_people.difference(change.person for change in changes if is_creation(change))
    )
    if limit is not None and planned and planned + recent > limit:
        message = f"{_count_phrase(planned, recent)} would be created; the limit is {limit}."
        guard = make_guard(GuardCode.MAX_CREATES, changes, is_creation, recent, str(limit), message)
        yield GuardResult(
            guard=guard,
            affects=is_creation,
            cause="More members would be created than the limit allows.",
            remedy=APPROVE_REMEDY,
        )


def _max_email_changes_guard(changes: Sequence[Change], policy: Policy, history: GuardHistory) -> Iterator[GuardResult]:
    limit, planned = policy.limits.max_email_changes, sum(map(is_email_change, changes))
    recent = len(
        history.recent_changes.email_changed_ids.difference(
            change.scim_id for change in changes if is_email_change(change)
        )
    )
    if planned and planned + recent > limit:
        message = f"{_count_phrase(planned, recent)} would get another email; the limit is {limit}."
        guard = make_guard(GuardCode.MAX_EMAIL_CHANGES, changes, is_email_change, recent, str(limit), message)
        yield GuardResult(
            guard=guard,
            affects=is_email_change,
            cause="More emails would change than the limit allows.",
            remedy=APPROVE_REMEDY,
        )


def _approval_required_guard(changes: Sequence[Change], policy: Policy) -> Iterator[GuardResult]:
    kinds = policy.require_approval

    def holds(change: Change) -> bool:
        return change.kind in kinds or (change.changes_email and Kind.UPDATE_EMAIL in kinds)

    if any(map(holds, changes)):
        named = ", ".join(sorted(kinds))
        message = f"{sum(map(holds, changes))} changes need an approval, as the config asks for: {named}."
        guard = make_guard(GuardCode.APPROVAL_REQUIRED, changes, holds, 0, f"require_approval: {named}", message)
        yield GuardResult(
            guard=guard,
            affects=holds,
            cause="The config asks for an approval of this kind of change.",
            remedy=APPROVE_REMEDY,
        )


def _count_phrase(planned: int, recent: int) -> str:
    members = "1 member" if planned == 1 else f"{planned} members"
    return f"{members} ({planned + recent} with the {recent} of the last 60 minutes)" if recent else members
