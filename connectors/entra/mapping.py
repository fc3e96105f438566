"""Read Graph's rows, and map an Entra user to a `Person`: which address, which names, and whether they may sign in.

An odd field is an absent field. What may be concluded from an absent field is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from connectors.base import Person, Status, light_dataclass
from connectors.directory import GroupNaming, as_name, as_object, as_text, as_texts

__all__ = [
    "NAMING",
    "USER_FIELDS",
    "App",
    "AppAssignment",
    "GroupMember",
    "User",
    "UserMapper",
    "app_from_json",
    "assignment_from_json",
    "enabled_text",
    "group_member_from_json",
    "hides_members",
    "user_from_json",
]

NAMING = GroupNaming(
    provider="Entra",
    assign_remedy="Assign that group to the enterprise application",
    id_noun="object id",
    ignores_id_case=True,
)
USER_FIELDS = (
    "id,userPrincipalName,mail,displayName,givenName,surname,accountEnabled,userType,otherMails,proxyAddresses"
)
"""Graph leaves `accountEnabled`, `userType` and `proxyAddresses` out unless they are asked for."""

EXTERNAL_MARKER = "#ext#"
"""Part of the login of a user from another directory."""

SMTP_PREFIX = "smtp:"
HIDDEN_MEMBERSHIP = "hiddenmembership"
KNOWN_KINDS = frozenset({"", "user", "group", "device", "serviceprincipal", "orgcontact"})
"""Types of members of a group, in lower case; people are the first two."""


@light_dataclass
class User:
    """A user as Entra shows them. Empty fields were absent, null or not text, and *is_enabled* is None.

    *unknown_kind* is the type of a row that is neither a user nor anything else that is known here: what its fields
    mean is not known either, so *is_enabled* is None.
    """

    id: str
    login: str = ""
    mail: str = ""
    display_name: str = ""
    given_name: str = ""
    family_name: str = ""
    is_enabled: bool | None = None
    user_type: str = ""
    other_mails: tuple[str, ...] = ()
    proxy_addresses: tuple[str, ...] = ()
    unknown_kind: str = ""

    @property
    def has_address(self) -> bool:
        """Return whether the row shows an address, which only those who may sign in have."""
        return bool(self.login or self.mail)

    @property
    def is_blank(self) -> bool:
        """Return whether only the id is known, as happens where the token may not see people."""
        return not self.login and self.is_enabled is None

    @property
    def is_external(self) -> bool:
        """Return whether the login is not an address, but encodes one of another directory."""
        return EXTERNAL_MARKER in self.login.lower()

    @property
    def is_guest(self) -> bool:
        """Old guests have no `userType`; a `GroupMember` may come from another directory."""
        return self.user_type.lower() == "guest" or (not self.user_type and self.is_external)

    @property
    def home_address(self) -> str:
        """Return the address that an external login encodes: `ann_acme.com#EXT#@…` is ann@acme.com."""
        name, mark, domain = self.login[: self.login.lower().find(EXTERNAL_MARKER)].rpartition("_")
        return f"{name}@{domain}" if self.is_external and mark and name and domain else ""


@light_dataclass
class GroupMember:
    """A member of a group: *kind* is `user`, `group`, `device`…, or empty where the row shows none.

    *hides_members* is for a group in the group.
    """

    kind: str
    user: User
    hides_members: bool = False


@light_dataclass
class AppAssignment:
    """A row of `appRoleAssignedTo`: the principal's id, its kind (`user`, `group`, `serviceprincipal`) and its name."""

    id: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class App:
    """A service principal. *is_open*: people may sign in to it without being assigned."""

    name: str
    is_enabled: bool
    is_open: bool


@dataclass(frozen=True, slots=True)
class UserMapper:
    """Maps users to people, by the settings of the connector and the source."""

    connector: str
    email: Literal["login", "mail"] = "login"

    def status_of(self, user: User) -> Status:
        if user.is_enabled is None:
            return Status.UNKNOWN
        return Status.ACTIVE if user.is_enabled else Status.SUSPENDED

    def email_of(self, user: User) -> str:
        """Return the login or the mail. An external login is not an address: that of the home directory is used."""
        if self.email == "mail":
            return user.mail
        if user.is_external:
            return next(filter(None, (user.mail, *user.other_mails, user.home_address)), "")
        return user.login

    def person_from_user(self, user: User, groups: tuple[str, ...], *, individual: bool) -> Person:
        email = self.email_of(user)
        return Person(
            connector=self.connector,
            id=user.id,
            email=email or None,
            display_name=user.display_name or f"{user.given_name} {user.family_name}".strip(),
            status=self.status_of(user),
            source_status=user.unknown_kind or enabled_text(user),
            groups=groups,
            individual=individual,
            aliases=_aliases(user.proxy_addresses, email),
            given_name=user.given_name,
            family_name=user.family_name,
        )


def enabled_text(user: User) -> str:
    """Return `accountEnabled` as Graph shows it, for sentences."""
    shown = {True: "true", False: "false", None: "null"}[user.is_enabled]
    return f"accountEnabled={shown}"


def _aliases(proxies: tuple[str, ...], email: str) -> tuple[str, ...]:
    """Return the mailbox's other addresses, each once, as first spelled."""
    found = {each.lower(): each for each in reversed(proxies) if each}
    found.pop(email.lower(), None)
    return tuple(found[key] for key in sorted(found))


def user_from_json(row: object) -> User:
    """Return the human of a user object; the id is empty where the row has none."""
    fields = as_object(row)
    enabled = fields.get("accountEnabled")
    word = _kind_name(fields)
    odd = "" if word.lower() in KNOWN_KINDS else word
    return User(
        as_text(fields.get("id")),
        as_text(fields.get("userPrincipalName")),
        as_text(fields.get("mail")),
        as_text(fields.get("displayName")),
        as_text(fields.get("givenName")),
        as_text(fields.get("surname")),
        enabled if isinstance(enabled, bool) and not odd else None,
        as_text(fields.get("userType")),
        as_texts(fields.get("otherMails")),
        tuple(
            each[len(SMTP_PREFIX) :].strip()
            for each in as_texts(fields.get("proxyAddresses"))
            if each.lower()[:5] == SMTP_PREFIX
        ),
        odd,
    )


def group_member_from_json(row: object) -> GroupMember:
    """Return a row of a group's members. Rows that are not people have only an id and a name."""
    fields = as_object(row)
    return GroupMember(_kind_name(fields).lower(), user_from_json(row), hides_members(fields))


def hides_members(group: Mapping[str, object]) -> bool:
    """Return whether a group shows its members only to those who have a permission of its own for it."""
    return as_text(group.get("visibility")).lower() == HIDDEN_MEMBERSHIP


def _kind_name(fields: Mapping[str, object]) -> str:
    """Return the type without its namespace, as `user` of `#microsoft.graph.user`; empty where the row has none."""
    return as_text(fields.get("@odata.type")).rpartition(".")[2]


def assignment_from_json(row: object) -> AppAssignment:
    fields = as_object(row)
    name = as_name(fields.get("principalDisplayName"))
    return AppAssignment(as_text(fields.get("principalId")), as_text(fields.get("principalType")).lower(), name)


def app_from_json(row: object) -> App:
    """Return the application. Only an explicit `false` disables or opens it: Graph's schema lets both be null."""
    fields = as_object(row)
    is_enabled, is_open = (fields.get(name) is not False for name in ("accountEnabled", "appRoleAssignmentRequired"))
    return App(as_text(fields.get("displayName")), is_enabled, not is_open)
