"""The error bodies of each system, as far as they are documented."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from sandbox.faults.action import System
from sandbox.faults.response import CapturedResponse, json_response

__all__ = [
    "concurrency_error",
    "error_response",
    "expired_cursor_error",
    "gateway_error",
    "throttle_response",
    "with_request_ids",
]

OKTA_ERRORS = {
    400: ("E0000001", "Api validation failed"),
    401: ("E0000011", "Invalid token provided"),
    403: ("E0000006", "You do not have permission to perform the requested action"),
    404: ("E0000007", "Not found: Resource not found"),
    429: ("E0000047", "API call exceeded rate limit due to too many requests."),
}
GRAPH_ERRORS = {
    400: "Request_BadRequest",
    401: "InvalidAuthenticationToken",
    403: "Authorization_RequestDenied",
    404: "Request_ResourceNotFound",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}
UNNAMED = "sandbox"
"""The ids of a request in an error, until `with_request_ids` writes those of the answer's headers."""

OAUTH_ERRORS = {400: "invalid_request", 401: "invalid_client", 403: "unauthorized_client"}


@dataclass(frozen=True, slots=True)
class Throttle:
    """A 429 and *until* when, in the wall clock's seconds, it holds."""

    response: CapturedResponse
    until: float


def error_response(system: System, status: int, path: str = "") -> CapturedResponse:
    """Return an error in the system's format; *path* distinguishes token endpoints from others."""
    phrase = _status_phrase(status)
    if path.endswith("/token"):
        code = OAUTH_ERRORS.get(status, "temporarily_unavailable")
        return json_response(status, {"error": code, "error_description": phrase}, {})
    match system:
        case System.OKTA:
            return _okta_error(status, *OKTA_ERRORS.get(status, ("E0000009", "Internal Server Error")))
        case System.ENTRA:
            return _graph_error(status, GRAPH_ERRORS.get(status, "UnknownError"), f"{phrase}.")
        case System.ONELOGIN:
            name = phrase.replace(" ", "") + "Error"
            return json_response(status, {"message": phrase, "statusCode": status, "name": name}, {})
        case System.PIGMENT:
            return _scim_error(status, phrase)


def expired_cursor_error(system: System) -> CapturedResponse:
    """Return the error for an expired cursor."""
    if system is System.OKTA:
        return _okta_error(400, "E0000029", "Invalid paging request.")
    if system is System.PIGMENT:
        return _scim_error(400, "The cursor has expired.", "expiredCursor")
    if system is System.ENTRA:
        return _graph_error(400, "Directory_ExpiredPageToken", "The specified page token value has expired.")
    body = {"status": 400, "error": "BadRequestError", "description": "Invalid pagination cursor"}
    return json_response(400, body, {})


def throttle_response(system: System, seconds: float, now: float) -> Throttle:
    """Return a 429 that asks, in the system's own headers, for a wait of at least *seconds*."""
    answer = error_response(system, 429)
    if system is System.OKTA:  # the reset is a time, not a duration, and there is no Retry-After
        reset = math.ceil(now + seconds)
        return Throttle(_with_okta_rate_headers(answer, limit=100, reset=reset), reset)
    wait = math.ceil(seconds)
    if system is System.ONELOGIN:
        rated = answer.with_header("x-ratelimit-limit", "5000").with_header("x-ratelimit-remaining", "0")
        return Throttle(rated.with_header("x-ratelimit-reset", str(wait)), now + wait)
    return Throttle(answer.with_header("retry-after", str(wait)), now + wait)


def concurrency_error(system: System, now: float) -> CapturedResponse:
    """Return a 429 for too many requests at once. Okta's shows a limit of 0, and a reset that is only a guess."""
    answer = error_response(system, 429)
    if system is System.OKTA:
        return _with_okta_rate_headers(answer, limit=0, reset=math.ceil(now) + 60)
    return answer.with_header("retry-after", "1") if system is System.ENTRA else answer


def with_request_ids(answer: CapturedResponse, request_ids: Mapping[str, str]) -> CapturedResponse:
    """Return an error of Graph with *request_ids*, the headers of its answer, in its body too."""
    body = answer.body
    for name, value in request_ids.items():
        body = body.replace(f'"{name}":"{UNNAMED}"'.encode(), f'"{name}":{json.dumps(value)}'.encode())
    return answer if body == answer.body else answer.with_body(body)


def gateway_error(status: int) -> CapturedResponse:
    phrase = _status_phrase(status)
    text = f"<html>\r\n<head><title>{status} {phrase}</title></head>\r\n<body>{phrase}</body>\r\n</html>\r\n"
    return CapturedResponse(status, (("content-type", "text/html"), ("server", "gateway")), text.encode())


def _with_okta_rate_headers(answer: CapturedResponse, limit: int, reset: int) -> CapturedResponse:
    for name, number in (("limit", limit), ("remaining", 0), ("reset", reset)):
        answer = answer.with_header(f"x-rate-limit-{name}", str(number))
    return answer


def _graph_error(status: int, code: str, message: str) -> CapturedResponse:
    inner = {"date": "2026-11-23T08:00:00", "request-id": UNNAMED, "client-request-id": UNNAMED}
    return json_response(status, {"error": {"code": code, "message": message, "innerError": inner}}, {})


def _okta_error(status: int, code: str, summary: str) -> CapturedResponse:
    body = {"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oaesandbox", "errorCauses": []}
    return json_response(status, body, {})


def _scim_error(status: int, detail: str, scim_type: str = "") -> CapturedResponse:
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": str(status), "detail": detail}
    extra = {"scimType": scim_type} if scim_type else {}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return json_response(status, body | extra, headers, "application/scim+json")


def _status_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
