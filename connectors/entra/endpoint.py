"""What the connector asks Graph for: paths, fields, page sizes, and what to do when Graph refuses.

Source: Microsoft Graph v1.0, `servicePrincipal`, `appRoleAssignedTo`, `group: list members`, `user: get`,
`user: list memberOf`,
`directory: deletedItems`. The longest page is asked for everywhere: without `$top`, rows of `appRoleAssignedTo` have
been left out.
"""

from __future__ import annotations

import re

from connectors.base import IncompleteRead
from connectors.entra.graph import Ask
from connectors.entra.row import USER_FIELDS
from connectors.entra.selection import AppGroup
from connectors.rest import legible

__all__ = [
    "GROUP_HINT",
    "HIDDEN_HINT",
    "HIDDEN_ROLE",
    "app",
    "assigned",
    "deleted",
    "group",
    "groups_of",
    "members",
    "named",
    "ourselves",
    "user",
]

ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What may stand in a path: object ids are GUIDs, and nothing else may lead elsewhere. No login: it may hold `#`."""

LONGEST_PAGE = 999
CONSENT = "with admin consent, to the app registration (Entra admin center > App registrations > API permissions)"
APP_HINT = (
    "Write the object id of the enterprise application into `app` (Entra admin center > Enterprise applications > "
    "Properties; not the application id, nor the object id of the app registration), and grant the application "
    f"permission Application.Read.All, {CONSENT}."
)
GROUP_HINT = (
    "If the group was deleted or is of no use any more, remove it from the enterprise application's users and groups; "
    f"else grant the application permission GroupMember.Read.All (Member.Read.Hidden for hidden members), {CONSENT}."
)
HIDDEN_ROLE = "Member.Read.Hidden"
HIDDEN_HINT = (
    f"Grant the application permission {HIDDEN_ROLE}, {CONSENT}, or unassign the group from the enterprise "
    "application. A managed identity may keep using a token without it for up to 24 hours."
)
USER_HINT = f"Grant the application permission User.Read.All, {CONSENT}."


def ourselves(client_id: str) -> Ask:
    """Ask for our own service principal: a look at whether Graph is there and knows us."""
    return Ask(f"/servicePrincipals(appId='{_id(client_id)}')", "our own application", APP_HINT, "id")


def app(app_id: str) -> Ask:
    fields = "id,displayName,accountEnabled,appRoleAssignmentRequired"
    return Ask(f"/servicePrincipals/{_id(app_id)}", f"application {app_id}", APP_HINT, fields, id=app_id)


def assigned(app_id: str) -> Ask:
    what = f"the users and groups of application {app_id}"
    return Ask(f"/servicePrincipals/{_id(app_id)}/appRoleAssignedTo", what, APP_HINT, top=LONGEST_PAGE)


def members(of: AppGroup, *, nested: bool, top: int = LONGEST_PAGE) -> Ask:
    """Ask for the direct members, or with *nested* for those of groups in the group too.

    The fields are users' ones, without a cast to users: a cast is served from an index that lags behind.
    """
    what = f"the members of group {named(of)}"
    if not nested:
        return Ask(f"/groups/{_id(of.id)}/members", what, GROUP_HINT, USER_FIELDS, top)
    return Ask(f"/groups/{_id(of.id)}/transitiveMembers", what, GROUP_HINT, f"{USER_FIELDS},visibility", top)


def group(of: AppGroup) -> Ask:
    """Ask whether a group hides its members."""
    return Ask(f"/groups/{_id(of.id)}", f"group {named(of)}", GROUP_HINT, "id,displayName,visibility", id=of.id)


def named(group: AppGroup) -> str:
    """Return the name and the id of a group."""
    return group.id if group.name == group.id else f"{legible(group.name)} ({group.id})"


def user(user_id: str) -> Ask:
    return Ask(f"/users/{_id(user_id)}", f"person {user_id}", USER_HINT, USER_FIELDS, id=user_id)


def groups_of(user_id: str, *, nested: bool) -> Ask:
    """Ask for what holds a person: directly, or with *nested* through other groups too. Groups and roles alike."""
    relation = "transitiveMemberOf" if nested else "memberOf"
    what = f"the groups of person {user_id}"
    return Ask(f"/users/{_id(user_id)}/{relation}", what, USER_HINT, "id", LONGEST_PAGE)


def deleted(user_id: str) -> Ask:
    """Ask for a deleted person: Entra keeps them for 30 days."""
    return Ask(f"/directory/deletedItems/{_id(user_id)}", f"deleted person {user_id}", USER_HINT, id=user_id)


def _id(value: str) -> str:
    if ID.fullmatch(value) is None:
        raise IncompleteRead(
            f"{value[:100]!r} can't be an id in Entra.",
            "Check the ids in the config: object ids, as in 00000000-0000-0000-0000-000000000000.",
        )
    return value
