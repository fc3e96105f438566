"""How each system words an error, as far as its documents say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus

from sandbox.faults.action import System
from sandbox.faults.answer import Answer, json_answer

__all__ = ["busy", "expired_cursor", "page_of_gateway", "refused", "throttled"]

OKTA = {
    400: ("E0000001", "Api validation failed"),
    401: ("E0000011", "Invalid token provided"),
    403: ("E0000006", "You do not have permission to perform the requested action"),
    404: ("E0000007", "Not found: Resource not found"),
    429: ("E0000047", "API call exceeded rate limit due to too many requests."),
}
GRAPH = {
    400: "Request_BadRequest",
    401: "InvalidAuthenticationToken",
    403: "Authorization_RequestDenied",
    404: "Request_ResourceNotFound",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}
OAUTH = {400: "invalid_request", 401: "invalid_client", 403: "unauthorized_client"}


@dataclass(frozen=True, slots=True)
class Wait:
    """A 429 and *until* when, in the wall clock's seconds, it holds."""

    answer: Answer
    until: float


def refused(system: System, status: int, path: str = "") -> Answer:
    """Return an error in the system's own words; *path* tells token endpoints from others."""
    phrase = _phrase(status)
    if path.endswith("/token"):
        code = OAUTH.get(status, "temporarily_unavailable")
        return json_answer(status, {"error": code, "error_description": phrase}, {})
    match system:
        case System.OKTA:
            return _okta(status, *OKTA.get(status, ("E0000009", "Internal Server Error")))
        case System.ENTRA:
            return _graph(status, GRAPH.get(status, "UnknownError"), f"{phrase}.")
        case System.ONELOGIN:
            name = phrase.replace(" ", "") + "Error"
            return json_answer(status, {"message": phrase, "statusCode": status, "name": name}, {})
        case System.PIGMENT:
            return _scim(status, phrase)


def expired_cursor(system: System) -> Answer:
    """Return the error for a cursor that is known no more."""
    if system is System.OKTA:
        return _okta(400, "E0000029", "Invalid paging request.")
    if system is System.PIGMENT:
        return _scim(400, "The cursor has expired.", "expiredCursor")
    if system is System.ENTRA:
        return _graph(400, "Directory_ExpiredPageToken", "The specified page token value has expired.")
    body = {"status": 400, "error": "BadRequestError", "description": "Invalid pagination cursor"}
    return json_answer(400, body, {})


def throttled(system: System, seconds: float, now: float) -> Wait:
    """Return a 429 that says, in the system's own headers, to wait at least *seconds*."""
    answer = refused(system, 429)
    if system is System.OKTA:  # the reset is a time, not a duration, and there is no Retry-After
        reset = math.ceil(now + seconds)
        return Wait(_okta_rate(answer, limit=100, reset=reset), reset)
    wait = math.ceil(seconds)
    if system is System.ONELOGIN:
        rated = answer.with_header("x-ratelimit-limit", "5000").with_header("x-ratelimit-remaining", "0")
        return Wait(rated.with_header("x-ratelimit-reset", str(wait)), now + wait)
    return Wait(answer.with_header("retry-after", str(wait)), now + wait)


def busy(system: System, now: float) -> Answer:
    """Return a 429 for too many requests at once. Okta's shows a limit of 0, and a reset that is only a guess."""
    answer = refused(system, 429)
    if system is System.OKTA:
        return _okta_rate(answer, limit=0, reset=math.ceil(now) + 60)
    return answer.with_header("retry-after", "1") if system is System.ENTRA else answer


def page_of_gateway(status: int) -> Answer:
    phrase = _phrase(status)
    text = f"<html>\r\n<head><title>{status} {phrase}</title></head>\r\n<body>{phrase}</body>\r\n</html>\r\n"
    return Answer(status, (("content-type", "text/html"), ("server", "gateway")), text.encode())


def _okta_rate(answer: Answer, limit: int, reset: int) -> Answer:
    for name, number in (("limit", limit), ("remaining", 0), ("reset", reset)):
        answer = answer.with_header(f"x-rate-limit-{name}", str(number))
    return answer


def _graph(status: int, code: str, message: str) -> Answer:
    inner = {"date": "2026-11-23T08:00:00", "request-id": "sandbox", "client-request-id": "sandbox"}
    return json_answer(status, {"error": {"code": code, "message": message, "innerError": inner}}, {})


def _okta(status: int, code: str, summary: str) -> Answer:
    body = {"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oaesandbox", "errorCauses": []}
    return json_answer(status, body, {})


def _scim(status: int, detail: str, scim_type: str = "") -> Answer:
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": str(status), "detail": detail}
    extra = {"scimType": scim_type} if scim_type else {}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return json_answer(status, body | extra, headers, "application/scim+json")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
