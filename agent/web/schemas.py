"""Request and response models of the API. Times are UTC, ISO 8601."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, StringConstraints

from agent.daemon.interface import ActiveRun, WorkspaceStatus
from agent.delivery.rows import ReportRow
from agent.model import Unplanned
from agent.model.access import Explanation, MemberView, PersonView
from agent.model.approval import Approval, ApprovalPolicy
from agent.model.email import is_valid
from agent.model.run import ChangeRecord, Run, RunStatus
from agent.report.run_identity import format_utc, run_object
from agent.web.approval_form import ApprovalForm

__all__ = [
    "ApprovalAccepted",
    "ApprovalBody",
    "ApprovalNeedsSchema",
    "MissingApproval",
    "PauseSchema",
    "PersonSchema",
    "Problem",
    "ReasonBody",
    "ReportList",
    "RunAccepted",
    "RunList",
    "RunRequestBody",
    "RunSchema",
    "ShortText",
    "UndoBody",
    "WorkspaceList",
    "WorkspaceSchema",
    "active_run_to_schema",
    "approval_needs",
    "person_to_schema",
    "run_to_schema",
    "workspace_to_schema",
]

ShortText = Annotated[str, StringConstraints(max_length=500)]
Digest = Annotated[str, StringConstraints(pattern="^(sha256:)?[0-9a-fA-F]{8,64}$")]

Confirm = Annotated[
    Annotated[int, Field(ge=0)] | None,
    Field(description="How many accounts will be deactivated, as the client read it: another number is refused."),
]


def _validate_email(value: str) -> str:
    if value and not is_valid(value):
        raise ValueError("must be an email address")
    return value


class RequestModel(BaseModel):
    """A request body: unknown members are errors, and no type is converted to another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RunRequestBody(RequestModel):
    """A one-off run. `plan` writes nothing; `sync` brings the workspace in sync, under the usual guards."""

    mode: Literal["plan", "sync"]
    user: Annotated[str, StringConstraints(max_length=320), AfterValidator(_validate_email)] = Field(
        default="", description="Email address of the only person to change; empty for all."
    )
    reason: ShortText = Field(default="", description="Why, for the journal.")


class ApprovalBody(RequestModel):
    """The approval of a plan that is on hold."""

    digest: Digest = Field(
        description="The digest of the run's plan, or at least its first 8 digits, to prove that it was reviewed."
    )
    reason: ShortText = Field(
        default="", description="Why, for the journal; not empty unless `approvals.reason` is `optional`."
    )
    guards: Annotated[tuple[str, ...], Field(max_length=50), Strict(False)] = Field(
        default=(), description="The codes of the guards to approve, such as `max-deactivations`; empty for all."
    )
    confirm: Confirm = None


class UndoBody(RequestModel):
    """Without `digest`: plan the undo, which writes nothing. With it: approve the undo that was planned."""

    digest: Digest | None = Field(
        default=None, description="The digest of the undo's plan, or at least its first 8 digits; null: only plan."
    )
    reason: ShortText = Field(
        default="",
        description="Why, for the journal; not empty with `digest`, unless `approvals.reason` is `optional`.",
    )
    guards: Annotated[tuple[str, ...], Field(max_length=50), Strict(False)] = Field(
        default=(), description="The codes of the guards to approve; empty for all."
    )
    confirm: Confirm = None


class ReasonBody(RequestModel):
    """The reason for an action, for the journal."""

    reason: ShortText = ""


class ResponseModel(BaseModel):
    model_config = ConfigDict(frozen=True)


class Problem(ResponseModel):
    """RFC 9457, with the members `code` and `remedy`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    remedy: str


class RunAccepted(ResponseModel):
    id: str
    url: str


class MissingApproval(ResponseModel):
    """A guard that other people must approve too: who did, and how many are missing."""

    guard: str
    approved_by: tuple[str, ...]
    people: int


class ApprovalAccepted(RunAccepted):
    """`missing` are the guards that need a second person. If no other is named, the run writes nothing."""

    missing: tuple[MissingApproval, ...]


class RunCountsSchema(ResponseModel):
    """Numbers of a run: active members, changes made (or planned), on hold, failed."""

    active: int
    changes: int
    held: int
    failed: int


class ProgressSchema(ResponseModel):
    step: str
    done: int
    total: int | None


class ChangeSchema(ResponseModel):
    """One attempted change and its outcome."""

    seq: int
    kind: str
    email: str
    display_name: str
    scim_id: str | None
    outcome: str
    detail: str
    sent_at: datetime
    answered_at: datetime | None


class RunApprovalSchema(ResponseModel):
    """An approval of a run's plan. `guards`: only what these hold; empty: what any guard holds."""

    by: str
    at: str
    reason: str
    guards: tuple[str, ...]


