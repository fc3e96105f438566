"""Graph's delta queries: what changed about people, and about chosen groups, since a token was given out.

Source: Graph v1.0, delta query overview, `user: delta`, `group: delta`. A row shows how an object is now, not what
happened. Only a delta link ends a round. A soft deletion shows in `users/delta` alone.
"""

from __future__ import annotations

import heapq
import random
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

import orjson

from sandbox.company import Directory, Group
from sandbox.company.events import CompanyEvent, EventLog, Happening
from sandbox.entra.errors import GraphError, bad_request
from sandbox.entra.resources import (
    DEFAULT_USER_FIELDS,
    GROUP_FIELDS,
    USER_FIELDS,
    JsonObject,
    select_fields,
    user_object,
)

__all__ = ["DeltaLog", "DeltaOptions"]

USERS, GROUPS = "users", "groups"
TOKEN_SECONDS = 7 * 86_400
MAX_FILTER_IDS = 50
LATEST = "latest"
NAMES = frozenset({"displayName", "givenName", "surname", "userPrincipalName", "mail", "proxyAddresses"})
EVERY_FIELD = frozenset({*USER_FIELDS})
CHANGED_FIELDS = {
    Happening.HIRED: EVERY_FIELD,
    Happening.DEACTIVATED: frozenset({"accountEnabled"}),
    Happening.SUSPENDED: frozenset({"accountEnabled"}),
    Happening.REINSTATED: frozenset({"accountEnabled"}),
    Happening.RENAMED: NAMES,
    Happening.DELETED: EVERY_FIELD,
    Happening.RESTORED: EVERY_FIELD,
    Happening.PURGED: EVERY_FIELD,
}
"""The properties that each happening changes: a round without any of them does not show it."""

TERM = re.compile(r"id eq '([0-9A-Za-z-]+)'")
TYPES = {True: "#microsoft.graph.group", False: "#microsoft.graph.user"}
DEVICE_TYPE = "#microsoft.graph.device"


@dataclass(frozen=True, slots=True)
class DeltaOptions:
    """What differs between tenants, and what goes wrong."""

    delay_seconds: float = 0.0
    """How long after it happened a change shows."""
    late_share: float = 0.0
    """The share of changes that show *late_seconds* later, and so after newer ones."""
    late_seconds: float = 30.0
    replayed_share: float = 0.0
    """The share of changes that show once more, *replay_seconds* later."""
    replay_seconds: float = 15.0
    lost_share: float = 0.0
    """The share of changes that never show."""
    page_size: int = 100
    begins_with_empty_page: bool = False
    refuses_latest_with_filter: bool = False
    shows_soft_deletion_in_groups: bool = False
    expired_code: str = "syncStateNotFound"
    """Graph's code for a token that is too old."""


class _Change(NamedTuple):
    """*key* is the object's id, *member* that of the member that a group got or lost."""

    kind: str
    key: str
    happening: Happening
    member: str = ""


@dataclass(frozen=True, slots=True, order=True)
class _Shown:
    at: float
    number: int
    change: _Change = field(compare=False)


class _Round(NamedTuple):
    """What a token stands for. *end* and *offset* are set within a round; *start* is None in a first one."""

    kind: str
    age: int
    issued_at: float
    start: int | None
    select: str
    ids: list[str]
    end: int = 0
    offset: int = -1

    def encode(self) -> str:
        return urlsafe_b64encode(orjson.dumps(list(self))).decode().rstrip("=")


