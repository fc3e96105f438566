"""What the connector asks Okta for: paths, page sizes, and what to do when Okta refuses.

Source: Okta's management API, `/apps/{id}`, `/apps/{id}/users`, `/apps/{id}/groups`, `/groups/{id}`,
`/groups/{id}/users`, `/users/{id}`, `/users/{id}/groups`.
"""

from __future__ import annotations

import re

from connectors.base import IncompleteRead
from connectors.http import escape_control
from connectors.okta.client import Endpoint
from connectors.okta.row import AppGroup

__all__ = ["app", "app_groups", "app_users", "apps", "group", "group_members", "user", "user_groups"]

ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What may stand in a path: an id of Okta is letters and digits, and nothing else may lead elsewhere."""

ROLE_HINT = "an admin role that may view it (API token: its owner needs the role)"
APP_HINT = (
    "Check `app` of the source (the id in the application's address in Okta's admin console), and give the service app "
    f"the scope okta.apps.read and {ROLE_HINT}."
)
GROUP_HINT = (
    f"Give the service app the scope okta.groups.read and {ROLE_HINT}, or, if the group is of no use "
    "any more, unassign it "
    "from the application in Okta."
)
USER_HINT = f"Give the service app the scope okta.users.read and {ROLE_HINT}."


def apps() -> Endpoint:
    """Ask for any application at all: a look at whether Okta is there and knows us."""
    return Endpoint(
        "/api/v1/apps", "its applications", f"Give the service app the scope okta.apps.read and {ROLE_HINT}.", 1
    )


def app(app_id: str) -> Endpoint:
    return Endpoint(f"/api/v1/apps/{_validated_id(app_id)}", f"application {app_id}", APP_HINT)


def app_users(app_id: str, limit: int = 500) -> Endpoint:
    what = f"the people of application {app_id}"
    return Endpoint(f"/api/v1/apps/{_validated_id(app_id)}/users", what, APP_HINT, limit, "user")


def app_groups(app_id: str) -> Endpoint:
    what = f"the groups of application {app_id}"
    return Endpoint(f"/api/v1/apps/{_validated_id(app_id)}/groups", what, APP_HINT, 200, "group")


def group(group_id: str) -> Endpoint:
    return Endpoint(f"/api/v1/groups/{_validated_id(group_id)}", f"group {group_id}", GROUP_HINT)


def group_members(of: AppGroup, limit: int = 200) -> Endpoint:
    what = f"the members of group {escape_control(of.name)} ({of.id})"
    return Endpoint(f"/api/v1/groups/{_validated_id(of.id)}/users", what, GROUP_HINT, limit)


def user(user_id: str) -> Endpoint:
    return Endpoint(f"/api/v1/users/{_validated_id(user_id)}", f"person {user_id}", USER_HINT)


def user_groups(user_id: str) -> Endpoint:
    return Endpoint(f"/api/v1/users/{_validated_id(user_id)}/groups", f"the groups of person {user_id}", USER_HINT)


def _validated_id(value: str) -> str:
    if ID_PATTERN.fullmatch(value) is None:
        raise IncompleteRead(
            f"{value[:100]!r} can't be an id in Okta.",
            "Check the ids in the config: letters and digits, as in the addresses of Okta's admin console.",
        )
    return value
