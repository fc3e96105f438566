"""Refusals, as the API answers them: problem+json (RFC 9457) with a remedy."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.responses import Response

from agent.desk import TooMuch, UnknownName
from agent.errors import Exit, PigmentSyncError
from connectors.base import ReadError

__all__ = ["Refusal", "problem", "refusal_of"]


class Refusal(Exception):
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


def problem(refusal: Refusal) -> Response:
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


def refusal_of(error: PigmentSyncError | ReadError) -> Refusal:
    """Return what the sender of a request is told of an error of ours."""
    if isinstance(error, UnknownName):
        return Refusal(404, error.code, error.message, error.hint)
    if isinstance(error, TooMuch):
        return Refusal(429, error.code, error.message, error.hint, {"Retry-After": "30"})
    if isinstance(error, ReadError):
        return Refusal(502, error.code, error.message, error.hint)
    if error.exit is Exit.USAGE:
        return Refusal(422, error.code, error.message, error.hint)
    return Refusal(503, error.code, error.message, error.hint, {"Retry-After": "30"})
