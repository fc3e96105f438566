"""OneLogin's events, version 1: what happened in the account, as `GET /api/1/events` shows it.

Source: developers.onelogin.com, Get Events and Event Types; the vendor's OpenAPI. The cursor of a page is the key of
its last row, and not an offset. Names of types beyond the documented five are in the style of those.
"""

from __future__ import annotations

import binascii
import random
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from sandbox.company import Directory, Group
from sandbox.company.events import CompanyEvent, EventLog, Happening
from sandbox.onelogin.errors import token_error

__all__ = ["ACCOUNT_ID", "EVENT_TYPES", "AccountEvents", "EventOptions", "EventPage"]

JsonObject = dict[str, object]

ACCOUNT_ID = 555555
FIRST_ID = 700_000_001
DEFAULT_LIMIT = MAX_LIMIT = 50
UNLISTED_TYPE = 3999
EVENT_TYPES = {
    1: "APP_ADDED_TO_ROLE",
    2: "APP_REMOVED_FROM_ROLE",
    3: "USER_ASSUMED_USER",
    4: "USER_ASSIGNED_ROLE",
    5: "USER_LOGGED_INTO_ONELOGIN",
    6: "USER_FAILED_ONELOGIN_LOGIN",
    12: "USER_UNLOCKED",
    13: "USER_CREATED",
    14: "USER_UPDATED",
    15: "USER_DEACTIVATED",
    16: "USER_ACTIVATED",
    17: "USER_DELETED",
    19: "USER_LOCKED",
    21: "USER_SUSPENDED",
    32: "USER_REACTIVATED",
    147: "USER_MANUALLY_ADDED_TO_ROLE",
    148: "USER_MANUALLY_REMOVED_FROM_ROLE",
    149: "USER_AUTOMATICALLY_ADDED_TO_ROLE",
    150: "USER_AUTOMATICALLY_REMOVED_FROM_ROLE",
    202: "MAPPINGS_REAPPLIED",
    206: "LOGIN_MANUALLY_ADDED",
    207: "LOGIN_MANUALLY_REMOVED",
}
TYPES_OF_HAPPENINGS = {
    Happening.HIRED: 13,
    Happening.DEACTIVATED: 15,
    Happening.SUSPENDED: 21,
    Happening.REINSTATED: 16,
    Happening.DELETED: 17,
    Happening.RENAMED: 14,
    Happening.JOINED: 147,
    Happening.QUIT: 148,
    Happening.ASSIGNED: 206,
    Happening.UNASSIGNED: 207,
    Happening.GROUP_ASSIGNED: 1,
    Happening.GROUP_UNASSIGNED: 2,
}
"""A deleted role is in no event."""
TYPES_BY_MAPPING = {147: 149, 148: 150}
CURSOR = re.compile(rf"account_id:::{ACCOUNT_ID}--##id:::(\d+)")


@dataclass(frozen=True, slots=True)
class EventOptions:
    """What differs between accounts, and what goes wrong."""

    delay_seconds: float = 0.0
    """How long after it happened an event appears."""
    mapping_seconds: float = 0.0
    """Above 0: mappings change roles. So long after a change a role that they give is shown, and the events appear."""
    late_share: float = 0.0
    """The share of events that appear *late_seconds* later, with a higher id than newer ones."""
    late_seconds: float = 30.0
    keeps_early_ids: bool = False
    """A late event has the lower id of its own time."""
    doubled_share: float = 0.0
    lost_share: float = 0.0
    """The share of events that never appear."""
    unlisted: frozenset[str] = frozenset()
    """Names that the list of types lacks."""
    renumbered_by: int = 0
    """What the account adds to each id of a type."""
    unknown_share: float = 0.0
    """The share of events of a type that no list has."""


class EventPage(NamedTuple):
    """*after* is the cursor of the next page, None at the end."""

    rows: list[JsonObject]
    after: str | None


@dataclass(slots=True)
class _Event:
    """One event, which appears *appears_at*. *number* is 0 until then, where its id is that of its appearance."""

    appears_at: float
    created_at: float
    word: str
    fields: JsonObject
    number: int = 0


