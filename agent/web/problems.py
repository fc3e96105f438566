"""Problems that end a request, as problem+json (RFC 9457) with a remedy."""

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
    """A request that was refused or failed. *remedy* is the next step for its sender."""

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


def problem_response(problem: HttpProblem) -> Response:
    """Return the response. `code` and `remedy` are extension members (RFC 9457, 3.2)."""
    body = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "remedy": problem.remedy,
    }
    return Response(orjson.dumps(body), problem.status, problem.headers, "application/problem+json")


def problem_from_error(error: PigmentSyncError | ReadError) -> HttpProblem:
    """Return the problem for one of our own errors."""
    if isinstance(error, NotFound):
        return HttpProblem(404, error.code, error.message, error.hint)
    if isinstance(error, TooManyRequests):
        return HttpProblem(429, error.code, error.message, error.hint, {"Retry-After": "30"})
    if isinstance(error, ReadError):
        return HttpProblem(502, error.code, error.message, error.hint)
    if error.exit_code is ExitCode.USAGE:
        return HttpProblem(422, error.code, error.message, error.hint)
    return HttpProblem(503, error.code, error.message, error.hint, {"Retry-After": "30"})
