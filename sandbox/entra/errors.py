"""Errors of Graph and the token endpoint, each in its own format."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["GraphError", "TokenError", "bad_request", "not_found"]

DATE = "2026-11-23T08:00:00"


class GraphError(Exception):
    """Graph returns an error; *code* is Graph's."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def body(self, request_ids: Mapping[str, str]) -> dict[str, object]:
        """Return the error; *request_ids* are the headers with the ids of the request."""
        inner = {"date": DATE, **request_ids}
        return {"error": {"code": self.code, "message": self.message, "innerError": inner}}


class TokenError(Exception):
    """The token request is refused; *aadsts_number* is the AADSTS code."""

    def __init__(self, status: int, error: str, number: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.aadsts_number = number
        self.message = message

    def body(self, request_id: str) -> dict[str, object]:
        description = (
            f"AADSTS{self.aadsts_number}: {self.message} Trace ID: {request_id} Correlation ID: c "
            "Timestamp: 2026-11-23 08:00:00Z"
        )
        return {
            "error": self.error,
            "error_description": description,
            "error_codes": [self.aadsts_number],
            "timestamp": "2026-11-23 08:00:00Z",
            "trace_id": "t",
            "correlation_id": "c",
            "error_uri": f"https://login.microsoftonline.com/error?code={self.aadsts_number}",
        }


def not_found(key: str) -> GraphError:
    message = f"Resource '{key}' does not exist or one of its queried reference-property objects are not present."
    return GraphError(404, "Request_ResourceNotFound", message)


def bad_request(message: str, code: str = "Request_BadRequest") -> GraphError:
    return GraphError(400, code, message)
