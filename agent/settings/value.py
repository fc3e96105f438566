"""The kinds of values that the configuration is made of, each with the sentence for a wrong one."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from agent.address import folded, folded_domain
from connectors.rest import is_loopback

__all__ = ["Domain", "Duration", "Glob", "Strict", "TimeZone", "Url"]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DURATION = re.compile(r"(\d+)\s*([smhd])")


class Strict(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change, and errors do not repeat them."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _duration(value: object) -> object:
    match = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a number with a unit, as 90s, 15m, 1h or 1d")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


def _url(value: str) -> str:
    try:
        url = httpx.URL(value.strip())
    except httpx.InvalidURL:
        raise ValueError("is not a URL; write it as https://…") from None
    if url.scheme not in {"https", "http"} or not url.host:
        raise ValueError("must start with https://")
    if url.scheme == "http" and not is_loopback(url.host):
        raise ValueError("must start with https:// (http:// is for loopback hosts only)")
    if url.userinfo:
        raise ValueError("must not hold a user or a password")
    return value.strip().removesuffix("/")


def _domain(value: str) -> str:
    domain = folded_domain(value.strip())
    if "@" in domain or "/" in domain or "*" in domain or "." not in domain.strip(".") or re.search(r"\s", domain):
        raise ValueError("must be a bare domain, as acme.com (subdomains are not implied, wildcards not known)")
    return domain


def _glob(value: str) -> str:
    glob = value.strip()
    if not glob or re.search(r"\s", glob):
        raise ValueError("must be an email address, or a pattern of addresses as svc-*@acme.com")
    if not glob.strip("*?@"):
        raise ValueError("would protect everybody; use mode: dry-run to write nothing at all")
    if "@" not in glob and "*" not in glob:
        raise ValueError("matches no email address; write the whole address, or a pattern as svc-*@acme.com")
    if glob.count("[") != glob.count("]"):
        raise ValueError("has a bracket that is not closed")
    return folded(glob)


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no time zone; write it as Europe/Berlin or UTC") from None
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), PlainSerializer(str)]
Url = Annotated[str, AfterValidator(_url)]
Domain = Annotated[str, AfterValidator(_domain)]
Glob = Annotated[str, AfterValidator(_glob)]
TimeZone = Annotated[str, AfterValidator(_zone)]
