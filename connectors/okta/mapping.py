"""Read Okta's rows, and map an Okta user to a `Person`: which address, which name, and whether they may sign in.

An odd field is an absent field, an unknown status stays as it came, and only a missing id makes a row unidentified.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from connectors.base import Person, Status
from connectors.directory import AppGroup, GroupNaming, as_name, as_object, as_text

__all__ = [
    "ENTITLED_STATUSES",
    "KNOWN_STATUSES",
    "NAMING",
    "AppUser",
    "Assignment",
    "User",
    "UserMapper",
    "app_group_from_json",
    "app_user_from_json",
    "group_name",
    "user_from_json",
]

NAMING = GroupNaming(provider="Okta", assign_remedy="Assign that group to the application in Okta")

ENTITLED_STATUSES = frozenset({"ACTIVE", "PASSWORD_EXPIRED", "LOCKED_OUT", "RECOVERY", "PROVISIONED", "ACTIVATING"})
"""Statuses of people who have an account, even if they can't sign in now or have not finished its set-up."""

KNOWN_STATUSES = ENTITLED_STATUSES | {"STAGED", "SUSPENDED", "DEPROVISIONED"}
"""Every status that Okta documents. `ACTIVATING` is only in the text of its schema."""

MAX_STATUS_CHARS = 100
PROFILE_FIELDS = ("login", "email", "displayName", "firstName", "lastName", "secondEmail")
"""The fields of a user's profile that `User` keeps, in its order."""

UNUSUAL = (AttributeError, KeyError, TypeError)
"""Raised by a row that lacks a field or has one of another type, where it is read as Okta documents it: nearly each row
is like that, and to ask for the type of each field takes half as long again."""


# Named tuples: a read makes several of these for each person, and a frozen dataclass takes three times as long.
class User(NamedTuple):
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
        """Return whether only the id is known, as happens where the token may not see people."""
        return not self.status and not self.login


class AppUser(NamedTuple):
    """One row of an application's people.

    *link_group_id* is the id of the one group that Okta names for it, or empty.
    """

    user: User
    scope: str
    link_group_id: str


class Assignment(NamedTuple):
    """What gives a person the application, as `Person` has it."""

    groups: tuple[str, ...] = ()
    individual: bool = False
    pending: bool = False


@dataclass(frozen=True, slots=True)
class UserMapper:
    """Maps users to people, by the settings of the connector and the source."""

    connector: str
    email: Literal["login", "mail"] = "login"
    entitled_statuses: frozenset[str] = ENTITLED_STATUSES
    second_email_is_alias: bool = False

    def status_of(self, word: str) -> Status:
        if word in self.entitled_statuses:
            return Status.ACTIVE
        return Status.SUSPENDED if word in KNOWN_STATUSES else Status.UNKNOWN

    def email_of(self, user: User) -> str:
        return user.login if self.email == "login" else user.mail

    def person_from_user(self, user: User, assignment: Assignment) -> Person:
        email, status = self.email_of(user), self.status_of(user.status)
        # Without keywords, which would double the time of it.
        return Person(
            self.connector,
            user.id,
            email or None,
            user.display_name or f"{user.given_name} {user.family_name}".strip(),
            status,
            user.status,
            assignment.groups,
            assignment.individual,
            assignment.pending and status is Status.ACTIVE,
            self._aliases(user, email) if self.second_email_is_alias else (),
            user.given_name,
            user.family_name,
        )

    def _aliases(self, user: User, email: str) -> tuple[str, ...]:
        """Return the second address: people can type it in themselves, so that the settings must allow it."""
        second = user.second_email
        return (second,) if second and second.lower() != email.lower() else ()


def user_from_json(row: object) -> User:
    """Return the human of a user object; its id is empty where the row has none."""
    fields = as_object(row)
    return _user_from_fields(fields, as_text(fields.get("id")))


def _user_from_fields(fields: Mapping[str, Any], user_id: str) -> User:
    try:
        find = fields["profile"].get
        login, mail = (find("login") or "").strip(), (find("email") or "").strip()
        display_name = (find("displayName") or "").strip()
        given_name, family_name = (find("firstName") or "").strip(), (find("lastName") or "").strip()
        second_email = (find("secondEmail") or "").strip()
        status = (fields["status"] or "").strip()
    except UNUSUAL:
        profile = as_object(fields.get("profile"))
        login, mail, display_name, given_name, family_name, second_email = [
            as_text(profile.get(name)) for name in PROFILE_FIELDS
        ]
        status = as_text(fields.get("status"))
    return User(
        user_id,
        # The same few texts stand in most rows: as one object each, they take no memory for each person.
        sys.intern(status[:MAX_STATUS_CHARS]),
        login,
        login if mail == login else mail,
        display_name,
        sys.intern(given_name),
        family_name,
        second_email,
    )


def app_user_from_json(row: Any) -> AppUser:
    """Return a row of `GET /apps/{id}/users?expand=user`.

    The row's own `status` and `profile` describe the assignment. Only `_embedded.user` shows whether the person may
    sign in.
    """
    try:
        user_id, scope, embedded = row["id"].strip(), row["scope"].strip(), row["_embedded"]["user"]
        link = row["_links"]["group"]
        href, name = link["href"].strip(), link["name"].strip()
    except UNUSUAL:
        fields = as_object(row)
        user_id, scope = as_text(fields.get("id")), as_text(fields.get("scope"))
        embedded = as_object(fields.get("_embedded")).get("user")
        link = as_object(as_object(fields.get("_links")).get("group"))
        href, name = as_text(link.get("href")), as_text(link.get("name"))
    embedded = as_object(embedded)
    return AppUser(
        _user_from_fields(embedded, user_id or as_text(embedded.get("id"))),
        sys.intern(scope[:MAX_STATUS_CHARS]),
        _linked_group_id(href, name),
    )


def app_group_from_json(row: object) -> AppGroup:
    """Return a row of `GET /apps/{id}/groups?expand=group`; its own `profile` is the assignment's, not the group's."""
    fields = as_object(row)
    return AppGroup(as_text(fields.get("id")), group_name(as_object(fields.get("_embedded")).get("group")))


def group_name(group: object) -> str:
    """Return the name of a group object, empty where it has none. Spaces around it are part of the name."""
    return as_name(as_object(as_object(group).get("profile")).get("name"))


@lru_cache(maxsize=1024)
def _linked_group_id(href: str, name: str) -> str:
    # The same few groups stand in all rows.
    return sys.intern(href.rstrip("/").rpartition("/")[2] or name)
