"""The types of values in the configuration, each with the message for an invalid one."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from agent.model.email import is_valid, normalize, normalize_domain
from agent.model.page_size import LARGEST_PAGE
from connectors.duration import DURATION_UNITS, Duration
from connectors.http import is_loopback, validate_host

__all__ = [
    "AppId",
    "Count",
    "Day",
    "Domain",
    "Duration",
    "Glob",
    "GuardCount",
    "GuardPercent",
    "Name",
    "NonEmptyText",
    "PageSize",
    "Percent",
    "PositiveNumber",
    "StrictModel",
    "TimeZone",
    "Url",
    "canonical_url",
    "format_duration",
]

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
APP_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
NULL_MESSAGE = "can't be null, because this guard can't be turned off; write the largest number that you accept"


class StrictModel(BaseModel):
    """A part of the configuration: unknown keys are errors, values are frozen, and errors do not repeat them."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


def _refuse_bool(value: object) -> object:
    # Python treats true as 1, which is never the intent of `max_creates: yes`.
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004  (pydantic collects ValueErrors)
    return value


def _refuse_null(value: object) -> object:
    if value is None:
        raise ValueError(NULL_MESSAGE)
    return _refuse_bool(value)


def _parse_day(value: object) -> object:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value.strip())
        except ValueError:
            pass
    elif isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise ValueError("must be a date, such as 2027-03-31")


def _normalize_url(value: str) -> str:
    text = value.strip()
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise ValueError("is not a URL; write it as https://…") from None
    if url.scheme not in {"https", "http"} or not url.host:
        raise ValueError("must start with https://")
    if url.scheme == "http" and not is_loopback(url.host):
        raise ValueError("must start with https:// (http:// is for loopback hosts only)")
    validate_host(url)
    if url.userinfo:
        raise ValueError("must not contain a user or a password; the API token belongs in tokens")
    if url.query or url.fragment or re.search(r"\s", text):
        raise ValueError("must end with its path, without ?, # or white space")
    return text.removesuffix("/")


def canonical_url(url: str) -> str:
    """Return *url* in one spelling: case of the host, default port, slashes at the end."""
    return str(httpx.URL(url)).rstrip("/")


def _normalize_domain(value: str) -> str:
    domain = normalize_domain(value.strip().removesuffix("."))
    if not is_valid(f"a@{domain}"):
        raise ValueError("must be a bare domain, such as acme.com (no wildcards; subdomains are not implied)")
    return domain


def _normalize_glob(value: str) -> str:
    glob = value.strip()
    if not glob or re.search(r"\s", glob):
        raise ValueError("must be an email address, or a pattern of addresses such as svc-*@acme.com")
    if not glob.strip("*?@."):
        raise ValueError("would protect every member; use mode: dry-run to write nothing at all")
    if "@" not in glob and "*" not in glob:
        raise ValueError("matches no email address; write the whole address, or a pattern such as svc-*@acme.com")
    if glob.count("[") != glob.count("]"):
        raise ValueError("has a bracket that is not closed")
    local, at, domain = normalize(glob).rpartition("@")
    # Label by label, because IDNA does not accept a label with a star.
    return local + at + ".".join(normalize_domain(label) for label in domain.split("."))


def _validate_time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not a time zone; write it as Europe/Berlin or UTC") from None
    return value


def _validate_name(value: str) -> str:
    if not NAME_PATTERN.fullmatch(value):
        raise ValueError(
            "is not a valid name: use at most 64 letters (a-z), digits, dots, dashes and _, a letter or digit first"
        )
    return value


def format_duration(duration: timedelta) -> str:
    """Return *duration* as the configuration has it: `15m`."""
    seconds = int(duration.total_seconds())
    unit = next(unit for unit in reversed(DURATION_UNITS) if seconds % DURATION_UNITS[unit] == 0)
    return f"{seconds // DURATION_UNITS[unit]}{unit}"


def _normalize_app_id(value: object) -> object:
    # An id of digits alone is a number in YAML.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and not APP_ID_PATTERN.fullmatch(text):
        raise ValueError("must be the application's id (letters, digits and dashes), not its name or address")
    return text


def _explain_page_size(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    # The union would report a problem for each of its types.
    try:
        return validate(_refuse_bool(value))
    except ValueError:
        raise ValueError(f"must be auto, or a whole number from 1 to {LARGEST_PAGE}") from None


def _strip_text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value.strip()


Count = Annotated[int, Field(ge=0), BeforeValidator(_refuse_bool)]
GuardCount = Annotated[int, Field(ge=0), BeforeValidator(_refuse_null)]
Percent = Annotated[float, Field(ge=0, le=100), BeforeValidator(_refuse_bool)]
GuardPercent = Annotated[float, Field(ge=0, le=100), BeforeValidator(_refuse_null)]
PositiveNumber = Annotated[float, Field(gt=0), BeforeValidator(_refuse_bool)]
PageSize = Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=LARGEST_PAGE)], WrapValidator(_explain_page_size)]
Day = Annotated[date, BeforeValidator(_parse_day)]
Url = Annotated[str, AfterValidator(_normalize_url)]
Domain = Annotated[str, AfterValidator(_normalize_domain)]
Glob = Annotated[str, AfterValidator(_normalize_glob)]
TimeZone = Annotated[str, AfterValidator(_validate_time_zone)]
Name = Annotated[
    str, AfterValidator(_validate_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN.pattern}$"})
]
AppId = Annotated[str, BeforeValidator(_normalize_app_id, json_schema_input_type=str | int)]
NonEmptyText = Annotated[str, AfterValidator(_strip_text)]