class DeltaLog:
    """The changes of one tenant. It gets the happenings of *source* that concern *directory*."""

    def __init__(self, directory: Directory, source: EventLog, seed: int = 1) -> None:
        self.options = DeltaOptions()
        self.moved_requests = 0
        """How many requests with a token are answered 410, with a place to begin again: maintenance."""
        self._directory = directory
        self._source = source
        self._chance = random.Random(seed)
        self._count = 0
        self._pending: list[_Shown] = []
        self._shown: list[_Change] = []
        self._age = 0
        source.listeners.append(self._on_event)

    def expire_tokens(self) -> None:
        """Refuse all tokens so far."""
        self._age += 1

    def query(self, kind: str, url: str, params: Mapping[str, str]) -> JsonObject:
        """Return one page of `users/delta` or `groups/delta`. *url* is that of the request without its query."""
        self._show_due()
        current = self._current_round(kind, url, params)
        if current is None:
            return self._body(kind, url, params, [], delta=self._next_token(self._first_round(kind, params)))
        rows = list(self._rows(current))
        if self.options.begins_with_empty_page and current.offset < 0:
            following = current._replace(offset=0)
            return self._body(kind, url, params, [], following=following)
        start = max(current.offset, 0)
        end = start + self.options.page_size
        found = _merge_groups(rows[start:end]) if kind == GROUPS else rows[start:end]
        if end < len(rows):
            return self._body(kind, url, params, found, following=current._replace(offset=end))
        return self._body(kind, url, params, found, delta=self._next_token(current))

    def _current_round(self, kind: str, url: str, params: Mapping[str, str]) -> _Round | None:
        """Return the round that the request is part of, None for `$deltatoken=latest`. Raises `GraphError`."""
        token = params.get("$skiptoken", params.get("$deltatoken"))
        if token is None:
            return self._first_round(kind, params)
        if token == LATEST and "$skiptoken" not in params:
            if self.options.refuses_latest_with_filter and "$filter" in params:
                raise bad_request("Delta token 'latest' is not supported with $filter.", "Request_UnsupportedQuery")
            return None
        if len(params) != 1:
            raise bad_request("A token can't be combined with other query options.")
        found = _decode(kind, token)
        if self.moved_requests > 0:
            self.moved_requests -= 1
            raise GraphError(410, "resyncRequired", "Resync required.", {"Location": f"{url}?$deltatoken="})
        if found.age != self._age or self._source.now() - found.issued_at > TOKEN_SECONDS:
            message = "The sync state generation is not found; a full synchronization is required."
            raise GraphError(400, self.options.expired_code, message)
        return found if "$skiptoken" in params else found._replace(end=len(self._shown))

    def _first_round(self, kind: str, params: Mapping[str, str]) -> _Round:
        select = params.get("$select", "")
        known = USER_FIELDS if kind == USERS else GROUP_FIELDS | {"members"}
        unknown = next((name for name in select.split(",") if name and name not in known), None)
        if unknown is not None:
            raise bad_request(f"Could not find a property named '{unknown}' on type 'microsoft.graph.{kind[:-1]}'.")
        ids = _filter_ids(params.get("$filter"))
        return _Round(kind, self._age, self._source.now(), None, select, ids, len(self._shown))

    def _next_token(self, current: _Round) -> _Round:
        return current._replace(start=current.end or len(self._shown), end=0, offset=-1, issued_at=self._source.now())

    def _body(
        self,
        kind: str,
        url: str,
        params: Mapping[str, str],
        rows: list[JsonObject],
        *,
        following: _Round | None = None,
        delta: _Round | None = None,
    ) -> JsonObject:
        root = url.partition(f"/{kind}/")[0]
        chosen = f"({params['$select']})" if params.get("$select") else ""
        links = {
            "@odata.nextLink": following and f"{url}?$skiptoken={quote(following.encode())}",
            "@odata.deltaLink": delta and f"{url}?$deltatoken={quote(delta.encode())}",
        }
        shown = {name: link for name, link in links.items() if link is not None}
        return {"@odata.context": f"{root}/$metadata#{kind}{chosen}"} | shown | {"value": rows}

    def _rows(self, current: _Round) -> Iterator[JsonObject]:
        """Yield the rows of a whole round; a group has one for each of its members that came or went."""
        if current.start is None:
            yield from self._first_rows(current)
            return
        changes = self._shown[current.start : current.end]
        wanted = [
            each for each in changes if each.kind == current.kind and (not current.ids or each.key in current.ids)
        ]
        if current.kind == USERS:
            fields = frozenset(current.select.split(",")) if current.select else frozenset(DEFAULT_USER_FIELDS)
            seen = [each.key for each in wanted if CHANGED_FIELDS[each.happening] & fields]
            yield from (self._user_row(key, current.select) for key in dict.fromkeys(reversed(seen)))
            return
        newest = {(each.key, each.member): each for each in wanted}
        for each in newest.values():
            if not each.member:
                yield {"id": each.key, "@removed": {"reason": "deleted"}}
            elif "members" in current.select.split(",") and each.key in self._directory.groups:
                entry = self._member_entry(each)
                if entry is not None:
                    yield _group_row(self._directory.groups[each.key], current.select, [entry])

    def _first_rows(self, current: _Round) -> Iterator[JsonObject]:
        home = self._directory
        if current.kind == USERS:
            yield from (self._user_row(key, current.select) for key in list(home.people) if _is_wanted(key, current))
            return
        for group in list(home.groups.values()):
            if not _is_wanted(group.id, current):
                continue
            entries = [
                *({"@odata.type": TYPES[True], "id": key} for key in group.groups),
                *({"@odata.type": DEVICE_TYPE, "id": key} for key in group.devices),
                *({"@odata.type": TYPES[False], "id": key} for key in group.people),
            ]
            yield from (_group_row(group, current.select, [entry]) for entry in entries)
            if not entries:
                yield _group_row(group, current.select, [])

    def _user_row(self, key: str, select: str) -> JsonObject:
        person = self._directory.people.get(key)
        if person is None:
            reason = "changed" if key in self._directory.deleted else "deleted"
            return {"id": key, "@removed": {"reason": reason}}
        names = select.split(",") if select else DEFAULT_USER_FIELDS
        row = select_fields(user_object(person), names)
        return {name: value for name, value in row.items() if name != "@odata.type"}

    def _member_entry(self, change: _Change) -> JsonObject | None:
        entry: JsonObject = {"@odata.type": TYPES[change.member in self._directory.groups], "id": change.member}
        if change.happening is Happening.JOINED:
            return entry
        # Someone restored from deletion never left the group for Graph.
        is_restored = change.member in self._directory.groups[change.key].people
        is_deleted = change.member in self._directory.deleted and not self.options.shows_soft_deletion_in_groups
        return None if is_restored or is_deleted else {**entry, "@removed": {"reason": "deleted"}}

    def _on_event(self, event: CompanyEvent) -> None:
        if event.directory != self._directory.name:
            return
        if event.happening in CHANGED_FIELDS:
            self._append(_Change(USERS, event.person, event.happening), event.at)
        elif event.happening in {Happening.JOINED, Happening.QUIT}:
            self._append(_Change(GROUPS, event.group, event.happening, event.person), event.at)
        elif event.happening is Happening.GROUP_DELETED:
            self._append(_Change(GROUPS, event.group, event.happening), event.at)

    def _append(self, change: _Change, at: float) -> None:
        chance, options = self._chance, self.options
        is_lost, is_late, is_replayed = (
            chance.random() < share for share in (options.lost_share, options.late_share, options.replayed_share)
        )
        at += options.delay_seconds + (options.late_seconds if is_late else 0)
        times = () if is_lost else (at, at + options.replay_seconds) if is_replayed else (at,)
        for each in times:
            self._count += 1
            heapq.heappush(self._pending, _Shown(each, self._count, change))

    def _show_due(self) -> None:
        now = self._source.now()
        while self._pending and self._pending[0].at <= now:
            self._shown.append(heapq.heappop(self._pending).change)


