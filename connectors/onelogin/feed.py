"""Poll OneLogin's events, and look at the people that they name.

Source: developers.onelogin.com, Get Events (API version 1): `since` is exclusive, and the cursor of a page is the key
of its last row. How late an event may appear is not documented, nor whether its id follows its appearance: each poll
begins two minutes before the newest event, and drops what it knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson

from connectors.base import CredentialsRefused, IncompleteRead, LookupResult, ReadError, Source, Status
from connectors.directory import AppGroup, as_object, as_text, as_texts, select_groups
from connectors.feed import CursorLost, FeedEvent, FeedPage, Standing, StandingFound
from connectors.http import REAL_TIME, ApiClient, ApiResponse, Timer, server_time, task_group
from connectors.onelogin.client import (
    OneLoginClient,
    role_users_endpoint,
    user_apps_endpoint,
    user_endpoint,
    users_with_email_endpoint,
    users_with_id_endpoint,
)
from connectors.onelogin.connector import DirectoryReader, create_api, lookup_from_user
from connectors.onelogin.event_types import EventTypes, Meaning
from connectors.onelogin.mapping import (
    NAMING,
    UserMapper,
    id_from_json,
    membership_from_json,
    role_ids,
    row_id,
    user_from_json,
)
from connectors.onelogin.settings import OneLoginSettings
from connectors.provider import ConnectorContext

__all__ = ["OneLoginFeed", "create_feed"]

EVENTS_PATH = "/api/1/events"
TYPES_PATH = "/api/1/events/types"
OK, FORBIDDEN, NOT_FOUND = 200, 403, 404
LOST_STATUSES = frozenset({400, 404, 410, 422})
"""Refusals of a place. A refused place and a refused parameter can't be distinguished by the status alone."""
PAGE_LIMIT = 50
MAX_PAGES = 20
"""Pages of one poll. More events than that are left to a run over everyone, which is cheaper for the account."""
MAX_WAIT_SECONDS = 60.0
"""A poll that must wait longer for the account's shared limit fails, and the next one tries again."""
FIRST_SPAN = timedelta(minutes=10)
"""How far back a fresh place begins."""
OVERLAP = timedelta(minutes=2)
SETTLED = timedelta(minutes=5)
"""After a burst the overlap alone would be read again by every poll: events older than this are then settled."""
LATEST = 253_370_764_800_000
"""The year 9999: a place beyond it is not one of this feed."""
TYPES_KEPT = timedelta(days=1)
TYPES_RETRIED = timedelta(minutes=10)
WITNESSES = 5
"""People of the granting roles who are read to prove that people and their roles can be seen at all."""
SHOWN_BY_STATUS = frozenset({Status.SUSPENDED, Status.DELETED})

FEED_HINT = (
    "Give the API credential the scope Read All in OneLogin (Read Users suffices for events alone), or remove `feed` "
    "of the connector."
)
LATER_HINT = "Try again later; if it persists, report it to OneLogin's support."
LOST_HINT = "A whole run follows, and a fresh place in the events."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a poll goes on: after *since*, in milliseconds since 1970, without the events *known*."""

    since: int
    known: AbstractSet[str]

    def to_text(self) -> str:
        return orjson.dumps({"since": self.since, "known": sorted(self.known)}).decode()

    @classmethod
    def from_text(cls, text: str) -> Place:
        """Raises `CursorLost` for a text that another feed or another version has written."""
        try:
            fields = as_object(orjson.loads(text))
        except orjson.JSONDecodeError:
            fields = {}
        since, known = fields.get("since"), fields.get("known")
        is_whole = isinstance(known, list) and len(as_texts(known)) == len(known)
        if not isinstance(since, int) or not 0 <= since <= LATEST or not is_whole:
            raise CursorLost("The place in OneLogin's events that the state has is not one of this feed.", LOST_HINT)
        return cls(since, frozenset(as_texts(known)))


@dataclass(frozen=True, slots=True)
class EventRow:
    """A row. *key* is its id, or a digest where it has none; *number* is the id, 0 without one."""

    key: str
    number: int
    created_at: datetime | None
    fields: Mapping[str, object]

    @property
    def milliseconds(self) -> int | None:
        return None if self.created_at is None else _milliseconds(self.created_at)


@dataclass(frozen=True, slots=True)
class EventsPage:
    """*after* is the cursor of the next page, empty at the end; *moment* is the server's clock, else ours."""

    rows: tuple[EventRow, ...]
    after: str
    moment: datetime


