"""The plan document as it is written (design section 11): plain JSON shapes, with a version of their own.

`agent.plan_parser` validates files against these classes, so the shape is defined once. Pydantic needs the `TypedDict`
of typing_extensions on Python 3.11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NotRequired

from annotated_types import Ge
from typing_extensions import TypedDict

__all__ = [
    "COUNT_KEYS",
    "VERSION",
    "ApprovalObject",
    "ChangeObject",
    "Counts",
    "Document",
    "ErrorObject",
    "FieldsObject",
    "GroupObject",
    "GuardObject",
    "HoldObject",
    "KindName",
    "MemberObject",
    "MembersFileObject",
    "NoteObject",
    "OutcomeRow",
    "Outcomes",
    "PersonObject",
    "PlannedObject",
    "RunObject",
    "ShrunkGroupObject",
    "SourceObject",
    "UnplannedObject",
    "WorkspaceObject",
]

VERSION = 1

COUNT_KEYS = (
    "create",
    "adopt",
    "update-name",
    "update-email",
    "reactivate",
    "deactivate",
    "hold",
    "note",
    "in-sync",
)
"""The keys of `counts`; all are always there."""

KindName = Literal["create", "adopt", "update-name", "update-email", "reactivate", "deactivate"]


Count = Annotated[int, Ge(0)]


class PersonObject(TypedDict):
    connector: str
    id: str


class FieldsObject(TypedDict, total=False):
    """The changed fields of a member. An absent field is not touched."""

    email: str
    display_name: str
    active: bool


class GroupObject(TypedDict):
    id: str
    name: str
    people: Count


class SourceObject(TypedDict):
    """*people* counts everyone read as assigned, *individual* those assigned without a group."""

    connector: str
    app: str
    people: Count
    entitled: Count
    groups: list[GroupObject]
    individual: Count


class MemberObject(TypedDict):
    """*linked* is before the plan."""

    total: Count
    active: Count
    linked: Count


class ChangeObject(TypedDict):
    """*given_name* and *family_name* are sent with a create; *waits_for* is the SCIM id that must move away first."""

    kind: KindName
    email: str
    display_name: str
    scim_id: str | None
    person: PersonObject | None
    before: FieldsObject
    after: FieldsObject
    code: str
    reason: str
    groups: list[str]
    given_name: NotRequired[str]
    family_name: NotRequired[str]
    waits_for: NotRequired[str]


if TYPE_CHECKING:
    ChangeList = Sequence[ChangeObject]
else:
    # A file must have a list. What only shows a plan makes each change where it is read.
    ChangeList = list[ChangeObject]


class HoldObject(TypedDict):
    """A held change. The keys after *person* are those of the change that an approval would release.

    If they are absent, an approval does not release the hold. *change_code* and *change_reason* give the reason for the
    change, *code* and *reason* that of the hold.
    """

    kind: KindName
    code: str
    email: str
    reason: str
    remedy: str
    wanted: NotRequired[str]
    scim_id: NotRequired[str]
    person: NotRequired[PersonObject]
    before: NotRequired[FieldsObject]
    after: NotRequired[FieldsObject]
    display_name: NotRequired[str]
    groups: NotRequired[list[str]]
    change_code: NotRequired[str]
    change_reason: NotRequired[str]
    given_name: NotRequired[str]
    family_name: NotRequired[str]
    waits_for: NotRequired[str]


class NoteObject(TypedDict):
    code: str
    email: str
    reason: str


class GuardObject(TypedDict):
    """A guard that tripped, with the numbers of the moment; outside the digest. *first* are at most ten emails.

    *holds* are the indexes in `holds` of what its approval helps to release: each guard that lists a hold must be
    approved. It is absent in documents of earlier releases. *released_by* are the people whose approvals released it.
    """

    code: str
    count: Count
    recent: Count
    limit: str
    message: str
    affected: Count
    first: list[str]
    holds: NotRequired[list[Count]]
    released_by: NotRequired[list[str]]


class ShrunkGroupObject(TypedDict):
    """A group with fewer people than before; *people* is 0 where it is gone. Outside the digest."""

    connector: str
    id: str
    name: str
    before: Count
    people: Count


class PausedObject(TypedDict):
    """Who paused the workspace, since when (UTC) and why; outside the digest."""

    by: str
    since: str
    reason: str


class ApprovalObject(TypedDict):
    """Who approved the plan, when (UTC) and why. *guards*: only what these hold; empty: what any guard holds."""

    by: str
    at: str
    reason: str
    guards: list[str]


class RunObject(TypedDict):
    """The run that the plan is of; outside the digest. *by* asked for it, for *reason*.

    *status* is how it ended. *version*, *commit* and *config_sha256* are what it was made with; null: not recorded, as
    by a release before they were; an empty *commit*: not known.
    """

    id: str
    trigger: str
    by: str
    reason: str
    started_at: str
    finished_at: str | None
    status: str
    approvals: list[ApprovalObject]
    version: str | None
    commit: str | None
    config_sha256: str | None


class MembersFileObject(TypedDict):
    """The exported list that a plan used instead of the workspace's listing. The digest covers it.

    So no approval of such a plan can fit one that a run makes. *rows* counts the members in it.
    """

    file: str
    rows: Count
    sha256: str


class ErrorObject(TypedDict):
    code: str
    message: str
    remedy: str


Counts = dict[str, Count]


class PlannedObject(TypedDict):
    """*held_since* has, for each of *holds*, since when it has been waiting (UTC); outside the digest."""

    name: str
    mode: Literal["dry-run", "enforce"]
    status: Literal["planned"]
    digest: str
    sources: list[SourceObject]
    members: MemberObject
    counts: Counts
    changes: ChangeList
    holds: list[HoldObject]
    notes: list[NoteObject]
    guards: list[GuardObject]
    held_since: NotRequired[list[str]]
    paused: NotRequired[PausedObject]
    run: NotRequired[RunObject]
    members_from: NotRequired[MembersFileObject]
    shrunk_groups: NotRequired[list[ShrunkGroupObject]]


class UnplannedObject(TypedDict):
    """A workspace that could not be planned. Its numbers are not known, so they are absent."""

    name: str
    mode: Literal["dry-run", "enforce"]
    status: Literal["incomplete", "credentials", "busy"]
    digest: str
    error: ErrorObject
    changes: ChangeList
    holds: list[HoldObject]
    notes: list[NoteObject]
    run: NotRequired[RunObject]
    members_from: NotRequired[MembersFileObject]


WorkspaceObject = PlannedObject | UnplannedObject


class Document(TypedDict):
    version: Count
    generated_at: str
    digest: str
    workspaces: list[WorkspaceObject]
    user: NotRequired[str]


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """The outcome of one change of an executed run, from the journal. *email* is the change's."""

    seq: int
    kind: str
    email: str
    outcome: str
    detail: str = ""


Outcomes = Mapping[str, Sequence[OutcomeRow]]
"""Outcomes by workspace name. A workspace that is not a key was planned only."""
