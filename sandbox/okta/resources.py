"""Okta's objects in JSON, shaped like recorded responses and Okta's OpenAPI document."""

from __future__ import annotations

from datetime import datetime

from sandbox.company import App, Directory, Group, Person
from sandbox.okta.org import AppAssignment

__all__ = ["ResourceBuilder"]

JsonObject = dict[str, object]

LOGO = {"name": "medium", "href": "https://static.example.com/okta-medium.png", "type": "image/png"}


class ResourceBuilder:
    """Rows whose links begin with *base*, the org's URL as the client wrote it."""

    def __init__(self, base: str, directory: Directory) -> None:
        self._api = f"{base}/api/v1"
        self._directory = directory

    def user(self, person: Person) -> JsonObject:
        staged = person.status == "STAGED"
        active = None if staged else _format_time(person.created)
        return {
            "id": person.id,
            "status": person.status,
            "created": _format_time(person.created),
            "activated": active,
            "statusChanged": None if staged else _format_time(person.status_changed),
            "lastLogin": None,
            "lastUpdated": _format_time(person.changed),
            "passwordChanged": active,
            "type": {"id": "otynwlw0pkLLUgtNG5d7"},
            "profile": _profile(person),
            "credentials": {
                "password": {},
                "emails": [{"value": person.mail or person.email, "status": "VERIFIED", "type": "PRIMARY"}],
                "provider": {"type": "OKTA", "name": "OKTA"},
            },
            "_links": {"self": {"href": f"{self._api}/users/{person.id}"}},
        }

    def app_user(self, app: App, assigned: AppAssignment, *, with_user: bool) -> JsonObject:
        person = assigned.person
        links: JsonObject = {
            "app": {"href": f"{self._api}/apps/{app.id}"},
            "user": {"href": f"{self._api}/users/{person.id}"},
        }
        if assigned.group is not None:
            links["group"] = {"name": assigned.group, "href": f"{self._api}/groups/{assigned.group}"}
        row: JsonObject = {
            "id": person.id,
            "externalId": None,
            "created": _format_time(person.created),
            "lastUpdated": _format_time(person.changed),
            "scope": "USER" if assigned.group is None else "GROUP",
            "status": "ACTIVE",
            "statusChanged": _format_time(person.created),
            "passwordChanged": None,
            "syncState": "DISABLED",
            "credentials": {"userName": person.email},
            "profile": {},
            "_links": links,
        }
        return row | {"_embedded": {"user": self.user(person)}} if with_user else row

    def app(self, app: App) -> JsonObject:
        url = f"{self._api}/apps/{app.id}"
        return {
            "id": app.id,
            "name": "acme_pigment_1" if app.name.startswith("Pigment") else "acme_travel_1",
            "label": app.name,
            "status": "ACTIVE" if app.active else "INACTIVE",
            "created": "2025-03-19T08:01:48.000Z",
            "lastUpdated": "2025-03-19T09:20:48.000Z",
            "features": [],
            "signOnMode": "SAML_2_0",
            "accessibility": {"selfService": False},
            "visibility": {"autoSubmitToolbar": False, "hide": {"iOS": False, "web": False}, "appLinks": {}},
            "settings": {"app": {}, "signOn": {"ssoAcsUrl": "https://pigment.example.com/saml/acs"}},
            "_links": {
                "self": {"href": url},
                "users": {"href": f"{url}/users"},
                "groups": {"href": f"{url}/groups"},
            },
        }

    def app_group(self, app: App, group_id: str, *, with_group: bool) -> JsonObject:
        row: JsonObject = {
            "id": group_id,
            "lastUpdated": "2025-03-19T09:20:48.000Z",
            "priority": app.groups.index(group_id),
            "profile": {},
            "_links": {
                "app": {"href": f"{self._api}/apps/{app.id}"},
                "self": {"href": f"{self._api}/apps/{app.id}/groups/{group_id}"},
                "group": {"href": f"{self._api}/groups/{group_id}"},
            },
        }
        group = self._directory.groups.get(group_id)
        return row | {"_embedded": {"group": self.group(group)}} if with_group and group is not None else row

    def group(self, group: Group, *, with_stats: bool = False) -> JsonObject:
        url = f"{self._api}/groups/{group.id}"
        changes = [person.changed for person in self._directory.members(group)]
        row: JsonObject = {
            "id": group.id,
            "created": "2020-05-13T13:29:23.000Z",
            "lastUpdated": "2020-05-13T13:29:23.000Z",
            "lastMembershipUpdated": _format_time(max(changes)) if changes else "2020-05-13T13:29:23.000Z",
            "objectClass": ["okta:user_group"],
            "type": group.kind,
            "profile": {"name": group.name, "description": ""},
            "_links": {"logo": [LOGO], "users": {"href": f"{url}/users"}, "apps": {"href": f"{url}/apps"}},
        }
        stats = {"usersCount": len(group.people), "appsCount": 1, "groupPushMappingsCount": 0}
        return row | {"_embedded": {"stats": stats}} if with_stats else row


def _profile(person: Person) -> JsonObject:
    """Return a profile; it has a display name only if one was set."""
    profile: JsonObject = {
        "firstName": person.given or None,
        "lastName": person.family or None,
        "mobilePhone": None,
        "secondEmail": person.aliases[0] if person.aliases else None,
        "login": person.email,
        "email": person.mail or person.email,
    }
    return profile | {"displayName": person.custom_display_name} if person.custom_display_name else profile


def _format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"
