"""One process of the agent in the simulation: wherever it waits it may be killed, stopped, delayed or cut off.

Code between two waits runs at once, as it does in one thread. A process that is killed makes no further step in any of
its tasks; what it had committed stays. One that is stopped (SIGSTOP, a suspended machine) goes on later, and time has
passed.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

from agent.errors import StateError
from agent.ports.state import State

__all__ = [
    "DATABASE",
    "FEED_POINTS",
    "POINTS",
    "RARE_POINTS",
    "REPEATED",
    "Died",
    "Fate",
    "Happening",
    "Process",
    "Reached",
    "draw_fates",
    "draw_feed_fates",
    "draw_write_fates",
    "watched",
]

Reached = Counter[tuple[str, str, str]]
"""How often a point was reached: (point, what happened to the process there, what else was true)."""

POINTS = (
    "read",
    "request GET",
    "request PATCH",
    "request PUT",
    "request POST",
    "answer GET",
    "answer PATCH",
    "answer PUT",
    "answer POST",
    "wait",
    "renewal",
    "state take_lease",
    "state renew_lease",
    "state load_memory",
    "state begin_run",
    "state record_plan",
    "state update_memory",
    "state record_adoptions",
    "state record_intent",
    "state record_answer",
    "state end_run",
    "commit take_lease",
    "commit renew_lease",
    "commit begin_run",
    "commit update_memory",
    "commit record_adoptions",
    "commit record_intent",
    "commit record_answer",
    "commit end_run",
)
"""Where a process waits, by the prefix of the point: *wait* is for the pace, a back-off or a second look; *state* is
before a transaction, *commit* after it and before its result is known."""

WRITE_POINTS = (
    "request P",
    "answer P",
    "state record_intent",
    "state record_answer",
    "commit record_intent",
    "commit record_answer",
)
"""The waits of a process that has changes in flight. PATCH, PUT and POST count together."""

RARE_CALLS = (
    "close_run_without_lease",
    "count_all_guarded",
    "count_guarded",
    "end_named",
    "load_approvals",
    "load_baselines",
    "load_changes",
    "load_contested_members",
    "load_last_plan",
    "load_member_changes",
    "load_named_people",
    "load_pause",
    "load_recent_changes",
    "load_recent_deactivations",
    "load_run",
    "load_run_approvals",
    "load_run_by_digest",
    "load_sightings",
    "load_targets",
    "load_verifications",
    "mark_approvals_applied",
    "record_approval",
    "record_create_checks",
    "record_last_seen",
    "record_run",
    "record_sightings",
    "record_targets",
    "release_lease",
)
RARE_POINTS = (
    "commit load_memory",
    "commit record_plan",
    *(f"{side} {call}" for call in RARE_CALLS for side in ("state", "commit")),
)
"""The other calls of the state. A share of the processes meets something there."""
RARE = 0.1

FEED_POINTS = (
    "poll",
    "look",
    "tick",
    "wait",
    *(
        f"{side} {call}"
        for call in (
            "load_feed_cursor",
            "find_linked_workspaces",
            "record_poll",
            "load_named_people",
            "record_look",
            "end_named",
            "record_lags",
            "judge_found_leavers",
            "load_wanted_runs",
            "start_wanted_run",
            "end_wanted_run",
        )
        for side in ("state", "commit")
    ),
)
"""The waits that only a process with a change feed has."""

DATABASE = ("state ", "commit ")
SECONDS = (0.5, 3, 9, 12, 14, 16, 20, 45, 400, 1_200)
LATEST_SECONDS = 45


class Died(BaseException):
    """The process was killed: nothing after this line of it happened."""


class Happening(StrEnum):
    """What may happen to a process where it waits."""

    KILL = "kill"
    STOP = "stop"
    DELAY = "delay"
    CUT = "cut"
    """From here on the database can't be reached, for some time."""
    SILENCE = "silence"
    """From here on the database takes connections and answers nothing, for some time."""


@dataclass(frozen=True, slots=True)
class Fate:
    """*happening* occurs the *nth* time that the process reaches *point*, a prefix, and lasts *seconds*."""

    point: str
    nth: int
    happening: Happening
    seconds: float = 0.0


