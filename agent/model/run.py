"""The values of the journal: runs, changes with their outcomes, leases, pauses, edits of links."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from agent.model import Change, Fields, Kind, Link, Pause, Written
from agent.model.provenance import Provenance

__all__ = [
    "ANY_RUN",
    "PARTIAL_TRIGGERS",
    "TRIGGERS_OVER_EVERYONE",
    "ChangeRecord",
    "Lease",
    "LinkEdit",
    "MemberHistory",
    "Outcome",
    "Pause",
    "Run",
    "RunCounts",
    "RunFilter",
    "RunOutcome",
    "RunOutline",
    "RunStatus",
    "Trigger",
    "WorkspaceRecord",
    "contested_members",
    "ended_run",
    "written",
    "written_since",
]


WRITTEN_WITHIN = timedelta(hours=24)
"""How long what a run wrote is known as ours: what undoes it so soon is another writer's work."""


class Trigger(StrEnum):
    """What started a run."""

    PLAN = "plan"
    SYNC = "sync"
    APPLY = "apply"
    SCHEDULE = "schedule"
    API = "api"
    PAGE = "page"
    UNDO = "undo"
    FEED = "feed"
    """A change feed named people who were then looked at."""
    LINKS = "links"
    PAUSE = "pause"
    RESUME = "resume"
    WORKSPACES = "workspaces"
    """A key was renamed, or what the state knew of it was reset."""


TRIGGERS_OVER_EVERYONE = frozenset({Trigger.SCHEDULE, Trigger.SYNC, Trigger.APPLY, Trigger.API, Trigger.PAGE})
PARTIAL_TRIGGERS = frozenset(
    {Trigger.FEED, Trigger.LINKS, Trigger.PAUSE, Trigger.RESUME, Trigger.UNDO, Trigger.WORKSPACES}
)
"""Runs that show nothing about the whole workspace: neither its status nor that it is in sync."""


class RunStatus(StrEnum):
    RUNNING = "running"
    PLANNED = "planned"
    """A dry run that was complete."""
    DONE = "done"
    HELD = "held"
    FAILED = "failed"
    """Some changes failed or were not tried."""
    INCOMPLETE = "incomplete"
    CREDENTIALS = "credentials"
    BUSY = "busy"
    STALE = "stale"
    """An approval was refused, and nothing was written."""
    INTERRUPTED = "interrupted"
    """The process died, or lost its lease."""


class Outcome(StrEnum):
    """What became of one change."""

    DONE = "done"
    FAILED = "failed"
    NOT_PERSISTED = "not-persisted"
    HELD = "held"
    """The workspace's answer made a hold of it (a create that met a member we must not take)."""
    NOT_TRIED = "not-tried"
    UNKNOWN = "unknown"
    """Sent, and the process died before the answer; the next plan settles it."""


