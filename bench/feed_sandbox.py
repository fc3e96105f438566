"""The sandbox of `bench.feed` as a process of its own: it makes leavers, and records when members were deactivated."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from sandbox.company import App, Directory, Person
from sandbox.entra import DeltaOptions, EntraOptions
from sandbox.initial_members import WORKSPACES
from sandbox.okta import LogOptions
from sandbox.onelogin import EventOptions
from sandbox.pigment.workspace import PigmentWorkspace
from sandbox.pigment.write_log import Write
from sandbox.server import Sandbox, run_sandbox

__all__ = ["BURST_GROUP", "GROUP_OFF", "KINDS", "Lags", "RemoteSandbox", "open_sandbox"]

BURST_GROUP = "Pigment Burst"
GROUP_OFF = "group-off"
PREPARED_BEFORE = 3600.0
"""Seconds since the preparation, for the feeds."""
KINDS = {
    "okta": ("deactivated", "suspended", "deleted", "left-group"),
    "entra": ("deactivated", "deleted", "left-group"),
    "onelogin": ("deactivated", "suspended", "deleted", "left-group"),
}
"""What happens to single people. Entra has no suspension."""


@dataclass(frozen=True, slots=True)
class Lags:
    """How late the provider is, in seconds, and what share of its events is later still, doubled or lost.

    *settling* is how long its own work takes: Okta's jobs, Entra's replicas, OneLogin's mappings.
    """

    delay: float = 5.0
    settling: float = 5.0
    late_share: float = 0.05
    late_seconds: float = 30.0
    doubled_share: float = 0.05
    lost_share: float = 0.0


class WatchedWrites(list[Write]):
    """The workspace's journal. *deactivated_at* has the first time at which each member was inactive after a write."""

    def __init__(self, workspace: PigmentWorkspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.deactivated_at: dict[str, float] = {}

    def append(self, write: Write) -> None:
        super().append(write)
        member = self._workspace.member_store.by_id(write.scim_id or "") if write.applied else None
        if member is not None and not member.active:
            self.deactivated_at.setdefault(member.id, time.time())


@dataclass(slots=True)
class LeavingCompany:
    """One directory and its workspace. *left_at* has each leaver by member id, with the kind and the time."""

    sandbox: Sandbox
    directory: Directory
    workspace: PigmentWorkspace
    writes: WatchedWrites
    left_at: dict[str, tuple[str, float]] = field(default_factory=dict)
    _chosen: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, sandbox: Sandbox, provider: str) -> LeavingCompany:
        workspace = sandbox.workspace(WORKSPACES[provider])
        writes = WatchedWrites(workspace)
        workspace.write_log.writes = writes
        return cls(sandbox, sandbox.company.directory(provider), workspace, writes)

    @property
    def app(self) -> App:
        return self.directory.pigment

    def write_config(self, folder: str) -> str:
        return str(self.sandbox.write_config(Path(folder)))

    def set_lags(self, lags: Lags) -> None:
        late, seconds, lost = lags.late_share, lags.late_seconds, lags.lost_share
        self.sandbox.okta.system_log.options = LogOptions(
            delay_seconds=lags.delay,
            job_seconds=lags.settling,
            late_share=late,
            late_seconds=seconds,
            lost_share=lost,
            doubled_share=lags.doubled_share,
        )
        self.sandbox.onelogin.events.options = EventOptions(
            delay_seconds=lags.delay,
            mapping_seconds=lags.settling,
            late_share=late,
            late_seconds=seconds,
            lost_share=lost,
            doubled_share=lags.doubled_share,
        )
        self.sandbox.entra.delta_log.options = DeltaOptions(
            delay_seconds=lags.delay,
            late_share=late,
            late_seconds=seconds,
            lost_share=lost,
            replayed_share=lags.doubled_share,
        )
        self.sandbox.entra.options = EntraOptions(replica_seconds=lags.settling)

    def fill_burst_group(self, number: int) -> None:
        """Move *number* people into a group of their own, which gives the application."""
        company, people = self.sandbox.company, self._ordinary_people(number)
        now = company.log.now
        # A feed begins some minutes back: what is prepared here must not name anyone.
        company.log.now = lambda: now() - PREPARED_BEFORE
        group = self.directory.add_group(BURST_GROUP)
        company.assign_group(self.app, group.id)
        for person in people:
            for old in company.groups_of(person):
                if old.id in self.app.groups:
                    company.quit(person, old.id)
            company.join(person, group.id)
            self._chosen.add(person.id)
        company.log.now = now

    def choose(self, number: int) -> list[str]:
        """Return people whom nothing has happened to, and who have an active member."""
        people = self._ordinary_people(number)
        self._chosen.update(person.id for person in people)
        return [person.id for person in people]

    def let_leave(self, kind: str, key: str) -> None:
        company, person = self.sandbox.company, self.directory.people[key]
        act: Callable[[Person], object] = {
            "deactivated": company.deactivate,
            "suspended": company.suspend,
            "deleted": company.delete,
            "left-group": self._quit_groups,
        }[kind]
        self.left_at[self._member_id(person)] = (kind, time.time())
        act(person)

    def take_group_off(self) -> None:
        """Take the burst group off the application: everyone in it leaves at once."""
        people = list(self.directory.members(self.directory.group(BURST_GROUP)))
        now = time.time()
        self.left_at |= {self._member_id(person): (GROUP_OFF, now) for person in people}
        self.sandbox.company.unassign_group(self.app, BURST_GROUP)

    def waits(self) -> dict[str, list[tuple[float, float | None]]]:
        """Return for each kind when each person left, and how many seconds later the member was inactive, None: not
        yet."""
        found: dict[str, list[tuple[float, float | None]]] = {}
        for key, (kind, left_at) in self.left_at.items():
            done = self.writes.deactivated_at.get(key)
            found.setdefault(kind, []).append((left_at, None if done is None else done - left_at))
        return found

    def forget_writes(self) -> None:
        """Forget what happened so far: a first run deactivates those who had left before."""
        self.writes.deactivated_at.clear()

    def wrongful(self) -> list[str]:
        """Return the members who were deactivated and had not left."""
        return sorted(self.writes.deactivated_at.keys() - self.left_at.keys())

    def requests(self, since: float, until: float) -> dict[str, int]:
        return dict(Counter(each.system for each in self.sandbox.requests() if since <= each.at < until))

    def _ordinary_people(self, number: int) -> list[Person]:
        words, assigned = self.directory.status_words, self.directory.assignments(self.app)
        found = [
            person
            for key, groups in assigned.items()
            if groups
            and key not in self._chosen
            and key not in self.app.individuals
            and (person := self.directory.people[key]).status == words.active
            and not person.guest
            and person.state == 1
            and (member := self.workspace.find_member(person.email)) is not None
            and member.active
        ]
        return found[len(found) - number :] if len(found) >= number else found

    def _quit_groups(self, person: Person) -> None:
        for group in self.sandbox.company.groups_of(person):
            if group.id in self.app.groups:
                self.sandbox.company.quit(person, group.id)

    def _member_id(self, person: Person) -> str:
        member = self.workspace.find_member(person.email)
        if member is None:
            raise LookupError(f"{person.email} is no member of {self.workspace.name}")
        return member.id


@dataclass(frozen=True, slots=True)
class RemoteSandbox:
    """Calls a `LeavingCompany` of another process, one call at a time."""

    pipe: Connection

    def call(self, name: str, *arguments: object) -> object:
        self.pipe.send((name, arguments))
        return self.pipe.recv()


def _serve(pipe: Connection, provider: str, people: int, seed: int) -> None:
    with run_sandbox(seed=seed, size=people) as sandbox:
        company = LeavingCompany.of(sandbox, provider)
        pipe.send("ready")
        while True:
            name, arguments = pipe.recv()
            if name == "stop":
                return
            pipe.send(getattr(company, name)(*arguments))


@contextmanager
def open_sandbox(provider: str, people: int, seed: int) -> Iterator[RemoteSandbox]:
    """Run a sandbox with *people* in each directory as a process until the end of the block."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, provider, people, seed), daemon=True)
    process.start()
    theirs.close()
    try:
        ours.recv()
        yield RemoteSandbox(ours)
        ours.send(("stop", ()))
        process.join(30)
    finally:
        process.kill()
        process.join()
