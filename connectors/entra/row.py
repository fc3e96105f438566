"""Read Graph's rows, tolerant of odd ones: what a row does not say is None, and nothing is made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from connectors.base import Status

__all__ = ["SELECT", "Assignment", "User", "assignment_from_json", "email_of", "kind_of", "status_of", "user_from_json"]

# Graph leaves out accountEnabled, userType and proxyAddresses unless they are asked for.
SELECT = "id,userPrincipalName,mail,displayName,givenName,surname,accountEnabled,userType,otherMails,proxyAddresses"
EXTERNAL = "#ext#"
SMTP = "smtp:"
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Assignment:
    """A row of `appRoleAssignedTo`. *id* is the principal's, None where the row has none."""

    id: str | None
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class User:
    """A user row; texts are empty where null. *is_enabled* is None where Graph does not say it."""

    id: str | None
    login: str
    mail: str
    display_name: str
    given_name: str
    family_name: str
    is_enabled: bool | None
    is_guest: bool
    other_mails: tuple[str, ...]
    aliases: tuple[str, ...]


def _row(value: object) -> Row:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(filter(None, map(_text, value))) if isinstance(value, list) else ()


def assignment_from_json(value: object) -> Assignment:
    row = _row(value)
    return Assignment(
        _text(row.get("principalId")) or None, _text(row.get("principalType")), _text(row.get("principalDisplayName"))
    )


def kind_of(value: object) -> str:
    """Return `user`, `group`, `device` … of a member row, empty when it does not say."""
    return _text(_row(value).get("@odata.type")).rpartition(".")[2].lower()


def id_of(value: object) -> str | None:
    return _text(_row(value).get("id")) or None


def name_of(value: object) -> str:
    return _text(_row(value).get("displayName"))


def user_from_json(value: object) -> User:
    row = _row(value)
    enabled = row.get("accountEnabled")
    login = _text(row.get("userPrincipalName"))
    kind = _text(row.get("userType")).lower()
    return User(
        id_of(value),
        login,
        _text(row.get("mail")),
        _text(row.get("displayName")),
        _text(row.get("givenName")),
        _text(row.get("surname")),
        enabled if isinstance(enabled, bool) else None,
        # Old guests have no userType; a member may come from outside and keep the marked login.
        kind == "guest" or (not kind and EXTERNAL in login.lower()),
        _texts(row.get("otherMails")),
        tuple(
            address[len(SMTP) :]
            for address in _texts(row.get("proxyAddresses"))
            if address.lower().startswith(SMTP) and len(address) > len(SMTP)
        ),
    )


def status_of(user: User) -> Status:
    if user.is_enabled is None:
        return Status.UNKNOWN
    return Status.ACTIVE if user.is_enabled else Status.SUSPENDED


def email_of(user: User, which: Literal["login", "mail"]) -> str | None:
    """Return the address that counts. A guest's login is no address: theirs is `mail`, else what the login encodes."""
    if which == "mail":
        return user.mail or None
    if EXTERNAL not in user.login.lower():
        return user.login or None
    if user.mail or user.other_mails:
        return user.mail or user.other_mails[0]
    local, mark, domain = unquote(user.login[: user.login.lower().index(EXTERNAL)]).rpartition("_")
    return f"{local}@{domain}" if mark and local and domain else None
