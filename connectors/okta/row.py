"""What Okta's rows say, read tolerantly: an odd field is an absent field, and only a missing id makes a row nobody's.

An unknown word is kept as it came: what may be concluded from it is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

__all__ = ["AppGroup", "AppUser", "User", "app_group_from_json", "app_user_from_json", "user_from_json"]

LONGEST_WORD = 100


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
    """One row of an application's people. *link_group* is the id of the one group that Okta names for it, or empty."""

    user: User
    scope: str
    link_group: str


@dataclass(frozen=True, slots=True)
class AppGroup:
    """A group assigned to an application. *name* is empty where the row does not embed the group."""

    id: str
    name: str


def user_from_json(row: object) -> User:
    """Return the human of a user object; its id is empty where the row has none."""
    fields = _object(row)
    profile = _object(fields.get("profile"))
    return User(
        _text(fields.get("id")),
        _text(fields.get("status"))[:LONGEST_WORD],
        _text(profile.get("login")),
        _text(profile.get("email")),
        _text(profile.get("displayName")),
        _text(profile.get("firstName")),
        _text(profile.get("lastName")),
        _text(profile.get("secondEmail")),
    )


def app_user_from_json(row: object) -> AppUser:
    """Return a row of `GET /apps/{id}/users?expand=user`.

    `status` and `profile` of the row itself are the application's and say nothing of the human: whether they may sign
    in stands in `_embedded.user` alone.
    """
    fields = _object(row)
    user = user_from_json(_object(fields.get("_embedded")).get("user"))
    if own_id := _text(fields.get("id")):
        user = replace(user, id=own_id)
    link = _object(_object(fields.get("_links")).get("group"))
    return AppUser(user, _text(fields.get("scope"))[:LONGEST_WORD], _linked_group(link))


def app_group_from_json(row: object) -> AppGroup:
    """Return a row of `GET /apps/{id}/groups?expand=group`; its own `profile` is the assignment's, not the group's."""
    fields = _object(row)
    return AppGroup(_text(fields.get("id")), group_name(_object(fields.get("_embedded")).get("group")))


def group_name(group: object) -> str:
    """Return the name of a group object, empty where it has none. Spaces around it are part of the name."""
    name = _object(_object(group).get("profile")).get("name")
    return name if isinstance(name, str) else ""


def _linked_group(link: Mapping[str, object]) -> str:
    return _text(link.get("href")).rstrip("/").rpartition("/")[2] or _text(link.get("name"))


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
