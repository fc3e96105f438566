"""Choose the proxy of a request by the variables that curl and most tools read, the same way for every client.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case: lower case wins, and an empty variable
counts as unset. Only HTTP proxies are supported. `NO_PROXY` takes names with all names below them, addresses, networks
(CIDR), ports, globs and `*`. Errors have the variable's name, and not its value, which may hold a password.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import httpx

__all__ = [
    "AsyncProxyTransport",
    "NoProxyEntry",
    "ProxyConfigError",
    "ProxySettings",
    "proxies_from_environment",
]

SCHEMES = ("http", "https")
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_PORT = 65_535
NO_PROXY_ENTRY = re.compile(
    r"(?:[a-z]+://)?(?P<host>\[[^\]]*\](?:/\d+)?|[^:]+|[^:]*:[^:]*:.*?)(?::(?P<port>\d{1,5}|\*))?"
)
HOST_PATTERN = re.compile(r"[a-z0-9_*?.-]+", re.IGNORECASE)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ProxyConfigError(ValueError):
    """*variable* can't be used; *problem* completes the sentence that begins with its name, *hint* is the next step."""

    def __init__(self, variable: str, words: str, hint: str) -> None:
        super().__init__(f"{variable} {words}.")
        self.variable = variable
        self.problem = words
        self.hint = hint


@dataclass(frozen=True, slots=True)
class NoProxyEntry:
    """One entry of `NO_PROXY`. *port* None: every port; *network* None: a name."""

    name: str
    network: Network | None
    port: int | None

    def matches(self, url: httpx.URL) -> bool:
        """Return whether requests to *url* go straight there."""
        if self.port is not None and self.port != (url.port or DEFAULT_PORTS.get(url.scheme)):
            return False
        address = _parse_address(url.host)
        if self.network is not None:
            return address is not None and address in self.network
        host = url.host.lower().rstrip(".")
        return fnmatchcase(host, self.name) or (address is None and host.endswith(f".{self.name}"))


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """*by_scheme* are the proxies' URLs, with all that is in them, set by *variables*; *invalid_entries* entries match
    nothing.
    """

    by_scheme: Mapping[str, str]
    variables: Mapping[str, str]
    no_proxy: tuple[NoProxyEntry, ...] = ()
    invalid_entries: tuple[str, ...] = ()

    def proxy_for(self, url: httpx.URL) -> str | None:
        """Return the proxy for a request to *url*, None without one."""
        proxy = self.by_scheme.get(url.scheme)
        return None if proxy is None or any(each.matches(url) for each in self.no_proxy) else proxy

    def display_url(self, scheme: str) -> str:
        """Return the proxy of *scheme* for messages: without user and password, with its variable."""
        url = httpx.URL(self.by_scheme[scheme])
        return f"{url.scheme}://{url.netloc.decode()} ({self.variables[scheme]})"


def proxies_from_environment(environ: Mapping[str, str]) -> ProxySettings:
    """Return what *environ* sets. Raises `ProxyConfigError` for a proxy that would be used and can't be."""
    _, no_proxy = _lookup_variable("no_proxy", environ)
    entries = [entry for entry in re.split(r"[,\s]+", no_proxy) if entry]
    if "*" in entries:
        return ProxySettings({}, {})
    found: dict[str, tuple[str, str]] = {}
    for scheme in SCHEMES:
        variable, value = _lookup_variable(f"{scheme}_proxy", environ)
        if not variable:
            variable, value = _lookup_variable("all_proxy", environ)
        if value:
            found[scheme] = variable, _parse_proxy_url(variable, value)
    bypasses = {entry: _parse_no_proxy_entry(entry) for entry in entries}
    return ProxySettings(
        {scheme: url for scheme, (_, url) in found.items()},
        {scheme: variable for scheme, (variable, _) in found.items()},
        tuple(each for each in bypasses.values() if each is not None),
        tuple(entry for entry, each in bypasses.items() if each is None),
    )


def _lookup_variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable that counts, and its value; two empty texts where neither is set.

    `HTTP_PROXY` in capitals is what a web server makes of a visitor's header `Proxy` (CVE-2016-5385).
    """
    for spelling in (name, name.upper()):
        if spelling in environ and not (spelling == "HTTP_PROXY" and "REQUEST_METHOD" in environ):
            return spelling, environ[spelling].strip()
    return "", ""


def _parse_proxy_url(variable: str, value: str) -> str:
    hint = (
        f"Write {variable}=http://host:port (a user and a password, if any, percent-encoded before an @), or unset it."
    )
    if value[:1] in {'"', "'"}:
        raise ProxyConfigError(variable, "is in quotation marks, which become part of its value", hint)
    text = value if "://" in value else f"http://{value}"
    scheme = text.partition("://")[0].lower()
    if scheme.startswith("socks"):
        raise ProxyConfigError(
            variable, f"names a SOCKS proxy ({scheme}://), and only HTTP proxies are supported", hint
        )
    if scheme not in SCHEMES:
        raise ProxyConfigError(variable, "names a proxy that is neither http:// nor https://", hint)
    try:
        url = httpx.URL(text)
        is_port = (url.port or 1) <= MAX_PORT
    except (httpx.InvalidURL, ValueError):
        raise ProxyConfigError(variable, "is not a URL", hint) from None
    if not url.host or not is_port or re.search(r"\s", text):
        raise ProxyConfigError(variable, "names no host and port", hint)
    return str(url)


def _parse_no_proxy_entry(entry: str) -> NoProxyEntry | None:
    # An IPv6 address with a port has brackets: without them the port would be its last part.
    if "[" not in entry and (whole := _parse_network(entry)) is not None:
        return NoProxyEntry("", whole, None)
    match = NO_PROXY_ENTRY.fullmatch(entry)
    if match is None:
        return None
    port = int(match["port"]) if match["port"] and match["port"] != "*" else None
    if (network := _parse_network(match["host"])) is not None:
        return NoProxyEntry("", network, port)
    name = match["host"].lower().removeprefix("*").strip(".")
    return NoProxyEntry(name, None, port) if name and HOST_PATTERN.fullmatch(name) else None


def _parse_network(text: str) -> Network | None:
    """Return an address or a network: `::1`, `[::1]`, `fd00::/8`, `[fd00::]/8`, `10.0.0.0/8`."""
    try:
        return ipaddress.ip_network(text.replace("[", "", 1).replace("]", "", 1), strict=False)
    except ValueError:
        return None


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


class AsyncProxyTransport(httpx.AsyncBaseTransport):
    """Sends each request directly or through its proxy, and records the proxy in its extensions (`proxy`).

    A request with the extension `direct` never goes through a proxy.
    """

    def __init__(
        self, proxies: ProxySettings, straight: httpx.AsyncBaseTransport, **through: httpx.AsyncBaseTransport
    ) -> None:
        self._proxies = proxies
        self._direct = straight
        self._by_scheme = through

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.extensions.get("direct") or self._proxies.proxy_for(request.url) is None:
            return await self._direct.handle_async_request(request)
        request.extensions["proxy"] = self._proxies.display_url(request.url.scheme)
        return await self._by_scheme[request.url.scheme].handle_async_request(request)

    async def aclose(self) -> None:
        for each in (self._direct, *self._by_scheme.values()):
            await each.aclose()
