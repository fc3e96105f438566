"""What the engine needs from outside: a workspace to list and write to, and a state to remember in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from agent.model import (
    Change,
    Fields,
    GroupSighting,
    KnownTarget,
    LastSeen,
    Link,
    Listing,
    Member,
    Memory,
    RecentChanges,
    UnconfirmedCreate,
    UndoneChange,
)
from agent.model.run import (
    ChangeRecord,
    Lease,
    LinkEdit,
    MemberHistory,
    Outcome,
    Pause,
    Run,
    RunCounts,
    RunOutcome,
    RunStatus,
    Trigger,
    WorkspaceRecord,
)
from connectors.base import Permit, PersonKey, Progress, discard_progress

__all__ = [
    "ChangeRecord",
    "Clock",
    "Lease",
    "LinkEdit",
    "MemberHistory",
    "Outcome",
    "Pause",
    "RecentChanges",
    "Run",
    "RunCounts",
    "RunOutcome",
    "RunStatus",
    "State",
    "Trigger",
    "Workspace",
    "WorkspaceClient",
    "WorkspaceReader",
    "WorkspaceRecord",
]


class WorkspaceReader(Protocol):
    """All that a dry run may ask of a Pigment workspace. Raises `connectors.base.ReadError`."""

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent so far."""
        ...

    async def list_members(self, progress: Progress = discard_progress) -> Listing:
        """Return all members, inactive ones too, or raise: never a part of them."""
        ...

    async def find(self, email: str) -> tuple[Member, ...]:
        """Return the members whose `userName` is *email*, case ignored; empty when there is none."""
        ...


class Workspace(WorkspaceReader, Protocol):
    """One Pigment workspace over SCIM.

    Writes raise `agent.errors.WriteError`: `WorkspaceUnavailable` when every token was refused or the host is out of
    reach for good, `WriteStopped` when the permit ended, any other of its kind for this one member only. A write
    returns the member as the workspace shows it afterwards, which is the proof that it was made (design section 7).
    """

    async def create(self, email: str, display_name: str, given_name: str, family_name: str) -> Member:
        """POST an active member. Never sent twice blindly: after a lost answer the email is looked up first."""
        ...

    async def patch(self, member: Member, wanted: Fields) -> Member:
        """PATCH `active` and the name (never the email); the full PUT where PATCH is answered 501 or 405."""
        ...

    async def replace(self, member: Member, wanted: Fields) -> Member:
        """PUT the whole member built on *member* as it was read, with *wanted* on top."""
        ...


class WorkspaceClient(WorkspaceReader, Protocol):
    """One Pigment workspace to read, and the only way to one that can be written to."""

    def writer_for(self, permit: Permit) -> Workspace:
        """Return the workspace to write to: none of its requests that write leaves once *permit* has ended."""
        ...


class Clock(Protocol):
    """The only time the engine knows."""

    def now(self) -> datetime:
        """Return the present time, in UTC."""
        ...

    def elapsed(self) -> float:
        """Return seconds by a clock that is never set, and goes on while the process or the machine is suspended."""
        ...