class OneLoginFeed:
    """Implements `connectors.feed.Feed`. *events* has a rate limit of its own: that of version 1 of the API."""

    second_look_seconds = 10.0
    """Mappings run after the change that triggers them: a role may be taken and another given seconds later."""

    def __init__(
        self,
        events: ApiClient,
        account: OneLoginClient,
        directory: Callable[[], DirectoryReader],
        mapper: UserMapper,
        wall: Callable[[], float],
    ) -> None:
        self._events = events
        self._account = account
        self._directory = directory
        self._mapper = mapper
        self._wall = wall
        self._types: EventTypes | None = None
        self._types_until = 0.0

    async def begin(self) -> FeedPage:
        types = await self._event_types()
        since = _milliseconds(self._now() - FIRST_SPAN)
        # The newest first: after a burst the older ones would cost a request for each 50.
        page = _page_from_response(self._require_ok(await self._request(types, since, {"sort": "-id"})), self._now())
        # Our clock may be ahead of OneLogin's.
        since = min(since, _milliseconds(page.moment - FIRST_SPAN))
        if len(page.rows) >= PAGE_LIMIT:
            since = max(since, min((each.milliseconds or since for each in page.rows), default=since))
        place = _next_place(Place(since, frozenset()), page.rows, page.moment, is_long=False)
        return self._page(types, sorted(page.rows, key=lambda each: each.number), place, page.moment)

    async def poll(self, cursor: str) -> FeedPage:
        place = Place.from_text(cursor)
        types = await self._event_types()
        rows: dict[str, EventRow] = {}
        cursors = self._events.page_guard(EVENTS_PATH, about="its events")
        more: Mapping[str, str] = {}
        while True:
            response = await self._request(types, place.since, {"sort": "+id", **more})
            if response.status in LOST_STATUSES:
                raise CursorLost(self._events.error_from_response(response).message, LOST_HINT)
            page = _page_from_response(self._require_ok(response), self._now())
            rows |= {row.key: row for row in page.rows}
            if not page.after:
                break
            if cursors.page_count >= MAX_PAGES:
                raise CursorLost(
                    f"{self._events.name} has more than {MAX_PAGES * PAGE_LIMIT:,} events since the last poll.",
                    LOST_HINT,
                )
            more = {"after_cursor": cursors.advance(page.after)}
        following = _next_place(place, rows.values(), page.moment, is_long=cursors.page_count > 1)
        fresh = [row for row in rows.values() if row.key not in place.known]
        return self._page(types, fresh, following, page.moment)

    def _page(self, types: EventTypes, rows: Iterable[EventRow], place: Place, moment: datetime) -> FeedPage:
        events = (_event_from_row(row, types) for row in rows)
        return FeedPage(tuple(each for each in events if each is not None), place.to_text(), server_time=moment)

    async def _request(self, types: EventTypes, since: int, more: Mapping[str, str]) -> ApiResponse:
        params = {"event_type_id": types.query, "since": _time_text(since), "limit": str(PAGE_LIMIT), **more}
        return await self._events.get(EVENTS_PATH, params, accept=LOST_STATUSES | {OK, FORBIDDEN}, about="its events")

    def _require_ok(self, response: ApiResponse) -> ApiResponse:
        if response.status == OK:
            return response
        hint = FEED_HINT if response.status in {FORBIDDEN, NOT_FOUND} else LATER_HINT
        raise self._events.error_from_response(response, hint)

    async def _event_types(self) -> EventTypes:
        """Return the types of the account, asked for once a day; the ids that are known here where they can't be."""
        if self._types is not None and self._wall() < self._types_until:
            return self._types
        try:
            response = await self._events.get(TYPES_PATH, accept={OK, FORBIDDEN}, about="its event types")
            self._types, kept = EventTypes.from_list(self._require_ok(response).rows("data")), TYPES_KEPT
        except CredentialsRefused:
            raise
        except ReadError:
            self._types, kept = self._types or EventTypes.from_list(), TYPES_RETRIED
        self._types_until = self._wall() + kept.total_seconds()
        return self._types

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)

    def needs_second_look(self, first: StandingFound, /) -> bool:
        return first.found.status not in SHOWN_BY_STATUS

    async def look_at(self, people: Mapping[str, str], source: Source) -> Mapping[str, StandingFound]:
        app_name, granting = await self._directory().read_app(source.app)
        counted = select_groups(granting, source.groups, app_name, NAMING)
        look = _Look(source, frozenset(role.id for role in granting), frozenset(role.id for role in counted))
        async with task_group() as tasks:
            looks = {
                person: tasks.create_task(self._look_at_one(person, email, look)) for person, email in people.items()
            }
        standings = {person: replace(task.result(), counted=look.counted) for person, task in looks.items()}
        if all(each.standing is not Standing.LEFT or _is_seen(each) for each in standings.values()):
            return standings
        # With a narrowed scope everyone would look deleted, or without any role.
        proven = await self._prove(counted, people)
        return {person: each if _is_proven(each, proven) else _undecided(each) for person, each in standings.items()}

    async def _look_at_one(self, person_id: str, email: str, look: _Look) -> StandingFound:
        try:
            seen = await self._look(person_id, look)
            is_unclear = seen.standing is Standing.LEFT and await self._has_another_holder(email, person_id)
        except ReadError as error:
            return StandingFound(Standing.UNKNOWN, LookupResult(Status.UNKNOWN, failure=error.cause))
        return _undecided(seen) if is_unclear else seen

    async def _look(self, person_id: str, look: _Look) -> StandingFound:
        user = await self._account.find_one(user_endpoint(person_id))
        found = lookup_from_user(self._events.name, self._mapper, person_id, user)
        if found.status is Status.DELETED:
            page = await self._account.read_first_page(users_with_id_endpoint(person_id))
            is_listed = any(row_id(row) == person_id for row in page.rows)
            return StandingFound(Standing.UNKNOWN if is_listed else Standing.LEFT, found)
        if found.status is Status.SUSPENDED:
            return StandingFound(Standing.LEFT, found)
        if found.status is Status.UNKNOWN or found.groups is None:
            return StandingFound(Standing.UNKNOWN, found)
        if found.groups & look.counted:
            return StandingFound(Standing.ENTITLED, found)
        if found.groups & look.granting or look.source.ignores_individuals:
            return StandingFound(Standing.LEFT, found)
        apps = await self._account.read_all(user_apps_endpoint(person_id))
        # Assigned individually, or OneLogin has yet to take it away: what that means a whole run decides.
        is_listed = any(row_id(row) == look.source.app for row in apps)
        return StandingFound(Standing.UNKNOWN if is_listed else Standing.LEFT, found)

    async def _has_another_holder(self, email: str, person_id: str) -> bool:
        """Return whether another person who may sign in has *email* now: a new id of the same human."""
        if not email:
            return False
        rows = map(user_from_json, await self._account.read_all(users_with_email_endpoint(email)))
        return any(row.id != person_id and self._mapper.status_of(row) is not Status.SUSPENDED for row in rows)

    async def _prove(self, counted: Sequence[AppGroup], people: Collection[str]) -> frozenset[Status]:
        """Return of which absences the reads are proof: `DELETED` if another person of the application can be read by
        id, `ACTIVE` (a person without a role) if that person's role is shown too.

        Without a role that counts nothing is: the guard of a whole run against an empty source decides.
        """
        proven: set[Status] = set()
        ids, tried = {role.id for role in counted}, 0
        for role in counted[:WITNESSES]:
            page = await self._account.read_first_page(role_users_endpoint(role))
            members = (each.id for each in map(membership_from_json, page.rows) if each.is_assigned)
            for key in members:
                if key is None or key in people or tried >= WITNESSES:
                    continue
                tried += 1
                witness = await self._account.find_one(user_endpoint(key))
                if witness is not None:
                    proven.add(Status.DELETED)
                    if ids.intersection(role_ids(witness) or ()):
                        return frozenset({*proven, Status.ACTIVE})
        return frozenset(proven)


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look counts. *granting* are the ids of all roles of the application, *counted* those of the source."""

    source: Source
    granting: frozenset[str]
    counted: frozenset[str]


def _is_seen(standing: StandingFound) -> bool:
    """Return whether the person's own row shows that they left."""
    return standing.found.status is Status.SUSPENDED


