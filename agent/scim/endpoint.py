"""One workspace's SCIM endpoint: sends every request, with a token that works."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from agent.errors import StateError, TokensRefused, WriteError, WriteStopped
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
"""Statuses after which a POST was surely not executed."""

PROBE_URL = "Users?startIndex=1&count=1"
"""The cheapest request that shows whether a token is accepted."""

TOKEN_PROBE_SECONDS = 60.0
"""How long a token counts as accepted, so that hundreds of refused creates cost one GET a minute."""

UNSUPPORTED_MEDIA = 415
UNKNOWN_OUTCOME_STATUSES = frozenset({408, *range(500, 600)})
"""Statuses after which a request may have been executed."""

SCIM_JSON, PLAIN_JSON = "application/scim+json", "application/json"


def user_path(scim_id: str) -> str:
    """Return the path of a member. Raises `WriteError` for the two ids that no URL can contain."""
    if scim_id in {".", ".."}:
        raise WriteError(f"The SCIM id {scim_id} can't be part of a URL.", "Ask Pigment's support about this member.")
    return f"Users/{quote(scim_id, safe='')}"


def error_type(response: ApiResponse) -> str:
    """Return the `scimType` of an error response; empty when it has none, or is not JSON."""
    try:
        return scim_type(response.json())
    except ReadError:
        return ""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    json: object
    etag: str = ""


class _WritePermit:
    """*lease*, until every token was refused: what waits for its pace or for a retry then is not sent."""

    def __init__(self, lease: Permit) -> None:
        self._lease = lease
        self._waits: set[asyncio.Timeout] = set()
        self.is_refused = False

    def end(self) -> None:
        self.is_refused = True
        for wait in self._waits:
            wait.reschedule(0)

    def remaining_seconds(self) -> float:
        return 0.0 if self.is_refused else self._lease.remaining_seconds()

    async def wait_until_ended(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if self.is_refused else None) as wait:
                self._waits.add(wait)
                try:
                    await self._lease.wait_until_ended()
                finally:
                    self._waits.discard(wait)


class _AllTokensRefused(Exception):
    """Every token was refused. *response* is the refusal of the last one."""

    def __init__(self, response: ApiResponse) -> None:
        super().__init__()
        self.response = response


@dataclass(slots=True)
class _AttemptHistory:
    """The failed attempts of one request so far, and whether one of them may have been executed."""

    last_failure: str = ""
    may_be_applied: bool = False


@dataclass(frozen=True, slots=True)
class UpdateResponse:
    """The last response to an update. *may_be_applied*: an attempt may have been executed anyway."""

    response: ApiResponse
    may_be_applied: bool


class Endpoint:
    """Reads and writes under a `scim_url`, failing over from token to token. Writes need *permit* to hold."""

    def __init__(
        self, api: ApiClient, tokens: WorkspaceTokens, timer: Timer = REAL_TIME, permit: Permit | None = None
    ) -> None:
        self.api = api
        self.tokens = tokens
        self._timer = timer
        self._permit = None if permit is None else _WritePermit(permit)
        self._content_type = SCIM_JSON
        self._probe_lock = asyncio.Lock()
        self._accepted_at: dict[int, float] = {}

    @property
    def name(self) -> str:
        return self.api.name

    async def read(self, url: str, accept: Collection[int] = (OK,), *, is_listing: bool = False) -> ApiResponse:
        """GET, retried. Raises `ReadError`: `CredentialsRefused` when every token was refused.

        A 403 to a listing refuses the token; to any other request it may refuse this request only.
        """

        async def send() -> ApiResponse:
            return await self.api.get(url, accept=(*accept, *REFUSAL_STATUSES))

        try:
            response = await self._try_tokens(send, may_refuse_request=not is_listing)
        except _AllTokensRefused as refused:
            raise self.api.error_from_response(refused.response) from None
        if response.status == FORBIDDEN:
            refusal = self.api.error_from_response(response)
            if is_rate_limit(response.status, response.headers):
                raise refusal
            raise IncompleteRead(
                refusal.message,
                "Other requests with this token are accepted: only this one is refused, by Pigment or by a "
                "firewall in front of it.",
            )
        return response

    async def send_idempotent(self, method: str, url: str, json: object, etag: str = "") -> UpdateResponse:
        """PUT or PATCH, retried within the limits: sending it twice has the same effect as sending it once.

        Raises `DeliveryError`, `NoResponse`, `WriteStopped` or `TokensRefused`.
        """
        history = _AttemptHistory()
        response = await self._send_with_retries(
            _Request(method, url, json, etag), RETRYABLE_STATUSES, (RequestNotSent, NoResponse), history
        )
        return UpdateResponse(response, history.may_be_applied)

    async def post(self, url: str, json: object) -> ApiResponse:
        """POST, retried only when it surely was not executed: not sent, or rate limited (429, 403 with a time).

        Raises `DeliveryError`, `NoResponse`, `WriteStopped` or `TokensRefused`.
        """
        return await self._send_with_retries(
            _Request("POST", url, json), NOT_EXECUTED_STATUSES, (RequestNotSent,), _AttemptHistory()
        )

    async def _send_with_retries(
        self,
        request: _Request,
        retryable: frozenset[int],
        transient: tuple[type[Exception], ...],
        history: _AttemptHistory,
    ) -> ApiResponse:
        retry_policy = self.api.retry_policy(retryable, transient, self._permit)

        async def send() -> ApiResponse:
            return await self._send_once(request, retry_policy, history)

        async def send_in_accepted_type() -> ApiResponse:
            response = await self._try_tokens(send)
            if response.status == UNSUPPORTED_MEDIA and self._content_type == SCIM_JSON:
                self._content_type = PLAIN_JSON
                response = await self._try_tokens(send)
            return response

        try:
            return await retry_policy.attempt(send_in_accepted_type)
        except PermitExpired as error:
            raise self._ended_error(request.method, history) from error
        except StateError as error:
            raise WriteStopped(error.message, error.hint, may_be_applied=history.may_be_applied, cause=error) from error
        except ReadError as error:
            raise TokensRefused(error.message, error.hint, may_be_applied=history.may_be_applied) from error
        except _AllTokensRefused as refused:
            self._end_permit()
            response = refused.response
            raise self._refused_error(
                f"{self.name} refuses every token: {response.status} to "
                f"{request.method}{self.api.response_excerpt(response)}{response.request_id_label}.",
                history,
            ) from None

    def _end_permit(self) -> None:
        if self._permit is not None:
            self._permit.end()

    def _ended_error(self, method: str, history: _AttemptHistory) -> WriteError:
        if self._permit is not None and self._permit.is_refused:
            return self._refused_error(f"{self.name} refused every token before {method} was sent.", history)
        return WriteStopped(
            f"This run's lease ended before {method} "
            f"was sent{f' again after {history.last_failure}' if history.last_failure else ''}.",
            "The next run reads the workspace and plans again.",
            may_be_applied=history.may_be_applied,
        )

    def _refused_error(self, message: str, history: _AttemptHistory) -> TokensRefused:
        return TokensRefused(
            message,
            "Put a token that has not expired or been revoked into `tokens`, and check that SCIM is on in Pigment.",
            may_be_applied=history.may_be_applied,
        )

    async def _send_once(self, request: _Request, retry_policy: RetryPolicy, history: _AttemptHistory) -> ApiResponse:
        headers = {"Content-Type": self._content_type, **({"If-Match": request.etag} if request.etag else {})}
        try:
            response = await self.api.send(
                request.method, request.url, json=request.json, headers=headers, retry_policy=retry_policy
            )
        except (NoResponse, RequestNotSent) as error:
            history.last_failure = str(error)
            history.may_be_applied = history.may_be_applied or isinstance(error, NoResponse)
            raise
        history.last_failure = f"response {response.status}{response.request_id_label}"
        history.may_be_applied = history.may_be_applied or response.status in UNKNOWN_OUTCOME_STATUSES
        return response

    async def _try_tokens(
        self, send: Callable[[], Awaitable[ApiResponse]], *, may_refuse_request: bool = True
    ) -> ApiResponse:
        """Return the first response that accepts a token, which includes a 403 that refuses only this request.

        *may_refuse_request*: a 403 may refuse this request only. Raises `_AllTokensRefused`.
        """
        while True:
            index = self.tokens.current
            response = await send()
            if response.status not in REFUSAL_STATUSES or is_rate_limit(response.status, response.headers):
                return response
            if response.status == FORBIDDEN and may_refuse_request and await self._is_token_accepted(index):
                return response
            if not self.tokens.fail_over(index, response.status):
                raise _AllTokensRefused(response)

    async def _is_token_accepted(self, index: int) -> bool:
        """Return whether the workspace accepts token *index* for a read. A failed check counts as accepted."""
        async with self._probe_lock:
            accepted_at = self._accepted_at.get(index)
            if accepted_at is not None and self._timer.now() - accepted_at < TOKEN_PROBE_SECONDS:
                return True
            try:
                response = await self.api.get(PROBE_URL, accept=(OK, *REFUSAL_STATUSES))
            except CredentialsRefused:
                return False
            except ReadError:
                return True
            if response.status == OK:
                self._accepted_at[index] = self._timer.now()
            return response.status == OK
