"""The HTTP transport of msal, so that a private CA, timeouts and limits are the same as everywhere."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from connectors.http import NoResponse, RequestLimits
from connectors.http.proxy import ProxyTransport, proxies_from_environment
from connectors.http.tls import tls_context

__all__ = ["MsalResponse", "MsalTransport"]

MAX_BYTES = 2**20
"""Maximum size of a response: a token has a few thousand bytes."""

ENDLESS_RESPONSE = "an answer that does not end"

StringMap = Mapping[str, str]


class MsalResponse:
    """A response as msal reads it."""

    def __init__(self, response: httpx.Response, text: str) -> None:
        self.status_code = response.status_code
        self.text = text
        self.headers = dict(response.headers)
        self.url = response.request.url
        self.method = response.request.method

    def raise_for_status(self) -> None:
        if self.status_code >= httpx.codes.BAD_REQUEST:
            raise RuntimeError(f"HTTP status {self.status_code}")


class MsalTransport:
    """Sends msal's requests, and keeps the last response, because msal drops what error messages need.

    *plain* is an http origin of tests: msal itself accepts https authorities only. *trusts_environment*: proxies of
    the environment are used. Raises `NoResponse` without a response.
    """

    def __init__(
        self,
        ca_bundle: Path | None,
        limits: RequestLimits,
        now: Callable[[], float],
        *,
        plain: str = "",
        trusts_environment: bool = True,
    ) -> None:
        self._client = httpx.Client(
            transport=_build_transport(ca_bundle, os.environ if trusts_environment else {}),
            timeout=limits.timeout_seconds,
            follow_redirects=False,
            trust_env=False,
        )
        self._deadline = now() + limits.max_wait_seconds
        self._now = now
        self._plain_origin = plain
        self._https_origin = plain.replace("http://", "https://", 1)
        self.last_response: MsalResponse | None = None
        self._sockets: list[socket.socket] = []
        self._has_timed_out = threading.Event()
        # Timeouts of a synchronous client bound each silence only. Closing its connections is the only way to end a
        # response that arrives slowly without end.
        self._deadline_timer = threading.Timer(limits.max_wait_seconds, self._abort)
        self._deadline_timer.daemon = True
        self._deadline_timer.start()

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

    def close(self) -> None:
        self._deadline_timer.cancel()
        self._client.close()

    def _send(
        self, method: str, url: str, params: StringMap | None, headers: StringMap, content: bytes | None = None
    ) -> MsalResponse:
        self.last_response = None
        request = None
        try:
            request = self._client.build_request(
                method,
                self._actual_url(url),
                params=params,
                headers=headers,
                content=content,
                extensions={"trace": self._track_connection},
            )
            response = self._client.send(request, stream=True)
            try:
                self.last_response = MsalResponse(response, self._read_body(response))
            finally:
                response.close()
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            why = ENDLESS_RESPONSE if self._has_timed_out.is_set() else str(error) or type(error).__name__
            proxy = request.extensions.get("proxy") if request is not None else None
            raise NoResponse(f"{why}, through the proxy {proxy}" if proxy else why) from error
        return self.last_response

    def _read_body(self, response: httpx.Response) -> str:
        body = b""
        for part in response.iter_bytes():
            body += part
            if len(body) > MAX_BYTES or self._now() > self._deadline:
                raise NoResponse(ENDLESS_RESPONSE)
        return body.decode("utf-8", "replace")

    def _track_connection(self, event: str, about: Mapping[str, Any]) -> None:
        """Record each connection that is made for a request (httpx: the extension `trace`)."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._sockets.append(about["return_value"].get_extra_info("socket"))
            if self._has_timed_out.is_set():
                self._abort()

    def _abort(self) -> None:
        self._has_timed_out.set()
        for each in tuple(self._sockets):
            with contextlib.suppress(OSError):
                # On the plain socket, because a TLS socket is not safe for two threads. The reader then sees its end.
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def _actual_url(self, url: str) -> str:
        is_plain = bool(self._plain_origin) and (url == self._https_origin or url.startswith(f"{self._https_origin}/"))
        return self._plain_origin + url.removeprefix(self._https_origin) if is_plain else url


def _build_transport(ca_bundle: Path | None, environ: Mapping[str, str]) -> httpx.BaseTransport:
    """Return the transport. The variables are valid: the client of all other requests was created from them before."""
    proxies, context = proxies_from_environment(environ), tls_context(ca_bundle, environ)
    straight = httpx.HTTPTransport(verify=context, trust_env=False)
    if not proxies.by_scheme:
        return straight
    through = {
        scheme: httpx.HTTPTransport(verify=context, trust_env=False, proxy=url)
        for scheme, url in proxies.by_scheme.items()
    }
    return ProxyTransport(proxies, straight, **through)