def _is_proven(standing: StandingFound, proven: Collection[Status]) -> bool:
    return standing.standing is not Standing.LEFT or _is_seen(standing) or standing.found.status in proven


def _undecided(standing: StandingFound) -> StandingFound:
    return StandingFound(Standing.UNKNOWN, standing.found)


def create_feed(
    name: str, settings: OneLoginSettings, context: ConnectorContext, *, timer: Timer = REAL_TIME
) -> OneLoginFeed:
    """Return the feed of one account."""
    waits = min(context.limits.max_wait_seconds, MAX_WAIT_SECONDS)
    events = create_api(name, settings, context.client, replace(context.limits, max_wait_seconds=waits), timer)
    account = OneLoginClient(create_api(name, settings, context.client, context.limits, timer), context.progress)
    mapper = UserMapper(name, settings.entitled_statuses)
    return OneLoginFeed(events, account, lambda: DirectoryReader(account), mapper, timer.wall)


def _page_from_response(response: ApiResponse, now: datetime) -> EventsPage:
    """Return the page of a response. Raises `IncompleteRead` where it does not show whether another one follows."""
    rows = tuple(map(_row_from_json, response.rows("data")))
    pagination = as_object(response.object_or_empty().get("pagination"))
    if "after_cursor" not in pagination and len(rows) >= PAGE_LIMIT:
        raise IncompleteRead(f"{response.server} answered for its events without its pagination.", LATER_HINT)
    after = as_text(pagination.get("after_cursor"))
    moment = server_time(response.headers)
    # The vendor's own document shows the word for a null.
    return EventsPage(
        rows, "" if after == "null" else after, now if moment is None else datetime.fromtimestamp(moment, UTC)
    )


