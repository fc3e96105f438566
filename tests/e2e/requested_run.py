"""Request runs of a daemon by its API, and wait for their ends."""

from __future__ import annotations

from typing import Any

import httpx

from tests import plain_http
from tests.e2e.daemon_process import OPERATOR, Serving
from tests.waiting import wait_until

__all__ = ["ended", "operator_at"]


def operator_at(daemon: Serving, path: str = "") -> httpx.Client:
    """Return a client of the daemon's API, or of *path* in it, with the token of an operator."""
    url = f"http://127.0.0.1:{daemon.port}/api/v1{path}"
    return plain_http.client(url, headers={"Authorization": f"Bearer {OPERATOR}"})


def ended(client: httpx.Client, url: str) -> dict[str, Any]:
    """Return the run at *url* once it has ended."""

    def run_if_ended() -> dict[str, Any] | None:
        run: dict[str, Any] = client.get(url).raise_for_status().json()
        return run if run["finished_at"] else None

    return wait_until(run_if_ended, f"the end of {url}")
