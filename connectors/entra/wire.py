"""The HTTP that msal is handed: ours, so that private authorities, proxies and time limits are the same everywhere."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

__all__ = ["Wire"]


class Answer:
    """What msal reads of an answer: `status_code`, `text`, `headers`, `raise_for_status`."""

    def __init__(self, response: httpx.Response) -> None:
        self.status_code = response.status_code
        self.text = response.text
        self.headers = dict(response.headers)
        self._response = response

    def raise_for_status(self) -> None:
        self._response.raise_for_status()


class Wire:
    """Sends msal's requests. *plain* is an origin that is really http: msal itself takes https authorities only."""

    def __init__(self, ca_bundle: Path | None, timeout_seconds: float, plain: str = "") -> None:
        verify = ssl.create_default_context(cafile=ca_bundle) if ca_bundle else True
        self._client = httpx.Client(verify=verify, timeout=timeout_seconds, follow_redirects=False)
        self._plain = plain

    def post(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> Answer:
        # msal puts an assertion into the form as bytes, which httpx would spell as Python does.
        fields = {key: value.decode() if isinstance(value, bytes) else value for key, value in (data or {}).items()}
        form = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return Answer(self._client.post(self._real(url), params=params, content=urlencode(fields), headers=form))

    def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None, **_: object
    ) -> Answer:
        return Answer(self._client.get(self._real(url), params=params, headers=headers))

    def close(self) -> None:
        self._client.close()

    def _real(self, url: str) -> str:
        stated = self._plain.replace("http://", "https://", 1)
        is_plain = bool(self._plain) and (url == stated or url.startswith(f"{stated}/"))
        return self._plain + url.removeprefix(stated) if is_plain else url
