"""The HTTP that msal is handed, so that a private CA, time limits and bounds are the same as everywhere."""

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

from connectors.rest import Bounds, NoAnswer
from connectors.rest.proxy import Proxied, proxies_from
from connectors.rest.tls import tls_context

__all__ = ["Reply", "Wire"]

MOST_BYTES = 2**20
"""Of an answer: a token has a few thousand."""

ENDLESS = "an answer that does not end"

Texts = Mapping[str, str]


class Reply:
    """What msal reads of an answer."""

    def __init__(self, response: httpx.Response, text: str) -> None:
        self.status_code = response.status_code
        self.text = text
        self.headers = dict(response.headers)
        self.url = response.request.url
        self.method = response.request.method

    def raise_for_status(self) -> None:
        if self.status_code >= httpx.codes.BAD_REQUEST:
            raise RuntimeError(f"HTTP status {self.status_code}")


class Wire:
    """Sends msal's requests, and keeps the last answer: msal tells less of it than an error has to say.

    *plain* is an origin that is http in truth: msal itself takes https authorities only. *trusts_environment* says
    whether proxies of the environment are used. Raises `NoAnswer` where there is none.
    """

    def __init__(
        self,
        ca_bundle: Path | None,
        bounds: Bounds,
        now: Callable[[], float],
        *,
        plain: str = "",
        trusts_environment: bool = True,
    ) -> None:
        self._client = httpx.Client(
            transport=_transport(ca_bundle, os.environ if trusts_environment else {}),
            timeout=bounds.timeout_seconds,
            follow_redirects=False,
            trust_env=False,
        )
        self._until = now() + bounds.max_wait_seconds
        self._now = now
        self._plain = plain
        self._stated = plain.replace("http://", "https://", 1)
        self.last: Reply | None = None
        self._sockets: list[socket.socket] = []
        self._is_over = threading.Event()
        # Time limits of a synchronous client are for each silence: against a server that is never silent, and never
        # says anything, there is only the end of its connections.
        self._end = threading.Timer(bounds.max_wait_seconds, self._break_off)
        self._end.daemon = True
        self._end.start()

    def get(self, url: str, params: Texts | None = None, headers: Texts | None = None, **_: object) -> Reply:
        return self._exchange("GET", url, params, headers or {})

    def post(
        self,
        url: str,
        params: Texts | None = None,
        data: Mapping[str, str | bytes] | None = None,
        headers: Texts | None = None,
        **_: object,
    ) -> Reply:
        # msal puts an assertion into the form as bytes, which httpx would spell as Python does: b'eyJ…'.
        fields = {key: value.decode() if isinstance(value, bytes) else value for key, value in (data or {}).items()}
        form = {**(headers or {}), "Content-Type": "application/x-www-form-urlencoded"}
        return self._exchange("POST", url, params, form, urlencode(fields).encode())

    def close(self) -> None:
        self._end.cancel()
        self._client.close()

    def _exchange(
        self, method: str, url: str, params: Texts | None, headers: Texts, content: bytes | None = None
    ) -> Reply:
        self.last = None
        request = None
        try:
            request = self._client.build_request(
                method,
                self._real(url),
                params=params,
                headers=headers,
                content=content,
                extensions={"trace": self._connected},
            )
            response = self._client.send(request, stream=True)
            try:
                self.last = Reply(response, self._body(response))
            finally:
                response.close()
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            why = ENDLESS if self._is_over.is_set() else str(error) or type(error).__name__
            proxy = request.extensions.get("proxy") if request is not None else None
            raise NoAnswer(f"{why}, through the proxy {proxy}" if proxy else why) from error
        return self.last

    def _body(self, response: httpx.Response) -> str:
        body = b""
        for part in response.iter_bytes():
            body += part
            if len(body) > MOST_BYTES or self._now() > self._until:
                raise NoAnswer(ENDLESS)
        return body.decode("utf-8", "replace")

    def _connected(self, event: str, about: Mapping[str, Any]) -> None:
        """Take note of each connection that is made for a request (httpx: the extension `trace`)."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._sockets.append(about["return_value"].get_extra_info("socket"))
            if self._is_over.is_set():
                self._break_off()

    def _break_off(self) -> None:
        self._is_over.set()
        for each in tuple(self._sockets):
            with contextlib.suppress(OSError):
                # The plain one, because that of TLS is not for two threads. Whoever reads there reads the end.
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def _real(self, url: str) -> str:
        is_plain = bool(self._plain) and (url == self._stated or url.startswith(f"{self._stated}/"))
        return self._plain + url.removeprefix(self._stated) if is_plain else url


def _transport(ca_bundle: Path | None, environ: Mapping[str, str]) -> httpx.BaseTransport:
    """Return what sends requests. The variables are good: the client of all other requests was made of them before."""
    proxies, context = proxies_from(environ), tls_context(ca_bundle, environ)
    straight = httpx.HTTPTransport(verify=context, trust_env=False)
    if not proxies.by_scheme:
        return straight
    through = {
        scheme: httpx.HTTPTransport(verify=context, trust_env=False, proxy=url)
        for scheme, url in proxies.by_scheme.items()
    }
    return Proxied(proxies, straight, **through)
