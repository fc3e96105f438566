"""Turn changes that a guard affects into holds, and back into changes when exactly that plan was approved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.guard.count_guards import percent_floor, percent_limit
from agent.guard.guards import INDIVIDUALLY_HELD_CODES, guard_results, repeats_of_undone
from agent.guard.results import APPROVE_REMEDY, Baselines, GuardHistory, GuardResult, is_deactivation, make_guard
from agent.guard.target import target_guard_results
from agent.model import Change, ChangeSubject, Hold, Kind, Plan, Policy
from agent.model.codes import GuardCode, HoldCode, NoteCode
from agent.model.email import normalize
from connectors.base import PersonKey

__all__ = ["FleetContext", "apply_fleet_guard", "apply_guards", "next_baselines", "release_approved"]

BY_OTHER_HANDS = frozenset({NoteCode.DRIFT, NoteCode.ANOTHER_WRITER})


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetContext:
    """What the fleet guard knows in addition to the plans of one command.

    *workspaces* counts all that are configured, *others* the guarded members of those without a plan here, *recent*
    has, by workspace, the members that were deactivated within the last 60 minutes. *percent* is the limit.
    """

    workspaces: int
    percent: float
    others: int = 0
    recent: Mapping[str, frozenset[ChangeSubject]] = field(default_factory=dict)


def apply_guards(plan: Plan, policy: Policy, history: GuardHistory) -> Plan:
    """Return *plan* with everything that a guard of its workspace holds among its holds."""
    first = list(target_guard_results(plan, history.target_check))
    if history.target_check.mismatch:
        # Of a plan for another workspace nothing may be released, not even what the planning table held.
        # And it is not compared with how our runs left this one.
        notes = tuple(note for note in plan.notes if note.code not in BY_OTHER_HANDS)
        holds = tuple(replace(hold, change=None) for hold in plan.holds)
        return _hold_changes(replace(plan, holds=holds, notes=notes), first)
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
    recent = sum(len(ids.difference(going.get(name, ()))) for name, ids in fleet.recent.items())
    least, words = min(percent_floor(plan, filter(is_deactivation, plan.changes)) for plan in plans)
    share = percent_limit(fleet.percent, members, least)
    if not planned or planned + recent <= share:
        return tuple(plans)
    limit = f"{int(share)}: {fleet.percent:g} % of {members} active linked members of all workspaces{words}"
    before = f", and {recent} were in the last 60 minutes" if recent else ""
    message = (
        f"{planned} members of {_workspace_count_phrase(sum(map(bool, going.values())))} would be deactivated{before}; "
        f"the limit is {limit}."
    )
    cause = "All workspaces together would lose more members than the fleet limit allows."
    held = []
    for plan in plans:
        guard = make_guard(GuardCode.FLEET, plan.changes, is_deactivation, recent, limit, message)
        result = GuardResult(guard=guard, affects=is_deactivation, cause=cause, remedy=APPROVE_REMEDY)
        held.append(_hold_changes(plan, [result]) if any(map(is_deactivation, plan.changes)) else plan)
    return tuple(held)


def _workspace_count_phrase(workspaces: int) -> str:
    return "1 workspace" if workspaces == 1 else f"{workspaces} workspaces"


def _planned_deactivations(plan: Plan) -> frozenset[str]:
    """Return the members that the plan, once approved, deactivates; without those that are held individually."""
    releasable = [
        hold.change for hold in plan.holds if hold.change is not None and hold.code not in INDIVIDUALLY_HELD_CODES
    ]
    return frozenset(each.scim_id for each in (*plan.changes, *releasable) if is_deactivation(each) and each.scim_id)


def _hold_changes(plan: Plan, results: Sequence[GuardResult]) -> Plan:
    if not results:
        return plan
    kept: list[Change] = []
    holds = list(plan.holds)
    movers: dict[str, bool] = {}
    adopted: dict[str, bool] = {}
    for change in plan.changes:
        result = next((each for each in results if each.affects(change)), None)
        scim_id = change.scim_id or ""
        if result is not None:
            is_final = result.is_final
            cause = result.cause_by_scim_id.get(scim_id, result.cause)
            holds.append(_make_hold(change, result.guard.code, cause, result.remedy, is_final=is_final))
        elif (waited := movers.get(change.waits_for or "", adopted.get(scim_id))) is not None:
            is_final = waited
            cause, remedy = "It needs another change of this plan that is on hold.", "Release the change it waits for."
            holds.append(_make_hold(change, HoldCode.WAITS_FOR_HELD, cause, remedy, is_final=is_final))
        else:
            kept.append(change)
            continue
        if change.changes_email:
            movers[scim_id] = is_final
        if change.kind is Kind.ADOPT:
            adopted[scim_id] = is_final
    guards = (*plan.guards, *(result.guard for result in results))
    return replace(plan, changes=tuple(kept), holds=tuple(sorted(holds, key=_hold_order)), guards=guards)


def _make_hold(change: Change, code: str, cause: str, remedy: str, *, is_final: bool) -> Hold:
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
    )


def _hold_order(hold: Hold) -> tuple[str, str, str, str, PersonKey]:
    return normalize(hold.email), hold.kind, hold.code, hold.scim_id or "", hold.person or PersonKey("", "")


def release_approved(plan: Plan, unguarded: Plan, by: str = "") -> Plan:
    """Return *plan* with the holds that its approval releases made changes again.

    *unguarded* is the same plan before any guard, which gives the order of applying. Creates that row 12 held come
    last, as creates do. Toggles and holds of the table stay. The messages of guards report the release
    and, with *by*, who approved it.
    """
    freed = {hold.change for hold in plan.holds if hold.change is not None}
    allowed = freed.union(plan.changes)
    changes = [change for change in unguarded.changes if change in allowed]
    changes.extend(sorted(freed.difference(changes), key=lambda change: normalize(change.email)))
    kept = tuple(hold for hold in plan.holds if hold.change is None)
    freeing = {hold.code for hold in plan.holds if hold.change is not None}
    words = f" Released by an approval{f' of {by}' if by else ''}."
    guards = [replace(each, message=each.message + words) if each.code in freeing else each for each in plan.guards]
    # The approval was the decision: if the change fails, the next run tries it again.
    decided = set(repeats_of_undone(plan, freed).values())
    undone = tuple(each for each in plan.undone_changes if each not in decided)
    return replace(plan, changes=tuple(changes), holds=kept, guards=tuple(guards), undone_changes=undone)


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
