"""Graph's people, groups, devices and assignments as plain dictionaries, independent of the request."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from sandbox.company import App, Directory, Group, Person

__all__ = [
    "DEFAULT_USER_FIELDS",
    "GROUP_FIELDS",
    "MEMBER_FIELDS",
    "USER_FIELDS",
    "DirectoryObject",
    "JsonObject",
    "assignment_objects",
    "directory_object",
    "object_id",
    "select_fields",
    "service_principal_object",
    "user_object",
]

JsonObject = Mapping[str, object]
DirectoryObject = Person | Group | str
"""A member of a group; a device is its id."""

DEFAULT_ROLE = "00000000-0000-0000-0000-000000000000"
USER_ROLE = "18d14569-c3bd-439b-9a66-3a2aee01d14f"
ADMIN_ROLE = "5c2a3b0e-93c6-4d25-9c3e-0f3a7b1f2d11"
SERVICE_PRINCIPAL_ID = "9a1c7d0e-1111-4222-8333-444455556666"
ASSIGNED_AT = datetime(2026, 11, 2, 9, 30, 45, 948056, tzinfo=UTC)
ENABLED_BY_STATUS = {"enabled": True, "disabled": False}
DEFAULT_USER_FIELDS = [
    "businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone", "officeLocation",
    "preferredLanguage", "surname", "userPrincipalName", "id",
]  # fmt: skip
"""The properties of a user without `$select`, so without `accountEnabled` and `userType`."""


def user_object(person: Person, deleted: bool = False) -> JsonObject:
    return {
        "@odata.type": "#microsoft.graph.user",
        "id": person.id,
        "deletedDateTime": format_time(person.changed) if deleted else None,
        "accountEnabled": ENABLED_BY_STATUS.get(person.status),
        "businessPhones": [],
        "createdDateTime": format_time(person.created),
        "displayName": person.display_name,
        "employeeId": None,
        "externalUserState": "Accepted" if person.guest else None,
        "givenName": person.given or None,
        "jobTitle": None,
        "mail": person.mail,
        "mobilePhone": None,
        "officeLocation": None,
        "onPremisesImmutableId": None,
        "otherMails": [person.email] if person.guest else [],
        "preferredLanguage": None,
        "proxyAddresses": _proxy_addresses(person),
        "surname": person.family or None,
        "userPrincipalName": _user_principal_name(person),
        "userType": "Guest" if person.guest else "Member",
    }


def group_object(group: Group) -> JsonObject:
    return {
        "@odata.type": "#microsoft.graph.group",
        "id": group.id,
        "deletedDateTime": None,
        "description": None,
        "displayName": group.name,
        "groupTypes": [],
        "mail": None,
        "mailEnabled": False,
        "mailNickname": None,
        "securityEnabled": True,
        "visibility": "HiddenMembership" if group.hides_members else None,
    }


def directory_object(thing: DirectoryObject) -> JsonObject:
    """Return the row of a possible group member."""
    if isinstance(thing, Person):
        return user_object(thing)
    return group_object(thing) if isinstance(thing, Group) else device_object(thing)


def object_id(thing: DirectoryObject) -> str:
    return thing if isinstance(thing, str) else thing.id


def device_object(device_id: str) -> JsonObject:
    name = f"LAPTOP-{device_id[:8].upper()}"
    return {"@odata.type": "#microsoft.graph.device", "id": device_id, "displayName": name, "accountEnabled": True}


def service_principal_object(app: App, *, required: bool) -> JsonObject:
    return {
        "id": app.id,
        "deletedDateTime": None,
        "accountEnabled": app.active,
        "appDisplayName": app.name,
        "appId": app.client_id,
        "appRoleAssignmentRequired": required,
        "appRoles": [_app_role(USER_ROLE, "User"), _app_role(ADMIN_ROLE, "Administrator")],
        "displayName": app.name,
        "preferredSingleSignOnMode": "saml",
        "servicePrincipalType": "Application",
        "tags": ["WindowsAzureActiveDirectoryIntegratedApp"],
    }


def assignment_objects(app: App, directory: Directory) -> list[JsonObject]:
    """Return the assignments: groups, people, one service principal; the first group in two roles. The row of a
    deleted group stays, without a name."""
    rows: list[JsonObject] = []
    for index, key in enumerate(app.groups):
        group = directory.groups.get(key)
        rows += [
            _assignment_object(app, (key, group.name if group else None, "Group"), role)
            for role in ((USER_ROLE, ADMIN_ROLE) if index == 0 else (USER_ROLE,))
        ]
    for key in app.individuals:
        person = directory.people.get(key)
        if person is not None:
            rows.append(_assignment_object(app, (key, person.display_name, "User"), DEFAULT_ROLE))
    rows.append(_assignment_object(app, (SERVICE_PRINCIPAL_ID, "Nightly export", "ServicePrincipal"), USER_ROLE))
    return rows


def select_fields(row: JsonObject, select: Iterable[str]) -> JsonObject:
    """Return the selected properties of a row, its id and its type, without properties that its type does not have."""
    wanted = {"@odata.type", "id", *select}
    return {name: value for name, value in row.items() if name in wanted}


def format_time(at: datetime) -> str:
    """Return a time with Graph's seven digits."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond * 10:07d}Z"


def _assignment_object(app: App, principal: tuple[str, str | None, str], role: str) -> JsonObject:
    key, name, kind = principal
    digest = hashlib.sha256(f"{app.id}/{key}/{role}".encode()).digest()
    return {
        "id": urlsafe_b64encode(digest).decode().rstrip("="),
        "deletedDateTime": None,
        "appRoleId": role,
        "createdDateTime": format_time(ASSIGNED_AT),
        "principalDisplayName": name,
        "principalId": key,
        "principalType": kind,
        "resourceDisplayName": app.name,
        "resourceId": app.id,
    }


def _app_role(key: str, name: str) -> JsonObject:
    return {
        "allowedMemberTypes": ["User"],
        "description": name,
        "displayName": name,
        "id": key,
        "isEnabled": True,
        "origin": "Application",
        "value": None,
    }


def _user_principal_name(person: Person) -> str:
    if not person.guest:
        return person.email
    local, _, domain = person.email.rpartition("@")
    return f"{local}_{domain}#EXT#@acme.onmicrosoft.com"


def _proxy_addresses(person: Person) -> list[str]:
    if person.mail is None:
        return []
    return [f"SMTP:{person.mail}", *(f"smtp:{alias}" for alias in person.aliases), f"SIP:{person.email}"]


NEVER = datetime(1, 1, 1, tzinfo=UTC)
USER_FIELDS = frozenset(user_object(Person("", "", "", "", "", "", NEVER, NEVER, NEVER))) - {"@odata.type"}
GROUP_FIELDS = frozenset(group_object(Group("", ""))) - {"@odata.type"}
MEMBER_FIELDS = USER_FIELDS | GROUP_FIELDS
"""Every property that `$select` may name on a list of members."""
