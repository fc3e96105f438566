"""The journal of runs and changes. Methods raise `agent.errors.StateError`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from agent.model import Change, Kind, Link, RecentChanges
from agent.model.approval import Approval
from agent.model.run import ANY_RUN, ChangeRecord, Lease, Pause, Run, RunFilter, RunOutcome, RunOutline, RunStatus

__all__ = ["Journal"]


class Journal(Protocol):
    """Runs, their plans, and their changes with outcomes.

    A method that takes a `Lease` writes only while that lease is the newest and not void. The check is in the same
    transaction; it raises `LeaseLost` otherwise.
    """

    async def begin_run(self, run: Run, lease: Lease, claim: Lease | None = None) -> tuple[str, ...]:
        """Write the run as running. Closes runs of dead processes as interrupted and returns their ids.

        With *claim*, the lease of the job that the run is for, it must be held too: a daemon that was suspended begins
        no run of a job that another has taken over.
        """
        ...

    async def record_run(self, run: Run, document: Iterable[bytes] | None = None) -> None:
        """Write a finished run that needed no lease: a dry run, a pause.

        *document* are the parts of its document, instead of `Run.document`: a run that holds all of it takes much room.
        """
        ...

    async def record_plan(
        self, lease: Lease, run_id: str, digest: str, document: Iterable[bytes], approved_digest: str | None = None
    ) -> None:
        """Write the run's plan. *document* are its parts; to make them takes seconds, so it is not done in this thread.

        *approved_digest* is the approved digest, of this plan or of the whole document.
        """
        ...

    async def record_approval(self, lease: Lease, approval: Approval) -> None:
        """Write an approval. Its run must have begun."""
        ...

    async def mark_approvals_applied(self, lease: Lease, run_id: str, approvals: Sequence[Approval]) -> None:
        """Record that the run is about to apply what *approvals* release: they count for no other run."""
        ...

    async def load_approvals(self, workspace: str, digest: str) -> tuple[Approval, ...]:
        """Return the approvals of a plan of the key's current target, oldest first, expired and applied ones too."""
        ...

    async def load_run_approvals(self, run_id: str) -> tuple[Approval, ...]:
        """Return the approvals that a run applied, and the one that was given in it, oldest first."""
        ...

    async def record_adoptions(self, lease: Lease, run_id: str, adoptions: Sequence[tuple[int, Change, Link]]) -> None:
        """Write adoptions as done with their links, all or none. A relinked member changes its person."""
        ...

    async def record_intent(
        self, lease: Lease, run_id: str, seq: int, change: Change, *, respects_pause: bool = True
    ) -> Pause | None:
        """Write a change as sent, before it is. If the workspace is paused, write nothing and return the pause.

        With *respects_pause* false a pause is ignored. A change of an undo counts as undone from then on.
        """
        ...

    async def record_answer(self, lease: Lease, record: ChangeRecord, link: Link | None = None) -> None:
        """Write the outcome of a change and the link that it made, in one transaction.

        When the member in the response has another id than the change, its link moves to that id.

        A change that was not tried has no intent: this is its only entry. When a change of an undo surely failed, it
        no longer counts as undone. The link of a member ends when its create is undone.
        """
        ...

    async def end_run(self, lease: Lease, run_id: str, ending: RunOutcome) -> None:
        """Close the run. Its changes still in flight, after a stop during a write, become `unknown`."""
        ...

    async def close_run_without_lease(self, run_id: str, ending: RunOutcome, records: Sequence[ChangeRecord]) -> None:
        """Close a run that lost its lease, with the outcomes of its own changes.

        Writes no link and nothing of another run: the next plan learns from *records*.
        """
        ...

    async def load_runs(
        self,
        workspaces: Sequence[str] = (),
        since: datetime | None = None,
        limit: int = 50,
        *,
        ids: Sequence[str] | None = None,
        where: RunFilter = ANY_RUN,
    ) -> list[Run]:
        """Return runs, newest first, without their documents. Without *workspaces*, runs of all.

        With *ids*, only the runs with these ids. *where* applies before *limit*: other runs can't hide one.
        """
        ...

    async def load_outlines(self, workspaces: Sequence[str], limit: int) -> Mapping[str, tuple[RunOutline, ...]]:
        """Return the newest *limit* runs for everyone of each of *workspaces*, newest first, without partial ones."""
        ...

    async def find_newest_runs(
        self, workspaces: Sequence[str], statuses: Collection[RunStatus], *, only_applied: bool
    ) -> Mapping[str, str]:
        """Return for each of *workspaces* the id of its newest run for everyone with one of *statuses*, if it has one.

        Partial runs are left out; with *only_applied*, dry runs too.
        """
        ...

    async def load_newest_approvals(self, workspaces: Sequence[str]) -> Mapping[str, Approval]:
        """Return the newest approval of each of *workspaces* that has one."""
        ...

    async def count_changes(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[Kind, int]]:
        """Return for each run how many changes of each kind were made. A run that made no change has no entry."""
        ...

    async def load_run(self, run_id: str) -> Run | None: ...

    async def load_run_by_digest(self, digest: str) -> Run | None:
        """Return the newest run with the plan digest *digest*, which may be a prefix."""
        ...

    async def load_last_plan(self, workspace: str, target: str) -> Run | None:
        """Return the newest run with a plan of everyone for this *target* (empty: any), with its document.

        Runs for one person, undos, and runs that could not read everything are no such plans.
        """
        ...

    async def load_changes(self, run_id: str) -> list[ChangeRecord]: ...

    async def load_member_changes(
        self, workspace: str, limit: int = 20, *, email: str = "", scim_id: str = ""
    ) -> list[ChangeRecord]:
        """Return changes of one member or one email (before or after, normalized), newest first."""
        ...

    async def load_recent_changes(self, workspace: str, since: datetime) -> RecentChanges:
        """Return for each counting guard who was changed since *since*, including changes with an unknown outcome."""
        ...

    async def load_recent_deactivations(
        self, workspaces: Sequence[str], since: datetime
    ) -> Mapping[str, frozenset[str]]:
        """Return who `load_recent_changes` counts as deactivated, for each of *workspaces*."""
        ...

    async def load_contested_members(self, workspace: str, since: datetime) -> Mapping[str, tuple[datetime, ...]]:
        """Map a SCIM id to the times of its deactivations since *since*: `agent.model.run.contested_members`."""
        ...

    async def prune(self, before: datetime) -> int:
        """Delete runs that began before *before* and that no later run needs. Returns their number."""
        ...
