"""Which proxy a request goes through, by the variables that curl and most tools know: one reading for every client.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or not; lower case wins, and an empty variable is
none. Proxies are spoken to over HTTP. `NO_PROXY` takes names with all names below them, addresses, networks (CIDR),
ports, globs and `*`. What is wrong is reported with the variable's name and without its value, which may hold a
password.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import httpx

__all__ = ["AsyncProxied", "Bypass", "Proxied", "Proxies", "ProxyProblem", "proxies_from"]

SCHEMES = ("http", "https")
DEFAULT_PORTS = {"http": 80, "https": 443}
LAST_PORT = 65_535
ENTRY = re.compile(r"(?:[a-z]+://)?(?P<host>\[[^\]]*\](?:/\d+)?|[^:]+|[^:]*:[^:]*:.*?)(?::(?P<port>\d{1,5}|\*))?")
NAME = re.compile(r"[a-z0-9_*?.-]+", re.IGNORECASE)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ProxyProblem(ValueError):
    """*variable* can't be used; *words* go on the sentence that begins with its name, *hint* is what to write."""

    def __init__(self, variable: str, words: str, hint: str) -> None:
        super().__init__(f"{variable} {words}.")
        self.variable = variable
        self.words = words
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Bypass:
    """One entry of `NO_PROXY`. *port* None: every port; *network* None: a name."""

    name: str
    network: Network | None
    port: int | None

    def holds(self, url: httpx.URL) -> bool:
        """Return whether requests to *url* go straight there."""
        if self.port is not None and self.port != (url.port or DEFAULT_PORTS.get(url.scheme)):
            return False
        address = _address(url.host)
        if self.network is not None:
            return address is not None and address in self.network
        host = url.host.lower().rstrip(".")
        return fnmatchcase(host, self.name) or (address is None and host.endswith(f".{self.name}"))


@dataclass(frozen=True, slots=True)
class Proxies:
    """*by_scheme* are the proxies' URLs, with all that is in them, set by *variables*; *odd* entries match nothing."""

    by_scheme: Mapping[str, str]
    variables: Mapping[str, str]
    bypasses: tuple[Bypass, ...] = ()
    odd: tuple[str, ...] = ()

    def of(self, url: httpx.URL) -> str | None:
        """Return the proxy for a request to *url*, None for none."""
        proxy = self.by_scheme.get(url.scheme)
        return None if proxy is None or any(each.holds(url) for each in self.bypasses) else proxy

    def words(self, scheme: str) -> str:
        """Return the proxy of *scheme* as a message may have it: no user, no password, and the variable beside it."""
        url = httpx.URL(self.by_scheme[scheme])
        return f"{url.scheme}://{url.netloc.decode()} ({self.variables[scheme]})"


def proxies_from(environ: Mapping[str, str]) -> Proxies:
    """Return what *environ* sets. Raises `ProxyProblem` for a proxy that would be used and can't be."""
    _, no_proxy = _set("no_proxy", environ)
    entries = [entry for entry in re.split(r"[,\s]+", no_proxy) if entry]
    if "*" in entries:
        return Proxies({}, {})
    found: dict[str, tuple[str, str]] = {}
    for scheme in SCHEMES:
        variable, value = _set(f"{scheme}_proxy", environ)
        if not variable:
            variable, value = _set("all_proxy", environ)
        if value:
            found[scheme] = variable, _proxy(variable, value)
    bypasses = {entry: _bypass(entry) for entry in entries}
    return Proxies(
        {scheme: url for scheme, (_, url) in found.items()},
        {scheme: variable for scheme, (variable, _) in found.items()},
        tuple(each for each in bypasses.values() if each is not None),
        tuple(entry for entry, each in bypasses.items() if each is None),
    )


def _set(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the spelling that counts, and its value; two empty texts when neither is there.

    `HTTP_PROXY` in capitals is what a web server makes of a visitor's header `Proxy` (CVE-2016-5385).
    """
    for spelling in (name, name.upper()):
        if spelling in environ and not (spelling == "HTTP_PROXY" and "REQUEST_METHOD" in environ):
            return spelling, environ[spelling].strip()
    return "", ""


def _proxy(variable: str, value: str) -> str:
    hint = (
        f"Write {variable}=http://host:port (a user and a password, if any, percent-encoded before an @), or unset it."
    )
    if value[:1] in {'"', "'"}:
        raise ProxyProblem(variable, "is in quotation marks, which become part of its value", hint)
    text = value if "://" in value else f"http://{value}"
    scheme = text.partition("://")[0].lower()
    if scheme.startswith("socks"):
        raise ProxyProblem(variable, f"names a SOCKS proxy ({scheme}://), and only HTTP proxies are supported", hint)
    if scheme not in SCHEMES:
        raise ProxyProblem(variable, "names a proxy that is neither http:// nor https://", hint)
    try:
        url = httpx.URL(text)
        is_port = (url.port or 1) <= LAST_PORT
    except (httpx.InvalidURL, ValueError):
        raise ProxyProblem(variable, "is not a URL", hint) from None
    if not url.host or not is_port or re.search(r"\s", text):
        raise ProxyProblem(variable, "names no host and port", hint)
    return str(url)


def _bypass(entry: str) -> Bypass | None:
    # An IPv6 address with a port has brackets: without them the port would be its last part.
    if "[" not in entry and (whole := _network(entry)) is not None:
        return Bypass("", whole, None)
    match = ENTRY.fullmatch(entry)
    if match is None:
        return None
    port = int(match["port"]) if match["port"] and match["port"] != "*" else None
    if (network := _network(match["host"])) is not None:
        return Bypass("", network, port)
    name = match["host"].lower().removeprefix("*").strip(".")
    return Bypass(name, None, port) if name and NAME.fullmatch(name) else None


def _network(text: str) -> Network | None:
    """Return an address or a network: `::1`, `[::1]`, `fd00::/8`, `[fd00::]/8`, `10.0.0.0/8`."""
    try:
        return ipaddress.ip_network(text.replace("[", "", 1).replace("]", "", 1), strict=False)
    except ValueError:
        return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


class AsyncProxied(httpx.AsyncBaseTransport):
    """Sends each request directly or through its proxy, and records the proxy in its extensions (`proxy`)."""

    def __init__(
        self, proxies: Proxies, straight: httpx.AsyncBaseTransport, **through: httpx.AsyncBaseTransport
    ) -> None:
        self._proxies = proxies
        self._straight = straight
        self._through = through

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._proxies.of(request.url) is None:
            return await self._straight.handle_async_request(request)
        request.extensions["proxy"] = self._proxies.words(request.url.scheme)
        return await self._through[request.url.scheme].handle_async_request(request)

    async def aclose(self) -> None:
        for each in self._transports():
            await each.aclose()

    def _transports(self) -> Iterator[httpx.AsyncBaseTransport]:
        yield self._straight
        yield from self._through.values()


class Proxied(httpx.BaseTransport):
    """The same for a synchronous client."""

    def __init__(self, proxies: Proxies, straight: httpx.BaseTransport, **through: httpx.BaseTransport) -> None:
        self._proxies = proxies
        self._straight = straight
        self._through = through

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._proxies.of(request.url) is None:
            return self._straight.handle_request(request)
        request.extensions["proxy"] = self._proxies.words(request.url.scheme)
        return self._through[request.url.scheme].handle_request(request)

    def close(self) -> None:
        for each in (self._straight, *self._through.values()):
            each.close()
