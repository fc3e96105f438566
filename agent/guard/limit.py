"""The guards of one workspace: which of a plan's changes each of them holds, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from agent.guard.emptied import CONFIRMED_AFTER, Sightings
from agent.model import UNCHANGED, Change, Guard, Kind, Plan, Policy, Recent, TargetCheck, Undone
from connectors.base import PersonKey

__all__ = ["FLOOR", "Baselines", "History", "Verdict", "floor", "percent_limit", "repeated", "verdicts"]

Baselines = Mapping[tuple[str, str], tuple[str, int]]
# Below so many deactivations a percentage means nothing: one of five people is 20 %.
FLOOR = 3
# A group of fewer people at the baseline may shrink as it likes, and a larger one by half.
SMALL_GROUP = 10
MAX_SHRINK = 0.5


NO_RECENT = Recent()
# What was held by these waits for a decision on that member alone, and uses up no limit of the others.
ALONE = frozenset({"undone", "contested-by-another-writer"})
# What would repeat a change that an undo put back: a created member is inactive and without a link afterwards.
REPEATS = {Kind.CREATE: (Kind.CREATE, Kind.ADOPT, Kind.REACTIVATE)}


@dataclass(frozen=True, slots=True)
class History:
    """What the journal adds to a plan: members changed in the last 60 minutes, group sizes of the last 24 hours.

    *baselines* map (connector, group id) to the group's name and size. *contested* map a SCIM id to when the member was
    deactivated within the last 24 hours, twice or more often and never reactivated by us. *target* is whether this is
    the workspace that the state knows. *emptied* are the groups that `emptied_groups` returns.
    """

    recent: Recent = NO_RECENT
    baselines: Baselines = field(default_factory=dict)
    contested: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    target: TargetCheck = UNCHANGED
    emptied: Sightings = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A guard that tripped. *holds* decides which changes; *cause* is the sentence of their holds, without numbers that
    move with the clock; *is_final*: an approval does not release them. *causes* has the sentences of single members,
    by SCIM id."""

    guard: Guard
    holds: Callable[[Change], bool]
    cause: str
    remedy: str
    is_final: bool = False
    causes: Mapping[str, str] = field(default_factory=dict)


def percent_limit(percent: float, of: int, least: int = FLOOR) -> float:
    """Return how many may go: *percent* of *of*, and never fewer than *least*."""
    return max(least, percent * of / 100)


def floor(plan: Plan, going: Iterable[Change]) -> tuple[int, str]:
    """Return how many of *going* may be deactivated whatever the percentage, with the words that follow the limit.

    The floor must never cover all managed members, nor unmanaged ones while no link shows which are managed.
    """
    ours = [change.person is not None for change in going]
    if 0 < plan.members.guarded <= sum(ours):
        return 0, ", and that is every member of the workspace"
    if not plan.members.linked and not all(ours):
        return 0, ", and the workspace has no links yet, so it is not known whose the unmanaged members are"
    return FLOOR, f" where that is over {FLOOR}"


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
UNDONE = "An undo put this back, and the groups, status and address at the source have not changed since."
KEEP_UNDONE = (
    "Correct them at the source, which clears this; or, if the change is right, approve this plan by its digest."
)
END_CONTEST = (
    "Find what reactivates the member, for example the identity provider's own provisioning into Pigment, and turn it "
    "off there; or approve this plan by its digest, which deactivates the member once more."
)


def verdicts(plan: Plan, policy: Policy, history: History) -> Iterator[Verdict]:
    """Yield the guards that trip on *plan*, the one whose code a hold takes first."""
    yield from _toggles(plan, policy)
    changes = [change for change in plan.changes if not is_toggled_off(change, policy)]
    for verdict in (*_undone(plan, changes), *_contested(changes, history)):
        yield verdict
        changes = [change for change in changes if not verdict.holds(change)]
    yield from _empty_source(plan, changes)
    yield from _group_emptied(changes, history)
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


def repeated(plan: Plan, changes: Iterable[Change]) -> dict[Change, Undone]:
    """Map those of *changes* that repeat what an undo put back to what that was; an undo of the undo may do so."""
    index: dict[tuple[PersonKey | str | None, Kind], Undone] = {}
    for undone in plan.undone:
        index.update(
            ((undone.person or undone.scim_id, kind), undone) for kind in REPEATS.get(undone.kind, (undone.kind,))
        )
    asked = (change for change in changes if change.undoes is None)
    found = ((change, index.get((change.person or change.scim_id, change.kind))) for change in asked)
    return {change: undone for change, undone in found if undone is not None}


def _undone(plan: Plan, changes: Sequence[Change]) -> Iterator[Verdict]:
    found = repeated(plan, changes) if plan.undone else {}
    if found:
        causes = {undone.scim_id: f"{UNDONE} It was put back by {undone.run_id}." for undone in found.values()}
        message = f"{len(found)} changes would repeat what an undo put back."
        guard = tripped("undone", changes, found.__contains__, 0, "the source has changed since", message)
        yield Verdict(guard, found.__contains__, UNDONE, KEEP_UNDONE, causes=causes)


