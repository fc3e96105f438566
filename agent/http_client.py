"""Build the HTTP client that connectors and workspaces are handed: TLS, proxies, time limits, nothing followed blindly.

Libraries that read the environment by themselves trip over it in ways of their own. Here it is read once, for all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import httpx

from agent.errors import ConfigError
from connectors.http.proxy import AsyncProxyTransport, ProxyConfigError, proxies_from_environment
from connectors.http.tls import TlsConfigError, tls_context

__all__ = ["create_client", "create_transport"]

CONNECTION_LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=32)


def create_client(
    ca_bundle: Path | None, timeout_seconds: float, environ: Mapping[str, str] = os.environ
) -> httpx.AsyncClient:
    """Return a client that trusts *ca_bundle* (a PEM file) in place of other authorities, and goes by *environ*.

    Raises `ConfigError` when the file or a variable can't be used.
    """
    return httpx.AsyncClient(
        transport=create_transport(ca_bundle, environ),
        trust_env=False,
        timeout=httpx.Timeout(timeout_seconds),
        follow_redirects=False,
        headers={"User-Agent": "pigment-sync"},
    )


def create_transport(ca_bundle: Path | None, environ: Mapping[str, str] = os.environ) -> httpx.AsyncBaseTransport:
    """Return what sends requests as `client` does. Raises `ConfigError`."""
    try:
        proxies, context = proxies_from_environment(environ), tls_context(ca_bundle, environ)
    except (ProxyConfigError, TlsConfigError) as error:
        raise ConfigError(str(error), error.hint) from error
    straight = httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=CONNECTION_LIMITS)
    if not proxies.by_scheme:
        return straight
    through = {
        scheme: httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=CONNECTION_LIMITS, proxy=url)
        for scheme, url in proxies.by_scheme.items()
    }
    return AsyncProxyTransport(proxies, straight, **through)
