"""Poll Okta's System Log, and look at the people that it names.

Source: okta-developer-docs, System Log query: a polling request has no `until`, returns events in the order in which
they were persisted, and always has a `next` link, which may be the same as before.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx

from connectors.base import IncompleteRead, LookupResult, ReadError, Source, Status
from connectors.directory import as_object, as_text, select_groups
from connectors.feed import CursorLost, FeedEvent, FeedPage, Standing, StandingFound
from connectors.http import REAL_TIME, ApiClient, ApiResponse, Timer, server_time, task_group
from connectors.okta.auth import SCOPES
from connectors.okta.client import (
    LATER_HINT,
    OktaClient,
    app_user_endpoint,
    app_users_endpoint,
    user_endpoint,
    users_with_email_endpoint,
)
from connectors.okta.connector import DirectoryReader, create_api, lookup_from_user, user_mapper
from connectors.okta.mapping import NAMING, UserMapper
from connectors.okta.rows import RowReader, app_user_from_json
from connectors.okta.settings import OktaSettings
from connectors.provider import ConnectorContext

__all__ = ["EVENT_TYPES", "LOG_SCOPE", "OktaFeed", "create_feed"]

LOG_SCOPE = "okta.logs.read"
LOGS_PATH = "/api/v1/logs"
PAGE_LIMIT = 1000
OVERLAP = timedelta(minutes=10)
"""How far back a fresh cursor begins: an event may be persisted late."""
INDIVIDUAL_SCOPE = "USER"
DEACTIVATED_STATUS = "DEPROVISIONED"
WITNESSES = 5
"""Rows of the application's people that are read to prove that people can be seen at all."""

PERSON_TYPES = (
    "user.lifecycle.deactivate",
    "user.lifecycle.suspend",
    "user.lifecycle.unsuspend",
    "user.lifecycle.activate",
    "user.lifecycle.reactivate",
    "user.lifecycle.delete.initiated",
    "user.lifecycle.delete.completed",
    "user.account.update_profile",
    "user.account.update_primary_email",
    "group.user_membership.add",
    "group.user_membership.remove",
    "application.user_membership.add",
    "application.user_membership.remove",
)
WIDE_TYPES = (
    "group.application_assignment.add",
    "group.application_assignment.remove",
    "group.lifecycle.delete",
    "application.lifecycle.activate",
    "application.lifecycle.deactivate",
    "application.lifecycle.delete",
)
EVENT_TYPES = (*PERSON_TYPES, *WIDE_TYPES)
"""What is asked for. Source: Okta's list of event types, 2026-08-06."""
FILTER = " or ".join(f'eventType eq "{each}"' for each in EVENT_TYPES)
LOST_HINT = "A whole run follows, and a fresh cursor."
FEED_HINT = (
    f"Grant the service app the scope {LOG_SCOPE} in Okta (Okta API Scopes), and its admin role the right to view "
    "logs, or remove `feed` of the connector."
)


