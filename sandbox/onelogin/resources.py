"""OneLogin's objects in JSON, shaped like its samples and its OpenAPI document."""

from __future__ import annotations

from datetime import datetime

from sandbox.company import App, Directory, Group, Person

__all__ = ["SUCCESS", "JsonObject", "app", "app_user", "role", "role_app", "role_user", "user", "user_app"]

JsonObject = dict[str, object]
SUCCESS: JsonObject = {"error": False, "code": 200, "type": "success", "message": "Success"}


def app_user(person: Person) -> JsonObject:
    return {
        "firstname": person.given or None,
        "id": int(person.id),
        "email": person.mail,
        "lastname": person.family or None,
        "username": username(person),
    }


def user(person: Person, roles: list[Group] | None = None) -> JsonObject:
    """Return a full row; only that of a single person has `role_ids`."""
    row: JsonObject = {
        "activated_at": None if person.status == "0" else _format_time(person.created),
        "distinguished_name": None,
        "external_id": None,
        "firstname": person.given or None,
        "last_login": None,
        "lastname": person.family or None,
        "directory_id": None,
        "invitation_sent_at": None,
        "member_of": None,
        "updated_at": _format_time(person.changed),
        "created_at": _format_time(person.created),
        "id": int(person.id),
        "invalid_login_attempts": 0,
        "locked_until": None,
        "username": username(person),
        "email": person.mail,
        "phone": None,
        "state": person.state,
        "group_id": None,
        "password_changed_at": _format_time(person.created),
        "status": int(person.status),
        "samaccountname": None,
    }
    return row if roles is None else row | {"role_ids": [int(role.id) for role in roles]}


def role(group: Group, directory: Directory) -> JsonObject:
    apps = [int(app.id) for app in directory.apps.values() if group.id in app.groups]
    return {
        "id": int(group.id),
        "name": group.name,
        "apps": apps,
        "users": [int(each) for each in group.people],
        "admins": [],
    }


def role_user(person: Person, *, assigned: bool = True) -> JsonObject:
    """Return a row of a role's users: *name* is the full name, and no status is shown."""
    return {
        "id": int(person.id),
        "name": person.display_name,
        "username": username(person),
        "added_by": {"id": 678, "name": "Susan Boss"} if assigned else None,
        "added_at": _format_time(person.created) if assigned else None,
        "assigned": assigned,
    }


def user_app(app: App) -> JsonObject:
    """Return a row of a person's applications."""
    return {
        "id": int(app.id),
        "name": app.name,
        "icon_url": "https://cdn.example.com/images/icons/square/pigment.png",
        "extension": False,
        "login_id": int(app.id) + 1,
        "provisioning_status": None,
        "provisioning_state": None,
        "provisioning_enabled": False,
    }


def role_app(app: App) -> JsonObject:
    return {"id": int(app.id), "name": app.name, "icon_url": "https://cdn.example.com/images/icons/square/pigment.png"}


def app(app: App, *, whole: bool) -> JsonObject:
    """Return an application; only a *whole* one, requested alone, has `role_ids`."""
    row: JsonObject = {
        "visible": app.active,
        "id": int(app.id),
        "auth_method": 2,
        "name": app.name,
        "description": "",
        "updated_at": "2020-01-07T12:22:11.566Z",
        "connector_id": 78887,
        "created_at": "2020-01-07T12:22:11.566Z",
    }
    return row | {"role_ids": [int(each) for each in app.groups], "provisioning": {"enabled": False}} if whole else row


def username(person: Person) -> str | None:
    """Return the username: empty for some people, as in real accounts."""
    return None if int(person.id) % 5 == 0 else person.email


def _format_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"
