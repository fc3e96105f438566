"""The sandbox of `bench.feed` as a process of its own: it makes leavers, and records when members were deactivated."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypedDict

from sandbox.agent_config import AgentConfig
from sandbox.company import App, Directory, Person
from sandbox.entra import DeltaOptions, EntraOptions
from sandbox.environment import Environment
from sandbox.host import host_apps
from sandbox.okta import LogOptions
from sandbox.onelogin import EventOptions
from sandbox.pigment.app import Pigment, pigment_app
from sandbox.pigment.workspace import PigmentWorkspace
from sandbox.pigment.write_log import Write
from sandbox.request_log import RequestLogMiddleware

__all__ = ["GROUP_OFF", "KINDS", "Lags", "LeavingCompany", "RemoteSandbox", "WorkspaceAccess", "open_sandbox"]

GROUP_OFF = "group-off"
GROUPS = 2
"""Groups of each workspace that people are in, next to the one that is taken off."""
SYSTEM = "pigment"
KINDS = {
    "okta": ("deactivated", "suspended", "deleted", "left-group"),
    "entra": ("deactivated", "deleted", "left-group"),
    "onelogin": ("deactivated", "suspended", "deleted", "left-group"),
}
"""What happens to single people. Entra has no suspension."""


class WorkspaceAccess(TypedDict):
    """What the agent's configuration needs of one workspace."""

    scim_url: str
    token: str
    app: str


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
    """A workspace's journal. *deactivated_at* has the first time at which each member was inactive after a write."""

    def __init__(self, workspace: PigmentWorkspace, deactivated_at: dict[str, float]) -> None:
        super().__init__()
        self._workspace = workspace
        self._deactivated_at = deactivated_at

    def append(self, write: Write) -> None:
        super().append(write)
        member = self._workspace.member_store.by_id(write.scim_id or "") if write.applied else None
        if member is not None and not member.active:
            self._deactivated_at.setdefault(member.id, time.time())


@dataclass(slots=True)
class Site:
    """One workspace with its application. *staff* have had nothing happen to them; *burst* are in a group of their own.

    *token* is its SCIM token.
    """

    workspace: PigmentWorkspace
    app: App
    token: str
    staff: list[Person]
    burst: list[Person]
    burst_group: str

    @property
    def name(self) -> str:
        return self.workspace.name

    def member_id(self, person: Person) -> str:
        member = self.workspace.find_member(person.email)
        if member is None:
            raise LookupError(f"{person.email} is no member of {self.name}")
        return member.id