@dataclass(eq=False)
class Process:
    """A process and what happens to it. *conditions* name what else may be true, for the count of what was *reached*.

    *mains* are the tasks that a kill ends at once.
    *meanwhile* is awaited when the process is stopped or delayed: for so many seconds others go on without it.
    """

    reached: Reached
    fates: Sequence[Fate] = ()
    conditions: Mapping[str, Callable[[], bool]] = field(default_factory=dict)
    meanwhile: Callable[[float], Awaitable[None]] = asyncio.sleep
    mains: set[asyncio.Task[Any]] = field(default_factory=set)
    is_dead: bool = False
    stopped_until: float = 0.0
    down_until: float = 0.0
    is_silent: bool = False
    # Python 3.11 asks the kernel for the process at each `get_running_loop`, and this clock is read that often.
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _seen: Counter[Fate] = field(default_factory=Counter)

    def now(self) -> float:
        return self.loop.time()

    async def at(self, point: str, limit: float | None = None) -> None:
        """Pass *point*, or be killed or wait there. Raises `TimeoutError` after *limit* seconds of a delay."""
        self.live()
        fate = self._fate(point)
        if fate is None:
            self.reached[point, "", ""] += 1
        else:
            try:
                await self._befall(fate, limit)
            finally:
                self.reached[point, fate.happening, self._true()] += 1
        await self.go_on()

    async def sleep(self, point: str, seconds: float) -> None:
        """Sleep as the process does, and pass *point* afterwards."""
        self.live()
        await asyncio.sleep(seconds)
        await self.at(point)

    async def go_on(self) -> None:
        """Wait while the process is stopped, whichever of its tasks it was stopped in."""
        self.live()
        while (left := self.stopped_until - self.now()) > 0:
            await asyncio.sleep(left)
            self.live()

    def live(self) -> None:
        if self.is_dead:
            raise Died

    async def _befall(self, fate: Fate, limit: float | None) -> None:
        match fate.happening:
            case Happening.KILL:
                self.is_dead = True
                for task in self.mains - {asyncio.current_task()}:
                    task.cancel()
            case Happening.STOP:
                self.stopped_until = self.now() + fate.seconds
                await self.meanwhile(fate.seconds)
            case Happening.DELAY if limit is not None and fate.seconds > limit:
                await self.meanwhile(limit)
                raise TimeoutError
            case Happening.DELAY:
                await self.meanwhile(fate.seconds)
            case Happening.CUT | Happening.SILENCE:
                self.down_until = self.now() + fate.seconds
                self.is_silent = fate.happening is Happening.SILENCE

    def _fate(self, point: str) -> Fate | None:
        for fate in self.fates:
            if point.startswith(fate.point):
                self._seen[fate] += 1
                if self._seen[fate] == fate.nth:
                    return fate
        return None

    def _true(self) -> str:
        return ", ".join(name for name, holds in self.conditions.items() if holds())


def draw_fates(chance: random.Random) -> tuple[Fate, ...]:
    """Return what happens to one process. The point is chosen first, so that rare ones are reached too."""
    # A stream of its own, so that other processes meet what they met before there were rare points.
    state = chance.getstate()[1]
    rare = random.Random(f"point {state[0]} {state[-1]}")
    point = chance.choice(POINTS)
    if rare.random() < RARE:
        point = rare.choice(RARE_POINTS)
    return (_fate_at(chance, point),)


def draw_write_fates(chance: random.Random) -> tuple[Fate, ...]:
    """Return what happens to one process while several of its changes are in flight."""
    point = chance.choice(WRITE_POINTS)
    possible = list(Happening) if point.startswith(DATABASE) else [Happening.KILL, Happening.STOP, Happening.DELAY]
    happening = chance.choice([Happening.KILL, chance.choice(possible)])
    return (Fate(point, chance.randint(1, 9), happening, chance.choice(SECONDS)),)


def draw_feed_fates(chance: random.Random) -> tuple[Fate, ...]:
    """Return what happens to one process that has a change feed."""
    if chance.random() < 0.5:
        return draw_fates(chance)
    return (_fate_at(chance, chance.choice(FEED_POINTS)),)


def _fate_at(chance: random.Random, point: str) -> Fate:
    possible = list(Happening) if point.startswith(DATABASE) else [Happening.KILL, Happening.STOP, Happening.DELAY]
    happening = chance.choice(possible)
    nth, seconds = chance.choice([1, 1, 1, 1, 2, 2, 3, 5]), chance.choice(SECONDS)
    if point in {"wait", "tick"} and happening is Happening.DELAY:
        # A busy loop makes a timer late. By more than that only the whole process can be late: it was stopped.
        seconds = min(seconds, LATEST_SECONDS)
    return Fate(point, nth, happening, seconds)


QUERY_SECONDS = 10.0
"""How long the state waits for a silent database, as the real one does on the client's side."""
REPEATED = frozenset(
    (
        "load_memory",
        "load_recent_changes",
        "load_contested_members",
        "load_baselines",
        "load_sightings",
        "load_targets",
        "count_guarded",
        "load_recent_deactivations",
        "count_all_guarded",
        "load_pause",
    )
)
"""What a run reads of the state: the real one reads it again while the database is away for a moment."""
REPEAT_SECONDS, REPEAT_WITHIN_SECONDS = 1.0, 12.0


class _Watched:
    """The state as one process reaches it."""

    def __init__(self, state: State, process: Process) -> None:
        self._state = state
        self._process = process

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._state, name)
        point = "load_memory" if name == "load_links" else name

        async def once(*arguments: Any, **named: Any) -> Any:
            await self._reach(f"state {point}")
            result = await method(*arguments, **named)
            await self._reach(f"commit {point}")
            return result

        async def again(*arguments: Any, **named: Any) -> Any:
            until = self._process.now() + REPEAT_WITHIN_SECONDS
            while True:
                try:
                    return await once(*arguments, **named)
                except StateError:
                    if self._process.now() >= until:
                        raise
                await asyncio.sleep(REPEAT_SECONDS)
                await self._process.go_on()

        return again if point in REPEATED else once

    async def _reach(self, point: str) -> None:
        """Pass *point* on the way to the database or back. Raises `StateError` while it can't be reached."""
        process = self._process
        try:
            await process.at(point, QUERY_SECONDS)
        except TimeoutError as error:
            raise StateError(f"The state gave no answer ({point}).", "Run again.") from error
        left = process.down_until - process.now()
        if left <= 0:
            return
        if process.is_silent:
            await asyncio.sleep(min(left, QUERY_SECONDS))
            await process.go_on()
            if left <= QUERY_SECONDS:
                return
        raise StateError(f"The state can't be used ({point}).", "Run again.")


def watched(state: State, process: Process) -> State:
    """Return *state* as *process* reaches it: each call is a wait before its transaction, and one after its commit."""
    return cast(State, _Watched(state, process))
