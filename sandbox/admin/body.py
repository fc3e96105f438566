"""Parse the JSON bodies of admin requests."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.requests import Request

__all__ = ["BadRequest", "RequestBody", "read_body"]


class BadRequest(Exception):
    """The request is invalid; the message names what was expected."""


class RequestBody:
    """The fields of one request. Raise `BadRequest` for those that are missing or of another kind."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        found = self.text_or_none(name)
        if found is None:
            raise BadRequest(f"{name} is missing.")
        return found

    def text_or_none(self, name: str) -> str | None:
        value = self._fields.get(name)
        if value is not None and not isinstance(value, str):
            raise BadRequest(f"{name} must be a text.")
        return value

    def text_list_or_none(self, name: str) -> list[str] | None:
        value = self._fields.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise BadRequest(f"{name} must be a list of texts.")
        return value

    def flag(self, name: str, otherwise: bool) -> bool:
        value = self._fields.get(name, otherwise)
        if not isinstance(value, bool):
            raise BadRequest(f"{name} must be true or false.")
        return value

    def fields(self) -> dict[str, object]:
        return dict(self._fields)

    def refuse_unknown(self, *names: str) -> None:
        """Refuse unknown fields."""
        odd = sorted(set(self._fields) - set(names))
        if odd:
            expected = f"expected: {', '.join(names)}" if names else "nothing is expected"
            raise BadRequest(f"There is no field {odd[0]!r} here; {expected}.")


async def read_body(request: Request) -> RequestBody:
    """Return the fields of a request; one without a body has none."""
    raw = await request.body()
    try:
        document = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    return RequestBody(document)
