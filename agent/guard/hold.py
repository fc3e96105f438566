"""Turn changes that a guard affects into holds, and back into changes when exactly that plan was approved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agent.guard.count_guards import percent_floor, percent_limit
from agent.guard.guards import INDIVIDUALLY_HELD_CODES, guard_results, repeats_of_undone
from agent.guard.results import APPROVE_REMEDY, Baselines, GuardHistory, GuardResult, is_deactivation, make_guard
from agent.guard.target import target_guard_results
from agent.model import Change, ChangeSubject, Guard, Hold, Kind, Plan, Policy
from agent.model.codes import GuardCode, HoldCode, NoteCode
from agent.model.email import normalize
from connectors.base import PersonKey

# A plan is guarded without approvals more often than with them, and starts faster without their classes.
if TYPE_CHECKING:
    from agent.guard.release import Release

__all__ = ["FleetContext", "apply_fleet_guard", "apply_guards", "next_baselines", "release_approved"]

BY_OTHER_HANDS = frozenset({NoteCode.DRIFT, NoteCode.ANOTHER_WRITER})


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetContext:
    """What the fleet guard knows in addition to the plans of one command.

    *workspaces* counts all that are configured, *others* the guarded members of those without a plan here, *recent*
    has, by workspace, the members that were deactivated within the last 60 minutes. *percent* is the limit. *finished*
    has, by workspace, the members that the finished plans of the same tick deactivate, also where a guard holds that.
    """

    workspaces: int
    percent: float
    others: int = 0
    recent: Mapping[str, frozenset[ChangeSubject]] = field(default_factory=dict)
    finished: Mapping[str, frozenset[str]] = field(default_factory=dict)


def apply_guards(plan: Plan, policy: Policy, history: GuardHistory) -> Plan:
    """Return *plan* with everything that a guard of its workspace holds among its holds."""
    first = list(target_guard_results(plan, history.target_check))
    if history.target_check.mismatch:
        # A plan for another workspace is not compared with how our runs left this one.
        notes = tuple(note for note in plan.notes if note.code not in BY_OTHER_HANDS)
        return _hold_changes(replace(plan, notes=notes), first)
    return _hold_changes(plan, [*first, *guard_results(plan, policy, history)])


def apply_fleet_guard(plans: Sequence[Plan], fleet: FleetContext) -> tuple[Plan, ...]:
    """Return the plans of one command, their deactivations held where all workspaces together lose too many.

    Deactivations that a guard of their own workspace holds count too: an approval would release them.
    """
    if fleet.workspaces < 2:
        return tuple(plans)
    going = {plan.workspace: _planned_deactivations(plan) for plan in plans}
    members = fleet.others + sum(plan.members.guarded for plan in plans)
    planned = sum(map(len, going.values()))
    gone = {
        name: fleet.recent.get(name, frozenset()) | fleet.finished.get(name, frozenset())
        for name in (*fleet.recent, *fleet.finished)
    }
    recent = sum(len(ids.difference(going.get(name, ()))) for name, ids in gone.items())
    least, words = min(percent_floor(plan, filter(is_deactivation, plan.changes)) for plan in plans)
    share = percent_limit(fleet.percent, members, least)
    if not planned or planned + recent <= share:
        return tuple(plans)
    limit = f"{int(share)}: {fleet.percent:g} % of {members} active linked members of all workspaces{words}"
    words_of_finished = " or wait in workspaces that this tick has finished" if any(fleet.finished.values()) else ""
    before = f", and {recent} were in the last 60 minutes{words_of_finished}" if recent else ""
    message = (
        f"{planned} members of {_workspace_count_phrase(sum(map(bool, going.values())))} would be deactivated{before}; "
        f"the limit is {limit}."
    )
    cause = "All workspaces together would lose more members than the fleet limit allows."
    held = []
    for plan in plans:
        both = [hold.change for hold in plan.holds if hold.change is not None and _counts_for_fleet(hold)]
        changes = (*plan.changes, *both)
        guard = make_guard(GuardCode.FLEET, changes, is_deactivation, recent, limit, message)
        result = GuardResult(guard=guard, affects=is_deactivation, cause=cause, remedy=APPROVE_REMEDY)
        held.append(_hold_changes(_add_fleet(plan), [result]) if any(map(is_deactivation, changes)) else plan)
    return tuple(held)


def _counts_for_fleet(hold: Hold) -> bool:
    """Return whether *hold* is of a deactivation that an approval of its workspace's own guards would release."""
    is_individual = hold.code in INDIVIDUALLY_HELD_CODES
    return hold.change is not None and is_deactivation(hold.change) and not is_individual


def _add_fleet(plan: Plan) -> Plan:
    """Return *plan* with the fleet guard among those of the deactivations that are held already."""
    holds = (
        replace(hold, guards=tuple(sorted({*hold.guards, GuardCode.FLEET}))) if _counts_for_fleet(hold) else hold
        for hold in plan.holds
    )
    return replace(plan, holds=tuple(holds))


def _workspace_count_phrase(workspaces: int) -> str:
    return "1 workspace" if workspaces == 1 else f"{workspaces} workspaces"


