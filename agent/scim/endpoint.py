"""One workspace's SCIM endpoint: every request to it passes here, with the token that works."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from urllib.parse import quote

from agent.errors import WorkspaceGone, WriteError, WriteStopped
from agent.scim.codec import scim_type
from agent.scim.token import Tokens
from connectors.base import CredentialsRefused, IncompleteRead, Permit, ReadError
from connectors.rest import (
    HEALING,
    REAL_TIME,
    Answer,
    Api,
    NoAnswer,
    NotPermitted,
    NotSent,
    Patience,
    Timer,
    is_rate_limit,
)

__all__ = ["FIRST_ROW", "REFUSALS", "UNANSWERED", "Endpoint", "error_type", "user_path"]

OK, FORBIDDEN = 200, 403
REFUSALS = frozenset({401, FORBIDDEN})
NOT_DONE = frozenset({425, 429})
"""A POST that is answered so was surely not carried out."""

FIRST_ROW = "Users?startIndex=1&count=1"
"""The cheapest request that shows whether a token is accepted."""

PROOF_SECONDS = 60.0
"""How long an accepted token stays proved, so that refusals of hundreds of creates cost one GET a minute."""

UNSUPPORTED_MEDIA = 415
UNANSWERED = frozenset({408, *range(500, 600)})
"""Answers after which a request may have been carried out."""

SCIM_JSON, PLAIN_JSON = "application/scim+json", "application/json"


def user_path(scim_id: str) -> str:
    """Return the path of a member. Raises `WriteError` for the two ids that no URL can hold."""
    if scim_id in {".", ".."}:
        raise WriteError(f"The SCIM id {scim_id} can't stand in a URL.", "Ask Pigment's support what this member is.")
    return f"Users/{quote(scim_id, safe='')}"


def error_type(answer: Answer) -> str:
    """Return the `scimType` of an error answer; empty when it has none, or no JSON."""
    try:
        return scim_type(answer.json())
    except ReadError:
        return ""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    json: object
    etag: str = ""


class _EveryTokenRefused(Exception):
    """*answer* is the refusal of the last token."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


@dataclass(slots=True)
class _Past:
    """What the attempts at one request have met so far, and whether one of them may have done what it asks for."""

    met: str = ""
    may_be_made: bool = False


class Endpoint:
    """Reads below a `scim_url`, and writes as long as *permit* holds, failing over from token to token."""

    def __init__(self, api: Api, tokens: Tokens, timer: Timer = REAL_TIME, permit: Permit | None = None) -> None:
        self.api = api
        self.tokens = tokens
        self._timer = timer
        self._permit = permit
        self._media = SCIM_JSON
        self._proving = asyncio.Lock()
        self._proved_at: dict[int, float] = {}

    @property
    def who(self) -> str:
        return self.api.who

    async def read(self, url: str, accept: Collection[int] = (OK,), *, is_listing: bool = False) -> Answer:
        """GET, retried. Raises `ReadError`: `CredentialsRefused` when every token was refused.

        A 403 to a listing refuses the token; to anything else it may be meant for this one request.
        """

        async def once() -> Answer:
            return await self.api.get(url, accept=(*accept, *REFUSALS))

        try:
            answer = await self._admitted(once, may_be_meant=not is_listing)
        except _EveryTokenRefused as refused:
            raise self.api.refusal(refused.answer) from None
        if answer.status == FORBIDDEN:
            refusal = self.api.refusal(answer)
            if is_rate_limit(answer.status, answer.headers):
                raise refusal
            raise IncompleteRead(
                refusal.message,
                "Other requests with this token are answered: only this one is refused, by Pigment or by a "
                "firewall before it.",
            )
        return answer

    async def repeat(self, method: str, url: str, json: object, etag: str = "") -> Answer:
        """PUT or PATCH, retried as far as the bounds go: doing it twice does no more than once.

        Returns the last answer. Raises `NotSent`, `NoAnswer`, `WriteStopped` or `WorkspaceGone`.
        """
        return await self._attempts(_Request(method, url, json, etag), HEALING, (NotSent, NoAnswer))

    async def post(self, url: str, json: object) -> Answer:
        """POST, retried only when it surely was not done: not sent, or refused by a limit (429, 403 with a time).

        Raises `NotSent`, `NoAnswer`, `WriteStopped` or `WorkspaceGone`.
        """
        return await self._attempts(_Request("POST", url, json), NOT_DONE, (NotSent,))

    async def _attempts(
        self, request: _Request, healing: frozenset[int], transient: tuple[type[Exception], ...]
    ) -> Answer:
        patience = self.api.patience(healing, transient, self._permit)
        past = _Past()

        async def once() -> Answer:
            return await self._sent(request, patience, past)

        async def admitted() -> Answer:
            answer = await self._admitted(once)
            if answer.status == UNSUPPORTED_MEDIA and self._media == SCIM_JSON:
                self._media = PLAIN_JSON
                answer = await self._admitted(once)
            return answer

        try:
            return await patience.attempt(admitted)
        except NotPermitted as error:
            raise WriteStopped(
                f"This run's lease ended before {request.method} left{f' again after {past.met}' if past.met else ''}.",
                "The next run reads the workspace and plans again.",
                may_be_made=past.may_be_made,
            ) from error
        except ReadError as error:
            raise WorkspaceGone(error.message, error.hint, "credentials", may_be_made=past.may_be_made) from error
        except _EveryTokenRefused as refused:
            answer = refused.answer
            raise WorkspaceGone(
                f"{self.who} refuses every token: {answer.status} to {request.method}{self.api.said(answer)}.",
                "Put a token that has not expired or been revoked into `tokens`, and check that SCIM is on in Pigment.",
                "credentials",
                may_be_made=past.may_be_made,
            ) from None

    async def _sent(self, request: _Request, patience: Patience, past: _Past) -> Answer:
        headers = {"Content-Type": self._media, **({"If-Match": request.etag} if request.etag else {})}
        try:
            answer = await self.api.send(
                request.method, request.url, json=request.json, headers=headers, patience=patience
            )
        except (NoAnswer, NotSent) as error:
            past.met = str(error)
            past.may_be_made = past.may_be_made or isinstance(error, NoAnswer)
            raise
        past.met = f"answer {answer.status}"
        past.may_be_made = past.may_be_made or answer.status in UNANSWERED
        return answer

    async def _admitted(self, once: Callable[[], Awaitable[Answer]], *, may_be_meant: bool = True) -> Answer:
        """Return the first answer that accepts a token: a 403 that refuses only this request is one.

        *may_be_meant*: a 403 may be meant for this request. Raises `_EveryTokenRefused`.
        """
        while True:
            held = self.tokens.current
            answer = await once()
            if answer.status not in REFUSALS or is_rate_limit(answer.status, answer.headers):
                return answer
            if answer.status == FORBIDDEN and may_be_meant and await self._accepts(held):
                return answer
            if not self.tokens.move_on(held, answer.status):
                raise _EveryTokenRefused(answer)

    async def _accepts(self, held: int) -> bool:
        """Return whether the workspace answers a read with token *held*; a token that it can't be asked about does."""
        async with self._proving:
            proved_at = self._proved_at.get(held)
            if proved_at is not None and self._timer.now() - proved_at < PROOF_SECONDS:
                return True
            try:
                answer = await self.api.get(FIRST_ROW, accept=(OK, *REFUSALS))
            except CredentialsRefused:
                return False
            except ReadError:
                return True
            if answer.status == OK:
                self._proved_at[held] = self._timer.now()
            return answer.status == OK
