"""The guards of one workspace: which changes of a plan each of them holds, and with which message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

from agent.guard.count_guards import count_guard_results
from agent.guard.results import APPROVE_REMEDY, GuardHistory, GuardResult, format_times, is_deactivation, make_guard
from agent.guard.source_guards import source_guard_results
from agent.model import Change, Kind, Plan, Policy, UndoneChange
from agent.model.codes import GuardCode
from connectors.base import PersonKey

__all__ = ["INDIVIDUALLY_HELD_CODES", "guard_results", "repeats_of_undone"]

# A hold by these waits for a decision on that member alone, and does not count for other guards.
INDIVIDUALLY_HELD_CODES = frozenset({GuardCode.UNDONE, GuardCode.CONTESTED_BY_ANOTHER_WRITER})
# What would repeat a change that an undo put back: a created member is inactive and without a link afterwards.
REPEATING_KINDS = {Kind.CREATE: (Kind.CREATE, Kind.ADOPT, Kind.REACTIVATE)}


UNDONE_REASON = (
    "This change was undone, and the person's groups, status and address at the source have not changed since."
)
UNDONE_REMEDY = (
    "Correct the person at the source, which releases this; or, if the change is right, approve this plan by its "
    "digest."
)
CONTESTED_REMEDY = (
    "Find what reactivates the member, for example the identity provider's own provisioning into Pigment, and turn it "
    "off there; or approve this plan by its digest, which deactivates the member once more."
)


def guard_results(plan: Plan, policy: Policy, history: GuardHistory) -> Iterator[GuardResult]:
    """Yield the guards that trip on *plan*. A hold takes the code of the first that affects it."""
    changes: Sequence[Change] = plan.changes
    if not (policy.toggles.create and policy.toggles.update and policy.toggles.deactivate):
        yield from _toggle_off_guard(plan, policy)
        changes = [change for change in changes if not is_toggled_off(change, policy)]
    for result in (*_undone_guard(plan, changes), *_contested_guard(changes, history)):
        yield result
        changes = [change for change in changes if not result.affects(change)]
    yield from source_guard_results(plan, changes, history)
    yield from count_guard_results(plan, changes, policy, history)
    yield from _approval_required_guard(changes, policy)


def is_toggled_off(change: Change, policy: Policy) -> bool:
    """Return whether a toggle turns the change off; such a change trips no other guard."""
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
        message = f"{count} changes are not made, because the configuration turns off: {off}."
        remedy = f"Set workspaces.{policy.workspace}.toggles in the configuration; an approval does not release it."
        guard = make_guard(GuardCode.TOGGLE_OFF, plan.changes, holds, 0, f"toggles off: {off}", message)
        yield GuardResult(
            guard=guard,
            affects=holds,
            cause="The configuration turns this kind of change off.",
            remedy=remedy,
            is_final=True,
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
        causes = {undone.scim_id: f"{UNDONE_REASON} It was undone by {undone.run_id}." for undone in found.values()}
        message = f"{len(found)} changes would repeat undone changes."
        guard = make_guard(GuardCode.UNDONE, changes, found.__contains__, 0, "the source has changed since", message)
        yield GuardResult(
            guard=guard, affects=found.__contains__, cause=UNDONE_REASON, remedy=UNDONE_REMEDY, cause_by_scim_id=causes
        )


def _contested_guard(changes: Sequence[Change], history: GuardHistory) -> Iterator[GuardResult]:
    causes = {
        scim_id: f"pigment-sync deactivated this member at {format_times(times)}, and it is active again: "
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


def _approval_required_guard(changes: Sequence[Change], policy: Policy) -> Iterator[GuardResult]:
    kinds = policy.require_approval

    def holds(change: Change) -> bool:
        return change.kind in kinds or (change.changes_email and Kind.UPDATE_EMAIL in kinds)

    if any(map(holds, changes)):
        named = ", ".join(sorted(kinds))
        count = sum(map(holds, changes))
        needing = "1 change needs" if count == 1 else f"{count} changes need"
        message = f"{needing} an approval (require_approval: {named})."
        guard = make_guard(GuardCode.APPROVAL_REQUIRED, changes, holds, 0, f"require_approval: {named}", message)
        yield GuardResult(
            guard=guard,
            affects=holds,
            cause="The configuration requires an approval for this kind of change.",
            remedy=APPROVE_REMEDY,
        )
