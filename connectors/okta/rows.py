"""Read Okta's rows: users, an application's users and its groups.

An odd field is an absent field, an unknown status stays as it came, and only a missing id makes a row unidentified.
A page whose rows are all as Okta documents them is decoded into their types; any other is read field by field.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct, field
from msgspec.json import Decoder

from connectors.directory import AppGroup, as_name, as_object, as_text
from connectors.http import ApiResponse
from connectors.okta.mapping import AppUser, Profile, User

__all__ = ["RowReader", "app_groups", "app_user_from_json", "group_name", "user_from_json"]

PROFILE_FIELDS = ("login", "email", "displayName", "firstName", "lastName", "secondEmail")
"""The fields of `Profile`, in its order."""

MAX_SCOPE_CHARS = 100


class _GroupLink(Struct, gc=False):
    href: str = ""
    name: str = ""


class _Links(Struct, gc=False):
    group: _GroupLink | None = None


class _Embedded(Struct, gc=False):
    user: User


class _AppUserRow(Struct, gc=False):
    id: str
    scope: str
    embedded: _Embedded = field(name="_embedded")
    links: _Links = field(name="_links")


USERS = Decoder(list[User])
APP_USERS = Decoder(list[_AppUserRow])


class RowReader:
    """Reads pages of people. Equal rows of a person become one `User`: the lists show everyone two times and more."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}

    def clear(self) -> None:
        """Forget the users to share."""
        self._users.clear()

    def users(self, response: ApiResponse) -> list[User]:
        """Return the rows of `GET /groups/{id}/users`. Raises `IncompleteRead`."""
        users = response.typed(USERS)
        if users is None or not all(_is_id(user.id) for user in users):
            users = [user_from_json(row) for row in response.rows(None)]
        return [self._share(user) for user in users]

    def app_users(self, response: ApiResponse) -> list[AppUser]:
        """Return the rows of `GET /apps/{id}/users?expand=user`. Raises `IncompleteRead`."""
        rows = response.typed(APP_USERS)
        if rows is None or not all(_is_id(row.id) and row.id == row.embedded.user.id for row in rows):
            listed = [app_user_from_json(row) for row in response.rows(None)]
            return [AppUser(self._share(row.user), row.scope, row.link_group_id) for row in listed]
        return [
            AppUser(self._share(row.embedded.user), _scope(row.scope), _linked_group_id(row.links.group))
            for row in rows
        ]

    def _share(self, user: User) -> User:
        known = self._users.setdefault(user.id, user)
        return known if known == user else user


def user_from_json(row: object) -> User:
    """Return the human of a user object; its id is empty where the row has none."""
    fields = as_object(row)
    return _user_from_fields(fields, as_text(fields.get("id")))


def app_user_from_json(row: object) -> AppUser:
    """Return a row of `GET /apps/{id}/users?expand=user`.

    The row's own `status` and `profile` describe the assignment. Only `_embedded.user` shows whether the person may
    sign in.
    """
    fields = as_object(row)
    embedded = as_object(as_object(fields.get("_embedded")).get("user"))
    link = as_object(as_object(fields.get("_links")).get("group"))
    return AppUser(
        _user_from_fields(embedded, as_text(fields.get("id")) or as_text(embedded.get("id"))),
        _scope(as_text(fields.get("scope"))),
        _linked_group_id(_GroupLink(as_text(link.get("href")), as_text(link.get("name")))),
    )


def app_groups(response: ApiResponse) -> list[AppGroup]:
    """Return the rows of `GET /apps/{id}/groups?expand=group`, and of `GET /users/{id}/groups`.

    A row's own `profile` is the assignment's, not the group's. Raises `IncompleteRead`.
    """
    return [_app_group_from_json(row) for row in response.rows(None)]


def group_name(group: object) -> str:
    """Return the name of a group object, empty where it has none. Spaces around it are part of the name."""
    return as_name(as_object(as_object(group).get("profile")).get("name"))


def _app_group_from_json(row: object) -> AppGroup:
    fields = as_object(row)
    return AppGroup(as_text(fields.get("id")), group_name(as_object(fields.get("_embedded")).get("group")))


def _user_from_fields(fields: Mapping[str, object], user_id: str) -> User:
    profile = as_object(fields.get("profile"))
    shown = (as_text(profile.get(name)) or None for name in PROFILE_FIELDS)
    return User(user_id, as_text(fields.get("status")), Profile(*shown))


def _is_id(text: str) -> bool:
    return text != "" and text == text.strip()


def _scope(word: str) -> str:
    # The same few texts stand in most rows: as one object each, they take no memory for each person.
    return sys.intern(word.strip()[:MAX_SCOPE_CHARS])


def _linked_group_id(link: _GroupLink | None) -> str:
    return "" if link is None else _id_of_link(link.href, link.name)


@lru_cache(maxsize=1024)
def _id_of_link(href: str, name: str) -> str:
    # The same few groups stand in all rows.
    return sys.intern(href.strip().rstrip("/").rpartition("/")[2] or name.strip())
