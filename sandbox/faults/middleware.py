"""ASGI middleware for a pretend system that applies the fault rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
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
    SkewedClock,
    Slow,
    Status,
    System,
)
from sandbox.faults.connection import abort_connection
from sandbox.faults.corrupt import apply_drift, corrupt, double_headers, error_for_action
from sandbox.faults.cursor import PagePosition, position_from_scope
from sandbox.faults.error_responses import (
    concurrency_error,
    error_response,
    expired_cursor_error,
    throttle_response,
    with_request_ids,
)
from sandbox.faults.registry import ActiveRule, FaultRegistry, FiredFault
from sandbox.faults.response import CapturedResponse, capture_response
from sandbox.pigment.app import DROP_WRITE_KEY
from sandbox.request_id import request_id_headers

__all__ = ["FaultMiddleware", "Runtime"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """The clock, the sleep, and the error for a lost connection where there is no socket to abort."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    connection_error: Callable[[str], Exception] = ConnectionResetError


DEFAULT_RUNTIME = Runtime()


@dataclass(slots=True)
class InterceptedRequest:
    """One request in progress: its position, and the rules that apply (with how often each was applied so far)."""

    scope: Scope
    receive: Receive
    position: PagePosition
    path: str
    matched_rules: list[tuple[ActiveRule, int]]
    drifting_rules: list[tuple[ActiveRule, bool]]

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def credentials(self) -> str:
        return next((value.decode("latin-1") for name, value in self.scope["headers"] if name == b"authorization"), "")

    def actions(self) -> list[Action]:
        return [active.rule.action for active, _ in self.matched_rules]


