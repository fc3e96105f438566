"""Refusals, as the API answers them: problem+json (RFC 9457) with a remedy."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.responses import Response

from agent.daemon.interface import NotFound, TooManyRequests
from agent.errors import ExitCode, PigmentSyncError
from connectors.base import ReadError

__all__ = ["HttpProblem", "problem_from_error", "problem_response"]


class HttpProblem(Exception):
    """A request that is not done. *remedy* says what its sender can do."""

    def __init__(
        self, status: int, code: str, detail: str, remedy: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.remedy = remedy
        self.headers = dict(headers or {})

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase


def problem_response(refusal: HttpProblem) -> Response:
    """Return the answer; *code* and *remedy* are members of our own, which RFC 9457, 3.2 allows."""
    body = {
        "type": "about:blank",
        "title": refusal.title,
        "status": refusal.status,
        "code": refusal.code,
        "detail": refusal.detail,
        "remedy": refusal.remedy,
    }
    return Response(orjson.dumps(body), refusal.status, refusal.headers, "application/problem+json")


def problem_from_error(error: PigmentSyncError | ReadError) -> HttpProblem:
    """Return what the sender of a request is told of an error of ours."""
    if isinstance(error, NotFound):
        return HttpProblem(404, error.code, error.message, error.hint)
    if isinstance(error, TooManyRequests):
        return HttpProblem(429, error.code, error.message, error.hint, {"Retry-After": "30"})
    if isinstance(error, ReadError):
        return HttpProblem(502, error.code, error.message, error.hint)
    if error.exit_code is ExitCode.USAGE:
        return HttpProblem(422, error.code, error.message, error.hint)
    return HttpProblem(503, error.code, error.message, error.hint, {"Retry-After": "30"})
