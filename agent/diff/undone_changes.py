"""Find the undone changes that no plan may repeat: their cause at the sources is unchanged. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.diff.assignments import AssignedPerson, Entitlement
from agent.diff.builder import PlanBuilder
from agent.model import Change, Kind, UndoneChange
from agent.model.codes import ChangeCode
from agent.model.email import is_same_name

__all__ = ["still_undone_changes"]

# A lookup of the leaver may show these at one time and not at another; if it shows nothing, that proves nothing.
CONCLUSIVE_CODES = frozenset({ChangeCode.SUSPENDED, ChangeCode.DELETED})
UNDECIDED = frozenset({Entitlement.UNKNOWN, Entitlement.PENDING})


def still_undone_changes(builder: PlanBuilder) -> tuple[UndoneChange, ...]:
    """Return the remembered undone changes that still apply, once everything else of the plan is decided.

    It ends when the person's groups, status or address at the source change. A group that the configuration no longer
    counts is no such change; one that it counts now and did not count before is.
    """
    leavers = {change.scim_id: change for change in builder.changes if change.kind is Kind.DEACTIVATE}
    entitlement = [
        _with_source_email(builder, each)
        for each in builder.inputs.memory.undone_changes
        if _is_still_undone(builder, each, leavers)
    ]
    return tuple(sorted(entitlement, key=lambda each: (each.scim_id, each.kind)))


def _with_source_email(builder: PlanBuilder, undone: UndoneChange) -> UndoneChange:
    """Add the address of a leaver at the source, which the journal of the deactivation lacks."""
    assigned = builder.assignments.by_key.get(undone.person) if undone.person else None
    return undone if undone.email or assigned is None else replace(undone, email=assigned.email)


def _is_still_undone(builder: PlanBuilder, undone: UndoneChange, leavers: Mapping[str | None, Change]) -> bool:
    if undone.person is None:
        scim_id = undone.scim_id
        return (
            scim_id in builder.members
            and scim_id not in builder.person_by_scim_id
            and scim_id not in builder.matched_ids
        )
    assigned = builder.assignments.by_key.get(undone.person)
    if undone.kind is Kind.DEACTIVATE:
        return _is_same_departure(undone, assigned, leavers.get(undone.scim_id))
    if assigned is None or assigned.entitlement in UNDECIDED:
        return assigned is not None
    return (
        assigned.entitlement is Entitlement.ENTITLED
        and {group.id for group in assigned.groups} == _counted_groups(builder, undone)
        and assigned.email == undone.email
        and (undone.kind is not Kind.UPDATE_NAME or is_same_name(assigned.person.display_name, undone.display_name))
    )


def _counted_groups(builder: PlanBuilder, undone: UndoneChange) -> set[str]:
    """Return the groups of an undone change without those that `groups:` of the source excludes now."""
    own = [
        each for each in builder.inputs.snapshots if undone.person and each.source.connector == undone.person.connector
    ]
    groups = set(undone.groups)
    if any(not each.source.groups for each in own):
        return groups
    return groups & {group.id for each in own for group in each.groups}


def _is_same_departure(undone: UndoneChange, assigned: AssignedPerson | None, leaving: Change | None) -> bool:
    """Return whether a person who was put back is still gone for the same reason, or can't be judged yet."""
    if assigned is not None and assigned.entitlement is Entitlement.ENTITLED:
        return False
    if leaving is None:
        return True
    if assigned is not None and undone.email not in {"", assigned.email}:
        return False
    # A feed does not see which groups a suspended person still has, and takes all of the link for left.
    has_left_more = not {group.id for group in leaving.group_refs}.issubset(undone.groups)
    return not has_left_more and (leaving.code == undone.code or leaving.code not in CONCLUSIVE_CODES)