@dataclass(slots=True)
class LeavingCompany:
    """One directory and its workspaces, between which its ordinary people are divided.

    *left_at* has each leaver by member id, with the kind and the time; *deactivated_at* each inactive member.
    """

    environment: Environment
    directory: Directory
    sites: list[Site] = field(default_factory=list)
    left_at: dict[str, tuple[str, float]] = field(default_factory=dict)
    deactivated_at: dict[str, float] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    _site_of: dict[str, Site] = field(default_factory=dict)

    @classmethod
    def create(cls, provider: str, people: int, seed: int, workspaces: int, burst: int) -> LeavingCompany:
        """Make a company with *people* in each directory. *burst* people will leave with their groups."""
        environment = Environment(seed, people)
        made = cls(environment, environment.company.directory(provider))
        ordinary = made._ordinary_people()
        for number in range(workspaces):
            share = burst // workspaces + (number < burst % workspaces)
            made.sites.append(made._add_site(f"bench-{number + 1}", ordinary[number::workspaces], share))
        return made

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Serve all systems until the end of the block. Each workspace has a host, and so a budget, of its own."""
        log = self.environment.request_log
        pigments = {
            site.name: RequestLogMiddleware(pigment_app(Pigment([site.workspace])), SYSTEM, log) for site in self.sites
        }
        addresses = {name: f"127.0.0.{number + 1}" for number, name in enumerate(pigments)}
        providers = {name: app for name, app in self.environment.apps().items() if name != SYSTEM}
        with host_apps({**providers, **pigments}, 0, addresses) as urls:
            self.urls = urls
            yield

    def write_config(self, folder: str) -> str:
        config = AgentConfig(self.environment, self.urls | {SYSTEM: self.urls[self.sites[0].name]})
        return str(config.write(Path(folder)))

    def workspaces(self) -> dict[str, WorkspaceAccess]:
        return {
            site.name: {
                "scim_url": f"{self.urls[site.name]}/{site.name}/scim/v2",
                "token": site.token,
                "app": site.app.id,
            }
            for site in self.sites
        }

    def _add_site(self, name: str, people: list[Person], burst: int) -> Site:
        # Nothing of this is a happening: the feed must not name anyone for what is prepared.
        groups = [self.directory.add_group(f"{name} {number}") for number in range(GROUPS)]
        off = self.directory.add_group(f"{name} {GROUP_OFF}")
        app = self.directory.add_app(name, (*groups, off))
        token = self.environment.secret(name)
        workspace = PigmentWorkspace(name, [token])
        workspace.write_log.writes = WatchedWrites(workspace, self.deactivated_at)
        leaving, staff = people[:burst], people[burst:]
        off.people += [person.id for person in leaving]
        for number, group in enumerate(groups):
            group.people += [person.id for person in staff[number::GROUPS]]
        for person in people:
            workspace.admin_create(person.email, person.display_name)
        site = Site(workspace, app, token, staff, leaving, off.id)
        self._site_of |= {person.id: site for person in people}
        return site

    def set_lags(self, lags: Lags) -> None:
        late, seconds, lost = lags.late_share, lags.late_seconds, lags.lost_share
        self.environment.okta.system_log.options = LogOptions(
            delay_seconds=lags.delay,
            job_seconds=lags.settling,
            late_share=late,
            late_seconds=seconds,
            lost_share=lost,
            doubled_share=lags.doubled_share,
        )
        self.environment.onelogin.events.options = EventOptions(
            delay_seconds=lags.delay,
            mapping_seconds=lags.settling,
            late_share=late,
            late_seconds=seconds,
            lost_share=lost,
            doubled_share=lags.doubled_share,
        )
        self.environment.entra.delta_log.options = DeltaOptions(
            delay_seconds=lags.delay,
            late_share=late,
            late_seconds=seconds,
            lost_share=lost,
            replayed_share=lags.doubled_share,
        )
        self.environment.entra.options = EntraOptions(replica_seconds=lags.settling)

    def choose(self, number: int) -> list[str]:
        """Return up to *number* people whom nothing has happened to, of each workspace in turn."""
        rows = zip(*(reversed(site.staff) for site in self.sites), strict=False)
        return [person.id for row in rows for person in row][:number]

    def let_leave(self, kind: str, key: str) -> None:
        company, person = self.environment.company, self.directory.people[key]
        act: Callable[[Person], object] = {
            "deactivated": company.deactivate,
            "suspended": company.suspend,
            "deleted": company.delete,
            "left-group": self._quit_groups,
        }[kind]
        self.left_at[self._site_of[key].member_id(person)] = (kind, time.time())
        act(person)

    def take_groups_off(self) -> dict[str, list[str]]:
        """Take a group off each application: everyone in it leaves at once. Return their member ids by workspace."""
        found: dict[str, list[str]] = {}
        for site in self.sites:
            found[site.name] = [site.member_id(person) for person in site.burst]
            self.left_at |= dict.fromkeys(found[site.name], (GROUP_OFF, time.time()))
            self.environment.company.unassign_group(site.app, site.burst_group)
        return found

    def waits(self) -> dict[str, list[tuple[str, float, float | None]]]:
        """Return for each kind the workspace and time at which each person left, and the seconds until the member was
        inactive, None: not yet."""
        found: dict[str, list[tuple[str, float, float | None]]] = {}
        for site in self.sites:
            for member in site.workspace.members:
                if member.id in self.left_at:
                    kind, left_at = self.left_at[member.id]
                    done = self.deactivated_at.get(member.id)
                    seconds = None if done is None else done - left_at
                    found.setdefault(kind, []).append((site.name, left_at, seconds))
        return found

    def times(self, members: list[str]) -> dict[str, tuple[float, float | None]]:
        """Return when each of *members* left, and when it was inactive, None: not yet."""
        return {key: (self.left_at[key][1], self.deactivated_at.get(key)) for key in members}

    def wrongful(self) -> list[str]:
        """Return the members who were deactivated and had not left."""
        return sorted(self.deactivated_at.keys() - self.left_at.keys())

    def requests(self, since: float, until: float) -> dict[str, int]:
        requests = self.environment.request_log.matching()
        return dict(Counter(each.system for each in requests if since <= each.at < until))

    def _ordinary_people(self) -> list[Person]:
        words = self.directory.status_words
        return [
            person
            for person in self.directory.people.values()
            if person.status == words.active and not person.guest and person.state == 1
        ]

    def _quit_groups(self, person: Person) -> None:
        company, app = self.environment.company, self._site_of[person.id].app
        for group in company.groups_of(person):
            if group.id in app.groups:
                company.quit(person, group.id)


@dataclass(frozen=True, slots=True)
class RemoteSandbox:
    """Calls a `LeavingCompany` of another process, one call at a time."""

    pipe: Connection

    def call(self, name: str, *arguments: object) -> object:
        self.pipe.send((name, arguments))
        return self.pipe.recv()


def _serve(pipe: Connection, provider: str, people: int, seed: int, workspaces: int, burst: int) -> None:
    # The bench stops on SIGINT with a report, for which it needs this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    company = LeavingCompany.create(provider, people, seed, workspaces, burst)
    with company.serve():
        pipe.send("ready")
        while True:
            name, arguments = pipe.recv()
            if name == "stop":
                return
            pipe.send(getattr(company, name)(*arguments))


@contextmanager
def open_sandbox(provider: str, people: int, seed: int, workspaces: int, burst: int) -> Iterator[RemoteSandbox]:
    """Run a sandbox with *people* in each directory as a process until the end of the block."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, provider, people, seed, workspaces, burst), daemon=True)
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
