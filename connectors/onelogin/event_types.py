"""The types of OneLogin's events: which to ask for, and what each may mean. No I/O here.

An account's own list of types decides by name. OneLogin documents five names; the others here are assumed, and so the
ids are the fallback. Ids come from clients of the API, and are all in the vendor's OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from connectors.directory import as_object, as_text
from connectors.onelogin.mapping import row_id

__all__ = ["EventTypes", "Meaning"]


class Meaning(Enum):
    PERSON = auto()
    """Something about one person changed."""
    GIVEN = auto()
    """A person may have access that they had not."""
    WIDE = auto()
    """It may concern anyone: a role and an application, or the mappings."""


WANTED: Mapping[str, tuple[int, Meaning]] = {
    "APP_ADDED_TO_ROLE": (1, Meaning.WIDE),
    "APP_REMOVED_FROM_ROLE": (2, Meaning.WIDE),
    "USER_ASSIGNED_ROLE": (4, Meaning.GIVEN),
    "USER_UNLOCKED": (12, Meaning.PERSON),
    "USER_UPDATED": (14, Meaning.PERSON),
    "USER_DEACTIVATED": (15, Meaning.PERSON),
    "USER_ACTIVATED": (16, Meaning.PERSON),
    "USER_DELETED": (17, Meaning.PERSON),
    "USER_LOCKED": (19, Meaning.PERSON),
    "USER_SUSPENDED": (21, Meaning.PERSON),
    "USER_REACTIVATED": (32, Meaning.PERSON),
    "USER_REJECTED": (50, Meaning.PERSON),
    "USER_MANUALLY_ADDED_TO_ROLE": (147, Meaning.GIVEN),
    "USER_MANUALLY_REMOVED_FROM_ROLE": (148, Meaning.PERSON),
    "USER_AUTOMATICALLY_ADDED_TO_ROLE": (149, Meaning.GIVEN),
    "USER_AUTOMATICALLY_REMOVED_FROM_ROLE": (150, Meaning.PERSON),
    "MAPPING_ADDED": (189, Meaning.WIDE),
    "MAPPING_DELETED": (190, Meaning.WIDE),
    "MAPPING_DISABLED": (191, Meaning.WIDE),
    "MAPPING_ENABLED": (192, Meaning.WIDE),
    "MAPPING_UPDATED": (193, Meaning.WIDE),
    "MAPPINGS_REAPPLIED": (202, Meaning.WIDE),
    "LOGIN_MANUALLY_ADDED": (206, Meaning.GIVEN),
    "LOGIN_MANUALLY_REMOVED": (207, Meaning.PERSON),
    "ROLE_ADDED_BY_API": (513, Meaning.GIVEN),
    "ROLE_REMOVED_BY_API": (514, Meaning.PERSON),
    "USER_UPDATED_BY_API": (529, Meaning.PERSON),
    "USER_DESTROYED_BY_API": (530, Meaning.PERSON),
    "USER_LOCKED_BY_API": (531, Meaning.PERSON),
    "USER_SUSPENDED_BY_API": (551, Meaning.PERSON),
    "USER_LOCKED_BY_API_UNTIL": (553, Meaning.PERSON),
}
"""What is asked for. Logins and OneLogin's own provisioning are left out, and an import: its people have events."""


@dataclass(frozen=True, slots=True)
class EventTypes:
    """The types of one account, by id. *wanted* are asked for; *names* has all that the account lists."""

    wanted: Mapping[str, tuple[str, Meaning]]
    names: Mapping[str, str]

    @classmethod
    def from_list(cls, rows: Iterable[object] = ()) -> EventTypes:
        """Return the types of an account that lists *rows*; without any, those of the ids that are known here."""
        names = {key: as_text(as_object(row).get("name")) for row in rows if (key := row_id(row)) is not None}
        by_name = {name.strip().upper(): key for key, name in names.items()}
        ids = {name: by_name.get(name, str(number)) for name, (number, _) in WANTED.items()}
        wanted = {ids[name]: (names.get(ids[name]) or name, meaning) for name, (_, meaning) in WANTED.items()}
        return cls(wanted, names)

    @property
    def query(self) -> str:
        return ",".join(self.wanted)

    def word(self, type_id: str) -> str:
        """Return the name of a type for messages."""
        known = self.wanted.get(type_id)
        return known[0] if known else f"event type {type_id}" if type_id else ""

    def meaning(self, type_id: str) -> Meaning | None:
        """Return what an event of a type may mean, None for one that no list has."""
        known = self.wanted.get(type_id)
        return known[1] if known else None

    def is_noise(self, type_id: str) -> bool:
        """Return whether the account names the type, and it is not one that is asked for."""
        return type_id in self.names and type_id not in self.wanted
