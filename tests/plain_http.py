"""HTTP clients for servers of this machine that have no TLS."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from tests.waiting import LONGEST_SECONDS

__all__ = ["client", "get", "post"]

# Without a context of our own, httpx loads the authorities of the Web for each client: 15 ms of the processor's time.
NO_AUTHORITY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def client(base_url: str = "", **more: Any) -> httpx.Client:
    return httpx.Client(base_url=base_url, verify=NO_AUTHORITY, trust_env=False, timeout=LONGEST_SECONDS, **more)


def get(url: str, **more: Any) -> httpx.Response:
    with client() as http:
        return http.get(url, **more)


def post(url: str, **more: Any) -> httpx.Response:
    with client() as http:
        return http.post(url, **more)