@dataclass(slots=True)
class AccountEvents:
    """The events of one account. It gets the happenings of *source* that concern *directory*."""

    directory: Directory
    source: EventLog
    options: EventOptions = field(default_factory=EventOptions)
    _chance: random.Random = field(default_factory=lambda: random.Random(1))
    _pending: list[_Event] = field(default_factory=list)
    _shown: list[_Event] = field(default_factory=list)
    _joined: dict[tuple[str, str], float] = field(default_factory=dict)
    _next_id: int = FIRST_ID

    def __post_init__(self) -> None:
        self.source.listeners.append(self._on_event)

    def add(self, word: str, person: str = "") -> None:
        """Add an event that nothing in the company causes, such as a login or a mapping that was applied again."""
        self._append(word, self.source.now(), 0, {"user_id": int(person)} if person else {})

    def types(self) -> list[JsonObject]:
        return [
            {"id": number + self.options.renumbered_by, "name": name, "description": name.replace("_", " ").lower()}
            for number, name in EVENT_TYPES.items()
            if name not in self.options.unlisted
        ]

    def roles_of(self, person: str) -> list[Group]:
        """Return the roles that are shown of a person: one that a mapping gives only once it has run."""
        now, pause = self.source.now(), self.options.mapping_seconds
        roles = self.directory.groups_of(person)
        return [role for role in roles if now >= self._joined.get((person, role.id), float("-inf")) + pause]

    def query(self, params: Mapping[str, str]) -> EventPage:
        """Return one page. Raises `OneLoginError`."""
        self._show_due()
        is_descending = _is_descending(params.get("sort"))
        wanted = [event for event in self._shown if self._is_wanted(event, params)]
        wanted.sort(key=lambda event: event.number, reverse=is_descending)
        if (place := params.get("after_cursor")) is not None:
            key = _key(place)
            wanted = [each for each in wanted if (each.number < key if is_descending else each.number > key)]
        limit = min(_number(params, "limit", DEFAULT_LIMIT), MAX_LIMIT)
        page = wanted[:limit]
        after = f"account_id:::{ACCOUNT_ID}--##id:::{page[-1].number}" if len(wanted) > limit else None
        rows = [self._row(event) for event in page]
        return EventPage(rows, None if after is None else b64encode(after.encode()).decode())

    def _is_wanted(self, event: _Event, params: Mapping[str, str]) -> bool:
        types, since, until = params.get("event_type_id"), params.get("since"), params.get("until")
        user = params.get("user_id")
        if types is not None and str(self._type_id(event.word)) not in _ids(types):
            return False
        if user is not None and str(event.fields.get("user_id")) != str(_number(params, "user_id", 0)):
            return False
        moment = _milliseconds(event.created_at)
        if since is not None and moment <= _time(since, "since"):
            return False
        return until is None or moment < _time(until, "until")

    def _type_id(self, word: str) -> int:
        return next((number for number, name in EVENT_TYPES.items() if name == word), UNLISTED_TYPE) + (
            self.options.renumbered_by
        )

    def _row(self, event: _Event) -> JsonObject:
        person = self.directory.people.get(str(event.fields.get("user_id"))) or self.directory.deleted.get(
            str(event.fields.get("user_id"))
        )
        role = self.directory.groups.get(str(event.fields.get("role_id")))
        app = self.directory.apps.get(str(event.fields.get("app_id")))
        return {
            "id": event.number,
            "created_at": _format_time(event.created_at),
            "account_id": ACCOUNT_ID,
            "event_type_id": self._type_id(event.word),
            "user_id": None,
            "user_name": person.display_name if person else None,
            "role_id": None,
            "role_name": role.name if role else None,
            "app_id": None,
            "app_name": app.name if app else None,
            "actor_user_id": 1234,
            "actor_user_name": "Admin",
            "actor_system": "",
            "directory_id": None,
            "notes": None,
            "error_description": None,
            "resolution": None,
        } | event.fields

    def _on_event(self, event: CompanyEvent) -> None:
        if event.directory != self.directory.name:
            return
        if event.happening is Happening.JOINED:
            self._joined[event.person, event.group] = event.at
        number = TYPES_OF_HAPPENINGS.get(event.happening)
        if number is None:
            return
        named = {"user_id": event.person, "role_id": event.group, "app_id": event.app}
        delay, is_by_mapping = 0.0, number in TYPES_BY_MAPPING and self.options.mapping_seconds > 0
        if is_by_mapping:
            number, delay = TYPES_BY_MAPPING[number], self.options.mapping_seconds
        fields: JsonObject = {name: int(key) for name, key in named.items() if key}
        self._append(EVENT_TYPES[number], event.at + delay, delay, fields)

    def _append(self, word: str, created_at: float, delay: float, fields: JsonObject) -> None:
        chance, options = self._chance, self.options
        shares = (options.lost_share, options.late_share, options.doubled_share, options.unknown_share)
        is_lost, is_late, is_doubled, is_unknown = (chance.random() < share for share in shares)
        if is_lost:
            return
        appears_at = self.source.now() + delay + options.delay_seconds + (options.late_seconds if is_late else 0)
        for _ in range(2 if is_doubled else 1):
            event = _Event(appears_at, created_at, "" if is_unknown else word, fields)
            if options.keeps_early_ids:
                event.number, self._next_id = self._next_id, self._next_id + 1
            self._pending.append(event)

    def _show_due(self) -> None:
        now = self.source.now()
        due = sorted(
            (each for each in self._pending if each.appears_at <= now), key=lambda each: (each.appears_at, each.number)
        )
        self._pending = [each for each in self._pending if each.appears_at > now]
        for event in due:
            if not event.number:
                event.number, self._next_id = self._next_id, self._next_id + 1
        self._shown += due


def _ids(text: str) -> frozenset[str]:
    found = text.split(",")
    if not all(each.isascii() and each.isdigit() for each in found):
        raise token_error(400, "bad request", "Invalid value for event_type_id")
    return frozenset(found)


def _is_descending(text: str | None) -> bool:
    if text not in {None, "+id", "-id"}:
        # A plus that was not percent-encoded arrives as a blank.
        raise token_error(400, "bad request", f"Invalid value for sort: {text}")
    return text != "+id"


def _key(cursor: str) -> int:
    try:
        found = CURSOR.fullmatch(b64decode(cursor, validate=True).decode())
    except (binascii.Error, UnicodeDecodeError):
        found = None
    if found is None:
        raise token_error(400, "bad request", "Invalid cursor")
    return int(found[1])


def _number(params: Mapping[str, str], name: str, usual: int) -> int:
    text = params.get(name, str(usual))
    if not text.isascii() or not text.isdigit():
        raise token_error(400, "bad request", f"Invalid value for {name}")
    return int(text)


def _time(text: str, name: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise token_error(400, "bad request", f"Invalid value for {name}") from None
    return _milliseconds(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _format_time(seconds: float) -> str:
    moment = datetime.fromtimestamp(_milliseconds(seconds) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
