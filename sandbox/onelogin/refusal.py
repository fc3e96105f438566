"""A request that OneLogin refuses, as its API words it."""

from __future__ import annotations

__all__ = ["Refusal", "not_found", "token_refusal"]

NAMES = {
    400: "BadRequestError",
    401: "UnauthorizedError",
    403: "ForbiddenError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    422: "UnprocessableEntityError",
    429: "TooManyRequestsError",
    500: "InternalServerError",
}


class Refusal(Exception):
    """The answer is an error. *body* is what is sent."""

    def __init__(self, status: int, message: str, body: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body or {"message": message, "statusCode": status, "name": NAMES[status]}

    def older(self) -> Refusal:
        """Return the same in the older shape, which `/api/2/users` keeps for what is wrong with the request."""
        return self if self.status in (401, 429, 500) else token_refusal(self.status, NAMES[self.status], str(self))


def not_found() -> Refusal:
    return Refusal(404, "The resource with the given id could not be found")


def token_refusal(status: int, kind: str, message: str) -> Refusal:
    """Return a refusal in the older shape, which the endpoints below `/auth` have."""
    return Refusal(status, message, {"error": True, "code": status, "type": kind, "message": message})
