"""Keep requests, and the token they carry, on the scheme, host and port that the config names."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urljoin

import httpx

__all__ = ["Origin", "https_root", "is_loopback", "join_url", "parse_url", "validate_host"]

DEFAULT_PORTS = {"https": 443, "http": 80}
HOST_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
MAX_PORT = 65_535
ABSOLUTE_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine: `localhost` or a loopback address."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def validate_host(url: httpx.URL) -> None:
    """Raise `ValueError` for a host that no name server could know, such as a placeholder or a typing error."""
    if (url.port or 0) > MAX_PORT:
        raise ValueError("has a port above 65535")
    host = url.raw_host.decode("ascii").lower()
    try:
        ip_address(host)
    except ValueError:
        if not all(map(HOST_LABEL.fullmatch, host.removesuffix(".").split("."))):
            raise ValueError("is not a valid host name") from None


def parse_url(text: str, example: str) -> httpx.URL:
    """Return the URL that a setting holds. Raises `ValueError` for text that is not a URL."""
    try:
        return httpx.URL(text.strip())
    except httpx.InvalidURL:
        raise ValueError(f"is not a URL; write it as {example}") from None


def https_root(url: httpx.URL, *, subject: str, example: str, root_message: str) -> str:
    """Return the root of a server, without a slash at its end. Raises `ValueError` for anything below a root.

    *subject* is what the URL names, for the sentence; *root_message* is the sentence for a path, query or user.
    """
    if url.scheme not in {"https", "http"} or not url.host:
        raise ValueError(f"must start with https:// and name {subject}, as {example}")
    if url.scheme == "http" and not is_loopback(url.host):
        raise ValueError("must start with https:// (http:// is for loopback hosts only)")
    validate_host(url)
    if url.userinfo or url.query or url.fragment or url.path != "/":
        raise ValueError(root_message)
    return f"{url.scheme}://{url.netloc.decode()}"


# Parsing a next link takes as long as reading 50 rows, and each is parsed where it is found and where it is requested.
url_from_text = lru_cache(maxsize=64)(httpx.URL)


def join_url(url: httpx.URL, reference: str) -> httpx.URL:
    """Return what `url.join` does. Raises `httpx.InvalidURL`."""
    return url_from_text(urljoin(str(url), str(url_from_text(reference))))


class Origin:
    """One base URL. Every request goes below it, or to a link on the same scheme, host and port."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        url = httpx.URL(self.base_url)
        if url.scheme not in {"https", "http"} or not url.host or url.userinfo or url.fragment:
            raise ValueError("the base URL must be https://host/path, without a user or a fragment")
        if url.scheme == "http" and not is_loopback(url.host):
            raise ValueError("http:// is for loopback hosts only")
        self._key = _origin_key(url)

    def resolve(self, url: str) -> httpx.URL | None:
        """Return the URL to request, or None for another origin.

        *url* is a path below the base URL (with or without a leading slash), or an absolute URL.
        """
        try:
            target = url_from_text(url if ABSOLUTE_URL.match(url) else f"{self.base_url}/{url.lstrip('/')}".rstrip("/"))
        except httpx.InvalidURL:
            return None
        return target if self.contains(target) else None

    def join(self, url: httpx.URL, reference: str) -> httpx.URL | None:
        """Return where *reference* leads from *url* (RFC 3986, 5.2), or None for another origin."""
        try:
            target = join_url(url, reference)
        except httpx.InvalidURL:
            return None
        return target if self.contains(target) else None

    def contains(self, url: httpx.URL) -> bool:
        # User info in a link would replace our Authorization header.
        return _origin_key(url) == self._key and not url.userinfo


def _origin_key(url: httpx.URL) -> tuple[str, bytes, int | None]:
    # Not `host`: it decodes an international name and raises for an invalid one (`xn--a`), which a server may send.
    scheme = url.scheme.lower()
    return scheme, url.raw_host.lower(), url.port or DEFAULT_PORTS.get(scheme)