MAY_BE_MADE = frozenset({Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write to a workspace. *fence* grows with each new holder: an older one can never write state.

    *target* is the fingerprint of the workspace: its holder under another key of a file holds this lease too.
    """

    workspace: str
    holder: str
    since: datetime
    fence: int
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """A run in four numbers: *active* members when it read them, *changes* without adoptions (of a dry run: those
    it would make), *held* ones, and *failed* ones, which were tried in vain or not tried."""

    active: int
    changes: int
    held: int
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One pass over one workspace, as the journal has it. *document* is the workspace's object of the plan document
    (JSON), None when there was no plan. *by* is the person who triggered or approved it, *reason* their reason;
    *approved_digest* is the digest that was approved; *user* is the one person that the run was for, empty: everyone.
    *target* is the fingerprint of the workspace of the run, empty: not known. *provenance* is what it was made with,
    None: not recorded, as by releases before it was."""

    id: str
    workspace: str
    trigger: Trigger
    dry_run: bool
    started_at: datetime
    status: RunStatus = RunStatus.RUNNING
    finished_at: datetime | None = None
    by: str = ""
    reason: str = ""
    approved_digest: str | None = None
    digest: str | None = None
    document: bytes | None = None
    error: str = ""
    guarded: int | None = None
    requests: int = 0
    tally: RunCounts | None = None
    user: str = ""
    target: str = ""
    provenance: Provenance | None = None

    @property
    def is_over_everyone(self) -> bool:
        """Whether it reads everyone and may write."""
        return self.trigger in TRIGGERS_OVER_EVERYONE and not self.user and not self.dry_run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are asked for: None allows any. *is_whole*: none for one person, and none with a partial trigger."""

    triggers: frozenset[Trigger] | None = None
    statuses: frozenset[RunStatus] | None = None
    is_dry: bool | None = None
    is_whole: bool = False
    is_approved: bool = False

    def accepts(self, run: Run) -> bool:
        return (
            (self.triggers is None or run.trigger in self.triggers)
            and (self.statuses is None or run.status in self.statuses)
            and self.is_dry in {None, run.dry_run}
            and (not self.is_whole or (not run.user and run.trigger not in PARTIAL_TRIGGERS))
            and (not self.is_approved or run.approved_digest is not None)
        )


ANY_RUN = RunFilter()


class RunOutline(NamedTuple):
    """What lists and charts show of a run. *active* counts the active members that it read, None: it has no plan."""

    id: str
    started_at: datetime
    status: RunStatus
    dry_run: bool
    active: int | None


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended, and when (*finished_at* None: when the state writes it).

    *guarded* counts the active linked members that it left (where it applied nothing: `MemberCounts.guarded` of its
    plan), which the fleet guard of others needs.
    """

    status: RunStatus
    error: str = ""
    _: KW_ONLY
    guarded: int | None = None
    requests: int = 0
    tally: RunCounts | None = None
    finished_at: datetime | None = None


def ended_run(run: Run, ending: RunOutcome) -> Run:
    """Return *run* as the journal has it once it ended with *ending*."""
    return replace(
        run,
        status=ending.status,
        error=ending.error,
        guarded=ending.guarded,
        requests=ending.requests,
        tally=ending.tally,
        finished_at=ending.finished_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRecord:
    """One change in the journal. *answered_at* None with outcome `unknown`: in flight when the process died.

    *scim_id* is the member's afterwards, which may differ from the change's. *is_accepted*: a create that the workspace
    answered with a success and does not show. A create that met a member has in `change.before` whether it was active:
    one that was is only linked, another was reactivated.
    """

    run_id: str
    seq: int
    change: Change
    outcome: Outcome
    detail: str
    sent_at: datetime
    answered_at: datetime | None
    scim_id: str | None
    is_accepted: bool = False


@dataclass(frozen=True, slots=True)
class MemberHistory:
    """What the journal knows of a member, and its last change.

    *since* is when our runs gave the access that it has (created or reactivated it last); None when it had access
    before, or has it by another hand: an adoption gives nothing. *first_seen* is the first time the journal knows it.
    """

    since: datetime | None
    first_seen: datetime
    last_change_at: datetime
    last_change_kind: Kind


@dataclass(frozen=True, slots=True)
class WorkspaceRecord:
    """What the state knows under one key: the fingerprint that it stands for (empty: not recorded yet), how many links,
    and its newest run (None: no run yet)."""

    name: str
    target: str
    link_count: int
    last_run: Run | None


@dataclass(frozen=True, slots=True)
class LinkEdit:
    """A link written by a human: *link* is what holds from now on, *previous* the link it replaces (None: none)."""

    link: Link | None
    previous: Link | None


def contested_members(history: Iterable[tuple[str, Kind, datetime, Outcome]]) -> dict[str, tuple[datetime, ...]]:
    """Map a SCIM id to when the member was deactivated, where that was twice or more often and not taken back by us.

    *history* are (SCIM id, kind, sent at, outcome) of deactivations, reactivations and creates that may have been made,
    the oldest first. A deactivation without a known outcome counts for nothing, but it is the one that we took back.
    """
    times: dict[str, list[tuple[datetime, Outcome]]] = {}
    for scim_id, kind, sent_at, outcome in history:
        deactivated_at = times.setdefault(scim_id, [])
        if kind is Kind.DEACTIVATE:
            deactivated_at.append((sent_at, outcome))
        elif deactivated_at:
            deactivated_at.pop()
    known = {scim_id: tuple(at for at, outcome in each if outcome is Outcome.DONE) for scim_id, each in times.items()}
    return {scim_id: each for scim_id, each in known.items() if len(each) > 1}


def written_since(now: datetime, left_at: datetime | None) -> datetime:
    """Return since when the changes of a workspace are facts for a plan: 24 hours, or since the members were left."""
    since = now - WRITTEN_WITHIN
    return since if left_at is None else min(since, left_at)


def written(records: Iterable[ChangeRecord], now: datetime, left_at: datetime | None) -> tuple[Written, ...]:
    """Return what *records* set of members, or may have set, by member and in the order of sending."""
    found = [
        _written(record, now, left_at)
        for record in records
        if record.change.kind is not Kind.ADOPT and record.outcome in MAY_BE_MADE and record.scim_id is not None
    ]
    return tuple(sorted(found, key=lambda each: (each.scim_id, each.sent_at, each.seq)))


def _written(record: ChangeRecord, now: datetime, left_at: datetime | None) -> Written:
    # A create that met a member set no email and no name; only its detail shows that.
    has_met = record.change.kind is Kind.CREATE and bool(record.detail)
    after = Fields() if has_met else record.change.after
    return Written(
        scim_id=record.scim_id or "",
        email=after.email,
        display_name=after.display_name,
        active=after.active,
        sent_at=record.sent_at,
        seq=record.seq,
        is_sure=record.outcome is Outcome.DONE,
        is_recent=record.sent_at >= now - WRITTEN_WITHIN,
        is_after_left=left_at is not None and record.sent_at > left_at,
    )
