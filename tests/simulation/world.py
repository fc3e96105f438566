"""A small company, its pretend workspace and everything that may happen to them, by one stream of chance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.ports import Lease
from connectors.base import Finding, Group, IncompleteRead, Person, Snapshot, Source, Status, Whereabouts
from sandbox.pigment.refusal import Refusal
from sandbox.pigment.space import PigmentSpace
from tests.memory_state import MemoryState

__all__ = ["Died", "MortalState", "SimulatedConnector", "World"]

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
GROUPS = ("planners", "readers")
ADDRESSES = [f"{name}@acme.com" for name in "ann bea cat dan eve fay gus hal ida jon kim lou".split()]  # noqa: SIM905
SOURCES = (Source("okta", "app-okta"), Source("entra", "app-entra"))


class Died(BaseException):
    """The process was killed: nothing after this line of it happened."""


@dataclass
class World:
    """The truth that everybody else only reads. *dies_in* counts down to the process's death, *hangs_in* to the request
    before which it hangs; None: it lives, it does not hang. *unrest* is how often an administrator edits a member
    between two of its requests; *edited* are the members whose address or name was changed by hand. *short_rate* is how
    often a source's first answer leaves people out.
    """

    chance: random.Random
    moment: datetime = START
    people: dict[tuple[str, str], Person] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    token: str = "token-0"
    dies_in: int | None = None
    hangs_in: int | None = None
    is_dead: bool = False
    fault_rate: float = 0.0
    unrest: float = 0.0
    short_rate: float = 0.0
    hired: int = 0
    edited: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.space = PigmentSpace("latam", [self.token], now=lambda: self.moment)

    def now(self) -> datetime:
        self.live()
        return self.moment

    def elapsed(self) -> float:
        return self.moment.timestamp()

    def live(self) -> None:
        """Die here, if this is the step at which the process is to die; the dead stay dead."""
        if self.dies_in is not None:
            self.dies_in -= 1
            self.is_dead = self.is_dead or self.dies_in < 0
        if self.is_dead:
            raise Died

    def hangs(self) -> bool:
        """Tell whether the process hangs here; it does so once."""
        if self.hangs_in is None:
            return False
        self.hangs_in -= 1
        if self.hangs_in >= 0:
            return False
        self.hangs_in = None
        return True

    def pass_minutes(self, minutes: float) -> None:
        self.moment += timedelta(minutes=minutes)

    # What happens at the sources. People's names hold their id, so that nobody's account can be taken for another's.

    def hire(self) -> None:
        connector = self.chance.choice(SOURCES).connector
        self.hired += 1
        name = f"p{self.hired}"
        person = Person(connector, name, self.chance.choice(ADDRESSES), f"Person {name}", groups=self._groups())
        self.people[connector, name] = person

    def _groups(self) -> tuple[str, ...]:
        return tuple(self.chance.sample(GROUPS, self.chance.choice([1, 1, 2])))

    def change_somebody(self) -> None:
        if not self.people:
            return
        key = self.chance.choice(sorted(self.people))
        changes: list[dict[str, Any]] = [
            {"groups": (), "individual": False},
            {"groups": self._groups()},
            {"status": Status.SUSPENDED},
            {"status": Status.ACTIVE},
            {"display_name": f"Person {key[1]} {self.chance.randrange(100)}"},
            {"email": self.chance.choice(ADDRESSES)},
            {"groups": (), "individual": True},
        ]
        if self.chance.random() < 0.1:
            del self.people[key]
        else:
            self.people[key] = replace(self.people[key], **self.chance.choice(changes))

    def readdress(self, key: tuple[str, str]) -> None:
        self.people[key] = replace(self.people[key], email=self.chance.choice(ADDRESSES))

    def lose_many(self) -> None:
        """A department goes."""
        for key in self.chance.sample(sorted(self.people), len(self.people) // 2):
            self.people[key] = replace(self.people[key], groups=(), individual=False)

    def swap_emails(self) -> None:
        if len(self.people) > 1:
            one, other = self.chance.sample(sorted(self.people), 2)
            emails = self.people[one].email, self.people[other].email
            self.people[one] = replace(self.people[one], email=emails[1])
            self.people[other] = replace(self.people[other], email=emails[0])

    # What an administrator does in Pigment by hand.

    def edit_by_hand(self) -> None:
        email, is_active = self.chance.choice(ADDRESSES), self.chance.random() < 0.7
        try:
            match self.chance.choice(["create", "rename", "deactivate", "reactivate", "move"]):
                case "create":
                    self.space.by_hand_create(email, f"Hand {self.chance.randrange(100)}", active=is_active)
                case "rename":
                    self.space.by_hand_rename(email, f"Hand {self.chance.randrange(100)}")
                    self._edited(email)
                case "deactivate":
                    self.space.by_hand_deactivate(email)
                case "reactivate":
                    self.space.by_hand_reactivate(email)
                case _:
                    self._move_by_hand(email, self.chance.choice(ADDRESSES))
        except Refusal:
            # Nobody has that address, or somebody has the other: then nothing was done by hand.
            return

    def take_address(self, address: str) -> None:
        """Give somebody's member, by hand, the address that another is about to get."""
        members = [member for member in self.space.members if member.user_name != address]
        if members and self.space.member(address) is None:
            self._move_by_hand(self.chance.choice(members).user_name, address)

    def _move_by_hand(self, email: str, to: str) -> None:
        self.space.by_hand_move(email, to)
        self._edited(to)

    def _edited(self, email: str) -> None:
        self.edited.update(member.id for member in self.space.members if member.user_name == email)

    def rotate_token(self) -> None:
        former, self.token = self.token, f"token-{self.chance.randrange(10**6)}"
        self.space.tokens.add(self.token)
        self.space.tokens.revoke(former)