def _is_wanted(key: str, current: _Round) -> bool:
    return not current.ids or key in current.ids


def _group_row(group: Group, select: str, entries: list[JsonObject]) -> JsonObject:
    names = select.split(",") if select else ["displayName"]
    row: dict[str, object] = {"id": group.id}
    if "displayName" in names:
        row["displayName"] = group.name
    if entries and "members" in names:
        row["members@delta"] = entries
    return row


def _merge_groups(rows: Iterable[JsonObject]) -> list[JsonObject]:
    """Return one row for each group of a page; on another page the same group may come again."""
    merged: dict[str, dict[str, object]] = {}
    for row in rows:
        known = merged.setdefault(str(row["id"]), {**row, **({"members@delta": []} if "members@delta" in row else {})})
        entries, more = known.get("members@delta"), row.get("members@delta")
        if isinstance(entries, list) and isinstance(more, list):
            entries += more
    return list(merged.values())


def _filter_ids(expression: str | None) -> list[str]:
    """Return the ids of a filter that names ids alone, none without one. Raises `GraphError`."""
    if expression is None:
        return []
    found = [TERM.fullmatch(term.strip()) for term in expression.split(" or ")]
    if not all(found):
        raise bad_request("Only filtering by id is supported.", "Request_UnsupportedQuery")
    if len(found) > MAX_FILTER_IDS:
        raise bad_request(f"Too many ids in $filter: at most {MAX_FILTER_IDS}.", "Request_UnsupportedQuery")
    return [each[1] for each in found if each]


def _decode(kind: str, token: str) -> _Round:
    try:
        found = _Round(*orjson.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4))))
    except (ValueError, TypeError):
        raise bad_request("Badly formed token.") from None
    if found.kind != kind:
        raise bad_request("Badly formed token.")
    return found
