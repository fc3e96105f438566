"""The exports that an administrator can make: their columns, and what each row shows. Pure.

Sources of the names: docs/compare.md. Headings are compared without case, spaces and punctuation, because the vendors'
own pages spell them in several ways (`Object ID`, `objectId`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent.errors import UsageError
from agent.model.comparison import ComparedField
from connectors.base import Person

__all__ = ["KINDS", "Column", "ExportKind", "kind_named", "normalize_heading", "recognize", "status_word"]


class Column(StrEnum):
    """What a column holds."""

    ID = "id"
    LOGIN = "login"
    MAIL = "mail"
    NAME = "name"
    GIVEN_NAME = "given name"
    FAMILY_NAME = "family name"
    STATUS = "status"
    ENABLED = "enabled"
    MEMBER_TYPE = "member type"
    USER_TYPE = "user type"
    APP = "application"
    UNASSIGNED = "unassigned on"
    ACCOUNT_TYPE = "account type"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportKind:
    """One export. *headings* are the names of each column, the usual one first.

    *needed* are the columns without which it is not this export; *excluded* are those that make it another one.
    *provider* is the `type` of the connectors whose people it shows, empty for the members of a workspace.
    *is_whole_directory*: it has people who are not assigned too. *compared* are the fields that mean the same in the
    export and in a run.
    """

    name: str
    title: str
    provider: str
    headings: Mapping[Column, Sequence[str]]
    needed: Sequence[Column]
    excluded: Sequence[Column] = ()
    compared: frozenset[ComparedField]
    is_whole_directory: bool = False
    is_of_one_group: bool = False

    def places(self, row: Sequence[str]) -> dict[Column, list[int]]:
        """Return where each column is in a row of headings: several places if it is there more than once."""
        names = [normalize_heading(cell) for cell in row]
        found: dict[Column, list[int]] = {}
        for column, headings in self.headings.items():
            for heading in headings:
                places = [place for place, name in enumerate(names) if name == normalize_heading(heading)]
                if places:
                    found[column] = places
                    break
        return found

    def expects(self, person: Person) -> bool:
        """Return whether the export should have *person*: Okta's list lacks the deactivated and the pending."""
        return self.provider != "okta" or not (person.pending or person.source_status == "DEPROVISIONED")

    def describe(self) -> str:
        columns = ", ".join(" or ".join(self.headings[column]) for column in self.needed)
        return f"{self.name} ({self.title}): {columns}"


OKTA_LOGIN = ("Login", "Okta username", "assigneeOktaUsername")
OKTA_ID = ("Okta user ID", "assigneeOktaId", "User ID", "oktaId")
OKTA_APP = ("Application instance", "Application name", "Application", "App instance", "App name")

