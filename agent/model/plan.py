"""What would be done to one workspace, with what it was computed from in numbers, and the guards that tripped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from agent.model.change import Change, Hold, Note
from agent.model.codes import GuardCode
from agent.model.inputs import Link, UnconfirmedCreate, UndoneChange
from agent.model.policy import Mode
from connectors.base import PersonKey

__all__ = [
    "ChangeSubject",
    "Guard",
    "MemberCounts",
    "Pause",
    "Plan",
    "RecentChanges",
    "SourceCounts",
    "Unplanned",
]

ChangeSubject = PersonKey | str
"""Who a change counts for: the person of a create, the SCIM id of any other change."""

RecentChanges = Mapping[GuardCode, frozenset[ChangeSubject]]
"""By counting guard: who was, or may have been, changed within the last 60 minutes, each once however often.

Every guard of `COUNT_GUARDS` has an entry: a missing one is an error, not a count of 0.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCounts:
    """A source as the plan document shows it; *groups* are (id, name, people)."""

    connector: str
    app: str
    people: int
    entitled: int
    groups: tuple[tuple[str, str, int], ...]
    individual: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrunkGroup:
    """A counted group that has fewer *people* than before; 0 for one that is gone or no longer assigned.

    *before* is the largest size of the last 24 hours that a run accepted.
    """

    connector: str
    id: str
    name: str
    before: int
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCounts:
    """*linked* is before the plan; *guarded* counts active members linked or adopted here, what percentages are of."""

    total: int
    active: int
    linked: int
    guarded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A guard that tripped, with its live numbers. It stands outside the digest: the numbers move with the clock.

    *count* is of this plan and *recent* of the last 60 minutes; *limit* describes what they exceed. *affected* are the
    emails of all held changes, *released_by* the people whose approvals released them.
    """

    code: str
    count: int
    recent: int
    limit: str
    message: str
    affected: tuple[str, ...]
    released_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused a workspace, since when and why. Nothing but an undo is written while it lasts."""

    since: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be done to one workspace, and what is held: a value that nothing alters.

    Changes stand in the order of applying. *updated_links* are links with new groups or missed reads to store,
    *possible_renames* the pairs to remember, *undone_changes* what the plan may not repeat because it was undone.
    Only an enforcing run stores these, and the digest does not cover them. *checked_creates* are the creates that
    were unconfirmed, with the member that this listing shows for each, if any. *pause* is that of the workspace; it
    stands outside the digest too, and so do *shrunk_groups*.
    """

    workspace: str
    mode: Mode
    sources: tuple[SourceCounts, ...]
    members: MemberCounts
    in_sync: int
    changes: tuple[Change, ...]
    holds: tuple[Hold, ...]
    notes: tuple[Note, ...]
    guards: tuple[Guard, ...] = ()
    updated_links: tuple[Link, ...] = ()
    possible_renames: frozenset[tuple[PersonKey, str]] = frozenset()
    checked_creates: tuple[UnconfirmedCreate, ...] = ()
    undone_changes: tuple[UndoneChange, ...] = ()
    pause: Pause | None = None
    shrunk_groups: tuple[ShrunkGroup, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplanned:
    """A workspace that could not be planned, with the error as the plan document shows it.

    *status*: `incomplete`, `credentials` or `busy`.
    """

    workspace: str
    mode: Mode
    status: str
    code: str
    message: str
    remedy: str
