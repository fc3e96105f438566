"""Build the HTTP client that connectors and workspaces are handed: TLS, time limits, and nothing followed blindly."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx

from agent.errors import ConfigError

__all__ = ["client", "trust"]

CONNECTIONS = httpx.Limits(max_connections=64, max_keepalive_connections=32)


def client(ca_bundle: Path | None, timeout_seconds: float) -> httpx.AsyncClient:
    """Return a client that trusts *ca_bundle* (a PEM file) in place of the system's authorities.

    Raises `ConfigError` when the file can't be used.
    """
    return httpx.AsyncClient(
        verify=trust(ca_bundle),
        timeout=httpx.Timeout(timeout_seconds),
        follow_redirects=False,
        limits=CONNECTIONS,
        headers={"User-Agent": "pigment-sync"},
    )


def trust(ca_bundle: Path | None) -> ssl.SSLContext | bool:
    """Return what httpx takes as `verify`. Raises `ConfigError`."""
    if ca_bundle is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"ca_bundle: {ca_bundle} can't be used ({error.strerror or error}).",
            "Name a readable PEM file with the certificates of the authorities to trust.",
        ) from error
