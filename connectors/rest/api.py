"""The one way in which this project speaks HTTP to a system outside.

Promises: requests and tokens stay on the origin of the base URL; at most 8 requests are in flight; a body, a request
with its retries, and a walk are bounded; what heals is retried, and everything else ends in an error that names the
server, its status and the way out, with no secret in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from urllib.parse import quote

import httpx
import orjson

from connectors.base import CredentialsRefused, IncompleteRead, PermissionMissing, Permit
from connectors.rest.answer import Answer
from connectors.rest.bounds import DEFAULT_BOUNDS, NO_PACE, REAL_TIME, Authorize, Bounds, Pace, Timer
from connectors.rest.header import is_rate_limit
from connectors.rest.origin import Origin
from connectors.rest.patience import HEALING, Patience, Promise
from connectors.rest.permit import NotPermitted, wait_permitted
from connectors.rest.quote import harmless_quote, legible, quoted, request_id
from connectors.rest.transfer import NoAnswer, NotSent, transfer
from connectors.rest.walk import Walk

__all__ = ["Api"]

IN_FLIGHT = 8
"""httpx 0.28 gets slower above it (measured: 1,119 requests a second with 8, 366 with 128)."""

MAX_REDIRECTS = 3
READING = frozenset({"GET", "HEAD"})
KEEPING_METHOD = frozenset({307, 308})
NO_STATUS = 0
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY = 401, 403, 404, 429


class Api:
    """Reads below one base URL. *who* names it in messages, as in `Okta (okta-main)`.

    Raises `ValueError` for a base URL with http:// and another host than this one: the token would travel in the open.
    """

    def __init__(  # noqa: PLR0913  (four are optional and come from the wiring)
        self,
        who: str,
        base_url: str,
        client: httpx.AsyncClient,
        authorize: Authorize,
        *,
        bounds: Bounds = DEFAULT_BOUNDS,
        pace: Pace = NO_PACE,
        promise: Promise | None = None,
        timer: Timer = REAL_TIME,
    ) -> None:
        self.who = who
        self.requests = 0
        self._origin = Origin(base_url)
        self._client = client
        self._authorize = authorize
        self._bounds = bounds
        self._pace = pace
        self._promise = promise
        self._timer = timer
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._renewal = asyncio.Lock()
        self._renewals = 0
        self._sent: Mapping[str, str] = {}

    async def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        *,
        accept: Collection[int] = (200,),
        about: str = "",
    ) -> Answer:
        """Return the answer once its status is in *accept*.

        *url* is a path below the base URL, or an absolute URL on the same origin (a next link). Retries what may heal.
        *about* names in messages what is asked for.
        Raises `CredentialsRefused` for 401 (after one renewal) and 403, `IncompleteRead` for everything else.
        """
        target = self._target(url, params, about)
        patience = self.patience(HEALING - frozenset(accept))
        try:
            answer = await patience.attempt(lambda: self._read(target, patience, UNAUTHORIZED not in accept))
        except NotSent as error:
            raise IncompleteRead(
                f"{self.who} can't be reached at {target.host} ({harmless_quote(str(error))}).",
                "Check the URL in the config, DNS, the proxy, `ca_bundle`, and that this machine may connect to it.",
            ) from error
        except NoAnswer as error:
            raise IncompleteRead(
                f"{self.who} gave no complete answer to GET {legible(target.path)}{_for(about)} "
                f"({harmless_quote(str(error))}).",
                "Try again later; if it stays, look at that system's status page and at what stands between.",
            ) from error
        answer = replace(answer, about=about)
        if answer.status not in accept:
            raise self.refusal(answer)
        return answer

    def patience(
        self,
        healing: frozenset[int],
        transient: tuple[type[Exception], ...] = (NotSent, NoAnswer),
        permit: Permit | None = None,
    ) -> Patience:
        """Return the attempts at one request, within the bounds of all; *permit* lets it write, and ends its waits."""
        return Patience(self._bounds, self._timer, healing, transient, self._promise, permit)

    def walk(self, url: str, params: Mapping[str, str] | None = None, about: str = "") -> Walk:
        """Return the guard of a walk over *about* that starts at *url*."""
        return Walk(self.who, str(self._target(url, params)), self._bounds.max_pages, about)

    async def send(
        self,
        method: str,
        url: str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        patience: Patience | None = None,
    ) -> Answer:
        """Send a request once and return the answer, whatever its status; *patience* is told what its pace cost.

        Whatever writes needs a permit, which *patience* has. Raises `NotSent` when the request never reached the
        server, `NoAnswer` when it may have, `NotPermitted` when the permit ended before the request had left.
        """
        permit = None if patience is None else patience.permit
        if method not in READING and permit is None:
            raise AssertionError(f"{method} writes, and needs a permit")
        target = self._target(url, params)
        content = None if json is None else orjson.dumps(json)
        kind = {} if json is None else {"Content-Type": "application/json"}
        async with self._slots:
            all_headers = {**kind, **await self._authorize(False), **(headers or {})}
            return await self._exchange(method, target, all_headers, content, patience)

    async def _read(self, target: httpx.URL, patience: Patience, may_renew: bool) -> Answer:
        async with self._slots:
            renewals = self._renewals
            headers = await self._authorize(False)
            answer = await self._exchange("GET", target, headers, None, patience)
            if answer.status == UNAUTHORIZED and may_renew:
                answer = await self._exchange("GET", target, await self._renewed(renewals), None, patience)
            return answer

    async def _renewed(self, renewals: int) -> Mapping[str, str]:
        """Return fresh headers, made once for all requests that were refused with the same old ones."""
        async with self._renewal:
            is_first = self._renewals == renewals
            headers = await self._authorize(is_first)
            # Only now: after a renewal that failed the next request must try again, not show the refused token.
            self._renewals += is_first
            return headers

    async def _exchange(
        self,
        method: str,
        target: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        patience: Patience | None = None,
    ) -> Answer:
        permit = None if patience is None else patience.permit
        for _ in range(1 + MAX_REDIRECTS):
            whole = {"Accept": "application/json", "Accept-Encoding": "gzip", **headers}
            request = self._client.build_request(method, target, headers=whole, content=content)
            asked_at = self._timer.now()
            await self._admit(method, target, permit)
            if patience is not None:
                patience.paced += self._timer.now() - asked_at
            self._sent = headers
            self.requests += 1
            try:
                response, body = await transfer(self._client, request, self._bounds, permit)
            except BaseException:
                self._pace.learned(target, NO_STATUS, httpx.Headers())
                raise
            self._pace.learned(target, response.status_code, response.headers)
            found = request_id(response.headers, headers)
            answer = Answer(
                response.status_code, response.headers, target, body, self.who, method=method, request_id=found
            )
            if answer.status not in KEEPING_METHOD:
                return answer
            onwards = self._origin.joined(target, answer.headers.get("location", ""))
            if onwards is None:
                return answer
            target = onwards
        return answer

    async def _admit(self, method: str, target: httpx.URL, permit: Permit | None) -> None:
        """Wait until the pace lets the request go, no longer than *permit* holds. Raises `NotPermitted`."""
        if permit is None:
            await self._pace.admit(method, target)
            return
        await wait_permitted(self._pace.admit(method, target), permit)
        if permit.remaining_seconds() <= 0:
            self._pace.learned(target, NO_STATUS, httpx.Headers())
            raise NotPermitted

    def _target(self, url: str, params: Mapping[str, str] | None, about: str = "") -> httpx.URL:
        target = self._origin.resolve(url)
        if target is None:
            raise IncompleteRead(
                f"{self.who} points to a page on another server ({harmless_quote(url)}){_for(about)}.",
                "Nothing was asked there, so that the token stays where it belongs. Check the base URL in the config.",
            )
        if not params:
            return target
        # Percent-encoded whole: httpx writes a blank as `+`, which not every server takes for a blank.
        return target.copy_with(
            query="&".join(f"{quote(name, '$')}={quote(params[name], '')}" for name in params).encode()
        )

    def said(self, answer: Answer) -> str:
        """Return what *answer* says, as a short quote after a colon, or nothing."""
        return quoted(answer.body, self._sent)

    def refusal(self, answer: Answer, hint: str = "") -> IncompleteRead | CredentialsRefused:
        """Return the error that an answer to a GET amounts to. *hint* is in place of the usual way out."""
        what = _for(answer.about) or f" to {answer.request}"
        trace = answer.trace if answer.about else f" [request id {answer.request_id}]" if answer.request_id else ""
        message = f"{self.who} answered {answer.status}{what}{self.said(answer)}{trace}."
        if answer.status == UNAUTHORIZED:
            return CredentialsRefused(
                message,
                hint or "Check that the credentials in the config are right and have not expired.",
                answer.status,
            )
        if answer.status == FORBIDDEN and not is_rate_limit(answer.status, answer.headers):
            return PermissionMissing(
                message,
                hint or "Give these credentials the permissions that the documentation lists.",
                answer.status,
            )
        if answer.status == FORBIDDEN:
            return IncompleteRead(message, _way_out(TOO_MANY), answer.status)
        return IncompleteRead(message, hint or _way_out(answer.status), answer.status)


def _way_out(status: int) -> str:
    if status == NOT_FOUND:
        return "Check the URL and the ids in the config: what they name is not there, or may not be seen."
    if status == TOO_MANY:
        return "It limits how often it may be asked. Run less often, or find out who else asks."
    if status >= 500:
        return "Try again later; if it stays, look at that system's status page."
    if 300 <= status < 400:
        return "It sends us elsewhere. Put the URL that it answers at in the config."
    return "Check the URL and the ids in the config; if they are right, report it with this message."


def _for(about: str) -> str:
    return f" for {about}" if about else ""