class State(Protocol):
    """Links, leases and the journal. Raises `agent.errors.StateError` when the store can't be used.

    Whatever takes a *load_lease* writes only while that lease is the newest and not void, in one transaction with the
    check, and raises `LeaseLost` otherwise.
    """

    async def take_lease(self, workspace: str, holder: str, target: str = "") -> Lease:
        """Return the lease, or raise `WorkspaceBusy` with the holder and since when. A void lease is taken over.

        It is one lease for the key *workspace* and the fingerprint *target*: a holder of one keeps others off both.
        """
        ...

    async def renew_lease(self, lease: Lease) -> None: ...

    async def release_lease(self, lease: Lease) -> None: ...

    async def prove_writable(self) -> None:
        """Make a write that changes nothing, in the same way as all writes. Raises `StateError`."""
        ...

    async def load_memory(self, workspace: str) -> Memory:
        """Return links, possible renames, and creates with an unknown outcome, even if their people have links now.

        Such a create is forgotten when it is older than seven days and three complete listings in a row, each reported
        by `saw_creates`, showed no member for it. What our runs wrote lately is `agent.model.run.written`.
        """
        ...

    async def load_recent_changes(self, workspace: str, since: datetime) -> RecentChanges:
        """Return who was changed since *since*, by changes whose answer is unknown too."""
        ...

    async def load_contested_members(self, workspace: str, since: datetime) -> Mapping[str, tuple[datetime, ...]]:
        """Map a SCIM id to when the member was deactivated since *since*: `agent.model.run.contested`."""
        ...

    async def load_baselines(self, workspace: str, since: datetime) -> Mapping[tuple[str, str], tuple[str, int]]:
        """Map (connector, group id) to its name and the largest size that `remember` was given since *since*.

        Without a newer one, the last one.
        """
        ...

    async def load_sightings(self, workspace: str) -> Mapping[tuple[str, str], GroupSighting]:
        """Map (connector, group id) to how enforcing runs read the group."""
        ...

    async def record_sightings(self, lease: Lease, sightings: Mapping[tuple[str, str], GroupSighting]) -> None:
        """Write the given groups in the place of what was known of them; others stay."""
        ...

    async def load_targets(self) -> tuple[KnownTarget, ...]:
        """Return the fingerprints that the state knows keys and their connectors by."""
        ...

    async def record_targets(self, lease: Lease, found: Sequence[tuple[str, str]]) -> None:
        """Write (connector, fingerprint) of the lease's workspace; an empty connector is the workspace itself."""
        ...

    async def load_workspaces(self) -> tuple[WorkspaceRecord, ...]:
        """Return every key that the state knows something of, sorted."""
        ...

    async def rename_workspace(self, old: Lease, new: Lease, run: Run) -> None:
        """Move all that is known under the key of *old* to that of *new*, and write *run*, in one transaction.

        Of what was remembered under the new key only its runs, and a pause, are kept. Nothing is moved while either
        lease is not held.
        """
        ...

    async def retarget_workspace(self, lease: Lease, run: Run, target: str) -> None:
        """Let the lease's key stand for *target* from now on, with all that is known of it, and write *run*."""
        ...

    async def reset_workspace(self, lease: Lease, run: Run, target: str) -> tuple[Link, ...]:
        """Forget all but the journal and a pause of the lease's key, and let it stand for *target* (empty: nothing).

        Writes *run* with the links that it dropped, and returns them.
        """
        ...

    async def count_guarded(self, workspace: str) -> int:
        """Return the active linked members after the workspace's last complete run, 0 before the first one."""
        ...

    async def begin_run(self, run: Run, lease: Lease) -> tuple[str, ...]:
        """Write the run as running; close runs of dead processes as interrupted and return their ids."""
        ...

    async def record_run(self, run: Run) -> None:
        """Write a finished run that needed no lease: a dry run, a pause."""
        ...

    async def record_adoptions(self, lease: Lease, run_id: str, adoptions: Sequence[tuple[int, Change, Link]]) -> None:
        """Journal adoptions as done and write their links, all or none. A relinked member changes its person."""
        ...

    async def record_intent(
        self, lease: Lease, run_id: str, seq: int, change: Change, *, respects_pause: bool = True
    ) -> Pause | None:
        """Journal a change as sent, before it is. If the workspace is paused, journal nothing and return the pause.

        With *heeds_pause* false a pause is ignored. What an undo is to put back counts as undone from then on.
        """
        ...

    async def record_answer(self, lease: Lease, record: ChangeRecord, link: Link | None = None) -> None:
        """Journal the answer and write the link that it made, in one transaction.

        A member that answered under another id than the change's takes its link along.

        A change that was not tried has no intent before it: then this is its first and only entry. Of an undo, what was
        surely not made counts as undone no more, and the link of a member whose create is undone ends.
        """
        ...

    async def update_memory(
        self,
        lease: Lease,
        seen: Sequence[Link],
        possible_renames: frozenset[tuple[PersonKey, str]],
        baselines: Mapping[tuple[str, str], tuple[str, int]],
        undone: Sequence[UndoneChange] | None = None,
    ) -> None:
        """Update groups and missed reads of existing links, replace the rename memory, and add sizes of groups.

        What is undone is replaced too, unless *undone* is None.
        """
        ...

    async def record_create_checks(self, lease: Lease, looked_for: Sequence[UnconfirmedCreate]) -> None:
        """Remember what a complete listing showed for each unsettled create: its member, or none (*scim_id* None)."""
        ...

    async def record_plan(
        self, lease: Lease, run_id: str, digest: str, document: bytes, approved_digest: str | None = None
    ) -> None:
        """Write the run's plan; *approved* is the digest that a human approved, of this plan or of its document."""
        ...

    async def record_last_seen(self, lease: Lease, run_id: str, members: Sequence[LastSeen]) -> None:
        """Remember the members as this run leaves them; nothing is written where the last run left the same."""
        ...

    async def load_last_seen(self, workspace: str, when: datetime) -> tuple[datetime, tuple[LastSeen, ...]] | None:
        """Return the members as the last run until *when* left them, and when that was; None: there was none."""
        ...

    async def load_member_history(self, workspace: str) -> Mapping[str, MemberHistory]:
        """Map a SCIM id to what the journal knows of that member."""
        ...

    async def end_run(self, lease: Lease, run_id: str, ending: RunOutcome) -> None:
        """Close the run; what it had in flight, if it was stopped in the middle of a write, becomes `unknown`."""
        ...

    async def close_run_without_lease(self, run_id: str, ending: RunOutcome, records: Sequence[ChangeRecord]) -> None:
        """Write what a run whose lease is lost knows of its own changes, and close it. It writes no link, and nothing
        of another run: what *records* have to teach is for the next plan."""
        ...

    async def record_link_edits(self, lease: Lease, run: Run, mends: Sequence[LinkEdit]) -> None:
        """Write links by hand, as a finished run of the journal."""
        ...

    async def load_link_edits(self, run_id: str) -> list[LinkEdit]:
        """Return the links that a run of `mend` wrote, with what each was before."""
        ...

    async def set_pause(self, workspace: str, pause: Pause | None, run: Run | None = None) -> tuple[ChangeRecord, ...]:
        """Pause the workspace, or with None resume it. Returns what runs had in flight at that moment.

        *run* is its line in the journal: both are written or neither is.

        Every change of a run that respects pauses is either among them or not sent.
        """
        ...

    async def load_pause(self, workspace: str) -> Pause | None: ...

    async def load_in_flight(self, workspace: str) -> tuple[ChangeRecord, ...]:
        """Return the changes that runs have sent, or are about to, and have no answer to."""
        ...

    async def load_notice(self, subject: str) -> str | None:
        """Return what people were told last of *subject*, None when they were told nothing yet."""
        ...

    async def set_notice(self, subject: str, condition: str) -> None: ...

    async def load_lease(self, workspace: str) -> Lease | None:
        """Return the lease that somebody holds at this moment. It gives no right to anything."""
        ...

    async def load_runs(
        self, workspaces: Sequence[str] = (), since: datetime | None = None, limit: int = 50
    ) -> list[Run]:
        """Return runs, newest first, without their documents; all workspaces when none is named."""
        ...

    async def load_run(self, run_id: str) -> Run | None: ...

    async def load_run_by_digest(self, digest: str) -> Run | None:
        """Return the newest run whose plan had *digest*."""
        ...

    async def load_changes(self, run_id: str) -> list[ChangeRecord]: ...

    async def load_member_changes(
        self, workspace: str, limit: int = 20, *, email: str = "", scim_id: str = ""
    ) -> list[ChangeRecord]:
        """Return changes of one member or address (before or after, folded), newest first."""
        ...

    async def prune(self, before: datetime) -> int:
        """Forget runs that began before *before*, but what a later run needs, and return how many are gone."""
        ...
