"""The id of a request, in the header in which each vendor sends it.

Pigment documents none; the sandbox sends `x-request-id`, as many gateways do.
"""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping
from typing import Any
from uuid import uuid4

__all__ = ["request_id_from_scope", "request_id_headers"]

SCOPE_KEY = "sandbox.request_id"
"""A key of the ASGI scope."""

GRAPH_PATHS = ("/v1.0/", "/beta/")
Scope = MutableMapping[str, Any]


def request_id_from_scope(scope: Scope, system: str = "") -> str:
    """Return the id of the request, which is made at the first call, in the form of *system*."""
    return str(scope.setdefault(SCOPE_KEY, secrets.token_urlsafe(20) if system == "okta" else str(uuid4())))


def request_id_headers(system: str, scope: Scope) -> dict[str, str]:
    """Return the headers with the id of the request, by their lower-case names."""
    request_id = request_id_from_scope(scope, system)
    if system == "okta":
        return {"x-okta-request-id": request_id}
    if system != "entra":
        return {"x-request-id": request_id}
    sent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"client-request-id"), "")
    if scope["path"].startswith(GRAPH_PATHS):
        return {"request-id": request_id, "client-request-id": sent or request_id}
    return {"x-ms-request-id": request_id} | ({"client-request-id": sent} if sent else {})
