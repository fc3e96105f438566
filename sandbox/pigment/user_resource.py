"""Parse the member of a POST or PUT. Unmapped attributes are ignored, as in Pigment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.pigment.errors import ScimError, invalid_value

__all__ = ["UserResource", "normalized_attributes", "parse_boolean", "parse_user_resource"]

SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:user:"


@dataclass(frozen=True, slots=True)
class UserResource:
    """The mapped attributes of a body. *active* is None when the body has none. *addresses* are all the addresses
    that count as the login: `userName`, and the work email where one is given."""

    user_name: str
    display_name: str
    active: bool | None
    addresses: tuple[str, ...]
    given_name: str
    family_name: str
    external_id: str


def parse_user_resource(body: object) -> UserResource:
    """Return the attributes of *body*. Raise `ScimError` (400) without `userName` or `displayName`."""
    given = normalized_attributes(body)
    name = normalized_attributes(given.get("name") or {})
    user_name = _required_text(given, "username", "userName")
    return UserResource(
        user_name=user_name,
        display_name=_required_text(given, "displayname", "displayName"),
        active=parse_boolean(given["active"]) if given.get("active") is not None else None,
        addresses=(user_name, *_work_emails(given.get("emails"))),
        given_name=str(name.get("givenname") or ""),
        family_name=str(name.get("familyname") or ""),
        external_id=str(given.get("externalid") or ""),
    )


def normalized_attributes(body: object) -> Mapping[str, object]:
    """Return a JSON object with its names folded, for attribute names are case-insensitive (RFC 7643, 2.1)."""
    if not isinstance(body, dict):
        raise ScimError(400, "A JSON object was expected.", "invalidSyntax")
    return {str(name).casefold().removeprefix(SCHEMA): value for name, value in body.items()}


def parse_boolean(value: object) -> bool:
    """Return a boolean that may come as a string, as Entra sends it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.casefold() in ("true", "false"):
        return value.casefold() == "true"
    raise invalid_value("active must be true or false.")


def _required_text(given: Mapping[str, object], folded: str, name: str) -> str:
    value = given.get(folded)
    if not isinstance(value, str) or not value.strip():
        raise invalid_value(f"{name} is required.")
    return value


def _work_emails(emails: object) -> list[str]:
    rows = [normalized_attributes(row) for row in emails if isinstance(row, dict)] if isinstance(emails, list) else []
    return [str(row["value"]) for row in rows if row.get("value") and str(row.get("type", "work")).casefold() == "work"]