class OktaFeed:
    """Implements `connectors.feed.Feed`. *logs* has its own token: without `okta.logs.read` runs go on as before.

    *wall* returns seconds since 1970.
    """

    second_look_seconds = 0.0

    def __init__(
        self,
        logs: ApiClient,
        org: OktaClient,
        directory: Callable[[], DirectoryReader],
        mapper: UserMapper,
        wall: Callable[[], float],
    ) -> None:
        self._logs = logs
        self._org = org
        self._directory = directory
        self._mapper = mapper
        self._wall = wall

    async def begin(self) -> FeedPage:
        page = await self._begin_at(self._now())
        # From a time in Okta's future on nothing would be named until then.
        is_ahead = page.server_time is not None and page.server_time < self._now() - OVERLAP / 2
        return await self._begin_at(page.server_time) if is_ahead and page.server_time is not None else page

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)

    async def _begin_at(self, moment: datetime) -> FeedPage:
        since = moment - OVERLAP
        params = {
            "since": since.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "limit": str(PAGE_LIMIT),
            "filter": FILTER,
        }
        return self._page(await self._request(LOGS_PATH, params))

    async def poll(self, cursor: str) -> FeedPage:
        if not self._is_own_cursor(cursor):
            raise CursorLost("The place of the feed in the state is not one of this org's System Log.", LOST_HINT)
        return self._page(await self._request(cursor))

    def _is_own_cursor(self, cursor: str) -> bool:
        try:
            return httpx.URL(self._logs.require_own_link(cursor)).path == LOGS_PATH
        except (IncompleteRead, httpx.InvalidURL):
            return False

    async def _request(self, url: str, params: Mapping[str, str] | None = None) -> ApiResponse:
        accept = {200, 400, 403, 404}
        response = await self._logs.get(url, params, accept=accept, about="its System Log")
        if response.status == 200:
            return response
        error = self._logs.error_from_response(response, FEED_HINT if response.status in {403, 404} else LATER_HINT)
        if response.status == 400 and params is None:
            # A refused cursor and a refused parameter can't be distinguished by the code alone.
            raise CursorLost(error.message, LOST_HINT)
        raise error

    def _page(self, response: ApiResponse) -> FeedPage:
        rows, following = response.rows(None), response.link("next")
        if following is None:
            raise IncompleteRead("Okta answered for its System Log without a next link.", LATER_HINT)
        self._logs.require_own_link(following, "its System Log")
        moment = server_time(response.headers)
        return FeedPage(
            tuple(_event_from_json(row) for row in rows),
            following,
            has_more=len(rows) >= PAGE_LIMIT,
            server_time=None if moment is None else datetime.fromtimestamp(moment, UTC),
        )

    def needs_second_look(self, _first: StandingFound, /) -> bool:
        # Okta's specification calls `search` alone eventually consistent, and not reads by id.
        return False

    async def look_at(self, people: Mapping[str, str], source: Source) -> Mapping[str, StandingFound]:
        directory = self._directory()
        app_name = await directory.read_app_name(source.app)
        assigned = await directory.read_assigned_groups(source.app)
        counted = frozenset(group.id for group in select_groups(assigned, source.groups, app_name, NAMING))
        async with task_group() as tasks:
            looks = {
                person: tasks.create_task(self._look_at_one(person, email, source, counted))
                for person, email in people.items()
            }
        standings = {person: replace(task.result(), counted=counted) for person, task in looks.items()}
        if all(each.found.status is not Status.DELETED for each in standings.values()):
            return standings
        # With a narrowed role everyone would look deleted.
        sees_people = await self._sees_someone(source, people)
        return {person: each if sees_people else _without_proof(each) for person, each in standings.items()}

    async def _look_at_one(self, person_id: str, email: str, source: Source, counted: frozenset[str]) -> StandingFound:
        try:
            seen = await self._look(person_id, source, counted)
            is_unclear = seen.standing is Standing.LEFT and await self._has_another_holder(email, person_id, source)
        except ReadError as error:
            return StandingFound(Standing.UNKNOWN, LookupResult(Status.UNKNOWN, failure=error.cause))
        return StandingFound(Standing.UNKNOWN, seen.found) if is_unclear else seen

    async def _look(self, person_id: str, source: Source, counted: frozenset[str]) -> StandingFound:
        row = await self._org.find_one(app_user_endpoint(source.app, person_id))
        user = await self._org.find_one(user_endpoint(person_id))
        found = await lookup_from_user(self._org, self._mapper, person_id, user)
        if found.status is Status.DELETED:
            return StandingFound(Standing.LEFT if row is None else Standing.UNKNOWN, found)
        if found.status is Status.SUSPENDED:
            return StandingFound(Standing.LEFT, found)
        is_moving = bool(user and as_text(user.get("transitioningToStatus")))
        if is_moving or found.status is Status.UNKNOWN or found.groups is None:
            return StandingFound(Standing.UNKNOWN, found)
        holds_group = bool(found.groups & counted)
        if row is None:
            # In a group and not assigned: Okta moves assignments in the background.
            return StandingFound(Standing.UNKNOWN if holds_group else Standing.LEFT, found)
        is_individual = app_user_from_json(row).scope == INDIVIDUAL_SCOPE
        # What an individual assignment means is the policy's, so a whole run decides it.
        return StandingFound(Standing.ENTITLED if holds_group or is_individual else Standing.UNKNOWN, found)

    async def _has_another_holder(self, email: str, person_id: str, source: Source) -> bool:
        """Return whether another person who is not deactivated has *email* now: a new id of the same human."""
        if not email:
            return False
        rows = await self._org.read_all(users_with_email_endpoint(email, source.email), RowReader().users)
        return any(row.id != person_id and row.status != DEACTIVATED_STATUS for row in rows)

    async def _sees_someone(self, source: Source, people: Collection[str]) -> bool:
        """Return whether another person of the application can be read by id: then a missing one is missing."""
        page = await self._org.read_first_page(app_users_endpoint(source.app, WITNESSES), RowReader().app_users)
        for row in page.rows:
            if row.user.id and row.user.id not in people:
                return await self._org.find_one(user_endpoint(row.user.id)) is not None
        return False


def _without_proof(standing: StandingFound) -> StandingFound:
    is_deleted = standing.found.status is Status.DELETED
    return StandingFound(Standing.UNKNOWN, standing.found) if is_deleted else standing


def create_feed(
    name: str,
    settings: OktaSettings,
    context: ConnectorContext,
    *,
    timer: Timer = REAL_TIME,
    wall: Callable[[], float] = time.time,
) -> OktaFeed:
    """Return the feed of one org. *wall* returns seconds since 1970."""

    def client_for(scopes: str) -> ApiClient:
        limits = context.limits
        api, _ = create_api(name, settings, context.client, limits=limits, timer=timer, wall=wall, scopes=scopes)
        return api

    org = OktaClient(client_for(SCOPES), timer, context.progress)
    return OktaFeed(client_for(LOG_SCOPE), org, lambda: DirectoryReader(org), user_mapper(name, settings), wall)


def _event_from_json(row: object) -> FeedEvent:
    """Return an event. One of an unknown shape may concern anyone: it is wide."""
    fields = as_object(row)
    word, targets = as_text(fields.get("eventType")), fields.get("target")
    # Found by type: their order differs, even for one type of event.
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for target in map(as_object, targets if isinstance(targets, list) else ()):
        if found := as_text(target.get("id")):
            ids[as_text(target.get("type"))].append(found)
    return FeedEvent(
        as_text(fields.get("uuid")),
        word,
        _time_from_text(as_text(fields.get("published"))),
        tuple(ids["User"]),
        tuple(ids["UserGroup"]),
        tuple(ids["AppInstance"]),
        is_wide=word not in PERSON_TYPES or not ids["User"],
        # What a group gives comes as an event of its own, once Okta has assigned the application.
        may_add=word == "application.user_membership.add",
    )


def _time_from_text(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