class UsableApprovalSchema(RunApprovalSchema):
    """An approval of a plan that no run has applied. It counts until `expires_at`."""

    expires_at: str


class GuardApprovalSchema(ResponseModel):
    """A guard that holds something: how many changes of each kind, who approved it, and how many people are missing."""

    guard: str
    message: str
    holds: dict[str, int]
    approved_by: tuple[str, ...]
    missing: int


class ApprovalNeedsSchema(ResponseModel):
    """What an approval of the plan needs and does, as the page shows it to the client.

    `blocked` is why it can't be given now; empty: it can. `counts` are the changes by kind that it releases, once
    enough people approved. `waits`: the client's approval would be recorded, and write nothing. `repeated`: the client
    approved it before. Above `confirm_over` deactivations the page asks to type their number.
    """

    blocked: str
    newer_run: str | None = Field(description="The run whose plan is newer and differs; null: this one is current.")
    needed: int
    reason_required: bool
    confirm_over: int
    valid_for_seconds: int
    counts: dict[str, int]
    waits: bool
    repeated: bool
    guards: tuple[GuardApprovalSchema, ...]
    approvals: tuple[UsableApprovalSchema, ...]
    expired: tuple[UsableApprovalSchema, ...]


class RunSchema(ResponseModel):
    """A run. `status` is that of the journal, or `waiting`; `plan` is the workspace's part of the plan document.

    `version`, `commit` and `config_sha256` are what it was made with; null: not recorded; an empty `commit`: not known.
    """

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
    tally: RunCountsSchema | None
    version: str | None = None
    commit: str | None = None
    config_sha256: str | None = None
    approvals: tuple[RunApprovalSchema, ...] | None = Field(
        default=None, description="Who approved the plan; null in a list of runs."
    )
    approval: ApprovalNeedsSchema | None = Field(
        default=None, description="What an approval needs; null in a list of runs, and where no guard holds anything."
    )
    progress: ProgressSchema | None = None
    plan: dict[str, Any] | None = None
    changes: tuple[ChangeSchema, ...] | None = None


class RunList(ResponseModel):
    runs: tuple[RunSchema, ...]


class InFlightChangeSchema(ResponseModel):
    """A change that was sent before the pause and has no response yet."""

    run: str
    kind: str
    email: str


class PauseSchema(ResponseModel):
    """A pause. `in_flight` are changes that a run sent before it and that may still take effect."""

    since: datetime
    by: str
    reason: str
    in_flight: tuple[InFlightChangeSchema, ...] = ()


class WorkspaceSchema(ResponseModel):
    """The status of a workspace. `read` is the time of its last complete read, `applied` of its last sync."""

    name: str
    url: str
    mode: str
    schedule: str
    next_run: datetime | None
    token_expires: date | None
    pause: PauseSchema | None
    read: datetime | None
    applied: datetime | None
    last_run: RunSchema | None
    ongoing: tuple[RunSchema, ...]


class WorkspaceList(ResponseModel):
    workspaces: tuple[WorkspaceSchema, ...]


class ReportList(ResponseModel):
    """The scheduled reports of the configuration, with their targets without secrets."""

    reports: tuple[ReportRow, ...]


class ExplanationSchema(ResponseModel):
    """Why one person is in or out of a workspace: each step as sentences, then `people` and `members` as values."""

    workspace: str
    source: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    decision: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    found: bool = Field(default=False, description="Whether a person, a member or an earlier change has the address.")
    people: tuple[PersonView, ...] = Field(default=(), description="The person, as each source shows them.")
    members: tuple[MemberView, ...] = Field(default=(), description="The members that the explanation is about.")
    verdict: str = Field(default="", description="The decision in one clause; empty: not in the workspace.")
    error: str = Field(default="", description="Why the workspace could not be read; then the rest is empty.")


class PersonSchema(ResponseModel):
    email: str
    workspaces: tuple[ExplanationSchema, ...]


