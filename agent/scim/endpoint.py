"""One workspace's SCIM endpoint: every request to it passes here, with the token that works."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from urllib.parse import quote

from agent.errors import WorkspaceUnavailable, WriteError, WriteStopped
from agent.scim.codec import scim_type
from agent.scim.tokens import WorkspaceTokens
from connectors.base import CredentialsRefused, IncompleteRead, Permit, ReadError
from connectors.http import (
    REAL_TIME,
    RETRYABLE_STATUSES,
    ApiClient,
    ApiResponse,
    NoResponse,
    PermitExpired,
    RequestNotSent,
    RetryPolicy,
    Timer,
    is_rate_limit,
)

__all__ = [
    "PROBE_URL",
    "REFUSAL_STATUSES",
    "UNKNOWN_OUTCOME_STATUSES",
    "Endpoint",
    "UpdateResponse",
    "error_type",
    "user_path",
]

OK, FORBIDDEN = 200, 403
REFUSAL_STATUSES = frozenset({401, FORBIDDEN})
NOT_EXECUTED_STATUSES = frozenset({425, 429})
"""A POST that is answered so was surely not carried out."""

PROBE_URL = "Users?startIndex=1&count=1"
"""The cheapest request that shows whether a token is accepted."""

TOKEN_PROBE_SECONDS = 60.0
"""How long an accepted token stays proved, so that refusals of hundreds of creates cost one GET a minute."""

UNSUPPORTED_MEDIA = 415
UNKNOWN_OUTCOME_STATUSES = frozenset({408, *range(500, 600)})
"""Answers after which a request may have been carried out."""

SCIM_JSON, PLAIN_JSON = "application/scim+json", "application/json"


def user_path(scim_id: str) -> str:
    """Return the path of a member. Raises `WriteError` for the two ids that no URL can hold."""
    if scim_id in {".", ".."}:
        raise WriteError(f"The SCIM id {scim_id} can't stand in a URL.", "Ask Pigment's support what this member is.")
    return f"Users/{quote(scim_id, safe='')}"


def error_type(answer: ApiResponse) -> str:
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


class _AllTokensRefused(Exception):
    """*response* is the refusal of the last token."""

    def __init__(self, answer: ApiResponse) -> None:
        super().__init__()
        self.response = answer


@dataclass(slots=True)
class _AttemptHistory:
    """What the attempts at one request have met so far, and whether one of them may have done what it asks for."""

    last_failure: str = ""
    may_be_applied: bool = False


@dataclass(frozen=True, slots=True)
class UpdateResponse:
    """The last answer to an update. *may_be_applied*: an attempt may have done it, whatever that answer says."""

    answer: ApiResponse
    may_be_applied: bool


class Endpoint:
    """Reads below a `scim_url`, and writes as long as *permit* holds, failing over from token to token."""

    def __init__(
        self, api: ApiClient, tokens: WorkspaceTokens, timer: Timer = REAL_TIME, permit: Permit | None = None
    ) -> None:
        self.api = api
        self.tokens = tokens
        self._timer = timer
        self._permit = permit
        self._content_type = SCIM_JSON
        self._probe_lock = asyncio.Lock()
        self._accepted_at: dict[int, float] = {}

    @property
    def name(self) -> str:
        return self.api.name

    async def read(self, url: str, accept: Collection[int] = (OK,), *, is_listing: bool = False) -> ApiResponse:
        """GET, retried. Raises `ReadError`: `CredentialsRefused` when every token was refused.

        A 403 to a listing refuses the token; to anything else it may be meant for this one request.
        """

        async def once() -> ApiResponse:
            return await self.api.get(url, accept=(*accept, *REFUSAL_STATUSES))

        try:
            answer = await self._try_tokens(once, may_be_meant=not is_listing)
        except _AllTokensRefused as refused:
            raise self.api.error_from_response(refused.response) from None
        if answer.status == FORBIDDEN:
            refusal = self.api.error_from_response(answer)
            if is_rate_limit(answer.status, answer.headers):
                raise refusal
            raise IncompleteRead(
                refusal.message,
                "Other requests with this token are answered: only this one is refused, by Pigment or by a "
                "firewall before it.",
            )
        return answer

    async def send_idempotent(self, method: str, url: str, json: object, etag: str = "") -> UpdateResponse:
        """PUT or PATCH, retried as far as the bounds go: doing it twice does no more than once.

        Raises `DeliveryError`, `NoResponse`, `WriteStopped` or `WorkspaceUnavailable`.
        """
        past = _AttemptHistory()
        answer = await self._send_with_retries(
            _Request(method, url, json, etag), RETRYABLE_STATUSES, (RequestNotSent, NoResponse), past
        )
        return UpdateResponse(answer, past.may_be_applied)

    async def post(self, url: str, json: object) -> ApiResponse:
        """POST, retried only when it surely was not done: not sent, or refused by a limit (429, 403 with a time).

        Raises `DeliveryError`, `NoResponse`, `WriteStopped` or `WorkspaceUnavailable`.
        """
        return await self._send_with_retries(
            _Request("POST", url, json), NOT_EXECUTED_STATUSES, (RequestNotSent,), _AttemptHistory()
        )

    async def _send_with_retries(
        self,
        request: _Request,
        healing: frozenset[int],
        transient: tuple[type[Exception], ...],
        past: _AttemptHistory,
    ) -> ApiResponse:
        patience = self.api.retry_policy(healing, transient, self._permit)

        async def once() -> ApiResponse:
            return await self._send_once(request, patience, past)

        async def admitted() -> ApiResponse:
            answer = await self._try_tokens(once)
            if answer.status == UNSUPPORTED_MEDIA and self._content_type == SCIM_JSON:
                self._content_type = PLAIN_JSON
                answer = await self._try_tokens(once)
            return answer

        try:
            return await patience.attempt(admitted)
        except PermitExpired as error:
            raise WriteStopped(
                f"This run's lease ended before {request.method} "
                f"left{f' again after {past.last_failure}' if past.last_failure else ''}.",
                "The next run reads the workspace and plans again.",
                may_be_applied=past.may_be_applied,
            ) from error
        except ReadError as error:
            raise WorkspaceUnavailable(
                error.message, error.hint, "credentials", may_be_applied=past.may_be_applied
            ) from error
        except _AllTokensRefused as refused:
            answer = refused.response
            raise WorkspaceUnavailable(
                f"{self.name} refuses every token: {answer.status} to "
                f"{request.method}{self.api.response_excerpt(answer)}.",
                "Put a token that has not expired or been revoked into `tokens`, and check that SCIM is on in Pigment.",
                "credentials",
                may_be_applied=past.may_be_applied,
            ) from None

    async def _send_once(self, request: _Request, patience: RetryPolicy, past: _AttemptHistory) -> ApiResponse:
        headers = {"Content-Type": self._content_type, **({"If-Match": request.etag} if request.etag else {})}
        try:
            answer = await self.api.send(
                request.method, request.url, json=request.json, headers=headers, retry_policy=patience
            )
        except (NoResponse, RequestNotSent) as error:
            past.last_failure = str(error)
            past.may_be_applied = past.may_be_applied or isinstance(error, NoResponse)
            raise
        past.last_failure = f"answer {answer.status}"
        past.may_be_applied = past.may_be_applied or answer.status in UNKNOWN_OUTCOME_STATUSES
        return answer

    async def _try_tokens(
        self, once: Callable[[], Awaitable[ApiResponse]], *, may_be_meant: bool = True
    ) -> ApiResponse:
        """Return the first answer that accepts a token: a 403 that refuses only this request is one.

        *may_be_meant*: a 403 may be meant for this request. Raises `_AllTokensRefused`.
        """
        while True:
            held = self.tokens.current
            answer = await once()
            if answer.status not in REFUSAL_STATUSES or is_rate_limit(answer.status, answer.headers):
                return answer
            if answer.status == FORBIDDEN and may_be_meant and await self._is_token_accepted(held):
                return answer
            if not self.tokens.fail_over(held, answer.status):
                raise _AllTokensRefused(answer)

    async def _is_token_accepted(self, held: int) -> bool:
        """Return whether the workspace answers a read with token *held*; a token that it can't be asked about does."""
        async with self._probe_lock:
            proved_at = self._accepted_at.get(held)
            if proved_at is not None and self._timer.now() - proved_at < TOKEN_PROBE_SECONDS:
                return True
            try:
                answer = await self.api.get(PROBE_URL, accept=(OK, *REFUSAL_STATUSES))
            except CredentialsRefused:
                return False
            except ReadError:
                return True
            if answer.status == OK:
                self._accepted_at[held] = self._timer.now()
            return answer.status == OK
