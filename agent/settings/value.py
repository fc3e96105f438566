"""The kinds of values that the configuration is made of, each with the sentence for a wrong one."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from agent.address import folded, folded_domain, is_valid
from connectors.rest import is_loopback, refuse_no_host

__all__ = [
    "Amount",
    "App",
    "Count",
    "Day",
    "Domain",
    "Duration",
    "Glob",
    "GuardCount",
    "GuardPercent",
    "Name",
    "Percent",
    "Strict",
    "Text",
    "TimeZone",
    "Url",
    "duration_text",
    "same_url",
]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DURATION = re.compile(r"([0-9]{1,8})\s*([smhd])")
SHORTEST, LONGEST = timedelta(seconds=10), timedelta(days=31)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
APP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
NO_NULL = "can't be null, because this guard can't be turned off; write the largest number that you would accept"


class Strict(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change, and errors do not repeat them."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


def _number(value: object) -> object:
    # Python counts with true and false; nobody who writes `max_creates: yes` means 1.
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004  (pydantic collects ValueErrors)
    return value


def _number_always(value: object) -> object:
    if value is None:
        raise ValueError(NO_NULL)
    return _number(value)


def _duration(value: object) -> object:
    match = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a number with a unit, as 90s, 15m, 1h or 1d")
    duration = timedelta(seconds=int(match[1]) * UNITS[match[2]])
    if not SHORTEST <= duration <= LONGEST:
        raise ValueError("must be at least 10s and at most 31d")
    return duration


def _day(value: object) -> object:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value.strip())
        except ValueError:
            pass
    elif isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise ValueError("must be a date, as 2027-03-31")


def _url(value: str) -> str:
    text = value.strip()
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise ValueError("is not a URL; write it as https://…") from None
    if url.scheme not in {"https", "http"} or not url.host:
        raise ValueError("must start with https://")
    if url.scheme == "http" and not is_loopback(url.host):
        raise ValueError("must start with https:// (http:// is for loopback hosts only)")
    refuse_no_host(url)
    if url.userinfo:
        raise ValueError("must not hold a user or a password; the API token belongs in tokens")
    if url.query or url.fragment or re.search(r"\s", text):
        raise ValueError("must end with its path: no ?, # or white space")
    return text.removesuffix("/")


def same_url(url: str) -> str:
    """Return what two spellings of one URL have in common: case of the host, default port, slashes at the end."""
    return str(httpx.URL(url)).rstrip("/")


def _domain(value: str) -> str:
    domain = folded_domain(value.strip().removesuffix("."))
    if not is_valid(f"a@{domain}"):
        raise ValueError("must be a bare domain, as acme.com (subdomains are not implied, wildcards not known)")
    return domain


def _glob(value: str) -> str:
    glob = value.strip()
    if not glob or re.search(r"\s", glob):
        raise ValueError("must be an email address, or a pattern of addresses as svc-*@acme.com")
    if not glob.strip("*?@."):
        raise ValueError("would protect everybody; use mode: dry-run to write nothing at all")
    if "@" not in glob and "*" not in glob:
        raise ValueError("matches no email address; write the whole address, or a pattern as svc-*@acme.com")
    if glob.count("[") != glob.count("]"):
        raise ValueError("has a bracket that is not closed")
    local, at, domain = folded(glob).rpartition("@")
    # Label by label, because a label with a star in it is none that IDNA knows.
    return local + at + ".".join(folded_domain(label) for label in domain.split("."))


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no time zone; write it as Europe/Berlin or UTC") from None
    return value


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(
            "is no name: use at most 64 letters (a-z), digits, dots, dashes and _, a letter or digit first"
        )
    return value


def duration_text(duration: timedelta) -> str:
    """Return *duration* as the configuration has it: `15m`."""
    seconds = int(duration.total_seconds())
    unit = next(unit for unit in reversed(UNITS) if seconds % UNITS[unit] == 0)
    return f"{seconds // UNITS[unit]}{unit}"


def _app(value: object) -> object:
    # OneLogin's ids are numbers, which YAML reads as such.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and not APP.fullmatch(text):
        raise ValueError("must be the application's id (letters, digits and dashes), not its name or address")
    return text


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value.strip()


Count = Annotated[int, Field(ge=0), BeforeValidator(_number)]
GuardCount = Annotated[int, Field(ge=0), BeforeValidator(_number_always)]
Percent = Annotated[float, Field(ge=0, le=100), BeforeValidator(_number)]
GuardPercent = Annotated[float, Field(ge=0, le=100), BeforeValidator(_number_always)]
Amount = Annotated[float, Field(gt=0), BeforeValidator(_number)]
Duration = Annotated[timedelta, BeforeValidator(_duration), PlainSerializer(str)]
Day = Annotated[date, BeforeValidator(_day)]
Url = Annotated[str, AfterValidator(_url)]
Domain = Annotated[str, AfterValidator(_domain)]
Glob = Annotated[str, AfterValidator(_glob)]
TimeZone = Annotated[str, AfterValidator(_zone)]
Name = Annotated[str, AfterValidator(_name)]
App = Annotated[str, BeforeValidator(_app)]
Text = Annotated[str, AfterValidator(_text)]