@dataclass(frozen=True)
class SimulatedConnector:
    """Implements `connectors.base.Connector` over the world."""

    world: World
    name: str

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        self.world.live()
        if self.name in self.world.failing:
            raise IncompleteRead(f"{self.name} broke off.", "Run again.")
        mine = [person for person in self.world.people.values() if person.connector == self.name]
        shown = [person for person in mine if person.groups or person.individual]
        if not fresh and self.world.chance.random() < self.world.short_rate:
            shown = self._cut_short(shown)
        self.world.chance.shuffle(shown)
        groups = tuple(Group(each, each.title(), sum(each in person.groups for person in shown)) for each in GROUPS)
        return Snapshot(source, "Pigment", groups, tuple(shown))

    def _cut_short(self, people: list[Person]) -> list[Person]:
        """Return what an answer shows that ends too early, or that has nobody in one of the groups."""
        chance = self.world.chance
        if chance.random() < 0.5:
            emptied = chance.choice(GROUPS)
            left = [replace(each, groups=tuple(set(each.groups) - {emptied})) for each in people]
            return [now for now, was in zip(left, people, strict=True) if now.groups or was.individual]
        # Of people without a group nothing but the list speaks.
        return [person for person in people if not person.groups or chance.random() < 0.7]

    def forget(self) -> None:
        """Keep nothing anyway."""

    async def lookup(self, person_id: str, _source: Source, /) -> Whereabouts:
        self.world.live()
        person = self.world.people.get((self.name, person_id))
        if person is None:
            return Whereabouts(Status.DELETED)
        return Whereabouts(person.status, groups=frozenset(person.groups))

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        return [Finding("ok", self.name, f"{len(sources)} sources")]


@dataclass
class MortalState(MemoryState):
    """A state that the process can no longer reach once it is dead; what was written stays."""

    world: World | None = None

    async def release_lease(self, lease: Lease) -> None:
        if self.world is not None:
            self.world.live()
        await super().release_lease(lease)
