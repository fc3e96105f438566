"""Send every HTTP request to a system outside.

Promises: requests and tokens stay on the origin of the base URL. At most 8 requests are in flight. A body, a request
with its retries, and a list of pages are bounded. Temporary failures are retried. Everything else raises an error with
the server, its status and a hint, but without any secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from urllib.parse import quote

import httpx
import orjson

from connectors.base import CredentialsRefused, IncompleteRead, PermissionMissing, Permit
from connectors.http.headers import is_rate_limit
from connectors.http.limits import (
    DEFAULT_LIMITS,
    NO_RATE_LIMITER,
    REAL_TIME,
    AuthHeaders,
    RateLimiter,
    RequestLimits,
    RequestSigner,
    SendLimit,
    Timer,
)
from connectors.http.origin import Origin
from connectors.http.pagination import PageGuard
from connectors.http.permit import PermitExpired, wait_while_permitted
from connectors.http.redact import error_excerpt, escape_control, redact, request_id_from_headers
from connectors.http.response import ApiResponse
from connectors.http.retry import RETRYABLE_STATUSES, RetryDelay, RetryPolicy
from connectors.http.send import NoResponse, RequestNotSent, send_request

__all__ = ["ApiClient"]

MAX_IN_FLIGHT = 8
"""More would only reach a rate limit sooner, and the pool of httpx, for requests through a proxy, gets slower above it
(measured: 1,119 requests a second with 8, 366 with 128)."""

MAX_REDIRECTS = 3
READ_METHODS = frozenset({"GET", "HEAD"})
METHOD_PRESERVING_REDIRECTS = frozenset({307, 308})
NO_STATUS = 0
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY = 401, 403, 404, 429


class ApiClient:
    """Reads below one base URL. *name* names it in messages, as in `Okta (okta-main)`.

    Raises `ValueError` for a base URL with http:// and another host than this one: the token would travel in the open.
    """

    def __init__(  # noqa: PLR0913  (five are optional and come from the wiring)
        self,
        name: str,
        base_url: str,
        client: httpx.AsyncClient,
        auth_headers: AuthHeaders,
        *,
        limits: RequestLimits = DEFAULT_LIMITS,
        rate_limiter: RateLimiter = NO_RATE_LIMITER,
        retry_delay: RetryDelay | None = None,
        timer: Timer = REAL_TIME,
        signer: RequestSigner | None = None,
    ) -> None:
        self.name = name
        self.request_count = 0
        self._origin = Origin(base_url)
        self._client = client
        self._auth_headers = auth_headers
        self._limits = limits
        self._rate_limiter = rate_limiter
        self._retry_delay = retry_delay
        self._timer = timer
        self._signer = signer
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._renewal_lock = asyncio.Lock()
        self._renewals = 0
        self._sent_headers: Mapping[str, str] = {}

    async def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        *,
        accept: Collection[int] = (200,),
        about: str = "",
    ) -> ApiResponse:
        """Return the response once its status is in *accept*.

        *url* is a path below the base URL, or an absolute URL on the same origin (a next link). Temporary failures are
        retried. *about* names the requested thing in messages.
        Raises `CredentialsRefused` for 401 (after one renewal) and 403, `IncompleteRead` for everything else.
        """
        target = self._resolve_url(url, params, about)
        policy = self.retry_policy(RETRYABLE_STATUSES - frozenset(accept))
        try:
            response = await policy.attempt(lambda: self._get_authorized(target, policy, UNAUTHORIZED not in accept))
        except RequestNotSent as error:
            raise IncompleteRead(
                f"{self.name} can't be reached at {target.host} ({redact(str(error))}).",
                "Check the URL in the config, DNS, the proxy, `ca_bundle`, and that this machine may connect to it.",
            ) from error
        except NoResponse as error:
            raise IncompleteRead(
                f"{self.name} gave no complete answer to GET {escape_control(target.path)}{_for_subject(about)} "
                f"({redact(str(error))}).",
                "Try again later; if it persists, check that system's status page and the network between.",
            ) from error
        response = replace(response, about=about)
        if response.status not in accept:
            raise self.error_from_response(response)
        return response

    def retry_policy(
        self,
        retryable_statuses: frozenset[int],
        retryable_errors: tuple[type[Exception], ...] = (RequestNotSent, NoResponse),
        permit: Permit | None = None,
    ) -> RetryPolicy:
        """Return the retry policy of one request. *permit* allows it to write, and ends its waits."""
        return RetryPolicy(self._limits, self._timer, retryable_statuses, retryable_errors, self._retry_delay, permit)

    def page_guard(self, url: str, params: Mapping[str, str] | None = None, about: str = "") -> PageGuard:
        """Return the guard for the pages of *about*, which start at *url*."""
        return PageGuard(self.name, str(self._resolve_url(url, params)), self._limits.max_pages, about)

    def require_own_link(self, url: str, about: str = "") -> str:
        """Return *url* if it may be requested later. Raises `IncompleteRead` for another server, without the URL."""
        if self._origin.resolve(url) is None:
            raise IncompleteRead(
                f"{self.name} links to another server{_for_subject(about)}.",
                "No request was sent there, to protect the token. Check the base URL in the config.",
            )
        return url

    async def send(
        self,
        method: str,
        url: str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> ApiResponse:
        """Send a request once and return the response, whatever its status.

        The time that the rate limiter took is added to *retry_policy*.

        A request that writes needs the permit of *retry_policy*. Raises `RequestNotSent` when it never reached the
        server, `NoResponse` when it may have, `PermitExpired` when the permit ended before the request had left.
        """
        permit = None if retry_policy is None else retry_policy.permit
        if method not in READ_METHODS and permit is None:
            raise AssertionError(f"{method} writes, and needs a permit")
        target = self._resolve_url(url, params)
        content = None if json is None else orjson.dumps(json)
        kind = {} if json is None else {"Content-Type": "application/json"}
        async with self._slots:
            all_headers = {**kind, **await self._auth_headers(False), **(headers or {})}
            return await self._send_following_redirects(method, target, all_headers, content, retry_policy)

    async def _get_authorized(self, target: httpx.URL, policy: RetryPolicy, may_renew: bool) -> ApiResponse:
        async with self._slots:
            renewals = self._renewals
            headers = await self._auth_headers(False)
            response = await self._send_following_redirects("GET", target, headers, None, policy)
            if response.status == UNAUTHORIZED and may_renew:
                response = await self._send_following_redirects(
                    "GET", target, await self._renew_headers(renewals), None, policy
                )
            return response

    async def _renew_headers(self, renewals: int) -> Mapping[str, str]:
        """Return fresh headers, made once for all requests that were refused with the same old ones."""
        async with self._renewal_lock:
            is_first = self._renewals == renewals
            headers = await self._auth_headers(is_first)
            # Only now: after a renewal that failed the next request must try again, not show the refused token.
            self._renewals += is_first
            return headers

    async def _send_following_redirects(
        self,
        method: str,
        target: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        policy: RetryPolicy | None = None,
    ) -> ApiResponse:
        for _ in range(1 + MAX_REDIRECTS):
            answer = await self._send_signed(method, target, headers, content, policy)
            if answer.status not in METHOD_PRESERVING_REDIRECTS:
                return answer
            next_target = self._origin.join(target, answer.headers.get("location", ""))
            if next_target is None:
                return answer
            target = next_target
        return answer

    async def _send_signed(
        self,
        method: str,
        target: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        policy: RetryPolicy | None,
    ) -> ApiResponse:
        """Send once, or twice where the signer learns from the first response what the second needs."""
        answer = await self._send_once(method, target, headers, content, policy)
        if self._signer is not None:
            if self._signer.allows_repeat(answer):
                answer = await self._send_once(method, target, headers, content, policy)
                self._signer.allows_repeat(answer)
            self._signer.refuse(answer)
        return answer

    async def _send_once(
        self,
        method: str,
        target: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        policy: RetryPolicy | None,
    ) -> ApiResponse:
        permit = None if policy is None else policy.permit
        asked_at = self._timer.now()
        send_limit = await self._wait_for_rate_limit(method, target, permit)
        if policy is not None:
            policy.rate_limited_seconds += self._timer.now() - asked_at
        # Signed only now: a signature is dated, and must not grow old in the queue of the rate limiter.
        signature = {} if self._signer is None else self._signer.sign(method, target, headers)
        all_headers = {"Accept": "application/json", "Accept-Encoding": "gzip", **headers, **signature}
        request = self._client.build_request(method, target, headers=all_headers, content=content)
        self._sent_headers = headers
        self.request_count += 1
        try:
            response, body = await send_request(self._client, request, self._limits, permit, send_limit)
        except BaseException:
            self._rate_limiter.on_response(target, NO_STATUS, httpx.Headers())
            raise
        self._rate_limiter.on_response(target, response.status_code, response.headers)
        request_id = request_id_from_headers(response.headers, headers)
        return ApiResponse(
            response.status_code, response.headers, target, body, self.name, method=method, request_id=request_id
        )

    async def _wait_for_rate_limit(self, method: str, target: httpx.URL, permit: Permit | None) -> SendLimit | None:
        """Wait for the rate limiter, no longer than *permit* holds. Raises `PermitExpired`."""
        if permit is None:
            return await self._rate_limiter.acquire(method, target)
        send_limit = await wait_while_permitted(self._rate_limiter.acquire(method, target), permit)
        if permit.remaining_seconds() <= 0:
            self._rate_limiter.on_response(target, NO_STATUS, httpx.Headers())
            raise PermitExpired
        return send_limit

    def _resolve_url(self, url: str, params: Mapping[str, str] | None, about: str = "") -> httpx.URL:
        target = self._origin.resolve(url)
        if target is None:
            raise IncompleteRead(
                f"{self.name} points to a page on another server ({redact(url)}){_for_subject(about)}.",
                "No request was sent there, to protect the token. Check the base URL in the config.",
            )
        if not params:
            return target
        # Percent-encoded whole: httpx writes a blank as `+`, which not every server takes for a blank.
        return target.copy_with(
            query="&".join(f"{quote(name, '$')}={quote(params[name], '')}" for name in params).encode()
        )

    def response_excerpt(self, response: ApiResponse) -> str:
        """Return a short quote of a response after a colon, or an empty text."""
        return error_excerpt(response.body, self._sent_headers)

    def error_from_response(self, response: ApiResponse, hint: str = "") -> IncompleteRead | CredentialsRefused:
        """Return the error for a response to a GET. *hint* replaces the default hint."""
        what = _for_subject(response.about) or f" to {response.request_line}"
        trace = response.request_label if response.about else response.request_id_label
        message = f"{self.name} answered {response.status}{what}{self.response_excerpt(response)}{trace}."
        if response.status == UNAUTHORIZED:
            return CredentialsRefused(
                message,
                hint or "Check that the credentials in the config are right and have not expired.",
                response.status,
            )
        if response.status == FORBIDDEN and not is_rate_limit(response.status, response.headers):
            return PermissionMissing(
                message,
                hint or "Give these credentials the permissions that the documentation lists.",
                response.status,
            )
        if response.status == FORBIDDEN:
            return IncompleteRead(message, _hint_for_status(TOO_MANY), response.status)
        return IncompleteRead(message, hint or _hint_for_status(response.status), response.status)


def _hint_for_status(status: int) -> str:
    if status == NOT_FOUND:
        return "Check the URL and the ids in the config: their object does not exist or is not visible."
    if status == TOO_MANY:
        return "It limits the number of requests. Run less often, or find the other clients with the same credentials."
    if status >= 500:
        return "Try again later; if it persists, check that system's status page."
    if 300 <= status < 400:
        return "It redirects. Put the target URL in the config."
    return "Check the URL and the ids in the config; if they are right, report it with this message."


def _for_subject(about: str) -> str:
    return f" for {about}" if about else ""
