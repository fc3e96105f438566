"""Read headers with times and numbers, also where a response has one of them twice.

Gateways repeat headers: the values are then in two lines, or in one line with a comma.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx

__all__ = ["header_numbers", "is_rate_limit", "retry_after_seconds", "server_time"]

MAX_DIGITS = 15
FORBIDDEN, TOO_MANY = 403, 429


def header_numbers(headers: httpx.Headers, name: str) -> list[int]:
    """Return the distinct values of a header of integers, ascending; an empty list when one is not a number."""
    texts = headers.get_list(name, split_commas=True)
    if not all(text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS for text in texts):
        return []
    return sorted({int(text) for text in texts})


def retry_after_seconds(headers: httpx.Headers, wall: Callable[[], float]) -> float | None:
    """Return the delay of `Retry-After` (RFC 9110, section 10.2.3: seconds or a date), None where it is missing.

    Of two values the longer counts. A date is compared with the server's own clock where the response shows it, else
    with *wall*.
    """
    found = [_delay_seconds(text, headers, wall) for text in _header_values(headers, "retry-after")]
    return max((seconds for seconds in found if seconds is not None), default=None)


def is_rate_limit(status: int, headers: httpx.Headers) -> bool:
    """Return whether a response is a temporary refusal: 429, or a 403 with `Retry-After`."""
    # The status first: nearly every response is a success.
    return status == TOO_MANY or (status == FORBIDDEN and retry_after_seconds(headers, lambda: 0.0) is not None)


def server_time(headers: httpx.Headers) -> float | None:
    """Return the server's own time in seconds since 1970, None where the response does not show it."""
    return next(
        (time for text in _header_values(headers, "date") if (time := _parse_http_date(text)) is not None), None
    )


def _delay_seconds(text: str, headers: httpx.Headers, wall: Callable[[], float]) -> float | None:
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    until = _parse_http_date(text)
    if until is None:
        return None
    now = server_time(headers)
    return max(0.0, until - (wall() if now is None else now))


def _header_values(headers: httpx.Headers, name: str) -> list[str]:
    """Return the values of a header that holds numbers or dates; a date contains a comma."""
    found: list[str] = []
    for line in headers.get_list(name):
        parts = [part.strip() for part in line.split(",")]
        is_date = any(part[:1].isalpha() for part in parts)
        found += [", ".join(parts[at : at + 2]) for at in range(0, len(parts), 2)] if is_date else parts
    return found


def _parse_http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
