"""Okta's errors, in Okta's format."""

from __future__ import annotations

import secrets

__all__ = ["OktaError", "forbidden", "invalid_cursor", "not_found", "too_many_requests", "unauthorized"]


class OktaError(Exception):
    """The response is an error of the management API: *code* is `E0000…`."""

    def __init__(self, status: int, code: str, summary: str, *causes: str) -> None:
        super().__init__(summary)
        self.status = status
        self.code = code
        self.summary = summary
        self.causes = causes

    def body(self) -> dict[str, object]:
        return {
            "errorCode": self.code,
            "errorSummary": self.summary,
            "errorLink": self.code,
            "errorId": f"oae{secrets.token_urlsafe(16)}",
            "errorCauses": [{"errorSummary": cause} for cause in self.causes],
        }


def not_found(what: str, key: str) -> OktaError:
    """*what* is Okta's type: `AppInstance`, `UserGroup`, `User`."""
    return OktaError(404, "E0000007", f"Not found: Resource not found: {key} ({what})")


def unauthorized() -> OktaError:
    return OktaError(401, "E0000011", "Invalid token provided")


def forbidden() -> OktaError:
    return OktaError(403, "E0000006", "You do not have permission to perform the requested action")


def too_many_requests() -> OktaError:
    return OktaError(429, "E0000047", "API call exceeded rate limit due to too many requests.")


def invalid_cursor() -> OktaError:
    return OktaError(400, "E0000029", "Invalid paging request.", "Invalid cursor.")
