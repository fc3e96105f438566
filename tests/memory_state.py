"""A state in plain Python for the engine's tests and the simulation. It passes the contract that the databases pass."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from agent.errors import LeaseLost, WorkspaceBusy
from agent.guard.count_table import COUNT_GUARDS, change_subject
from agent.model import (
    Change,
    GroupSighting,
    Kind,
    KnownTarget,
    LastSeen,
    Link,
    Listing,
    Memory,
    RecentChanges,
    UnconfirmedCreate,
    UndoneChange,
)
from agent.model.approval import Approval
from agent.model.codes import GuardCode
from agent.model.daemon import DaemonRecord
from agent.model.email import normalize
from agent.model.feed import ANYONE, Announcement, FeedCursor, FeedLag, NamedPerson, WantedRun
from agent.model.job import Job, JobBoard, JobProgress, JobRequest, PlannedSchedule, stopped_job_id, tick_id
from agent.model.page_size import LearnedPageSize
from agent.model.report import Delivery, DeliveryStatus, MadeReport, ReportStatus
from agent.model.run import (
    ANY_RUN,
    PARTIAL_TRIGGERS,
    ChangeRecord,
    Lease,
    LinkEdit,
    MemberHistory,
    Outcome,
    Pause,
    Run,
    RunFilter,
    RunOutcome,
    RunOutline,
    RunStatus,
    Trigger,
    WorkspaceRecord,
    contested_members,
    written,
    written_since,
)
from agent.model.verification import Verification, VerificationKind
from agent.model.web_login import (
    BEGUN_LOGIN_LIFETIME,
    FAILED_LOGIN_WINDOW,
    MAX_BEGUN_LOGINS,
    MAX_FAILED_LOGINS,
    MAX_SESSIONS,
    SESSION_IDLE,
    WebSession,
    remaining_time,
)
from agent.ports.daemons import ALIVE_SECONDS, FORGOTTEN_AFTER_SECONDS
from agent.ports.feeds import CLOCK_SET_BACK, KEPT_LEAVERS
from agent.ports.verifications import KEPT_VERIFICATIONS
from agent.report.hold_age import has_plan
from connectors.base import PersonKey

COUNTED = {Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED}
UNSETTLED = {Outcome.UNKNOWN, Outcome.NOT_PERSISTED}
VOID_AFTER = timedelta(seconds=15)


@dataclass(slots=True)
class Held:
    lease: Lease
    renewed_at: datetime | None


@dataclass(slots=True)
class FoundLeaver:
    found_at: datetime
    since: datetime | None
    verdict: str


@dataclass(slots=True)
class WholeRun:
    why: str = ""
    tries: int = 0
    run_id: str = ""
    tried_at: datetime | None = None
    begun_at: datetime | None = None


@dataclass
class MemoryState:
    """Implements `agent.ports.state.State`; *now* is the only clock."""

    now: Callable[[], datetime]
    held: dict[str, Held] = field(default_factory=dict)
    links: dict[str, dict[PersonKey, Link]] = field(default_factory=dict)
    renames: dict[str, frozenset[tuple[PersonKey, str]]] = field(default_factory=dict)
    different: dict[str, set[tuple[PersonKey, str]]] = field(default_factory=dict)
    sizes: dict[str, list[tuple[datetime, dict[tuple[str, str], tuple[str, int]]]]] = field(default_factory=dict)
    seen_groups: dict[str, dict[tuple[str, str], GroupSighting]] = field(default_factory=dict)
    undone: dict[str, tuple[UndoneChange, ...]] = field(default_factory=dict)
    pauses: dict[str, Pause] = field(default_factory=dict)
    journal: dict[str, Run] = field(default_factory=dict)
    records: dict[str, dict[int, ChangeRecord]] = field(default_factory=dict)
    past: dict[str, dict[str, tuple[datetime, tuple[LastSeen, ...]]]] = field(default_factory=dict)
    link_edits: dict[str, list[LinkEdit]] = field(default_factory=dict)
    sent_notices: dict[str, str] = field(default_factory=dict)
    known: dict[tuple[str, str], KnownTarget] = field(default_factory=dict)
    absences: dict[tuple[str, int], int] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    daemons: dict[str, DaemonRecord] = field(default_factory=dict)
    verifications: list[Verification] = field(default_factory=list)
    feed_cursors: dict[str, FeedCursor] = field(default_factory=dict)
    page_sizes: dict[str, LearnedPageSize] = field(default_factory=dict)
    named: dict[tuple[str, PersonKey], NamedPerson] = field(default_factory=dict)
    announced: dict[str, dict[PersonKey, Announcement]] = field(default_factory=dict)
    feed_reads: dict[str, dict[str, datetime]] = field(default_factory=dict)
    found: dict[str, dict[PersonKey, FoundLeaver]] = field(default_factory=dict)
    lags: dict[str, dict[tuple[PersonKey, datetime], float]] = field(default_factory=dict)
    report_names: dict[str, datetime] = field(default_factory=dict)
    reports: dict[str, MadeReport] = field(default_factory=dict)
    next_times: dict[str, datetime] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    web_sessions: dict[str, tuple[WebSession, datetime]] = field(default_factory=dict)
    whole_runs: dict[str, WholeRun] = field(default_factory=dict)
    begun_logins: dict[str, datetime] = field(default_factory=dict)
    failed_logins: dict[str, list[datetime]] = field(default_factory=dict)

    async def open_web_session(self, session_id: str, person: str, role: str, seal: Callable[[datetime], str]) -> None:
        now = self.now()
        session = WebSession(
            id=session_id, person=person, role=role, seal=seal(now), began_at=now, remaining=SESSION_IDLE
        )
        self.web_sessions[session_id] = (session, now)
        while len(self.web_sessions) > MAX_SESSIONS:
            del self.web_sessions[next(iter(self.web_sessions))]

    async def use_web_session(self, session_id: str) -> WebSession | None:
        if session_id not in self.web_sessions:
            return None
        now = self.now()
        session, used_at = self.web_sessions[session_id]
        remaining = remaining_time(session.began_at, used_at, now)
        if remaining <= timedelta(0):
            return None
        self.web_sessions[session_id] = (session, now)
        return replace(session, remaining=remaining)

    async def end_web_session(self, session_id: str) -> None:
        self.web_sessions.pop(session_id, None)

    async def begin_login(self, login_id: str) -> None:
        self.begun_logins[login_id] = self.now()
        while len(self.begun_logins) > MAX_BEGUN_LOGINS:
            del self.begun_logins[next(iter(self.begun_logins))]

    async def finish_login(self, login_id: str) -> bool:
        began_at = self.begun_logins.pop(login_id, None)
        return began_at is not None and abs(self.now() - began_at) <= BEGUN_LOGIN_LIFETIME

    async def count_failed_login(self, address: str) -> timedelta:
        now = self.now()
        recent = [each for each in self.failed_logins.get(address, []) if now - FAILED_LOGIN_WINDOW < each <= now]
        if len(recent) >= MAX_FAILED_LOGINS:
            return recent[0] + FAILED_LOGIN_WINDOW - now
        self.failed_logins[address] = [*recent, now]
        return timedelta(0)

    async def take_lease(self, workspace: str, holder: str, target: str = "") -> Lease:
        now = self.now()
        names = {workspace, target} - {""}
        known = [self.held[name] for name in sorted(names) if name in self.held]
        for held in known:
            if held.renewed_at is not None and abs(now - held.renewed_at) < VOID_AFTER:
                raise WorkspaceBusy(
                    f"Another run holds {workspace}: {held.lease.holder}, since {held.lease.since}.", "Wait."
                )
        lease = Lease(
            workspace=workspace,
            holder=holder,
            since=now,
            fence=max((held.lease.fence for held in known), default=0) + 1,
            target=target,
        )
        self.held.update(dict.fromkeys(names, Held(lease, now)))
        return lease

    def _check(self, lease: Lease) -> Held:
        rows = [self.held.get(name) for name in {lease.workspace, lease.target} - {""}]
        for held in rows:
            is_ours = held is not None and held.lease.fence == lease.fence and held.renewed_at is not None
            if held is None or not is_ours or held.renewed_at is None or held.renewed_at + VOID_AFTER <= self.now():
                raise LeaseLost(f"This run lost its lease of {lease.workspace}.", "The next run settles it.")
        return self.held[lease.workspace]

    async def renew_lease(self, lease: Lease) -> None:
        self._check(lease).renewed_at = self.now()

    async def release_lease(self, lease: Lease) -> None:
        for name in {lease.workspace, lease.target}:
            held = self.held.get(name)
            if held is not None and held.lease.fence == lease.fence:
                held.renewed_at = None

    def _records(self, workspace: str) -> list[ChangeRecord]:
        runs = [self.records.get(run.id, {}) for run in self.journal.values() if run.workspace == workspace]
        return [record for records in runs for record in records.values()]

    async def prove_writable(self) -> None:
        """Do nothing: memory is always writable."""

    def _of(self, workspace: str) -> list[ChangeRecord]:
        """Return the changes to the current target of the key, under any key."""
        own = self.known.get((workspace, ""))
        if own is None:
            return self._records(workspace)
        keys = {
            each.workspace
            for each in self.known.values()
            if (each.connector, each.fingerprint) == ("", own.fingerprint)
        }
        runs = [run for run in self.journal.values() if run.workspace in keys and run.target in {"", own.fingerprint}]
        return [record for run in runs for record in self.records.get(run.id, {}).values()]

    async def load_sightings(self, workspace: str) -> Mapping[tuple[str, str], GroupSighting]:
        return dict(self.seen_groups.get(workspace, {}))

    async def record_sightings(self, lease: Lease, sightings: Mapping[tuple[str, str], GroupSighting]) -> None:
        self._check(lease)
        self.seen_groups.setdefault(lease.workspace, {}).update(sightings)

    async def load_targets(self) -> tuple[KnownTarget, ...]:
        return tuple(each for _, each in sorted(self.known.items()))

    async def record_targets(self, lease: Lease, found: Sequence[tuple[str, str]]) -> None:
        self._check(lease)
        for connector, text in found:
            self.known[lease.workspace, connector] = KnownTarget(lease.workspace, connector, text, self.now())

    async def load_workspaces(self) -> tuple[WorkspaceRecord, ...]:
        names = {run.workspace for run in self.journal.values()} | {name for name, each in self.links.items() if each}
        found = []
        for name in sorted(names | {each.workspace for each in self.known.values() if not each.connector}):
            own = self.known.get((name, ""))
            last = next(iter(await self.load_runs([name], limit=1)), None)
            found.append(WorkspaceRecord(name, own.fingerprint if own else "", len(self.links.get(name, {})), last))
        return tuple(found)

    async def rename_workspace(self, old: Lease, new: Lease, run: Run) -> None:
        self._check(old)
        self._check(new)
        was, name = old.workspace, new.workspace
        remembered: list[dict[str, Any]] = [
            self.links,
            self.renames,
            self.different,
            self.sizes,
            self.seen_groups,
            self.undone,
            self.announced,
            self.feed_reads,
            self.found,
            self.lags,
            self.whole_runs,
        ]
        for each in remembered:
            each.pop(name, None)
            if was in each:
                each[name] = each.pop(was)
        if was in self.pauses:
            self.pauses.setdefault(name, self.pauses.pop(was))
        kept_names = {key: each for key, each in self.named.items() if key[0] != name}
        self.named = {
            (name, key[1]) if key[0] == was else key: replace(each, workspace=name) if key[0] == was else each
            for key, each in kept_names.items()
        }
        kept_results = [each for each in self.verifications if each.workspace != name]
        self.verifications = [replace(each, workspace=name) if each.workspace == was else each for each in kept_results]
        self.past.setdefault(name, {}).update(self.past.pop(was, {}))
        self.journal = {
            key: replace(each, workspace=name) if each.workspace == was else each for key, each in self.journal.items()
        }
        self.approvals = {
            key: replace(each, workspace=name) if each.workspace == was else each
            for key, each in self.approvals.items()
        }
        kept = {key: each for key, each in self.known.items() if key[0] not in {was, name}}
        moved = {(name, key[1]): replace(each, workspace=name) for key, each in self.known.items() if key[0] == was}
        now = self.now()
        self.known = kept | {key: replace(each, recorded_at=now) for key, each in moved.items()}
        for subject in [each for each in self.sent_notices if each.split(":")[1:2] == [was]]:
            kind, _, *rest = subject.split(":")
            self.sent_notices[":".join([kind, name, *rest])] = self.sent_notices.pop(subject)
        self.journal[run.id] = run

    async def retarget_workspace(self, lease: Lease, run: Run, target: str) -> None:
        self._check(lease)
        own = self.known.get((lease.workspace, ""))
        for key, each in self.journal.items():
            if own is not None and (each.workspace, each.target) == (lease.workspace, own.fingerprint):
                self.journal[key] = replace(each, target=target)
        await self.record_targets(lease, [("", target)])
        self.journal[run.id] = run

    async def reset_workspace(self, lease: Lease, run: Run, target: str) -> tuple[Link, ...]:
        self._check(lease)
        name = lease.workspace
        dropped = tuple(sorted(self.links.pop(name, {}).values(), key=lambda link: link.person))
        own = self.known.get((name, ""))
        was = own.fingerprint if own else ""
        for key, each in self.journal.items():
            if was != target and each.workspace == name and not each.target:
                self.journal[key] = replace(each, target=was or "before a reset")
        self.renames.pop(name, None)
        self.different.pop(name, None)
        self.sizes.pop(name, None)
        self.seen_groups.pop(name, None)
        self.undone.pop(name, None)
        for each_memory in (self.announced, self.feed_reads, self.found, self.lags, self.whole_runs):
            each_memory.pop(name, None)
        self.verifications = [each for each in self.verifications if each.workspace != name]
        self.named = {key: each for key, each in self.named.items() if key[0] != name}
        self.known = {key: each for key, each in self.known.items() if key[0] != name}
        if target:
            await self.record_targets(lease, [("", target)])
        self.journal[run.id] = run
        self.link_edits[run.id] = [LinkEdit(None, link) for link in dropped]
        return dropped

    async def load_links(self, workspace: str) -> tuple[Link, ...]:
        return (await self.load_memory(workspace)).links

    async def load_memory(self, workspace: str, listing: Listing | None = None) -> Memory:
        links = self.links.get(workspace, {})
        unconfirmed = []
        for record in sorted(self._of(workspace), key=lambda each: (each.sent_at, each.run_id, each.seq)):
            change, person, age = record.change, record.change.person, self.now() - record.sent_at
            absences = self.absences.get((record.run_id, record.seq), 0)
            if person is None or not self._may_be_made(record):
                continue
            may_appear = absences < 3 or age <= timedelta(hours=1)
            name, scim_id = change.display_name, record.scim_id
            sent = UnconfirmedCreate(
                person=person,
                email=change.email,
                display_name=name,
                run_id=record.run_id,
                seq=record.seq,
                scim_id=scim_id,
                is_awaited=record.is_accepted and may_appear,
                may_appear=may_appear,
                groups=change.group_refs,
            )
            unconfirmed.append(sent)
        own = self.known.get((workspace, ""))
        snapshots = [
            taken
            for run_id, taken in self.past.get(workspace, {}).items()
            if own is None or self.journal[run_id].target in {"", own.fingerprint}
        ]
        seen_at, left = snapshots[-1] if snapshots else (None, None)
        since = written_since(self.now(), seen_at)
        lately = [record for record in self._of(workspace) if record.sent_at >= since]
        renames = self.renames.get(workspace, frozenset())
        return Memory(
            tuple(sorted(links.values(), key=lambda link: link.person)),
            possible_renames=renames,
            different_people=frozenset(self.different.get(workspace, ())),
            unconfirmed_creates=tuple(unconfirmed),
            last_seen=None if left is None else tuple(each for each in left if not _is_listed_so(each, listing)),
            new_ids=None if left is None or listing is None else _new_ids(left, listing),
            undone_changes=tuple(sorted(self.undone.get(workspace, ()), key=lambda each: (each.scim_id, each.kind))),
            written=written(lately, self.now(), seen_at),
        )

    async def record_create_checks(self, lease: Lease, looked_for: Sequence[UnconfirmedCreate]) -> None:
        self._check(lease)
        for each in looked_for:
            key = (each.run_id, each.seq)
            self.absences[key] = 0 if each.scim_id else self.absences.get(key, 0) + 1
            if each.scim_id:
                record = self.records[each.run_id][each.seq]
                self.records[each.run_id][each.seq] = replace(record, scim_id=each.scim_id)

    async def load_recent_changes(self, workspace: str, since: datetime) -> RecentChanges:
        counted = [record for record in self._of(workspace) if record.sent_at >= since and record.outcome in COUNTED]
        subjects = {
            guard.code: {change_subject(each.change) for each in counted if guard.counts.matches(each.change)}
            for guard in COUNT_GUARDS
        }
        return {code: frozenset(each for each in found if each is not None) for code, found in subjects.items()}

    async def load_recent_deactivations(
        self, workspaces: Sequence[str], since: datetime
    ) -> Mapping[str, frozenset[str]]:
        found = {
            name: (await self.load_recent_changes(name, since))[GuardCode.MAX_DEACTIVATIONS] for name in workspaces
        }
        return {name: frozenset(map(str, ids)) for name, ids in found.items()}

    async def load_contested_members(self, workspace: str, since: datetime) -> Mapping[str, tuple[datetime, ...]]:
        moved = []
        for record in sorted(self._of(workspace), key=lambda each: (each.sent_at, each.seq)):
            kind, outcome = record.change.kind, record.outcome
            may_be_made = kind in {Kind.DEACTIVATE, Kind.CREATE, Kind.REACTIVATE} and outcome in COUNTED
            if record.scim_id and record.sent_at >= since and may_be_made:
                moved.append((record.scim_id, kind, record.sent_at, outcome))
        return contested_members(moved)

    async def load_baselines(self, workspace: str, since: datetime) -> Mapping[tuple[str, str], tuple[str, int]]:
        last: dict[tuple[str, str], tuple[str, int]] = {}
        largest: dict[tuple[str, str], int] = {}
        for at, sizes in self.sizes.get(workspace, []):
            last |= sizes
            if at >= since:
                largest |= {key: max(people, largest.get(key, 0)) for key, (_, people) in sizes.items()}
        return {key: (name, largest.get(key, people)) for key, (name, people) in last.items()}

    async def count_guarded(self, workspace: str) -> int:
        known = [run for run in self.journal.values() if run.workspace == workspace and run.guarded is not None]
        return max(known, key=lambda run: run.started_at).guarded or 0 if known else 0

    async def count_all_guarded(self, workspaces: Sequence[str]) -> int:
        return sum([await self.count_guarded(name) for name in workspaces])

    async def begin_run(self, run: Run, lease: Lease, claim: Lease | None = None) -> tuple[str, ...]:
        self._check(lease)
        if claim is not None:
            self._check(claim)
        left = [
            each
            for each in self.journal.values()
            if each.workspace == run.workspace and each.status is RunStatus.RUNNING and each.id != run.id
        ]
        for each in left:
            self.journal[each.id] = replace(each, status=RunStatus.INTERRUPTED, finished_at=run.started_at)
        self.journal[run.id] = run
        if run.is_over_everyone:
            newest = self.whole_runs.setdefault(run.workspace, WholeRun())
            newest.run_id, newest.begun_at = run.id, self.now()
        return tuple(each.id for each in left)

    async def record_run(self, run: Run, document: Iterable[bytes] | None = None) -> None:
        written = run.document if document is None else await asyncio.to_thread(b"".join, document)
        self.journal[run.id] = replace(run, document=written)

    def _write(self, workspace: str, link: Link) -> None:
        kept = {key: each for key, each in self.links.get(workspace, {}).items() if each.scim_id != link.scim_id}
        self.links[workspace] = {**kept, link.person: link}

    async def record_adoptions(self, lease: Lease, run_id: str, adoptions: Sequence[tuple[int, Change, Link]]) -> None:
        self._check(lease)
        now = self.now()
        for seq, change, link in adoptions:
            record = ChangeRecord(
                run_id=run_id,
                seq=seq,
                change=change,
                outcome=Outcome.DONE,
                detail="",
                sent_at=now,
                answered_at=now,
                scim_id=change.scim_id,
            )
            self.records.setdefault(run_id, {})[seq] = record
            self._write(lease.workspace, link)

    async def record_intent(
        self, lease: Lease, run_id: str, seq: int, change: Change, *, respects_pause: bool = True
    ) -> Pause | None:
        self._check(lease)
        if respects_pause and lease.workspace in self.pauses:
            return self.pauses[lease.workspace]
        if change.undone_change is not None:
            ended = {
                Kind.DEACTIVATE: {Kind.DEACTIVATE, Kind.REACTIVATE, Kind.CREATE},
                Kind.REACTIVATE: {Kind.REACTIVATE, Kind.DEACTIVATE},
                Kind.CREATE: {Kind.CREATE, Kind.DEACTIVATE},
            }.get(change.undone_change.kind, {change.undone_change.kind})
            undone = self.undone.get(lease.workspace, ())
            kept = [each for each in undone if each.scim_id != change.undone_change.scim_id or each.kind not in ended]
            self.undone[lease.workspace] = (*kept, replace(change.undone_change, run_id=run_id))
        record = ChangeRecord(
            run_id=run_id,
            seq=seq,
            change=change,
            outcome=Outcome.UNKNOWN,
            detail="",
            sent_at=self.now(),
            answered_at=None,
            scim_id=change.scim_id,
        )
        self.records.setdefault(run_id, {}).setdefault(seq, record)
        return None

    async def record_answer(self, lease: Lease, record: ChangeRecord, link: Link | None = None) -> None:
        self._check(lease)
        self.records.setdefault(record.run_id, {})[record.seq] = record
        previous, scim_id = record.change.scim_id, record.scim_id
        links = self.links.get(lease.workspace, {})
        for each in [each for each in links.values() if each.scim_id == previous != scim_id]:
            self._write(lease.workspace, replace(each, scim_id=scim_id or each.scim_id))
        if link is not None:
            self._write(lease.workspace, link)
        undoes = record.change.undone_change
        if undoes is not None and record.outcome not in COUNTED:
            self.undone[lease.workspace] = tuple(
                each
                for each in self.undone.get(lease.workspace, ())
                if (each.scim_id, each.run_id) != (undoes.scim_id, record.run_id)
            )
        elif undoes is not None and undoes.kind is Kind.CREATE and record.outcome is Outcome.DONE:
            links = self.links.get(lease.workspace, {})
            self.links[lease.workspace] = {key: each for key, each in links.items() if each.scim_id != undoes.scim_id}

    async def update_memory(
        self,
        lease: Lease,
        seen: Sequence[Link],
        possible_renames: frozenset[tuple[PersonKey, str]],
        baselines: Mapping[tuple[str, str], tuple[str, int]],
        undone: Sequence[UndoneChange] | None = None,
    ) -> None:
        self._check(lease)
        links = self.links.setdefault(lease.workspace, {})
        for link in seen:
            if link.person in links and links[link.person].scim_id == link.scim_id:
                links[link.person] = link
        self.renames[lease.workspace] = possible_renames
        if undone is not None:
            self.undone[lease.workspace] = tuple(undone)
        if baselines:
            self.sizes.setdefault(lease.workspace, []).append((self.now(), dict(baselines)))

    async def record_plan(
        self, lease: Lease, run_id: str, digest: str, document: Iterable[bytes], approved_digest: str | None = None
    ) -> None:
        written = await asyncio.to_thread(b"".join, document)
        self._check(lease)
        self.journal[run_id] = replace(
            self.journal[run_id], digest=digest, document=written, approved_digest=approved_digest
        )

    async def record_approval(self, lease: Lease, approval: Approval) -> None:
        self._check(lease)
        assert approval.run_id in self.journal
        self.approvals.setdefault(approval.run_id, approval)

    async def mark_approvals_applied(self, lease: Lease, run_id: str, approvals: Sequence[Approval]) -> None:
        self._check(lease)
        for each in approvals:
            self.approvals[each.run_id] = replace(self.approvals[each.run_id], applied_in=run_id)

    async def load_approvals(self, workspace: str, digest: str) -> tuple[Approval, ...]:
        own = self.known.get((workspace, ""))
        return self._sorted_approvals(
            each
            for each in self.approvals.values()
            if (each.workspace, each.digest) == (workspace, digest)
            and (own is None or self.journal[each.run_id].target in {"", own.fingerprint})
        )

    async def load_run_approvals(self, run_id: str) -> tuple[Approval, ...]:
        return self._sorted_approvals(
            each for each in self.approvals.values() if run_id in {each.run_id, each.applied_in}
        )

    def _sorted_approvals(self, found: Iterable[Approval]) -> tuple[Approval, ...]:
        return tuple(sorted(found, key=lambda each: (each.at, each.run_id)))

    async def record_last_seen(self, lease: Lease, run_id: str, members: Sequence[LastSeen]) -> None:
        self._check(lease)
        assert run_id in self.journal
        taken = self.past.setdefault(lease.workspace, {})
        if not taken or list(taken.values())[-1][1] != tuple(members):
            taken[run_id] = (self.now(), tuple(members))

    async def load_last_seen(self, workspace: str, when: datetime) -> tuple[datetime, tuple[LastSeen, ...]] | None:
        return next((each for each in reversed(self.past.get(workspace, {}).values()) if each[0] <= when), None)

    async def load_member_history(self, workspace: str) -> Mapping[str, MemberHistory]:
        found: dict[str, MemberHistory] = {}
        done = [each for each in self._records(workspace) if each.outcome is Outcome.DONE and each.scim_id is not None]
        for record in sorted(done, key=lambda each: (each.sent_at, each.seq)):
            previous = found.get(record.scim_id or "")
            is_giving = record.change.kind in {Kind.CREATE, Kind.REACTIVATE}
            kept = previous.since if previous and record.change.kind is not Kind.DEACTIVATE else None
            since = record.sent_at if is_giving else kept
            oldest = next(iter(self.past.get(workspace, {}).values()), None)
            seen = oldest[0] if oldest and any(each.scim_id == record.scim_id for each in oldest[1]) else record.sent_at
            first = previous.first_seen if previous else min(seen, record.sent_at)
            found[record.scim_id or ""] = MemberHistory(since, first, record.sent_at, record.change.kind)
        return found

    async def end_run(self, lease: Lease, run_id: str, ending: RunOutcome) -> None:
        self._check(lease)
        self._end(run_id, ending)

    def _end(self, run_id: str, ending: RunOutcome) -> None:
        self.journal[run_id] = replace(
            self.journal[run_id],
            status=ending.status,
            error=ending.error,
            guarded=ending.guarded,
            requests=ending.requests,
            tally=ending.tally,
            finished_at=ending.finished_at or self.now(),
        )

    async def close_run_without_lease(self, run_id: str, ending: RunOutcome, records: Sequence[ChangeRecord]) -> None:
        if run_id in self.journal:
            for record in records:
                self.records.setdefault(run_id, {})[record.seq] = record
            self._end(run_id, ending)

    async def record_link_edits(self, lease: Lease, run: Run, edits: Sequence[LinkEdit]) -> None:
        self._check(lease)
        self.journal[run.id] = run
        self.link_edits[run.id] = list(edits)
        links = self.links.setdefault(lease.workspace, {})
        for edit in edits:
            if edit.previous is not None:
                links.pop(edit.previous.person, None)
        for edit in edits:
            if edit.link is not None:
                self._write(lease.workspace, edit.link)

    async def record_different_people(self, lease: Lease, run: Run, pairs: Sequence[tuple[PersonKey, str]]) -> None:
        self._check(lease)
        self.journal[run.id] = run
        self.different.setdefault(lease.workspace, set()).update(pairs)

    async def load_link_edits(self, run_id: str) -> list[LinkEdit]:
        return self.link_edits.get(run_id, [])

    async def set_pause(self, workspace: str, pause: Pause | None, run: Run | None = None) -> tuple[ChangeRecord, ...]:
        if run is not None:
            self.journal[run.id] = run
        self.pauses.pop(workspace, None)
        if pause is not None:
            self.pauses[workspace] = pause
        return await self.load_in_flight(workspace)

    async def load_in_flight(self, workspace: str) -> tuple[ChangeRecord, ...]:
        running = [each.id for each in self.journal.values() if each.status is RunStatus.RUNNING]
        return tuple(
            record
            for run_id in sorted(running)
            for _, record in sorted(self.records.get(run_id, {}).items())
            if self.journal[run_id].workspace == workspace
            and record.outcome is Outcome.UNKNOWN
            and record.answered_at is None
        )

    async def load_pause(self, workspace: str) -> Pause | None:
        return self.pauses.get(workspace)

    async def load_pauses(self) -> Mapping[str, Pause]:
        return dict(self.pauses)

    async def load_notice(self, subject: str) -> str | None:
        return self.sent_notices.get(subject)

    async def set_notice(self, subject: str, condition: str) -> None:
        self.sent_notices[subject] = condition

    async def record_daemon(self, daemon: DaemonRecord) -> None:
        now = self.now()
        for each in list(self.daemons.values()):
            is_predecessor = (each.host, each.pid) == (daemon.host, daemon.pid)
            if is_predecessor or each.seen_at is None or (now - each.seen_at).total_seconds() > FORGOTTEN_AFTER_SECONDS:
                del self.daemons[each.id]
        self.daemons[daemon.id] = replace(daemon, seen_at=now)

    async def forget_daemon(self, daemon_id: str) -> None:
        self.daemons.pop(daemon_id, None)

    async def load_daemons(self) -> tuple[DaemonRecord, ...]:
        alive = [
            each
            for each in self.daemons.values()
            if each.seen_at is not None and (self.now() - each.seen_at).total_seconds() <= ALIVE_SECONDS
        ]
        return tuple(sorted(alive, key=lambda each: (each.started_at, each.id)))

    async def record_verification(self, verification: Verification) -> None:
        kind = (verification.workspace, verification.kind)
        others = [each for each in self.verifications if (each.workspace, each.kind) != kind]
        same = [
            each
            for each in self.verifications
            if (each.workspace, each.kind) == kind and each.started_at != verification.started_at
        ]
        newest = sorted([*same, verification], key=lambda each: each.started_at, reverse=True)
        self.verifications = [*others, *newest[:KEPT_VERIFICATIONS]]

    async def load_verifications(
        self, workspace: str, kind: VerificationKind | None = None
    ) -> tuple[Verification, ...]:
        return self._verifications([workspace], kind)

    async def load_all_verifications(
        self, workspaces: Sequence[str], kind: VerificationKind
    ) -> tuple[Verification, ...]:
        return self._verifications(workspaces, kind)

    def _verifications(self, workspaces: Sequence[str], kind: VerificationKind | None) -> tuple[Verification, ...]:
        found = [each for each in self.verifications if each.workspace in workspaces and kind in (None, each.kind)]
        return tuple(sorted(sorted(found, key=lambda each: each.kind), key=lambda each: each.started_at, reverse=True))

    async def load_page_size(self, target: str) -> LearnedPageSize | None:
        return self.page_sizes.get(target)

    async def record_page_size(self, target: str, learned: LearnedPageSize | None) -> None:
        if learned is None:
            self.page_sizes.pop(target, None)
        else:
            self.page_sizes[target] = learned

    async def load_feed_cursor(self, connector: str) -> FeedCursor | None:
        return self.feed_cursors.get(connector)

    async def find_linked_workspaces(self, connector: str, people: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        found = {
            person: tuple(sorted(name for name, links in self.links.items() if PersonKey(connector, person) in links))
            for person in people
        }
        return {person: workspaces for person, workspaces in found.items() if workspaces}

    async def record_poll(
        self,
        lease: Lease,
        cursor: FeedCursor,
        people: Sequence[NamedPerson],
        announced: Sequence[Announcement] = (),
        wanted: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._check(lease)
        self._want_runs(wanted)
        for every in announced:
            self.announced.setdefault(every.workspace, {})[every.person] = every
        for each in people:
            known = self.named.get((each.workspace, each.person))
            self.named[each.workspace, each.person] = (
                each if known is None else replace(known, named_at=each.named_at, due_at=each.due_at, looks=0)
            )
        self.feed_cursors[cursor.connector] = cursor

    async def load_named_people(self, workspace: str, due_by: datetime | None = None) -> tuple[NamedPerson, ...]:
        found = [
            each
            for each in self.named.values()
            if each.workspace == workspace
            and (due_by is None or each.due_at <= due_by or each.due_at > due_by + CLOCK_SET_BACK)
        ]
        return tuple(sorted(found, key=lambda each: (each.named_at, each.person)))

    async def record_look(self, people: Sequence[NamedPerson]) -> None:
        for each in people:
            if self._is_same_naming(each):
                self.named[each.workspace, each.person] = each

    async def end_named(self, people: Sequence[NamedPerson], wanted: Mapping[str, str] = MappingProxyType({})) -> None:
        self._want_runs(wanted)
        for each in people:
            if self._is_same_naming(each):
                del self.named[each.workspace, each.person]

    def _want_runs(self, wanted: Mapping[str, str]) -> None:
        for name, why in wanted.items():
            known = self.whole_runs.setdefault(name, WholeRun())
            known.why = why if known.tries else known.why or why
            known.tries, known.run_id = 0, ""

    async def load_wanted_runs(self) -> Sequence[WantedRun]:
        return [self._wanted_run(name) for name, each in sorted(self.whole_runs.items()) if each.why]

    def _wanted_run(self, name: str) -> WantedRun:
        each = self.whole_runs[name]
        last = max((at for at in (each.begun_at, each.tried_at) if at is not None), default=None)
        since_last = None if last is None else self.now() - last
        return WantedRun(workspace=name, why=each.why, tries=each.tries, run_id=each.run_id, since_last=since_last)

    async def start_wanted_run(self, workspace: str, pause: timedelta) -> bool:
        each = self.whole_runs.get(workspace)
        if each is None or not each.why or self._wanted_run(workspace).is_too_early(pause):
            return False
        each.tries, each.tried_at = each.tries + 1, self.now()
        return True

    async def end_wanted_run(self, wanted: WantedRun) -> None:
        each = self.whole_runs[wanted.workspace]
        if (each.run_id, each.tries) == (wanted.run_id, wanted.tries):
            each.why, each.tries = "", 0

    async def load_announcements(self, workspace: str, since: datetime) -> Mapping[PersonKey, Announcement]:
        return {key: each for key, each in self.announced.get(workspace, {}).items() if each.named_at >= since}

    async def load_feed_reads(self, workspace: str) -> Mapping[str, datetime]:
        return dict(self.feed_reads.get(workspace, {}))

    async def record_found_leavers(
        self,
        lease: Lease,
        workspace: str,
        began_at: datetime,
        since: Mapping[str, datetime | None],
        leavers: Collection[PersonKey],
    ) -> None:
        self._check(lease)
        known, oldest = self.found.setdefault(workspace, {}), began_at - KEPT_LEAVERS
        for person, each in list(known.items()):
            is_kept = each.verdict == "waiting" or (each.verdict == "missed" and each.found_at > oldest)
            if person.connector in since and person not in leavers and not is_kept:
                del known[person]
        for person in leavers:
            if person.connector in since and person not in known:
                start = since[person.connector]
                known[person] = FoundLeaver(began_at, start, "not-judged" if start is None else "waiting")
        self.feed_reads.setdefault(workspace, {}).update(dict.fromkeys(since, began_at))

    async def judge_found_leavers(self, lease: Lease, connector: str, found_by: datetime) -> Mapping[str, int]:
        self._check(lease)
        missed: Counter[str] = Counter()
        for workspace, leavers in self.found.items():
            for person, each in leavers.items():
                if person.connector != connector or each.verdict != "waiting" or each.found_at > found_by:
                    continue
                keys = (person, PersonKey(connector, ANYONE))
                named = [self.announced.get(workspace, {}).get(key) for key in keys]
                is_announced = any(one and each.since and one.named_at >= each.since for one in named)
                each.verdict = "announced" if is_announced else "missed"
                missed[workspace] += not is_announced
        return +missed

    async def count_missed_leavers(self, connector: str, since: datetime) -> int:
        found = (item for leavers in self.found.values() for item in leavers.items())
        return sum(
            person.connector == connector and each.verdict == "missed" and each.found_at >= since
            for person, each in found
        )

    async def record_lags(self, lags: Sequence[FeedLag]) -> None:
        for each in lags:
            self.lags.setdefault(each.workspace, {})[each.person, each.at] = each.seconds

    async def load_lags(self, connector: str, since: datetime) -> Sequence[float]:
        found = (item for lags in self.lags.values() for item in lags.items())
        kept = [(at, person, lag) for (person, at), lag in found if person.connector == connector and at >= since]
        return [lag for _, _, lag in sorted(kept)]

    def _is_same_naming(self, person: NamedPerson) -> bool:
        known = self.named.get((person.workspace, person.person))
        return known is not None and known.named_at == person.named_at

    async def load_job_board(self) -> JobBoard:
        shown = [replace(each, is_claimed=self._is_held(each.id)) for each in self.jobs.values()]
        return JobBoard(
            now=self.now(),
            next_times=dict(self.next_times),
            jobs=tuple(each for each in shown if each.ended_at is None),
            stopped=tuple(each for each in shown if each.ended_at is not None),
        )

    def _is_held(self, key: str) -> bool:
        held = self.held.get(key)
        return held is not None and held.renewed_at is not None and abs(self.now() - held.renewed_at) < VOID_AFTER

    async def start_due_ticks(self, schedules: Sequence[PlannedSchedule]) -> tuple[str, ...]:
        skipped = []
        now = self.now()
        for each in sorted(schedules, key=lambda schedule: schedule.name):
            if each.first is not None:
                self.next_times.setdefault(each.name, each.first)
            due = self.next_times.get(each.name)
            if due is None or (now < due and (each.max_wait is None or due - now <= each.max_wait)):
                continue
            self.next_times[each.name] = each.next_due(due, now)
            key = tick_id(each.name)
            if key in self.jobs:
                skipped.append(each.name)
                continue
            self.jobs[key] = Job(
                id=key,
                request=JobRequest(trigger=Trigger.SCHEDULE),
                run_ids=dict.fromkeys(each.workspaces, ""),
                schedule=each.name,
                created_at=now,
            )
        return tuple(skipped)

    async def add_request(self, job: Job, limit: int) -> bool:
        if sum(not each.is_tick for each in self.jobs.values()) >= limit:
            return False
        self.jobs[job.id] = replace(job, created_at=self.now())
        return True

    async def claim_job(self, lease: Lease, replica: str) -> Job | None:
        self._check(lease)
        job = self.jobs.get(lease.workspace)
        if job is None:
            return None
        self.jobs[job.id] = replace(job, claims=job.claims + 1, replica=replica)
        return replace(self.jobs[job.id], is_claimed=True)

    async def update_job(self, lease: Lease, job: Job) -> None:
        self._check(lease)
        self.jobs[job.id] = replace(self.jobs[job.id], run_ids=job.run_ids, finished=job.finished)

    async def report_job_progress(self, lease: Lease, progress: JobProgress) -> None:
        self._check(lease)
        self.jobs[lease.workspace] = replace(self.jobs[lease.workspace], progress=progress)

    async def give_back_job(self, lease: Lease) -> None:
        self._check(lease)
        job = self.jobs[lease.workspace]
        if job.replica:
            self.jobs[job.id] = replace(job, claims=job.claims - 1, replica="", progress=JobProgress())

    async def end_job(self, lease: Lease, error: str = "") -> None:
        self._check(lease)
        job = self.jobs.get(lease.workspace)
        if job is None or not job.claims:
            return
        del self.jobs[job.id]
        if not job.is_tick:
            del self.held[job.id]
            return
        stopped = stopped_job_id(job.schedule)
        self.jobs.pop(stopped, None)
        if error:
            self.jobs[stopped] = replace(job, id=stopped, ended_at=self.now(), error=error)

    async def load_lease(self, workspace: str) -> Lease | None:
        held = self.held.get(workspace)
        return held.lease if held and held.renewed_at and self.now() - held.renewed_at < VOID_AFTER else None

    async def load_leases(self, workspaces: Sequence[str]) -> tuple[Lease, ...]:
        found = [await self.load_lease(name) for name in sorted(workspaces)]
        return tuple(each for each in found if each is not None)

    async def load_outlines(self, workspaces: Sequence[str], limit: int) -> Mapping[str, tuple[RunOutline, ...]]:
        return {
            name: tuple(
                RunOutline(run.id, run.started_at, run.status, run.dry_run, run.tally.active if run.tally else None)
                for run in self._runs_for_everyone(name)[:limit]
            )
            for name in workspaces
        }

    async def find_newest_runs(
        self, workspaces: Sequence[str], statuses: Collection[RunStatus], *, only_applied: bool
    ) -> Mapping[str, str]:
        found = {}
        for name in workspaces:
            runs = [run for run in self._runs_for_everyone(name) if run.status in statuses]
            newest = next((run for run in runs if not only_applied or not run.dry_run), None)
            if newest is not None:
                found[name] = newest.id
        return found

    def _runs_for_everyone(self, workspace: str) -> list[Run]:
        found = [
            run
            for run in self.journal.values()
            if run.workspace == workspace and not run.user and run.trigger not in PARTIAL_TRIGGERS
        ]
        return sorted(found, key=lambda run: (run.started_at, run.id), reverse=True)

    async def load_newest_approvals(self, workspaces: Sequence[str]) -> Mapping[str, Approval]:
        known = self._sorted_approvals(self.approvals.values())
        return {each.workspace: each for each in known if each.workspace in workspaces}

    async def load_runs(
        self,
        workspaces: Sequence[str] = (),
        since: datetime | None = None,
        limit: int = 50,
        *,
        ids: Sequence[str] | None = None,
        where: RunFilter = ANY_RUN,
    ) -> list[Run]:
        found = [
            replace(run, document=None)
            for run in self.journal.values()
            if (not workspaces or run.workspace in workspaces)
            and (since is None or run.started_at >= since)
            and (ids is None or run.id in ids)
            and where.accepts(run)
        ]
        return sorted(found, key=lambda run: (run.started_at, run.id), reverse=True)[:limit]

    async def count_changes(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[Kind, int]]:
        made = {
            run_id: Counter(
                record.change.kind for record in self.records.get(run_id, {}).values() if record.outcome is Outcome.DONE
            )
            for run_id in run_ids
        }
        return {run_id: counts for run_id, counts in made.items() if counts}

    async def load_run(self, run_id: str) -> Run | None:
        return self.journal.get(run_id)

    async def load_run_by_digest(self, digest: str) -> Run | None:
        found = [run for run in self.journal.values() if (run.digest or "").startswith(digest)]
        return max(found, key=lambda run: run.started_at) if found else None

    async def load_last_plan(self, workspace: str, target: str) -> Run | None:
        unread = {RunStatus.INCOMPLETE, RunStatus.CREDENTIALS, RunStatus.BUSY}
        newest_first = sorted(self.journal.values(), key=lambda run: (run.started_at, run.id), reverse=True)
        return next(
            (
                run
                for run in newest_first
                if run.workspace == workspace
                and not run.user
                and run.trigger is not Trigger.UNDO
                and run.status not in unread
                and (not target or run.target in {target, ""})
                and run.document is not None
                and has_plan(run.document)
            ),
            None,
        )

    async def load_changes(self, run_id: str) -> list[ChangeRecord]:
        return [record for _, record in sorted(self.records.get(run_id, {}).items())]

    async def load_member_changes(
        self, workspace: str, limit: int = 20, *, email: str = "", scim_id: str = ""
    ) -> list[ChangeRecord]:
        def is_about(record: ChangeRecord) -> bool:
            addresses = {normalize(record.change.email), normalize(record.change.before.email or "")}
            by_email = bool(email) and normalize(email) in addresses
            return by_email or (bool(scim_id) and record.scim_id == scim_id) or not (email or scim_id)

        found = [record for record in self._records(workspace) if is_about(record)]
        return sorted(found, key=lambda record: (record.sent_at, record.seq), reverse=True)[:limit]

    async def prune(self, before: datetime) -> int:
        limit = min(before, self.now() - timedelta(hours=24))
        needed = self._needed(limit)
        old = [
            run.id
            for run in self.journal.values()
            if run.started_at < limit and run.status is not RunStatus.RUNNING and run.id not in needed
        ]
        for run_id in old:
            self.past.get(self.journal.pop(run_id).workspace, {}).pop(run_id, None)
            self.records.pop(run_id, None)
            self.link_edits.pop(run_id, None)
            self.approvals.pop(run_id, None)
        return len(old)

    def _needed(self, limit: datetime) -> set[str]:
        """Return the runs that a later run needs, however old they are."""
        newest = {
            run.workspace: run.id
            for run in sorted(self.journal.values(), key=lambda run: run.started_at)
            if run.guarded is not None
        }
        notified_by = {
            workspace: run_id
            for workspace, past in self.past.items()
            for run_id, (taken_at, _) in past.items()
            if taken_at <= limit
        }
        may_be_made = {
            record.run_id
            for records in self.records.values()
            for record in records.values()
            if self._may_be_made(record)
        }
        return {*newest.values(), *notified_by.values(), *may_be_made}

    def _may_be_made(self, record: ChangeRecord) -> bool:
        is_over = self.absences.get((record.run_id, record.seq), 0) >= 3
        is_young = self.now() - record.sent_at <= timedelta(days=7)
        return record.change.kind is Kind.CREATE and record.outcome in UNSETTLED and (is_young or not is_over)

    async def begin_report_name(self, name: str, at: datetime) -> datetime:
        return self.report_names.setdefault(name, at)

    def _reports_called(self, name: str) -> list[MadeReport]:
        found = [each for each in self.reports.values() if each.name == name]
        return sorted(found, key=lambda each: (each.scheduled_at, each.id), reverse=True)

    async def load_reports(self, name: str, limit: int = 20) -> list[MadeReport]:
        return [replace(each, facts=b"", files={}) for each in self._reports_called(name)[:limit]]

    async def load_report(self, report: str) -> MadeReport | None:
        return self.reports.get(report)

    async def load_last_delivered(self, name: str) -> MadeReport | None:
        delivered = (each for each in self._reports_called(name) if each.delivered_at)
        return next((replace(each, files={}) for each in delivered), None)

    async def record_report(self, lease: Lease, report: MadeReport) -> None:
        self._check(lease)
        self.reports[report.id] = report

    async def record_delivery(self, lease: Lease, delivery: Delivery) -> None:
        self._check(lease)
        found = self.reports[delivery.report]
        kept = [delivery if each.number == delivery.number else each for each in found.deliveries]
        self._keep(replace(found, deliveries=tuple(kept)))
        if delivery.status is DeliveryStatus.DELIVERED:
            for each in self._reports_called(found.name):
                if each.scheduled_at < found.scheduled_at:
                    self.reports[each.id] = replace(each, facts=b"")

    def _keep(self, report: MadeReport) -> None:
        is_pending = any(each.status is DeliveryStatus.PENDING for each in report.deliveries)
        self.reports[report.id] = report if is_pending else replace(report, files={})

    async def supersede_reports(self, lease: Lease, name: str, kept: str) -> None:
        self._check(lease)
        for each in self._reports_called(name):
            if each.scheduled_at < self.reports[kept].scheduled_at:
                ended = tuple(
                    replace(one, status=DeliveryStatus.SUPERSEDED, next_attempt_at=None)
                    if one.status is DeliveryStatus.PENDING
                    else one
                    for one in each.deliveries
                )
                old = replace(each, deliveries=ended)
                is_making = each.status is ReportStatus.MAKING
                self._keep(replace(old, status=ReportStatus.FAILED, next_attempt_at=None) if is_making else old)

    async def prune_reports(self, before: datetime) -> int:
        kept: set[str] = set()
        for name in {each.name for each in self.reports.values()}:
            called = self._reports_called(name)
            kept |= {each.id for each in called[:1]} | {each.id for each in [r for r in called if r.delivered_at][:1]}
        gone = [each.id for each in self.reports.values() if each.scheduled_at < before and each.id not in kept]
        for key in gone:
            del self.reports[key]
        return len(gone)


def _is_listed_so(left: LastSeen, listing: Listing | None) -> bool:
    """Return whether the listing shows a member as our last run left it."""
    member = listing.by_id.get(left.scim_id) if listing else None
    return member is not None and (member.email, member.display_name, member.active) == (
        left.email,
        left.display_name,
        left.active,
    )


def _new_ids(left: Sequence[LastSeen], listing: Listing) -> frozenset[str]:
    return frozenset(listing.by_id.keys() - {each.scim_id for each in left})
