"""The guards of what a source shows: no one entitled, a group that became empty, a group that shrank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from agent.guard.empty_groups import CONFIRMED_AFTER, GroupSightings
from agent.guard.results import (
    APPROVE_REMEDY,
    Baselines,
    GuardHistory,
    GuardResult,
    format_times,
    is_deactivation,
    make_guard,
)
from agent.model import Change, ChangeSubject, Link, Plan
from agent.model.codes import ChangeCode, GuardCode

__all__ = ["groups_shrunk_by", "source_guard_results"]

# A group of fewer people at the baseline may shrink as it likes, and a larger one by half.
MIN_GROUP_SIZE = 10
MAX_SHRINK = 0.5
GROUP_LEAVER_CODES = frozenset({ChangeCode.LEFT_GROUPS, ChangeCode.DUPLICATE_LEFT})


def source_guard_results(plan: Plan, changes: Sequence[Change], history: GuardHistory) -> Iterator[GuardResult]:
    """Yield the guards that trip on *changes* of *plan* because of what its sources show."""
    yield from _empty_source_guard(plan, changes)
    yield from _group_emptied_guard(changes, history)
    yield from _group_shrink_guard(plan, changes, history)


def groups_shrunk_by(
    gone: Collection[ChangeSubject], links: Sequence[Link], baselines: Baselines
) -> frozenset[tuple[str, str]]:
    """Return the groups, as (connector, group id), that lose too many people if those whose members are *gone* left.

    For a plan of a few people, which shows no group as a whole.
    """
    losses = Counter(
        (link.person.connector, group.id) for link in links if link.scim_id in gone for group in link.groups
    )
    sizes = {key: baselines[key][1] for key in losses if key in baselines}
    return frozenset(key for key, size in sizes.items() if size >= MIN_GROUP_SIZE and losses[key] > MAX_SHRINK * size)


def _empty_source_guard(plan: Plan, changes: Sequence[Change]) -> Iterator[GuardResult]:
    empty = [f"{source.connector} {source.app}" for source in plan.sources if source.entitled == 0]
    if empty and any(map(is_deactivation, changes)):
        named = ", ".join(empty)
        message = f"No one is entitled in {named}."
        guard = make_guard(
            GuardCode.EMPTY_SOURCE, changes, is_deactivation, 0, "every source has an entitled person", message
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
            f"after {format_times([max(known) + CONFIRMED_AFTER])}"
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
        limit = f"a group of {MIN_GROUP_SIZE} or more may lose at most {MAX_SHRINK * 100:g} %"
        guard = make_guard(GuardCode.GROUP_SHRINK, changes, holds, 0, limit, f"{named}.")
        yield GuardResult(
            guard=guard,
            affects=holds,
            cause="A group that this person left lost more than half of its people.",
            remedy=APPROVE_REMEDY,
        )