def run_to_schema(
    run: Run,
    records: Sequence[ChangeRecord] | None = None,
    approvals: Sequence[Approval] | None = None,
    needs: ApprovalNeedsSchema | None = None,
) -> RunSchema:
    tally, identity = run.tally, run_object(run, approvals or ())
    plan: dict[str, Any] | None = {**orjson.loads(run.document), "run": identity} if run.document else None
    return RunSchema(
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
        approved=run.approved_digest,
        digest=run.digest,
        error=run.error,
        requests=run.requests,
        tally=None
        if tally is None
        else RunCountsSchema(active=tally.active, changes=tally.changes, held=tally.held, failed=tally.failed),
        version=identity["version"],
        commit=identity["commit"],
        config_sha256=identity["config_sha256"],
        approvals=None if approvals is None else tuple(map(RunApprovalSchema.model_validate, identity["approvals"])),
        approval=needs,
        plan=plan,
        changes=None if records is None else tuple(map(_change_to_schema, records)),
    )


def approval_needs(
    form: ApprovalForm, policy: ApprovalPolicy, blocked: str, newer_run: str | None
) -> ApprovalNeedsSchema:
    """Return what the page's *form* shows. *blocked* is why it can't be approved now."""
    return ApprovalNeedsSchema(
        blocked=blocked,
        newer_run=newer_run,
        needed=policy.needed,
        reason_required=policy.requires_reason,
        confirm_over=policy.confirm_over,
        valid_for_seconds=int(policy.valid_for.total_seconds()),
        counts=dict(form.counts),
        waits=form.waits,
        repeated=form.repeated,
        guards=tuple(
            GuardApprovalSchema(
                guard=box.code,
                message=box.message,
                holds=dict(box.counts),
                approved_by=box.approval.approved_by,
                missing=box.approval.missing,
            )
            for box in form.boxes
        ),
        approvals=tuple(_usable_approval(each, until) for each, until in form.given),
        expired=tuple(_usable_approval(each, each.at + policy.valid_for) for each in form.expired),
    )


def _usable_approval(approval: Approval, until: datetime) -> UsableApprovalSchema:
    return UsableApprovalSchema(
        by=approval.by,
        at=format_utc(approval.at),
        reason=approval.reason,
        guards=approval.guards,
        expires_at=format_utc(until),
    )


def _change_to_schema(record: ChangeRecord) -> ChangeSchema:
    return ChangeSchema(
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


def active_run_to_schema(run: ActiveRun) -> RunSchema:
    return RunSchema(
        id=run.run_id,
        url=f"/api/v1/runs/{run.run_id}",
        workspace=run.workspace,
        trigger=run.trigger,
        dry_run=run.is_dry_run,
        user=run.user,
        status=RunStatus.RUNNING if run.step else "waiting",
        started_at=run.requested_at,
        finished_at=None,
        by=run.by,
        reason=run.reason,
        approved=None,
        digest=None,
        error="",
        requests=0,
        tally=None,
        progress=ProgressSchema(step=run.step, done=run.done, total=run.total),
    )


def workspace_to_schema(status: WorkspaceStatus, ongoing: Sequence[ActiveRun]) -> WorkspaceSchema:
    return WorkspaceSchema(
        name=status.name,
        url=f"/api/v1/workspaces/{status.name}",
        mode=status.mode,
        schedule=status.schedule,
        next_run=status.next_run,
        token_expires=status.token_expires,
        pause=_pause_to_schema(status),
        read=status.last_read.finished_at if status.last_read else None,
        applied=status.last_applied.finished_at if status.last_applied else None,
        last_run=None if status.last_run is None else run_to_schema(status.last_run),
        ongoing=tuple(active_run_to_schema(each) for each in ongoing if each.workspace == status.name),
    )


def _pause_to_schema(status: WorkspaceStatus) -> PauseSchema | None:
    pause = status.pause
    if pause is None:
        return None
    flights = [
        InFlightChangeSchema(run=each.run_id, kind=each.change.kind, email=each.change.email)
        for each in status.in_flight
    ]
    return PauseSchema(since=pause.since, by=pause.by, reason=pause.reason, in_flight=tuple(flights))


def person_to_schema(email: str, found: Sequence[Explanation | Unplanned]) -> PersonSchema:
    return PersonSchema(email=email, workspaces=tuple(map(_explanation_to_schema, found)))


def _explanation_to_schema(found: Explanation | Unplanned) -> ExplanationSchema:
    if isinstance(found, Unplanned):
        return ExplanationSchema(workspace=found.workspace, error=f"{found.message} {found.remedy}")
    return ExplanationSchema(
        workspace=found.workspace,
        source=found.source,
        scope=found.scope,
        match=found.match,
        decision=found.decision,
        actions=found.actions,
        near=found.near,
        found=found.found,
        people=found.people,
        members=found.members,
        verdict=found.verdict,
    )
