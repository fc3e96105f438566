"""What the API takes and gives, as its OpenAPI document describes it. Times are UTC, ISO 8601."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from agent.address import is_valid
from agent.answer import Explanation
from agent.desk import Ongoing, Standing
from agent.model import Unplanned
from agent.ports import ChangeRecord, Run, RunStatus

__all__ = [
    "Approval",
    "Asked",
    "PauseShape",
    "PersonShape",
    "Problem",
    "Reason",
    "RunAccepted",
    "RunList",
    "RunShape",
    "Short",
    "WorkspaceList",
    "WorkspaceShape",
    "ongoing_shape",
    "person_shape",
    "run_shape",
    "workspace_shape",
]

Short = Annotated[str, StringConstraints(max_length=500)]
Digest = Annotated[str, StringConstraints(pattern="^(sha256:)?[0-9a-fA-F]{8,64}$")]


def _address(value: str) -> str:
    if value and not is_valid(value):
        raise ValueError("must be an email address")
    return value


class Taken(BaseModel):
    """What somebody sends: unknown members are errors, and nothing is guessed from another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Asked(Taken):
    """A one-off run. `plan` writes nothing; `sync` brings the workspace in step, within the same guards as always."""

    mode: Literal["plan", "sync"]
    user: Annotated[str, StringConstraints(max_length=320), AfterValidator(_address)] = Field(
        default="", description="Email address of the one person whose changes alone are wanted; empty: everybody."
    )
    reason: Short = Field(default="", description="Why, for the journal.")


class Approval(Taken):
    """The release of a held plan."""

    digest: Digest = Field(
        description="The digest of the run's plan, or its first 8 digits or more, to prove that it was seen."
    )
    reason: Short = Field(default="", description="Why, for the journal.")


class Reason(Taken):
    """Why something is done, for the journal."""

    reason: Short = ""


class Given(BaseModel):
    model_config = ConfigDict(frozen=True)


class Problem(Given):
    """RFC 9457, with the members `code` and `remedy`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    remedy: str


class RunAccepted(Given):
    id: str
    url: str


class TallyShape(Given):
    """Numbers of a run: members that were active, changes made (or planned), held, failed."""

    active: int
    changes: int
    held: int
    failed: int


class ProgressShape(Given):
    step: str
    done: int
    total: int | None


class ChangeShape(Given):
    """One change that was tried, and what became of it."""

    seq: int
    kind: str
    email: str
    display_name: str
    scim_id: str | None
    outcome: str
    detail: str
    sent_at: datetime
    answered_at: datetime | None


class RunShape(Given):
    """A run. `status` is a word of the journal, or `waiting`; `plan` is the workspace's part of the plan document."""

    id: str
    url: str
    workspace: str
    trigger: str
    dry_run: bool
    user: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    by: str
    reason: str
    approved: str | None
    digest: str | None
    error: str
    requests: int
    tally: TallyShape | None
    progress: ProgressShape | None = None
    plan: dict[str, Any] | None = None
    changes: tuple[ChangeShape, ...] | None = None


class RunList(Given):
    runs: tuple[RunShape, ...]


class FlightShape(Given):
    """A change that was sent before the pause and has no answer yet."""

    run: str
    kind: str
    email: str


class PauseShape(Given):
    """A pause. `in_flight` is what a run had sent before it and has no answer to yet: it may still be made."""

    since: datetime
    by: str
    reason: str
    in_flight: tuple[FlightShape, ...] = ()


class WorkspaceShape(Given):
    """How a workspace stands. `read` is when all reads were complete last, `applied` when it was brought in step."""

    name: str
    url: str
    mode: str
    schedule: str
    next_run: datetime | None
    token_expires: date | None
    pause: PauseShape | None
    read: datetime | None
    applied: datetime | None
    last_run: RunShape | None
    ongoing: tuple[RunShape, ...]


class WorkspaceList(Given):
    workspaces: tuple[WorkspaceShape, ...]


class ExplanationShape(Given):
    """Why one person is in or out of a workspace; each step is a list of sentences."""

    workspace: str
    source: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    decision: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    error: str = Field(default="", description="Why the workspace could not be read; then the rest is empty.")


class PersonShape(Given):
    email: str
    workspaces: tuple[ExplanationShape, ...]


def run_shape(run: Run, records: Sequence[ChangeRecord] | None = None) -> RunShape:
    tally = run.tally
    plan: dict[str, Any] | None = orjson.loads(run.document) if run.document else None
    return RunShape(
        id=run.id,
        url=f"/api/v1/runs/{run.id}",
        workspace=run.workspace,
        trigger=run.trigger,
        dry_run=run.dry_run,
        user=run.user,
        status=run.status,
        started_at=run.started_at,
        finished_at=run.finished_at,
        by=run.by,
        reason=run.reason,
        approved=run.approved,
        digest=run.digest,
        error=run.error,
        requests=run.requests,
        tally=None
        if tally is None
        else TallyShape(active=tally.active, changes=tally.changes, held=tally.held, failed=tally.failed),
        plan=plan,
        changes=None if records is None else tuple(map(_change, records)),
    )


def _change(record: ChangeRecord) -> ChangeShape:
    return ChangeShape(
        seq=record.seq,
        kind=record.change.kind,
        email=record.change.email,
        display_name=record.change.display_name,
        scim_id=record.scim_id,
        outcome=record.outcome,
        detail=record.detail,
        sent_at=record.sent_at,
        answered_at=record.answered_at,
    )


def ongoing_shape(run: Ongoing) -> RunShape:
    return RunShape(
        id=run.run_id,
        url=f"/api/v1/runs/{run.run_id}",
        workspace=run.workspace,
        trigger=run.trigger,
        dry_run=run.is_dry_run,
        user=run.user,
        status=RunStatus.RUNNING if run.step else "waiting",
        started_at=run.since,
        finished_at=None,
        by=run.by,
        reason=run.reason,
        approved=None,
        digest=None,
        error="",
        requests=0,
        tally=None,
        progress=ProgressShape(step=run.step, done=run.done, total=run.total),
    )


def workspace_shape(standing: Standing, ongoing: Sequence[Ongoing]) -> WorkspaceShape:
    return WorkspaceShape(
        name=standing.name,
        url=f"/api/v1/workspaces/{standing.name}",
        mode=standing.mode,
        schedule=standing.schedule,
        next_run=standing.next_run,
        token_expires=standing.token_expires,
        pause=_pause(standing),
        read=standing.read.finished_at if standing.read else None,
        applied=standing.applied.finished_at if standing.applied else None,
        last_run=None if standing.last is None else run_shape(standing.last),
        ongoing=tuple(ongoing_shape(each) for each in ongoing if each.workspace == standing.name),
    )


def _pause(standing: Standing) -> PauseShape | None:
    pause = standing.pause
    if pause is None:
        return None
    flights = [
        FlightShape(run=each.run_id, kind=each.change.kind, email=each.change.email) for each in standing.in_flight
    ]
    return PauseShape(since=pause.since, by=pause.by, reason=pause.reason, in_flight=tuple(flights))


def person_shape(email: str, found: Sequence[Explanation | Unplanned]) -> PersonShape:
    return PersonShape(email=email, workspaces=tuple(map(_explanation, found)))


def _explanation(found: Explanation | Unplanned) -> ExplanationShape:
    if isinstance(found, Unplanned):
        return ExplanationShape(workspace=found.workspace, error=f"{found.message} {found.remedy}")
    return ExplanationShape(
        workspace=found.workspace,
        source=found.source,
        scope=found.scope,
        match=found.match,
        decision=found.decision,
        actions=found.actions,
        near=found.near,
    )
