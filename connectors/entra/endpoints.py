"""What the connector asks Graph for: paths, fields, page sizes, and what to do when Graph refuses.

Source: Microsoft Graph v1.0, `servicePrincipal`, `appRoleAssignedTo`, `group: list members`, `user: get`,
`user: list memberOf`,
`directory: deletedItems`. The longest page is asked for everywhere: without `$top`, rows of `appRoleAssignedTo` have
been left out.
"""

from __future__ import annotations

import re

from connectors.base import IncompleteRead
from connectors.entra.client import Endpoint
from connectors.entra.row import USER_FIELDS
from connectors.entra.selection import AppGroup
from connectors.http import escape_control

__all__ = [
    "GROUP_HINT",
    "HIDDEN_HINT",
    "HIDDEN_ROLE",
    "app",
    "app_assignments",
    "deleted_user",
    "group",
    "group_label",
    "group_members",
    "own_principal",
    "user",
    "user_groups",
]

ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What may stand in a path: object ids are GUIDs, and nothing else may lead elsewhere. No login: it may hold `#`."""

MAX_PAGE_SIZE = 999
CONSENT_HINT = "with admin consent, to the app registration (Entra admin center > App registrations > API permissions)"
APP_HINT = (
    "Write the object id of the enterprise application into `app` (Entra admin center > Enterprise applications > "
    "Properties; not the application id, nor the object id of the app registration), and grant the application "
    f"permission Application.Read.All, {CONSENT_HINT}."
)
GROUP_HINT = (
    "If the group was deleted or is of no use any more, remove it from the enterprise application's users and groups; "
    "else grant the application permission GroupMember.Read.All (Member.Read.Hidden for hidden "
    f"members), {CONSENT_HINT}."
)
HIDDEN_ROLE = "Member.Read.Hidden"
HIDDEN_HINT = (
    f"Grant the application permission {HIDDEN_ROLE}, {CONSENT_HINT}, or unassign the group from the enterprise "
    "application. A managed identity may keep using a token without it for up to 24 hours."
)
USER_HINT = f"Grant the application permission User.Read.All, {CONSENT_HINT}."


def own_principal(client_id: str) -> Endpoint:
    """Ask for our own service principal: a look at whether Graph is there and knows us."""
    return Endpoint(f"/servicePrincipals(appId='{_validated_id(client_id)}')", "our own application", APP_HINT, "id")


def app(app_id: str) -> Endpoint:
    fields = "id,displayName,accountEnabled,appRoleAssignmentRequired"
    return Endpoint(f"/servicePrincipals/{_validated_id(app_id)}", f"application {app_id}", APP_HINT, fields, id=app_id)


def app_assignments(app_id: str) -> Endpoint:
    what = f"the users and groups of application {app_id}"
    return Endpoint(f"/servicePrincipals/{_validated_id(app_id)}/appRoleAssignedTo", what, APP_HINT, top=MAX_PAGE_SIZE)


def group_members(of: AppGroup, *, nested: bool, top: int = MAX_PAGE_SIZE) -> Endpoint:
    """Ask for the direct members, or with *nested* for those of groups in the group too.

    The fields are users' ones, without a cast to users: a cast is served from an index that lags behind.
    """
    what = f"the members of group {group_label(of)}"
    if not nested:
        return Endpoint(f"/groups/{_validated_id(of.id)}/members", what, GROUP_HINT, USER_FIELDS, top)
    return Endpoint(
        f"/groups/{_validated_id(of.id)}/transitiveMembers", what, GROUP_HINT, f"{USER_FIELDS},visibility", top
    )


def group(of: AppGroup) -> Endpoint:
    """Ask whether a group hides its members."""
    return Endpoint(
        f"/groups/{_validated_id(of.id)}", f"group {group_label(of)}", GROUP_HINT, "id,displayName,visibility", id=of.id
    )


def group_label(group: AppGroup) -> str:
    """Return the name and the id of a group."""
    return group.id if group.name == group.id else f"{escape_control(group.name)} ({group.id})"


def user(user_id: str) -> Endpoint:
    return Endpoint(f"/users/{_validated_id(user_id)}", f"person {user_id}", USER_HINT, USER_FIELDS, id=user_id)


def user_groups(user_id: str, *, nested: bool) -> Endpoint:
    """Ask for what holds a person: directly, or with *nested* through other groups too. Groups and roles alike."""
    relation = "transitiveMemberOf" if nested else "memberOf"
    what = f"the groups of person {user_id}"
    return Endpoint(f"/users/{_validated_id(user_id)}/{relation}", what, USER_HINT, "id", MAX_PAGE_SIZE)


def deleted_user(user_id: str) -> Endpoint:
    """Ask for a deleted person: Entra keeps them for 30 days."""
    return Endpoint(
        f"/directory/deletedItems/{_validated_id(user_id)}", f"deleted person {user_id}", USER_HINT, id=user_id
    )


def _validated_id(value: str) -> str:
    if ID_PATTERN.fullmatch(value) is None:
        raise IncompleteRead(
            f"{value[:100]!r} can't be an id in Entra.",
            "Check the ids in the config: object ids, as in 00000000-0000-0000-0000-000000000000.",
        )
    return value
