"""A small company, its pretend workspaces and everything that may happen to them, from one random stream."""

from __future__ import annotations

import asyncio
import copy
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from connectors.base import (
    CheckName,
    Finding,
    Group,
    IncompleteRead,
    LookupResult,
    Person,
    PersonKey,
    Snapshot,
    Source,
    Status,
)
from sandbox.pigment.errors import ScimError
from sandbox.pigment.member import Member
from sandbox.pigment.member_store import MemberStore
from sandbox.pigment.workspace import PigmentWorkspace
from tests.simulation.process import Process

__all__ = ["GROUPS", "SOURCES", "START", "TENANTS", "SimulatedConnector", "Workspace", "World", "human"]

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
GROUPS = ("planners", "readers")
ADDRESSES = [f"{name}@acme.com" for name in "ann bea cat dan eve fay gus hal ida jon kim lou".split()]  # noqa: SIM905  (reads better)
SOURCES = (Source("okta", "app-okta"), Source("entra", "app-entra"))
TENANTS = {"okta": "okta https://acme.okta.com", "entra": "entra acme"}
ELSEWHERE = "another tenant"
LIE_SECONDS = 240.0
"""Less than the five minutes after which a group that is still empty counts as emptied."""


def human(person_id: str) -> str:
    """Return who a person is, whatever ids they had: a human that is created again gets `p7~2` after `p7`."""
    return person_id.partition("~")[0]


class Moment(float):
    """A moment in virtual time, in seconds. *changes* is how many changes of people had been made by then.

    Time stands still while much happens, so the order of changes and reads is not known by the seconds alone.
    """

    def __new__(cls, seconds: float, changes: int) -> Self:
        made = super().__new__(cls, seconds)
        made.changes = changes
        return made

    changes: int

    def is_after(self, other: float) -> bool:
        return self.changes > other.changes if isinstance(other, Moment) else self > other


class _LaxMemberStore(MemberStore):
    """Several members may have one address; who came last is found by it."""

    def change_address(self, member: Member, address: str, now: datetime, *, follows: bool = False) -> None:
        self._by_address.setdefault(member.user_name.lower(), member)
        super().change_address(member, address, now, follows=follows)


class _LaxWorkspace(PigmentWorkspace):
    """A workspace that does not hold addresses to be unique."""

    def _require_unused_address(self, address: str, but_for: Member | None) -> None:
        """Let everyone have it."""


@dataclass
class Workspace:
    """A pretend workspace. *url* is its target; until *lists_past_until* it lists its members as they *were*."""

    url: str
    space: PigmentWorkspace
    is_lax: bool = False
    token: str = "token-0"
    were: MemberStore | None = None
    lists_past_until: float = 0.0

    def list_past(self, until: float) -> None:
        self.were, self.lists_past_until = copy.deepcopy(self.space.member_store), until


