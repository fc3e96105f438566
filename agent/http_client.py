"""Build the HTTP client of connectors and workspaces: TLS, proxies, time-outs, no automatic redirects.

Libraries that read the environment themselves fail on it in different ways. Here it is read once, for all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import httpx

from agent.errors import ConfigError
from agent.request_trace import ObservedTransport
from connectors.http.proxy import AsyncProxyTransport, ProxyConfigError, proxies_from_environment
from connectors.http.tls import TlsConfigError, tls_context
from connectors.http.transport import DirectTransport

__all__ = ["create_client", "create_transport"]

# For each request httpcore looks for a package that we do not need, through the whole path: 0.15 ms of CPU each time.
if "sniffio" not in sys.modules and find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # Python's mark of a module that is not there

PROXY_LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=32)


def create_client(
    ca_bundle: Path | None,
    timeout_seconds: float,
    environ: Mapping[str, str] = os.environ,
    wrap: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] = lambda transport: transport,
) -> httpx.AsyncClient:
    """Return a client that trusts *ca_bundle* (a PEM file) instead of other authorities, with the proxies of *environ*.

    *wrap* may return a transport that observes the given one.

    Raises `ConfigError` when the file or a variable can't be used.
    """
    return httpx.AsyncClient(
        transport=wrap(create_transport(ca_bundle, environ)),
        trust_env=False,
        timeout=httpx.Timeout(timeout_seconds),
        follow_redirects=False,
        headers={"User-Agent": "pigment-sync"},
    )


def create_transport(ca_bundle: Path | None, environ: Mapping[str, str] = os.environ) -> httpx.AsyncBaseTransport:
    """Return the transport of `create_client`, whose requests are logged and traced. Raises `ConfigError`."""
    return ObservedTransport(_create_transport(ca_bundle, environ))


def _create_transport(ca_bundle: Path | None, environ: Mapping[str, str]) -> httpx.AsyncBaseTransport:
    try:
        proxies, context = proxies_from_environment(environ), tls_context(ca_bundle, environ)
    except (ProxyConfigError, TlsConfigError) as error:
        raise ConfigError(str(error), error.hint) from error
    direct = DirectTransport(context)
    if not proxies.by_scheme:
        return direct
    by_proxy = {
        scheme: httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=PROXY_LIMITS, proxy=url)
        for scheme, url in proxies.by_scheme.items()
    }
    return AsyncProxyTransport(proxies, direct, **by_proxy)
