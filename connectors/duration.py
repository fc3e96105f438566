"""Durations in the configuration: `90s`, `15m`, `1h`, `1d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

__all__ = ["DURATION_UNITS", "Duration"]

DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DURATION_PATTERN = re.compile(r"([0-9]{1,8})\s*([smhd])")
MIN_DURATION, MAX_DURATION = timedelta(seconds=10), timedelta(days=31)


def _parse_duration(value: object) -> object:
    match = DURATION_PATTERN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a number with a unit, such as 90s, 15m, 1h or 1d")
    duration = timedelta(seconds=int(match[1]) * DURATION_UNITS[match[2]])
    if not MIN_DURATION <= duration <= MAX_DURATION:
        raise ValueError("must be at least 10s and at most 31d")
    return duration


Duration = Annotated[
    timedelta,
    BeforeValidator(_parse_duration),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": rf"^\s*{DURATION_PATTERN.pattern}\s*$"}),
]
