"""Check the environment variables that libraries read by themselves, before one of them fails on a value.

An unusable value ends a command with exit code 8 and the variable's name. A value that may be a password is not shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agent.errors import ConfigError
from agent.settings.root import STATE_FILE_NAME, Settings
from connectors.base import Area, CheckName, Finding
from connectors.http.proxy import ProxyConfigError, proxies_from_environment
from connectors.http.tls import TlsConfigError, tls_context
from connectors.secret import SecretError

__all__ = ["refuse_invalid_variables", "variable_findings"]

REQUESTS_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
CA_HINT = "To trust a private authority, set ca_bundle in the configuration: it applies to every request."
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
LIBPQ_FILES = ("PGSERVICEFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL", "PGPASSFILE")
LIBPQ_NUMBERS = ("PGPORT", "PGCONNECT_TIMEOUT")
LIBPQ_SECRETS = frozenset({"PGPASSWORD", "PGSSLPASSWORD"})
LIBPQ_PATTERN = re.compile(r"PG[A-Z_]+")
LIBPQ_SPECIAL_VALUES = {"PGSSLROOTCERT": "system"}
"""Values that name no file (libpq 16)."""


def refuse_invalid_variables(environ: Mapping[str, str], settings: Settings) -> None:
    """Raise `ConfigError` for variables that can't be used, with the fix for each."""
    bad = [finding for finding in variable_findings(environ, settings) if finding.level == "error"]
    if bad:
        raise ConfigError(
            "\n".join(f"{finding.subject} {finding.message}" for finding in bad),
            "\n".join(dict.fromkeys(finding.remedy for finding in bad)),
        )


def variable_findings(environ: Mapping[str, str], settings: Settings) -> list[Finding]:
    """Return a finding for each variable that is set and is used here, or might seem to be."""
    return [
        *_proxy_findings(environ),
        *_trust_findings(environ, settings.ca_bundle),
        *_requests_bundle_findings(environ, has_notices=bool(settings.notify.urls or settings.reports)),
        *_ignored_variable_findings(environ),
        *_state_directory_findings(environ, settings.state.place.inline_value or ""),
        *_time_zone_findings(environ),
        *(_libpq_findings(environ) if _is_postgresql(settings) else ()),
    ]


def _finding(
    level: Literal["ok", "warning", "error"],
    variable: str,
    message: str,
    remedy: str = "",
    name: CheckName = CheckName.ENVIRONMENT,
) -> Finding:
    return Finding(level, variable, message, remedy, name=name, area=Area.CONFIG)


def _proxy_findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        proxies = proxies_from_environment(environ)
    except ProxyConfigError as error:
        yield _finding("error", error.variable, f"{error.problem}.", error.hint)
        return
    for scheme in sorted(proxies.by_scheme, reverse=True):
        proxy = proxies.display_url(scheme).partition(" ")[0]
        yield _finding("ok", proxies.variables[scheme], f"requests to {scheme}:// go through the proxy {proxy}")
    if proxies.invalid_entries:
        yield _finding(
            "warning",
            "NO_PROXY",
            f"has entries that match nothing: {', '.join(proxies.invalid_entries)}.",
            "Write names, addresses or networks, separated by commas: localhost,.acme.com,10.0.0.0/8,fd00::/8.",
        )


def _trust_findings(environ: Mapping[str, str], ca_bundle: Path | None) -> Iterator[Finding]:
    try:
        tls_context(ca_bundle, environ)
    except TlsConfigError as error:
        yield _finding("error", error.name, f"{error.problem}.", error.hint, CheckName.TRUSTED_AUTHORITIES)
        return
    if ca_bundle is not None:
        yield _finding(
            "ok", "ca_bundle", f"{ca_bundle} holds the trusted authorities", name=CheckName.TRUSTED_AUTHORITIES
        )
        return
    used = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name)), None)
    if used is not None:
        yield _finding("ok", used, f"{environ[used]} holds the trusted authorities", name=CheckName.TRUSTED_AUTHORITIES)


def _requests_bundle_findings(environ: Mapping[str, str], *, has_notices: bool) -> Iterator[Finding]:
    used = next((name for name in REQUESTS_BUNDLES if environ.get(name)), None)
    if used is None:
        return
    path = Path(environ[used])
    if has_notices and not path.exists():
        yield _finding("error", used, f"names {path}, which does not exist: notifications can't be sent.", CA_HINT)
    else:
        yield _finding("warning", used, "is used for notifications only, not for providers or Pigment.", CA_HINT)


def _ignored_variable_findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    if environ.get("PYTHONHTTPSVERIFY") == "0":
        yield _finding("warning", "PYTHONHTTPSVERIFY", "has no effect: certificates are always checked.", CA_HINT)
    if environ.get("SSLKEYLOGFILE"):
        yield _finding(
            "warning",
            "SSLKEYLOGFILE",
            "lets any reader of that file decrypt every request, tokens included.",
            "Unset it: it is for debugging TLS only.",
        )


def _state_directory_findings(environ: Mapping[str, str], url: str) -> Iterator[Finding]:
    folder = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if folder and not Path(folder).is_absolute() and url.endswith(f"/{folder}/{STATE_FILE_NAME}"):
        yield _finding(
            "error",
            "STATE_DIRECTORY",
            "is not an absolute path.",
            "Write STATE_DIRECTORY=/var/lib/pigment-sync, or set state.url in the configuration.",
        )


def _time_zone_findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    name = environ.get("TZ", "").removeprefix(":")
    if not name:
        return
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield _finding(
            "warning",
            "TZ",
            "is not the name of a time zone. It has no effect: times are UTC, and schedules have their own timezone.",
            "Write TZ=Europe/Rome, without quotation marks, or unset it.",
        )


def _is_postgresql(settings: Settings) -> bool:
    try:
        return settings.state.url.startswith("postgresql")
    except SecretError:
        # Reported with the other secrets.
        return False


def _libpq_findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the variables that libpq uses where `state.url` does not set it (PostgreSQL manual, 34.15)."""
    for name in sorted(name for name in environ if LIBPQ_PATTERN.fullmatch(name) and environ[name]):
        if problem := _libpq_problem(name, environ[name]):
            yield _finding("error", name, f"{problem[0]}.", problem[1])
        elif name in LIBPQ_SECRETS:
            yield _finding("ok", name, "is used for the database of the state where state.url has no password")
        else:
            yield _finding("ok", name, "is used for the database of the state, unless state.url sets the same")


def _libpq_problem(name: str, value: str) -> tuple[str, str] | None:
    if name == "PGSSLMODE" and value not in SSL_MODES:
        return "is not a mode of PostgreSQL", f"Write {name} as one of {', '.join(SSL_MODES)}, or unset it."
    if name in LIBPQ_NUMBERS and not value.strip().isdecimal():
        return "is not a number", f"Write {name} as a number, or unset it."
    is_missing = name in LIBPQ_FILES and value != LIBPQ_SPECIAL_VALUES.get(name) and not os.access(value, os.R_OK)
    # A password file or a list of revoked certificates may be absent: libpq continues without it.
    if is_missing and name not in {"PGPASSFILE", "PGSSLCRL"}:
        return f"names {value}, which can't be read", f"Set {name} to an existing file, or unset it."
    if name == "PGOPTIONS" and re.search(r"default_transaction_read_only\s*=\s*(on|true|1|yes)", value):
        return "makes every transaction read-only", "Remove default_transaction_read_only from PGOPTIONS."
    return None