def _contested(changes: Sequence[Change], history: History) -> Iterator[Verdict]:
    causes = {
        scim_id: f"pigment-sync deactivated this member at {_times(times)}, and it is active again: another tool "
        "reactivates it."
        for scim_id, times in history.contested.items()
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
        guard = tripped("contested-by-another-writer", changes, holds, 0, limit, message)
        yield Verdict(guard, holds, message, END_CONTEST, causes=causes)


def _times(times: Sequence[datetime]) -> str:
    return " and ".join(time.strftime("%Y-%m-%d %H:%M:%S UTC") for time in times[-2:])


def _empty_source(plan: Plan, changes: Sequence[Change]) -> Iterator[Verdict]:
    empty = [f"{source.connector} {source.app}" for source in plan.sources if source.entitled == 0]
    if empty and any(map(is_deactivation, changes)):
        named = ", ".join(empty)
        message = f"No one is entitled in {named}."
        guard = tripped("empty-source", changes, is_deactivation, 0, "no source without anybody entitled", message)
        yield Verdict(guard, is_deactivation, message, APPROVE)


def _group_emptied(changes: Sequence[Change], history: History) -> Iterator[Verdict]:
    """Hold those who left a group that has just become empty, unless they are suspended or deleted."""
    causes: dict[str, str] = {}
    involved: Sightings = {}
    for change in changes:
        if change.code not in {"left-groups", "duplicate-left"} or change.person is None or change.scim_id is None:
            continue
        left = {(change.person.connector, group.id) for group in change.group_refs}
        emptied = {key: seen for key, seen in history.emptied.items() if key in left}
        if emptied:
            involved = {**involved, **emptied}
            causes[change.scim_id] = f"{_emptied(emptied)}. One read does not prove that."

    def holds(change: Change) -> bool:
        return is_deactivation(change) and change.scim_id in causes

    if causes:
        minutes = int(CONFIRMED_AFTER.total_seconds() // 60)
        begun = [seen.empty_since for seen in involved.values()]
        known = [since for since in begun if since is not None]
        until = (
            f"after {_times([max(known) + CONFIRMED_AFTER])}" if len(known) == len(begun) else f"{minutes} minutes on"
        )
        message = f"{_emptied(involved)}: held until a run {until} reads the same."
        limit = f"a group counts as empty once two runs, {minutes} minutes apart, read it as empty"
        guard = tripped("group-emptied", changes, holds, 0, limit, message)
        remedy = (
            f"If a run at least {minutes} minutes after the first one still reads it as empty, that run deactivates "
            f"them. To do it now, approve this plan by its digest. If the group has people, check why the source does "
            f"not show them."
        )
        yield Verdict(guard, holds, "A group that this person left is empty.", remedy, causes=causes)


def _emptied(emptied: Sightings) -> str:
    """Return `Sales of okta-main is empty and had 9 people`."""
    groups = sorted((seen.name, connector, seen.people) for (connector, _), seen in emptied.items())
    return "; ".join(
        f"{name} of {connector} is empty and had {people} {'person' if people == 1 else 'people'} at the last read"
        for name, connector, people in groups
    )


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
        guard = tripped("group-shrink", changes, holds, 0, limit, f"{named}.")
        yield Verdict(guard, holds, "A group that this person left lost more than half of its people.", APPROVE)


def _max_deactivations(plan: Plan, changes: Sequence[Change], policy: Policy, history: History) -> Iterator[Verdict]:
    going = list(filter(is_deactivation, changes))
    recent = len(history.recent.deactivated.difference(change.scim_id for change in going))
    count = len(going) + recent
    limits, of = policy.limits, plan.members.guarded
    least, words = floor(plan, going)
    share = percent_limit(limits.max_deactivations_percent, of, least)
    if not going or (count <= limits.max_deactivations and count <= share):
        return
    limit = f"{limits.max_deactivations}, or {limits.max_deactivations_percent:g} % of {of}{words}"
    message = f"{_counted(len(going), recent)} would be deactivated; the limit is {limit}."
    guard = tripped("max-deactivations", changes, is_deactivation, recent, limit, message)
    yield Verdict(guard, is_deactivation, "More members would be deactivated than the limits allow.", APPROVE)


def _max_creates(changes: Sequence[Change], policy: Policy, history: History) -> Iterator[Verdict]:
    limit, planned = policy.limits.max_creates, sum(map(is_creation, changes))
    recent = len(history.recent.created.difference(change.person for change in changes if is_creation(change)))
    if limit is not None and planned and planned + recent > limit:
        message = f"{_counted(planned, recent)} would be created; the limit is {limit}."
        guard = tripped("max-creates", changes, is_creation, recent, str(limit), message)
        yield Verdict(guard, is_creation, "More members would be created than the limit allows.", APPROVE)


def _max_email_changes(changes: Sequence[Change], policy: Policy, history: History) -> Iterator[Verdict]:
    limit, planned = policy.limits.max_email_changes, sum(map(is_email_change, changes))
    recent = len(history.recent.readdressed.difference(change.scim_id for change in changes if is_email_change(change)))
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
