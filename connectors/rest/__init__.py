"""Reads JSON over HTTP for every connector and for Pigment: bounded, paced, retried, and on one origin only."""

from connectors.rest.answer import Answer
from connectors.rest.api import Api
from connectors.rest.bounds import DEFAULT_BOUNDS, NO_PACE, REAL_TIME, Authorize, Bounds, Pace, Timer
from connectors.rest.header import header_numbers, is_rate_limit, retry_after_seconds, server_time
from connectors.rest.once import Once, side_by_side
from connectors.rest.one_by_one import OneByOne
from connectors.rest.origin import is_loopback, refuse_no_host
from connectors.rest.patience import HEALING, Patience, Promise
from connectors.rest.pause import Pause
from connectors.rest.permit import NotPermitted
from connectors.rest.quote import harmless_quote, legible, quoted, request_id
from connectors.rest.restart import CursorExpired, restarted
from connectors.rest.sample import Lookup, lookup_findings
from connectors.rest.transfer import NoAnswer, NotSent
from connectors.rest.walk import Walk, plain_cursor

__all__ = [
    "DEFAULT_BOUNDS",
    "HEALING",
    "NO_PACE",
    "REAL_TIME",
    "Answer",
    "Api",
    "Authorize",
    "Bounds",
    "CursorExpired",
    "Lookup",
    "NoAnswer",
    "NotPermitted",
    "NotSent",
    "Once",
    "OneByOne",
    "Pace",
    "Patience",
    "Pause",
    "Promise",
    "Timer",
    "Walk",
    "harmless_quote",
    "header_numbers",
    "is_loopback",
    "is_rate_limit",
    "legible",
    "lookup_findings",
    "plain_cursor",
    "quoted",
    "refuse_no_host",
    "request_id",
    "restarted",
    "retry_after_seconds",
    "server_time",
    "side_by_side",
]
