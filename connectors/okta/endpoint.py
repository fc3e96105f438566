"""What the connector asks Okta for: paths, page sizes, and what to do when Okta refuses.

Source: Okta's management API, `/apps/{id}`, `/apps/{id}/users`, `/apps/{id}/groups`, `/groups/{id}`,
`/groups/{id}/users`, `/users/{id}`, `/users/{id}/groups`.
"""

from __future__ import annotations

import re

from connectors.base import IncompleteRead
from connectors.okta.org import Ask
from connectors.okta.row import AppGroup
from connectors.rest import legible

__all__ = ["app", "app_groups", "app_users", "apps", "group", "groups_of", "members", "user"]

ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What may stand in a path: an id of Okta is letters and digits, and nothing else may lead elsewhere."""

ROLE = "an admin role that may view it (API token: its owner needs the role)"
APP_HINT = (
    "Check `app` of the source (the id in the application's address in Okta's admin console), and give the service app "
    f"the scope okta.apps.read and {ROLE}."
)
GROUP_HINT = (
    f"Give the service app the scope okta.groups.read and {ROLE}, or, if the group is of no use any more, unassign it "
    "from the application in Okta."
)
USER_HINT = f"Give the service app the scope okta.users.read and {ROLE}."


def apps() -> Ask:
    """Ask for any application at all: a look at whether Okta is there and knows us."""
    return Ask("/api/v1/apps", "its applications", f"Give the service app the scope okta.apps.read and {ROLE}.", 1)


def app(app_id: str) -> Ask:
    return Ask(f"/api/v1/apps/{_id(app_id)}", f"application {app_id}", APP_HINT)


def app_users(app_id: str, limit: int = 500) -> Ask:
    what = f"the people of application {app_id}"
    return Ask(f"/api/v1/apps/{_id(app_id)}/users", what, APP_HINT, limit, "user")


def app_groups(app_id: str) -> Ask:
    what = f"the groups of application {app_id}"
    return Ask(f"/api/v1/apps/{_id(app_id)}/groups", what, APP_HINT, 200, "group")


def group(group_id: str) -> Ask:
    return Ask(f"/api/v1/groups/{_id(group_id)}", f"group {group_id}", GROUP_HINT)


def members(of: AppGroup, limit: int = 200) -> Ask:
    what = f"the members of group {legible(of.name)} ({of.id})"
    return Ask(f"/api/v1/groups/{_id(of.id)}/users", what, GROUP_HINT, limit)


def user(user_id: str) -> Ask:
    return Ask(f"/api/v1/users/{_id(user_id)}", f"person {user_id}", USER_HINT)


def groups_of(user_id: str) -> Ask:
    return Ask(f"/api/v1/users/{_id(user_id)}/groups", f"the groups of person {user_id}", USER_HINT)


def _id(value: str) -> str:
    if ID.fullmatch(value) is None:
        raise IncompleteRead(
            f"{value[:100]!r} can't be an id in Okta.",
            "Check the ids in the config: letters and digits, as in the addresses of Okta's admin console.",
        )
    return value
