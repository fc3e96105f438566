"""Stand in front of one pretend system and let go wrong what the rules say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote_plus

from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.faults.action import (
    Action,
    Concurrency,
    Disconnect,
    DoubledHeaders,
    Drift,
    Dropped,
    EarlyRetry,
    EndlessPages,
    ExpiredCursor,
    FirstPageAgain,
    Html,
    Reset,
    RevokeToken,
    Slow,
    Status,
    System,
)
from sandbox.faults.answer import Answer, answer_of
from sandbox.faults.book import Armed, FaultBook, Fired
from sandbox.faults.connection import lose
from sandbox.faults.place import Place, place_of
from sandbox.faults.refusal import busy, expired_cursor, refused, throttled
from sandbox.faults.spoiling import doubled, drifted, spoilt, worded
from sandbox.pigment.app import DROPPED

__all__ = ["Faults", "Surroundings"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The clock, how to wait, and what is raised for a lost connection where there is no socket to abort."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    lost: Callable[[str], Exception] = ConnectionResetError


USUAL = Surroundings()


@dataclass(slots=True)
class Visit:
    """One request on its way: what it wants, and the rules that it met (with how often each was applied by now)."""

    scope: Scope
    receive: Receive
    place: Place
    path: str
    met: list[tuple[Armed, int]]
    drifts: list[tuple[Armed, bool]]

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def credentials(self) -> str:
        return next((value.decode("latin-1") for name, value in self.scope["headers"] if name == b"authorization"), "")

    def actions(self) -> list[Action]:
        return [armed.rule.action for armed, _ in self.met]


class Faults:
    """ASGI middleware for *app*, which is *system*. Several may share one *book*."""

    def __init__(self, app: ASGIApp, book: FaultBook, system: System, around: Surroundings = USUAL) -> None:
        self.app = app
        self.book = book
        self.system = system
        self.around = around

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        visit = self._visit(scope, receive)
        watched = [armed for armed in self._covering(visit) if isinstance(armed.rule.action, Concurrency)]
        for armed in watched:
            armed.in_flight += 1
        try:
            await self._pass(visit, send)
        finally:
            for armed in watched:
                armed.in_flight -= 1

    async def _pass(self, visit: Visit, send: Send) -> None:
        for action in visit.actions():
            if isinstance(action, Slow):
                await self.around.sleep(action.seconds)
        if any(isinstance(action, Disconnect) for action in visit.actions()):
            await lose(visit.scope, visit.receive, self.around.lost, reset=False)
            return
        refusal = self._refusal(visit)
        if refusal is not None:
            for action in visit.actions():
                refusal = doubled(action, refusal) if isinstance(action, DoubledHeaders) else refusal
            await refusal.sent(send)
        elif not visit.met and not visit.drifts:
            await self.app(visit.scope, visit.receive, send)
        else:
            await self._spoil(visit, send)

    async def _spoil(self, visit: Visit, send: Send) -> None:
        answer = await answer_of(self.app, visit.scope, visit.receive)
        if any(isinstance(action, Reset) for action in visit.actions()):
            await lose(visit.scope, visit.receive, self.around.lost, reset=True)
            return
        for armed, here in visit.drifts:
            if isinstance(armed.rule.action, Drift):
                answer = drifted(armed.rule.action.kind, answer, visit.place, here=here)
        for armed, turn in visit.met:
            answer = spoilt(armed.rule.action, answer, visit.place, turn)
        await answer.sent(send)

    def _visit(self, scope: Scope, receive: Receive) -> Visit:
        """Count the request with every rule that covers it, and set its query to what the application is to see."""
        place = place_of(self.system, scope)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        visit = Visit(dict(scope), receive, place, path, [], [])
        for armed in self._covering(visit):
            met = armed.is_met()
            if isinstance(armed.rule.action, Drift):
                self._drift(visit, armed, met=met)
            if met:
                visit.met.append((armed, armed.fired))
                self.book.fired.append(Fired(armed.rule.name, self.system, visit.method, path))
        visit.scope["query_string"] = self._query(visit).encode("latin-1")
        visit.scope[DROPPED] = any(
            isinstance(action, Dropped) and (action.posts or visit.method != "POST") for action in visit.actions()
        )
        return visit

    def _covering(self, visit: Visit) -> list[Armed]:
        query = unquote_plus(visit.place.query)
        return [armed for armed in self.book.armed if armed.rule.covers(self.system, visit.method, visit.path, query)]

    def _drift(self, visit: Visit, armed: Armed, *, met: bool) -> None:
        """A list that has drifted stays so until it is read from its beginning again."""
        armed.drifting = met or (armed.drifting and not visit.place.is_first)
        if armed.drifting:
            visit.drifts.append((armed, met))

    def _query(self, visit: Visit) -> str:
        place, actions = visit.place, visit.actions()
        if any(isinstance(action, FirstPageAgain) for action in actions):
            return place.at_first()
        if self.system is not System.PIGMENT:
            return place.query
        if any(isinstance(action, EndlessPages) for action in actions):
            return place.at_first()
        shift = sum(_shift(armed.rule.action) for armed, _ in visit.drifts) if place.is_list else 0
        return place.moved_to(max(1, place.start_index() + shift)) if shift else place.query

    def _refusal(self, visit: Visit) -> Answer | None:
        """Return what is answered in the application's place, if anything is."""
        for armed, _ in visit.met:
            answer = self._refused(armed, visit)
            if answer is not None:
                return answer
        if visit.credentials and (self.system, visit.credentials) in self.book.revoked:
            return refused(self.system, 401)
        return self._banned(visit)

    def _refused(self, armed: Armed, visit: Visit) -> Answer | None:
        match armed.rule.action:
            case Status(committed=False) | Html(committed=False) as action:
                return worded(action, visit.place)
            case ExpiredCursor():
                return expired_cursor(self.system)
            case RevokeToken():
                self.book.revoked.add((self.system, visit.credentials))
                return refused(self.system, 401)
            case Concurrency(limit=limit) if armed.in_flight > limit:
                return busy(self.system, self.around.now())
            case EarlyRetry(seconds=seconds) if armed.until <= self.around.now():
                return self._ban(armed, seconds)
            case _:
                return None

    def _banned(self, visit: Visit) -> Answer | None:
        """Refuse again, and for twice as long, whoever did not wait."""
        for armed in self._covering(visit):
            if isinstance(armed.rule.action, EarlyRetry) and armed.until > self.around.now():
                return self._ban(armed, armed.wait * 2)
        return None

    def _ban(self, armed: Armed, seconds: float) -> Answer:
        now = self.around.now()
        wait = throttled(self.system, seconds, now)
        armed.wait, armed.until = seconds, wait.until
        return wait.answer


def _shift(action: Action) -> int:
    if not isinstance(action, Drift):
        return 0
    return 1 if action.kind == "removed" else -1
