"""The HTTP transport of msal: our own client, so that trust, proxies, timeouts and limits are the same everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlencode

import httpx

from connectors.http import ApiResponse, RequestLimits, RequestNotSent
from connectors.oauth import send_token_request

__all__ = ["MsalResponse", "MsalTransport"]

StringMap = Mapping[str, str]


class MsalResponse:
    """A response as msal reads it."""

    def __init__(self, response: ApiResponse) -> None:
        self.status_code = response.status
        self.text = response.body.decode("utf-8", "replace")
        self.headers = dict(response.headers)

    def raise_for_status(self) -> None:
        if self.status_code >= httpx.codes.BAD_REQUEST:
            raise RuntimeError(f"HTTP status {self.status_code}")


class MsalTransport:
    """Sends msal's requests, and keeps the last response, because msal drops what error messages need.

    msal calls it in a thread; the event loop *loop* sends the requests, so calls from its own thread would never end.
    *plain* is an http origin of tests: msal itself accepts https authorities only. *is_direct*: no proxy is used.
    Raises `RequestNotSent` or `NoResponse` without a response.
    """

    def __init__(
        self,
        name: str,
        client: httpx.AsyncClient,
        limits: RequestLimits,
        loop: asyncio.AbstractEventLoop,
        *,
        plain: str = "",
        is_direct: bool = False,
    ) -> None:
        self._name = name
        self._client = client
        self._limits = limits
        self._loop = loop
        self._plain_origin = plain
        self._https_origin = plain.replace("http://", "https://", 1)
        self._is_direct = is_direct
        self.last_response: ApiResponse | None = None

    def get(
        self, url: str, params: StringMap | None = None, headers: StringMap | None = None, **_: object
    ) -> MsalResponse:
        return self._send("GET", url, params, headers or {})

    def post(
        self,
        url: str,
        params: StringMap | None = None,
        data: Mapping[str, str | bytes] | None = None,
        headers: StringMap | None = None,
        **_: object,
    ) -> MsalResponse:
        # msal puts an assertion into the form as bytes, which httpx would encode as their repr: b'eyJ…'.
        fields = {key: value.decode() if isinstance(value, bytes) else value for key, value in (data or {}).items()}
        form = {**(headers or {}), "Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", url, params, form, urlencode(fields).encode())

    def _send(
        self, method: str, url: str, params: StringMap | None, headers: StringMap, content: bytes | None = None
    ) -> MsalResponse:
        self.last_response = None
        request = self._request(method, self._actual_url(url), params, headers, content)
        self.last_response = asyncio.run_coroutine_threadsafe(request, self._loop).result()
        return MsalResponse(self.last_response)

    async def _request(
        self, method: str, url: str, params: StringMap | None, headers: StringMap, content: bytes | None
    ) -> ApiResponse:
        # The request is built here too, because the client is not safe for two threads.
        try:
            request = self._client.build_request(
                method,
                url,
                params=params,
                headers={**headers, "Accept-Encoding": "gzip"},
                content=content,
                extensions={"direct": self._is_direct},
            )
        except httpx.InvalidURL as error:
            raise RequestNotSent(str(error)) from error
        return await send_token_request(self._name, self._client, request, self._limits)

    def _actual_url(self, url: str) -> str:
        is_plain = bool(self._plain_origin) and (url == self._https_origin or url.startswith(f"{self._https_origin}/"))
        return self._plain_origin + url.removeprefix(self._https_origin) if is_plain else url