KINDS: tuple[ExportKind, ...] = (
    ExportKind(
        name="okta-app",
        title="Okta, report Current Assignments or User App Access",
        provider="okta",
        headings={
            Column.LOGIN: OKTA_LOGIN,
            Column.APP: OKTA_APP,
            Column.ID: OKTA_ID,
            Column.STATUS: ("Okta user status",),
            Column.UNASSIGNED: ("Unassigned on",),
        },
        needed=(Column.LOGIN, Column.APP),
        compared=frozenset({ComparedField.EMAIL, ComparedField.STATUS}),
    ),
    ExportKind(
        name="okta-people",
        title="Okta, report User Accounts or Okta Password Health",
        provider="okta",
        headings={
            Column.LOGIN: OKTA_LOGIN,
            Column.STATUS: ("Okta user status", "Status"),
            Column.ID: OKTA_ID,
            Column.MAIL: ("Primary email",),
            Column.APP: OKTA_APP,
        },
        needed=(Column.LOGIN, Column.STATUS),
        excluded=(Column.APP,),
        compared=frozenset({ComparedField.EMAIL, ComparedField.STATUS}),
        is_whole_directory=True,
    ),
    ExportKind(
        name="entra-users",
        title="Entra, Users > All users > Download users",
        provider="entra",
        headings={
            Column.ID: ("objectId", "id"),
            Column.LOGIN: ("userPrincipalName",),
            Column.MAIL: ("mail",),
            Column.NAME: ("displayName",),
            Column.ENABLED: ("accountEnabled",),
            Column.USER_TYPE: ("userType",),
        },
        needed=(Column.LOGIN, Column.ENABLED),
        compared=frozenset({ComparedField.EMAIL, ComparedField.NAME, ComparedField.ACTIVE}),
        is_whole_directory=True,
    ),
    ExportKind(
        name="entra-group",
        title="Entra, Groups > the group > Members > Download members",
        provider="entra",
        headings={
            Column.ID: ("Object ID", "id"),
            Column.LOGIN: ("User principal name",),
            Column.MAIL: ("mail",),
            Column.NAME: ("Display name",),
            Column.MEMBER_TYPE: ("Member type", "objectType"),
            Column.USER_TYPE: ("userType",),
            Column.ENABLED: ("accountEnabled",),
        },
        needed=(Column.ID, Column.LOGIN),
        excluded=(Column.ENABLED,),
        compared=frozenset({ComparedField.EMAIL, ComparedField.NAME}),
        is_of_one_group=True,
    ),
    ExportKind(
        name="onelogin-app",
        title="OneLogin, own report with users and one app",
        provider="onelogin",
        headings={
            Column.ID: ("User ID", "OneLogin ID"),
            Column.MAIL: ("Email", "User email"),
            Column.GIVEN_NAME: ("First name",),
            Column.FAMILY_NAME: ("Last name",),
            Column.APP: ("App", "App name", "Application"),
            Column.LOGIN: OKTA_LOGIN,
        },
        needed=(Column.MAIL, Column.APP),
        excluded=(Column.LOGIN,),
        compared=frozenset({ComparedField.EMAIL, ComparedField.NAME}),
    ),
    ExportKind(
        name="onelogin-users",
        title="OneLogin, own report of users",
        provider="onelogin",
        headings={
            Column.ID: ("User ID", "OneLogin ID", "ID"),
            Column.MAIL: ("Email", "User email"),
            Column.GIVEN_NAME: ("First name",),
            Column.FAMILY_NAME: ("Last name",),
            Column.APP: ("App", "App name", "Application"),
            Column.LOGIN: ("userPrincipalName", *OKTA_LOGIN),
        },
        needed=(Column.MAIL, Column.GIVEN_NAME, Column.FAMILY_NAME),
        excluded=(Column.APP, Column.LOGIN),
        compared=frozenset({ComparedField.EMAIL, ComparedField.NAME}),
        is_whole_directory=True,
    ),
    ExportKind(
        name="pigment-members",
        title="Pigment, Settings > Members > Member management > Export Members information as .CSV",
        provider="",
        headings={
            Column.MAIL: ("Email",),
            Column.NAME: ("Name",),
            Column.STATUS: ("Status",),
            Column.ACCOUNT_TYPE: ("Account Type",),
        },
        needed=(Column.MAIL, Column.NAME, Column.STATUS, Column.ACCOUNT_TYPE),
        compared=frozenset({ComparedField.EMAIL, ComparedField.NAME, ComparedField.ACTIVE}),
    ),
)

OKTA_STATUS_WORDS = {
    "active": "ACTIVE",
    "deactivated": "DEPROVISIONED",
    "deprovisioned": "DEPROVISIONED",
    "lockedout": "LOCKED_OUT",
    "passwordexpired": "PASSWORD_EXPIRED",
    "passwordreset": "RECOVERY",
    "recovery": "RECOVERY",
    "pendinguseraction": "PROVISIONED",
    "provisioned": "PROVISIONED",
    "staged": "STAGED",
    "suspended": "SUSPENDED",
}
"""What Okta's console shows for each status of its API (docs/compare.md)."""
PIGMENT_STATUS_WORDS = {"pending": "yes", "active": "yes", "activated": "yes", "deactivated": "no"}
"""A pending member may sign in as soon as they confirm, and is active in SCIM."""
ENABLED_WORDS = {"true": "yes", "yes": "yes", "false": "no", "no": "no"}


def normalize_heading(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def status_word(kind: ExportKind, text: str) -> tuple[ComparedField, str]:
    """Return the field that a status is compared as, and its value; a word that is not known stays as it is."""
    key = normalize_heading(text)
    if kind.provider == "okta":
        return ComparedField.STATUS, OKTA_STATUS_WORDS.get(key, text)
    words = ENABLED_WORDS if kind.provider else PIGMENT_STATUS_WORDS
    return ComparedField.ACTIVE, words.get(key, text)


def kind_named(name: str) -> ExportKind:
    return next(kind for kind in KINDS if kind.name == name)


def recognize(row: Sequence[str], wanted: ExportKind | None = None) -> ExportKind | None:
    """Return the kind whose headings *row* has; None if it has those of no kind. *wanted* is the only one to try."""
    for kind in KINDS if wanted is None else (wanted,):
        places = kind.places(row)
        is_another = wanted is None and any(column in places for column in kind.excluded)
        if all(column in places for column in kind.needed) and not is_another:
            return kind
    return None


def unknown_columns_error(name: str, found: Sequence[str], wanted: ExportKind | None) -> UsageError:
    """Return the error of a file whose headings are those of no export, or not those of *wanted*."""
    shown = ", ".join(found) or "none"
    kinds = KINDS if wanted is None else (wanted,)
    expected = "".join(f"\n{kind.describe()}" for kind in kinds)
    return UsageError(
        f"{name} has the columns {shown}. They are not those of {'an export' if wanted is None else wanted.name}.",
        f"Export it again without changes. The columns that each kind needs:{expected}",
    )