class FaultMiddleware:
    """ASGI middleware for *app*, which is *system*. Several may share one *registry*."""

    def __init__(
        self, app: ASGIApp, registry: FaultRegistry, system: System, runtime: Runtime = DEFAULT_RUNTIME
    ) -> None:
        self.app = app
        self.registry = registry
        self.system = system
        self.runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        visit = self._intercept(scope, receive)
        watched = [active for active in self._matching_rules(visit) if isinstance(active.rule.action, Concurrency)]
        for active in watched:
            active.in_flight += 1
        try:
            await self._respond(visit, send)
        finally:
            for active in watched:
                active.in_flight -= 1

    async def _respond(self, visit: InterceptedRequest, send: Send) -> None:
        for action in visit.actions():
            if isinstance(action, Slow):
                await self.runtime.sleep(action.seconds)
        if any(isinstance(action, Disconnect) for action in visit.actions()):
            await abort_connection(visit.scope, visit.receive, self.runtime.connection_error, reset=False)
            return
        refusal = self._early_response(visit)
        if refusal is not None:
            for action in visit.actions():
                refusal = double_headers(action, refusal) if isinstance(action, DoubledHeaders) else refusal
            await self._with_request_ids(refusal, visit).send_to(send)
        elif not visit.matched_rules and not visit.drifting_rules:
            await self.app(visit.scope, visit.receive, send)
        else:
            await self._send_corrupted(visit, send)

    async def _send_corrupted(self, visit: InterceptedRequest, send: Send) -> None:
        answer = await capture_response(self.app, visit.scope, visit.receive)
        if any(isinstance(action, Reset) for action in visit.actions()):
            await abort_connection(visit.scope, visit.receive, self.runtime.connection_error, reset=True)
            return
        for active, starts_here in visit.drifting_rules:
            if isinstance(active.rule.action, Drift):
                answer = apply_drift(active.rule.action.kind, answer, visit.position, starts_here=starts_here)
        for active, number in visit.matched_rules:
            answer = corrupt(active.rule.action, answer, visit.position, number)
            if isinstance(active.rule.action, SkewedClock):
                shown = formatdate(self.runtime.now() + active.rule.action.ahead, usegmt=True)
                answer = answer.with_header("date", shown)
        await self._with_request_ids(answer, visit).send_to(send)

    def _with_request_ids(self, answer: CapturedResponse, visit: InterceptedRequest) -> CapturedResponse:
        if self.system is not System.ENTRA:
            return answer
        return with_request_ids(answer, request_id_headers(self.system.value, visit.scope))

    def _intercept(self, scope: Scope, receive: Receive) -> InterceptedRequest:
        """Count the request with every rule that matches it, and set its query for the application."""
        position = position_from_scope(self.system, scope)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        visit = InterceptedRequest(dict(scope), receive, position, path, [], [])
        for active in self._matching_rules(visit):
            applies = active.count_request()
            if isinstance(active.rule.action, Drift):
                self._update_drift(visit, active, applies=applies)
            if applies:
                visit.matched_rules.append((active, active.fired))
                self.registry.fired.append(FiredFault(active.rule.name, self.system, visit.method, path))
        visit.scope["query_string"] = self._effective_query(visit).encode("latin-1")
        visit.scope[DROP_WRITE_KEY] = any(
            isinstance(action, Dropped) and (action.posts or visit.method != "POST") for action in visit.actions()
        )
        return visit

    def _matching_rules(self, visit: InterceptedRequest) -> list[ActiveRule]:
        query = unquote_plus(visit.position.query)
        return [
            active
            for active in self.registry.active_rules
            if active.rule.matches(self.system, visit.method, visit.path, query)
        ]

    def _update_drift(self, visit: InterceptedRequest, active: ActiveRule, *, applies: bool) -> None:
        """A list that has drifted stays so until it is read from its beginning again."""
        active.is_drifting = applies or (active.is_drifting and not visit.position.is_first_page)
        if active.is_drifting:
            visit.drifting_rules.append((active, applies))

    def _effective_query(self, visit: InterceptedRequest) -> str:
        position, actions = visit.position, visit.actions()
        if any(isinstance(action, FirstPageAgain) for action in actions):
            return position.first_page_query()
        if self.system is not System.PIGMENT:
            return position.query
        if any(isinstance(action, EndlessPages) for action in actions):
            return position.first_page_query()
        shift = sum(_drift_offset(active.rule.action) for active, _ in visit.drifting_rules) if position.is_list else 0
        return position.query_at(max(1, position.start_index() + shift)) if shift else position.query

    def _early_response(self, visit: InterceptedRequest) -> CapturedResponse | None:
        """Return the response that replaces the application's, if any."""
        for active, _ in visit.matched_rules:
            answer = self._rule_response(active, visit)
            if answer is not None:
                return answer
        if visit.credentials and (self.system, visit.credentials) in self.registry.revoked:
            return error_response(self.system, 401)
        return self._repeated_throttle(visit)

    def _rule_response(self, active: ActiveRule, visit: InterceptedRequest) -> CapturedResponse | None:
        match active.rule.action:
            case Status(committed=False) | Html(committed=False) as action:
                return error_for_action(action, visit.position)
            case ExpiredCursor():
                return expired_cursor_error(self.system)
            case RevokeToken():
                self.registry.revoked.add((self.system, visit.credentials))
                return error_response(self.system, 401)
            case Concurrency(limit=limit) if active.in_flight > limit:
                return concurrency_error(self.system, self.runtime.now())
            case EarlyRetry(seconds=seconds) if active.throttled_until <= self.runtime.now():
                return self._throttle(active, seconds)
            case _:
                return None

    def _repeated_throttle(self, visit: InterceptedRequest) -> CapturedResponse | None:
        """Refuse a client that did not wait again, for twice as long."""
        for active in self._matching_rules(visit):
            if isinstance(active.rule.action, EarlyRetry) and active.throttled_until > self.runtime.now():
                return self._throttle(active, active.throttle_seconds * 2)
        return None

    def _throttle(self, active: ActiveRule, seconds: float) -> CapturedResponse:
        now = self.runtime.now()
        wait = throttle_response(self.system, seconds, now)
        active.throttle_seconds, active.throttled_until = seconds, wait.until
        return wait.response


def _drift_offset(action: Action) -> int:
    if not isinstance(action, Drift):
        return 0
    return 1 if action.kind == "removed" else -1
