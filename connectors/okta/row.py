"""What Okta's rows say, read tolerantly: an odd field is an absent field, and only a missing id makes a row nobody's.

An unknown word is kept as it came: what may be concluded from it is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

__all__ = ["AppGroup", "AppUser", "User", "app_group_from_json", "app_user_from_json", "user_from_json"]

MAX_STATUS_CHARS = 100


@dataclass(frozen=True, slots=True)
class User:
    """A human as Okta's directory shows them. Empty fields were absent, null or not text."""

    id: str
    status: str = ""
    login: str = ""
    mail: str = ""
    display_name: str = ""
    given_name: str = ""
    family_name: str = ""
    second_email: str = ""

    @property
    def is_blank(self) -> bool:
        """Tell whether nothing but the id is known, as where the token may not see people."""
        return not self.status and not self.login


@dataclass(frozen=True, slots=True)
class AppUser:
    """One row of an application's people.

    *link_group_id* is the id of the one group that Okta names for it, or empty.
    """

    user: User
    scope: str
    link_group_id: str


@dataclass(frozen=True, slots=True)
class AppGroup:
    """A group assigned to an application. *name* is empty where the row does not embed the group."""

    id: str
    name: str


def user_from_json(row: object) -> User:
    """Return the human of a user object; its id is empty where the row has none."""
    fields = _as_object(row)
    profile = _as_object(fields.get("profile"))
    return User(
        _as_text(fields.get("id")),
        _as_text(fields.get("status"))[:MAX_STATUS_CHARS],
        _as_text(profile.get("login")),
        _as_text(profile.get("email")),
        _as_text(profile.get("displayName")),
        _as_text(profile.get("firstName")),
        _as_text(profile.get("lastName")),
        _as_text(profile.get("secondEmail")),
    )


def app_user_from_json(row: object) -> AppUser:
    """Return a row of `GET /apps/{id}/users?expand=user`.

    `status` and `profile` of the row itself are the application's and say nothing of the human: whether they may sign
    in stands in `_embedded.user` alone.
    """
    fields = _as_object(row)
    user = user_from_json(_as_object(fields.get("_embedded")).get("user"))
    if own_id := _as_text(fields.get("id")):
        user = replace(user, id=own_id)
    link = _as_object(_as_object(fields.get("_links")).get("group"))
    return AppUser(user, _as_text(fields.get("scope"))[:MAX_STATUS_CHARS], _linked_group_id(link))


def app_group_from_json(row: object) -> AppGroup:
    """Return a row of `GET /apps/{id}/groups?expand=group`; its own `profile` is the assignment's, not the group's."""
    fields = _as_object(row)
    return AppGroup(_as_text(fields.get("id")), group_name(_as_object(fields.get("_embedded")).get("group")))


def group_name(group: object) -> str:
    """Return the name of a group object, empty where it has none. Spaces around it are part of the name."""
    name = _as_object(_as_object(group).get("profile")).get("name")
    return name if isinstance(name, str) else ""


def _linked_group_id(link: Mapping[str, object]) -> str:
    return _as_text(link.get("href")).rstrip("/").rpartition("/")[2] or _as_text(link.get("name"))


def _as_object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _as_text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