def _planned_deactivations(plan: Plan) -> frozenset[str]:
    """Return the members that the plan, once approved, deactivates; without those that are held individually."""
    releasable = [hold.change for hold in plan.holds if hold.change is not None and _counts_for_fleet(hold)]
    return frozenset(each.scim_id for each in (*plan.changes, *releasable) if is_deactivation(each) and each.scim_id)


def _hold_changes(plan: Plan, results: Sequence[GuardResult]) -> Plan:
    if not results:
        return plan
    kept: list[Change] = []
    holds = list(plan.holds)
    movers: dict[str, Hold] = {}
    adopted: dict[str, Hold] = {}
    for change in plan.changes:
        holding = [each for each in results if each.affects(change)]
        scim_id = change.scim_id or ""
        waited = movers.get(change.waits_for or "", adopted.get(scim_id))
        hold = _make_hold(change, holding, waited)
        if hold is None:
            kept.append(change)
            continue
        holds.append(hold)
        if change.changes_email:
            movers[scim_id] = hold
        if change.kind is Kind.ADOPT:
            adopted[scim_id] = hold
    guards = (*plan.guards, *(result.guard for result in results))
    return replace(plan, changes=tuple(kept), holds=tuple(sorted(holds, key=_hold_order)), guards=guards)


def _make_hold(change: Change, holding: Sequence[GuardResult], waited: Hold | None) -> Hold | None:
    """Return the hold of *change*, or None if no guard holds it and no held change that it waits for.

    What an approval does not release comes first: the hold must not offer one.
    """
    final = next((each for each in holding if each.is_final), None)
    is_final = final is not None or (waited is not None and waited.change is None)
    result = final or (holding[0] if holding and not is_final else None)
    if result is not None:
        code: str = result.guard.code
        cause, remedy = result.cause_by_scim_id.get(change.scim_id or "", result.cause), result.remedy
    elif waited is not None:
        code = HoldCode.WAITS_FOR_HELD
        cause, remedy = "It needs another change of this plan that is on hold.", "Release the change it waits for."
    else:
        return None
    guards = {each.guard.code for each in holding}.union(waited.guards if waited else ())
    old_email = change.before.email
    return Hold(
        kind=change.kind,
        code=code,
        email=old_email or change.email,
        reason=f"{change.reason} {cause}",
        remedy=remedy,
        wanted=change.email if old_email else None,
        scim_id=change.scim_id,
        person=change.person,
        change=None if is_final else change,
        guards=() if is_final else tuple(sorted(guards)),
    )


def _hold_order(hold: Hold) -> tuple[str, str, str, str, PersonKey]:
    return normalize(hold.email), hold.kind, hold.code, hold.scim_id or "", hold.person or PersonKey("", "")


def release_approved(plan: Plan, unguarded: Plan, release: Release) -> Plan:
    """Return *plan* with the holds that its approvals release made changes again.

    *unguarded* is the same plan before any guard, which gives the order of applying. Toggles and holds of the table
    stay. The guards name who released them.
    """
    holds = [hold for hold in plan.holds if hold.change is not None]
    freed = {hold.change for hold in holds if hold.change is not None and release.releases(hold.guards)}
    allowed = freed.union(plan.changes)
    changes = tuple(change for change in unguarded.changes if change in allowed)
    kept = tuple(hold for hold in plan.holds if hold.change not in freed)
    named = {code for hold in holds for code in hold.guards}
    guards = tuple(_with_approvers(each, release) if each.code in named else each for each in plan.guards)
    # The approval was the decision: if the change fails, the next run tries it again.
    decided = set(repeats_of_undone(plan, freed).values())
    undone = tuple(each for each in plan.undone_changes if each not in decided)
    return replace(plan, changes=changes, holds=kept, guards=guards, undone_changes=undone)


def _with_approvers(guard: Guard, release: Release) -> Guard:
    """Return *guard* with who released it, if anyone did."""
    found = release.status(guard.code)
    if not found.is_released:
        return guard
    people = [each for each in found.approved_by if each]
    by = f" of {' and '.join(people)}" if people else ""
    return replace(guard, message=f"{guard.message} Released by an approval{by}.", released_by=tuple(people))


def next_baselines(unguarded: Plan, made: Plan, baselines: Baselines, grace_reads: int) -> Baselines:
    """Return the sizes to store after an enforcing run over a whole workspace that may make the changes of *made*.

    For a group with a leaver who is held or in grace nothing is stored, unless it has no baseline yet. Otherwise the
    guard would compare with the shrunk size.
    """
    waiting = set(filter(is_deactivation, unguarded.changes)).difference(made.changes)
    kept = {(each.person.connector, group.id) for each in waiting if each.person for group in each.group_refs}
    for link in unguarded.updated_links:
        if 0 < link.missed_reads < grace_reads:
            kept.update((link.person.connector, group.id) for group in link.groups)
    now = {
        (source.connector, group_id): (name, people)
        for source in unguarded.sources
        for group_id, name, people in source.groups
    }
    gone = {key: (name, 0) for key, (name, size) in baselines.items() if key not in now and size}
    return {key: value for key, value in {**gone, **now}.items() if key not in kept or key not in baselines}
