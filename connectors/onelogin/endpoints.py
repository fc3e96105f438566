"""What the connector asks OneLogin for, and what to do when OneLogin refuses.

Source: OneLogin's API, version 2: `/apps/{id}`, `/apps/{id}/users`, `/roles`, `/roles/{id}`, `/roles/{id}/users`,
`/users`, `/users/{id}`.
"""

from __future__ import annotations

from connectors.base import IncompleteRead
from connectors.http import escape_control
from connectors.onelogin.client import Endpoint
from connectors.onelogin.row import is_id
from connectors.onelogin.selection import Role

__all__ = ["SCOPE_HINT", "app", "app_users", "role", "role_users", "roles", "user", "users"]

SCOPE_HINT = "Give the API credential the scope Read All in OneLogin (Developers > API Credentials)."
APP_HINT = f"Check `app` of the source (the number in the address of the application in OneLogin). {SCOPE_HINT}"
ROLE_HINT = f"Take the role off the application in OneLogin if it is of no use any more. {SCOPE_HINT}"


def app(app_id: str) -> Endpoint:
    return Endpoint(f"/api/2/apps/{_validated_id(app_id)}", f"application {app_id}", APP_HINT)


def app_users(app_id: str) -> Endpoint:
    return Endpoint(f"/api/2/apps/{_validated_id(app_id)}/users", f"users of application {app_id}", APP_HINT)


def roles(app_id: str) -> Endpoint:
    params = {"app_id": _validated_id(app_id), "fields": "id,name"}
    return Endpoint("/api/2/roles", f"roles of application {app_id}", SCOPE_HINT, params)


def role(role_id: str) -> Endpoint:
    return Endpoint(f"/api/2/roles/{_validated_id(role_id)}", f"role {role_id}", ROLE_HINT)


def role_users(of: Role) -> Endpoint:
    named = of.id if of.name == of.id else f"{escape_control(of.name)} ({of.id})"
    return Endpoint(f"/api/2/roles/{_validated_id(of.id)}/users", f"people of role {named}", ROLE_HINT)


def users() -> Endpoint:
    return Endpoint("/api/2/users", "users", SCOPE_HINT)


def user(user_id: str) -> Endpoint:
    return Endpoint(f"/api/2/users/{_validated_id(user_id)}", f"user {user_id}", SCOPE_HINT)


def _validated_id(value: str) -> str:
    if not is_id(value):
        raise IncompleteRead(
            f"{value[:100]!r} can't be an id in OneLogin.",
            "Check the ids in the config: numbers, as in the addresses of OneLogin's administration.",
        )
    return value