def _next_place(place: Place, rows: Collection[EventRow], moment: datetime, *, is_long: bool) -> Place:
    """Return where to go on. *moment* is the server's clock: no time of an event leads beyond it."""
    newest = max(rows, key=lambda row: row.number, default=None)
    since = place.since
    if newest is not None and newest.created_at is not None:
        newest_at = min(newest.created_at, moment)
        since = max(since, _milliseconds(newest_at - OVERLAP))
        if is_long:
            since = max(since, _milliseconds(min(newest_at, moment - SETTLED)) - 1)
    return Place(since, {row.key for row in rows if row.milliseconds is None or row.milliseconds > since})


def _row_from_json(row: object) -> EventRow:
    fields = as_object(row)
    key = row_id(row)
    created_at = _time_from_text(as_text(fields.get("created_at")))
    if key is None:
        digest = hashlib.sha256(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
        return EventRow(digest, 0, created_at, fields)
    return EventRow(key, int(key) if key.isascii() and key.isdigit() else 0, created_at, fields)


def _event_from_row(row: EventRow, types: EventTypes) -> FeedEvent | None:
    """Return an event, None for one that was not asked for. One of an unknown type may mean anything."""
    type_id = id_from_json(row.fields.get("event_type_id")) or ""
    if types.is_noise(type_id):
        return None
    person, role, app = (
        found for found in (id_from_json(row.fields.get(name)) for name in ("user_id", "role_id", "app_id"))
    )
    meaning = types.meaning(type_id)
    return FeedEvent(
        row.key,
        types.word(type_id),
        row.created_at,
        () if person is None else (person,),
        # An application is more precise than a role, which gives others too.
        () if role is None or app is not None else (role,),
        () if app is None else (app,),
        is_wide=meaning is Meaning.WIDE or person is None,
        may_add=meaning is Meaning.GIVEN,
    )


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _time_text(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time_from_text(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
