"""The readers that `compare` starts in processes of their own: what each is given, and its answer as entries."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import httpx

from agent.compare.reader_process import ReaderProcess
from agent.errors import ConfigError, UsageError
from agent.model.comparison import ComparedField, Entry
from connectors.base import IncompleteRead, Progress, Source
from connectors.http.proxy import ProxyConfigError, proxies_from_environment
from connectors.http.tls import tls_context
from connectors.okta import OktaSettings
from connectors.pem import normalize_pem

__all__ = ["OKTA_SDK", "SCIM2_CLIENT", "Bounds", "OtherReading", "read_with_okta_sdk", "read_with_scim2_client"]

OKTA_SDK = "okta-sdk"
SCIM2_CLIENT = "scim2-client"
YES_NO = {True: "yes", False: "no"}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of the configuration for requests, and what the agent trusts and goes through."""

    timeout_seconds: float
    retries: int
    max_wait_seconds: float
    ca_bundle: Path | None
    environ: Mapping[str, str]

    @property
    def silence_seconds(self) -> float:
        """Return how long a reader may give no sign of life: one request with all its waits, and its start."""
        return self.timeout_seconds + self.max_wait_seconds + 120

    def proxy_for(self, url: str) -> str:
        """Return the proxy that the agent's own requests to *url* go through, empty without one."""
        try:
            proxies = proxies_from_environment(self.environ)
        except ProxyConfigError as error:
            raise ConfigError(str(error), error.hint) from error
        return proxies.proxy_for(httpx.URL(url)) or ""

    def authorities(self) -> dict[str, str]:
        """Return the variables by which OpenSSL trusts what the agent trusts; none: its own authorities."""
        if self.ca_bundle is not None:
            return {"SSL_CERT_FILE": str(self.ca_bundle.absolute()), "SSL_CERT_DIR": os.devnull}
        if file := self.environ.get("SSL_CERT_FILE"):
            return {"SSL_CERT_FILE": str(Path(file).absolute()), "SSL_CERT_DIR": os.devnull}
        folders = self.environ.get("SSL_CERT_DIR")
        return {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": folders} if folders else {}

    def own_authorities(self) -> str:
        """Return the agent's own authorities as PEM, for a library that would take those of the machine."""
        if self.authorities():
            return ""
        found = tls_context(None, {}).get_ca_certs(binary_form=True)
        return "".join(map(ssl.DER_cert_to_PEM_cert, found))


@dataclass(frozen=True, slots=True)
class OtherReading:
    """What another reader read: *entries*, each id once, and sentences about how it read."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


async def read_with_okta_sdk(
    settings: OktaSettings, sources: Sequence[Source], bounds: Bounds, progress: Progress
) -> OtherReading:
    """Return the people of *sources*, all of one org. Raises `ReadError`."""
    request: dict[str, object] = {
        "connector": sources[0].connector,
        "org_url": settings.org_url,
        # The SDK counts the waits of its retries as part of one request.
        "timeout_seconds": bounds.timeout_seconds + bounds.max_wait_seconds,
        "retries": bounds.retries,
        "proxy": bounds.proxy_for(settings.org_url),
        "authorities": bounds.own_authorities(),
        "sources": [{"app": each.app, "groups": list(each.groups)} for each in sources],
    }
    if settings.api_token is not None:
        request["api_token"] = settings.api_token.reveal_token()
    elif settings.private_key is not None:
        request |= {
            "client_id": settings.client_id,
            "private_key": normalize_pem(settings.private_key.reveal()),
            "kid": settings.kid,
            "dpop": settings.dpop,
        }
    variables = bounds.authorities()
    if settings.org_url.startswith("http://"):
        # Only a loopback address may be without TLS. The SDK takes this from the environment alone.
        variables["OKTA_TESTING_TESTINGDISABLEHTTPSCHECK"] = "true"
    process = ReaderProcess(
        module="agent.compare.okta_sdk_process",
        name="the Okta SDK",
        request=request,
        secrets=[str(request[key]) for key in ("api_token", "private_key", "proxy") if request.get(key)],
        variables=variables,
        silence_seconds=bounds.silence_seconds,
        progress=progress,
    )
    found: dict[str, Entry] = {}
    notes = []
    for line in await process.read():
        if line["kind"] == "note":
            notes.append(_text(line.get("text")))
            continue
        source = sources[_integer(line.get("source"))]
        for row in _rows(line):
            entry = _entry_from_person(row, source.email)
            found[entry.id] = _joined(found[entry.id], entry) if entry.id in found else entry
    return OtherReading(tuple(found.values()), tuple(notes))


def _entry_from_person(row: Mapping[str, object], email: Literal["login", "mail"]) -> Entry:
    name = _text(row.get("display_name")) or f"{_text(row.get('given_name'))} {_text(row.get('family_name'))}".strip()
    address = _text(row.get(email))
    groups = row.get("groups")
    return Entry(
        _text(row.get("id")),
        address,
        {
            ComparedField.EMAIL: address,
            ComparedField.NAME: name,
            ComparedField.STATUS: _text(row.get("status")),
            ComparedField.GROUPS: ", ".join(sorted(map(str, groups))) if isinstance(groups, list) else "",
            ComparedField.INDIVIDUAL: YES_NO[row.get("individual") is True],
        },
    )


def _joined(one: Entry, other: Entry) -> Entry:
    """Return the person of two sources: with the groups of both."""
    groups = {each for entry in (one, other) for each in entry.fields[ComparedField.GROUPS].split(", ") if each}
    is_individual = "yes" in (one.fields[ComparedField.INDIVIDUAL], other.fields[ComparedField.INDIVIDUAL])
    return Entry(
        one.id,
        one.email,
        {
            **one.fields,
            ComparedField.GROUPS: ", ".join(sorted(groups)),
            ComparedField.INDIVIDUAL: YES_NO[is_individual],
        },
    )


async def read_with_scim2_client(
    scim_url: str, tokens: Sequence[str], bounds: Bounds, progress: Progress, *, ignores_total: bool
) -> OtherReading:
    """Return the members of one workspace. Raises `ReadError`, and `UsageError` if the extra is not installed."""
    if find_spec("scim2_client") is None:
        raise UsageError(
            "scim2-client is not installed: it is an extra of pigment-sync.",
            "Install it with: pip install 'pigment-sync[scim2-client]'",
        )
    proxy = bounds.proxy_for(scim_url)
    process = ReaderProcess(
        module="agent.compare.scim2_process",
        name="scim2-client",
        request={
            "scim_url": scim_url,
            "tokens": list(tokens),
            "timeout_seconds": bounds.timeout_seconds,
            "ca_bundle": str(bounds.ca_bundle.absolute()) if bounds.ca_bundle else "",
            "proxy": proxy,
            "ignores_total": ignores_total,
        },
        secrets=[*tokens, *([proxy] if proxy else [])],
        variables={} if bounds.ca_bundle else bounds.authorities(),
        silence_seconds=bounds.silence_seconds,
        progress=progress,
    )
    found: dict[str, Entry] = {}
    notes = []
    for line in await process.read():
        if line["kind"] == "note":
            notes.append(_text(line.get("text")))
        for row in _rows(line):
            entry = _entry_from_member(row)
            found[entry.id] = entry
    return OtherReading(tuple(found.values()), tuple(notes))


def _entry_from_member(row: Mapping[str, object]) -> Entry:
    email, active = _text(row.get("email")), row.get("active")
    return Entry(
        _text(row.get("id")),
        email,
        {
            ComparedField.EMAIL: email,
            ComparedField.NAME: _text(row.get("name")),
            ComparedField.ACTIVE: YES_NO[active] if isinstance(active, bool) else "unknown",
        },
    )


def _rows(line: Mapping[str, object]) -> list[Mapping[str, object]]:
    rows = line.get("rows")
    return [each for each in rows if isinstance(each, dict)] if isinstance(rows, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: object) -> int:
    if isinstance(value, int):
        return value
    raise IncompleteRead("The Okta SDK answered without a source.", "Report this. Nothing was compared.")
