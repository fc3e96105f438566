"""Which changes that an undo put back no plan may repeat: those whose cause the sources still show as it was. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.address import same_name
from agent.diff.draft import Draft
from agent.diff.roster import Assigned, Standing
from agent.model import Change, Kind, Undone

__all__ = ["still_undone"]

# A lookup of the leaver may show these at one time and not at another; if it shows nothing, that proves nothing.
PROVEN = frozenset({"suspended", "deleted"})
UNJUDGED = frozenset({Standing.UNKNOWN, Standing.PENDING})


def still_undone(draft: Draft) -> tuple[Undone, ...]:
    """Return what of the memory's undone changes still stands, once everything else of the plan is decided.

    It ends when the person's groups, status or address at the source change.
    """
    leavers = {change.scim_id: change for change in draft.changes if change.kind is Kind.DEACTIVATE}
    standing = [_seen(draft, each) for each in draft.reads.memory.undone if _stands(draft, each, leavers)]
    return tuple(sorted(standing, key=lambda each: (each.scim_id, each.kind)))


def _seen(draft: Draft, undone: Undone) -> Undone:
    """Add the address of a leaver at the source, which the journal of the deactivation does not have."""
    assigned = draft.roster.by_key.get(undone.person) if undone.person else None
    return undone if undone.email or assigned is None else replace(undone, email=assigned.email)


def _stands(draft: Draft, undone: Undone, leavers: Mapping[str | None, Change]) -> bool:
    if undone.person is None:
        scim_id = undone.scim_id
        return scim_id in draft.members and scim_id not in draft.owner_of and scim_id not in draft.matched
    assigned = draft.roster.by_key.get(undone.person)
    if undone.kind is Kind.DEACTIVATE:
        return _has_left_alike(undone, assigned, leavers.get(undone.scim_id))
    if assigned is None or assigned.standing in UNJUDGED:
        return assigned is not None
    return (
        assigned.standing is Standing.ENTITLED
        and tuple(sorted({group.id for group in assigned.groups})) == undone.groups
        and assigned.email == undone.email
        and (undone.kind is not Kind.UPDATE_NAME or same_name(assigned.person.display_name, undone.display_name))
    )


def _has_left_alike(undone: Undone, assigned: Assigned | None, leaving: Change | None) -> bool:
    """Return whether a person who was put back is still gone for the same reason, or can't be judged yet."""
    if assigned is not None and assigned.standing is Standing.ENTITLED:
        return False
    if leaving is None:
        return True
    if assigned is not None and undone.email not in {"", assigned.email}:
        return False
    left = tuple(sorted({group.id for group in leaving.group_refs}))
    return left == undone.groups and (leaving.code == undone.code or leaving.code not in PROVEN)
