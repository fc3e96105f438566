"""OneLogin's errors, in its API's format."""

from __future__ import annotations

__all__ = ["OneLoginError", "not_found", "token_error"]

ERROR_NAMES = {
    400: "BadRequestError",
    401: "UnauthorizedError",
    403: "ForbiddenError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    422: "UnprocessableEntityError",
    429: "TooManyRequestsError",
    500: "InternalServerError",
}


class OneLoginError(Exception):
    """The response is an error with this *body*."""

    def __init__(self, status: int, message: str, body: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body or {"message": message, "statusCode": status, "name": ERROR_NAMES[status]}

    def legacy_form(self) -> OneLoginError:
        """Return the error in the older format, which `/api/2/users` keeps for invalid requests."""
        return self if self.status in (401, 429, 500) else token_error(self.status, ERROR_NAMES[self.status], str(self))

    def first_form(self) -> OneLoginError:
        """Return the error as version 1 of the API shows every error."""
        return token_error(self.status, ERROR_NAMES[self.status], str(self))


def not_found() -> OneLoginError:
    return OneLoginError(404, "The resource with the given id could not be found")


def token_error(status: int, kind: str, message: str) -> OneLoginError:
    """Return an error in the older format, which the endpoints below `/auth` have."""
    return OneLoginError(status, message, {"error": True, "code": status, "type": kind, "message": message})