@dataclass
class World:
    """The truth that everything else only reads.

    - *latency*: how many seconds a request to a workspace takes; *fault_rate*: how often its answer is lost, refused or
      untrue.
    - *unrest*: how often an administrator edits a member, or people move, between two requests. *is_moving*: things
      happen while a process waits. *by_hand* counts what administrators did, *edited* are the members they gave another
      address or name.
    - *failing*: connectors that can't be read. *short_rate*: how often a first answer of a source leaves people out.
      *last_omission*: when an answer last left out a person or a group of theirs. *lies*: groups that a source shows
      empty, with when it stops. *strangers*: the people of another tenant that a connector reads instead of its own.
      *is_blind*: looking up a person shows nothing of their groups.
    - *past* has what each human was, and since when; *changes* counts its entries. *on_move* gets a person before and
      after each change of them.
    - *addresses* are those that people get; *read_seconds*: how long a read of a source takes after what it shows.
    - *in_flight*: how many changes of a workspace an agent sends at once. *order* draws in which order they arrive, a
      stream of its own. *found* is what broke where no one may have been left to report it.
    """

    chance: random.Random
    people: dict[PersonKey, Person] = field(default_factory=dict)
    past: dict[tuple[str, str], list[tuple[Moment, Person | None]]] = field(default_factory=lambda: defaultdict(list))
    changes: int = 0
    workspaces: dict[str, Workspace] = field(default_factory=dict)
    strangers: dict[str, list[Person]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    lies: dict[tuple[str, str], float] = field(default_factory=dict)
    latency: float = 0.05
    fault_rate: float = 0.0
    unrest: float = 0.0
    short_rate: float = 0.0
    last_omission: float = -1.0
    is_blind: bool = False
    hired: int = 0
    edited: set[str] = field(default_factory=set)
    is_moving: bool = False
    by_hand: int = 0
    addresses: list[str] = field(default_factory=lambda: list(ADDRESSES))
    read_seconds: float = 0.0
    in_flight: int = 1
    order: random.Random = field(default_factory=random.Random)
    found: list[BaseException] = field(default_factory=list)
    on_move: Callable[[Person | None, Person | None], None] = lambda _before, _after: None
    # As in `Process`: its clock is read too often to look for the loop each time.
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def elapsed(self) -> float:
        return self.loop.time()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed())

    def add_workspace(self, name: str, *, is_lax: bool = False) -> Workspace:
        url = f"https://pigment.example.com/{name}/scim/v2"
        space = (_LaxWorkspace if is_lax else PigmentWorkspace)(name, ["token-0"], now=self.now)
        if is_lax:
            space.member_store = _LaxMemberStore(name)
        made = Workspace(url, space, is_lax)
        self.workspaces[url] = made
        return made

    @property
    def spaces(self) -> list[PigmentWorkspace]:
        return [each.space for each in self.workspaces.values()]

    # What happens at the sources. People's names hold their id, so that no account can be taken for another's.

    def put(self, person: Person) -> None:
        before = self.people.get(person.key)
        self.people[person.key] = person
        self.past[person.connector, human(person.id)].append((self._change_moment(), person))
        self.on_move(before, person)

    def remove(self, key: PersonKey) -> None:
        before = self.people.pop(key)
        self.on_move(before, None)
        self.past[key.connector, human(key.id)].append((self._change_moment(), None))

    def moment(self) -> Moment:
        """Return this moment, after every change until now."""
        return Moment(self.elapsed(), self.changes)

    def _change_moment(self) -> Moment:
        self.changes += 1
        return self.moment()

    def was_always(self, key: PersonKey, since: float, holds: Any) -> bool:
        """Return whether *holds* was true of the human behind *key* at any moment since *since*."""
        known = self.past[key.connector, human(key.id)]
        before = [person for at, person in known if not at.is_after(since)][-1:]
        after = [person for at, person in known if at.is_after(since)]
        return bool(known) and all(person is not None and holds(person) for person in [*before, *after])

    def hire(self) -> None:
        connector = self.chance.choice(SOURCES).connector
        self.hired += 1
        name = f"p{self.hired}"
        self.put(Person(connector, name, self.chance.choice(self.addresses), f"Person {name}", groups=self._groups()))

    def _groups(self) -> tuple[str, ...]:
        return tuple(self.chance.sample(GROUPS, self.chance.choice([1, 1, 2])))

    def change_other_person(self) -> None:
        if not self.people:
            return
        key = self.chance.choice(sorted(self.people))
        changes: list[dict[str, Any]] = [
            {"groups": (), "individual": False},
            {"groups": self._groups()},
            {"status": Status.SUSPENDED},
            {"status": Status.ACTIVE},
            {"display_name": f"Person {human(key.id)} {self.chance.randrange(100)}"},
            {"email": self.chance.choice(self.addresses)},
            {"groups": (), "individual": True},
        ]
        match self.chance.random():
            case draw if draw < 0.1:
                self.remove(key)
            case draw if draw < 0.2:
                self.remake(key)
            case _:
                self.put(replace(self.people[key], **self.chance.choice(changes)))

    def remake(self, key: PersonKey) -> None:
        """Give the same human another id, as a directory does that was restored, or that made the account again."""
        person = self.people.pop(key)
        self.on_move(person, None)
        generation = int(key.id.partition("~")[2] or 1) + 1
        self.put(replace(person, id=f"{human(key.id)}~{generation}"))

    def remake_all(self) -> None:
        connector = self.chance.choice(SOURCES).connector
        for key in [key for key in self.people if key.connector == connector]:
            self.remake(key)

    def readdress(self, key: PersonKey) -> None:
        self.put(replace(self.people[key], email=self.chance.choice(self.addresses)))

    def lose_many(self) -> None:
        """A department goes."""
        for key in self.chance.sample(sorted(self.people), len(self.people) // 2):
            self.put(replace(self.people[key], groups=(), individual=False))

    def swap_emails(self) -> None:
        if len(self.people) > 1:
            one, other = self.chance.sample(sorted(self.people), 2)
            emails = self.people[one].email, self.people[other].email
            self.put(replace(self.people[one], email=emails[1]))
            self.put(replace(self.people[other], email=emails[0]))

    # Untrue answers of sources.

    def empty_group(self) -> None:
        """A source shows one group as empty, for some minutes. It never does so twice without a true answer."""
        key = (self.chance.choice(SOURCES).connector, self.chance.choice(GROUPS))
        if key not in self.lies:
            self.lies[key] = self.elapsed() + self.chance.uniform(0, LIE_SECONDS)

    def shown_groups(self, person: Person) -> tuple[str, ...]:
        return tuple(each for each in person.groups if self.lies.get((person.connector, each), 0) <= self.elapsed())

    def swap_tenant(self) -> None:
        """A connector reads another tenant, or its own again. Some of the strangers have addresses of ours."""
        connector = self.chance.choice(SOURCES).connector
        if self.strangers.pop(connector, None) is None:
            count = self.chance.choice([0, 1, 3, 6])
            self.strangers[connector] = [self._stranger(connector) for _ in range(count)]

    def _stranger(self, connector: str) -> Person:
        self.hired += 1
        name = f"s{self.hired}"
        return Person(connector, name, self.chance.choice(self.addresses), f"Stranger {name}", groups=self._groups())

    def tenant(self, connector: str) -> str:
        return ELSEWHERE if connector in self.strangers else TENANTS[connector]

    # What an administrator does in Pigment by hand.

    def edit_by_hand(self) -> None:
        self.by_hand += 1
        space = self.chance.choice(self.spaces)
        email, is_active = self.chance.choice(self.addresses), self.chance.random() < 0.7
        try:
            match self.chance.choice(["create", "rename", "deactivate", "reactivate", "move"]):
                case "create":
                    space.admin_create(email, f"Hand {self.chance.randrange(100)}", active=is_active)
                case "rename":
                    space.admin_rename(email, f"Hand {self.chance.randrange(100)}")
                    self._edited(space, email)
                case "deactivate":
                    space.admin_deactivate(email)
                case "reactivate":
                    space.admin_reactivate(email)
                case _:
                    self._move_by_hand(space, email, self.chance.choice(self.addresses))
        except ScimError:
            # No member has that address, or another one has it: then nothing was done by hand.
            return

    def undo_us(self, space: PigmentWorkspace) -> None:
        """Another tool reactivates everyone in a workspace."""
        self.by_hand += 1
        for member in space.members:
            # Of several members with one address only the last is found by it.
            with suppress(ScimError):
                space.admin_reactivate(member.user_name)

    def take_address(self, space: PigmentWorkspace, address: str) -> None:
        """Give a member, by hand, the address that another is about to get."""
        self.by_hand += 1
        members = [member for member in space.members if member.user_name != address]
        if members and space.find_member(address) is None:
            # Of several members with one address only the last is found by it.
            with suppress(ScimError):
                self._move_by_hand(space, self.chance.choice(members).user_name, address)

    def _move_by_hand(self, space: PigmentWorkspace, email: str, to: str) -> None:
        space.admin_change_email(email, to)
        self._edited(space, to)

    def _edited(self, space: PigmentWorkspace, email: str) -> None:
        self.edited.update(member.id for member in space.members if member.user_name == email)

    def rotate_token(self, workspace: Workspace) -> None:
        old_token, workspace.token = workspace.token, f"token-{self.chance.randrange(10**6)}"
        workspace.space.tokens.add(workspace.token)
        workspace.space.tokens.revoke(old_token)

    def move_on(self) -> None:
        """Make a change that no run causes: the world does not wait for a run."""
        self.chance.choice([self.change_other_person, self.change_other_person, self.hire, self.edit_by_hand])()


@dataclass(frozen=True)
class SimulatedConnector:
    """Implements `connectors.base.Connector` over the world, for one process.

    *read_at* gets the time that each read shows, *on_read* the time when it ended.
    """

    world: World
    name: str
    process: Process
    read_at: list[float]
    on_read: Callable[[float], None] = lambda _at: None

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        await self.process.at("read")
        world = self.world
        self.read_at.append(world.moment())
        if self.name in world.failing:
            raise IncompleteRead(f"{self.name} broke off.", "Run again.")
        snapshot = self._snapshot(source, is_short=not fresh and world.chance.random() < world.short_rate)
        if world.read_seconds:
            await asyncio.sleep(world.read_seconds)
        await self.process.at("read")
        self.on_read(world.elapsed())
        return snapshot

    def _snapshot(self, source: Source, *, is_short: bool) -> Snapshot:
        world = self.world
        own_people = world.strangers.get(self.name)
        if own_people is None:
            own_people = [person for person in world.people.values() if person.connector == self.name]
            true_people = own_people
            own_people = [replace(person, groups=world.shown_groups(person)) for person in true_people]
            if is_short or own_people != true_people:
                world.last_omission = world.elapsed()
            for key, until in list(world.lies.items()):
                if key[0] == self.name and until <= world.elapsed():
                    del world.lies[key]
        counted = [each for each in GROUPS if not source.groups or each in source.groups]
        own_people = [
            replace(person, groups=tuple(each for each in person.groups if each in counted)) for person in own_people
        ]
        shown = [person for person in own_people if person.groups or person.individual]
        if is_short:
            shown = self._cut_short(shown)
        world.chance.shuffle(shown)
        groups = tuple(Group(each, each.title(), sum(each in person.groups for person in shown)) for each in counted)
        return Snapshot(source, "Pigment", groups, tuple(shown))

    def _cut_short(self, people: list[Person]) -> list[Person]:
        """Return what an answer shows that ends too early, or that shows one of the groups empty."""
        chance = self.world.chance
        if chance.random() < 0.5:
            emptied = chance.choice(GROUPS)
            left = [replace(each, groups=tuple(set(each.groups) - {emptied})) for each in people]
            return [now for now, was in zip(left, people, strict=True) if now.groups or was.individual]
        # Of people without a group nothing but the list speaks.
        return [person for person in people if not person.groups or chance.random() < 0.7]

    def clear_cache(self) -> None:
        """Keep nothing from one read to the next."""

    async def lookup(self, person_id: str, source: Source, /) -> LookupResult:
        await self.process.at("read")
        if self.name in self.world.strangers:
            return LookupResult(Status.DELETED)
        person = self.world.people.get(PersonKey(self.name, person_id))
        if person is None:
            return LookupResult(Status.DELETED)
        groups = frozenset(each for each in person.groups if not source.groups or each in source.groups)
        return LookupResult(person.status, groups=None if self.world.is_blind else groups)

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        return [Finding("ok", self.name, f"{len(sources)} sources", name=CheckName.CREDENTIALS)]
