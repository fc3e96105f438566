"""Read Graph's delta queries: each round of changes to its delta link, which is where the next one begins.

Source: Microsoft Graph v1.0, delta query overview, `user: delta`, `group: delta`. Only a delta link ends a round. A
token lives seven days. Afterwards, and during maintenance, Graph refuses it, and what happened since is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from connectors.base import IncompleteRead
from connectors.directory import as_object
from connectors.entra.client import GROUP_HINT, LATER_HINT, USER_HINT, is_expired
from connectors.feed import CursorLost
from connectors.http import ApiClient, ApiResponse, CursorExpired, retry_from_start, server_time

__all__ = ["LOST_HINT", "MAX_GROUP_IDS", "PEOPLE", "DeltaQuery", "DeltaReader", "DeltaRound", "groups_query"]

OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, GONE = 200, 400, 403, 404, 410
ACCEPTED_STATUSES = frozenset({OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, GONE})
MAX_GROUP_IDS = 50
"""Graph takes no more ids in the filter of one delta query."""

MAX_ROUND_PAGES = 20
"""Pages of one round. More changes than these are for a whole run."""

MAX_RESTARTS = 2
LOST_HINT = "A whole run follows, and a fresh cursor."
PEOPLE_FIELDS = "id,accountEnabled,userPrincipalName,mail,displayName,givenName,surname,userType,otherMails"
"""A change of any other property does not show, so the row of a disabled person needs `accountEnabled` here."""


@dataclass(frozen=True, slots=True)
class DeltaQuery:
    """A delta query. *description* names its subject in messages; *hint* is the next step where it is refused."""

    path: str
    params: Mapping[str, str]
    description: str
    hint: str


PEOPLE = DeltaQuery("/users/delta", {"$select": PEOPLE_FIELDS}, "the changes of people", USER_HINT)


def groups_query(ids: Sequence[str]) -> DeltaQuery:
    """Return the query for at most 50 groups. The ids must be valid in a path."""
    terms = " or ".join(f"id eq '{each}'" for each in ids)
    params = {"$select": "displayName,members", "$filter": terms}
    return DeltaQuery("/groups/delta", params, f"the changes of {len(ids)} groups", GROUP_HINT)


@dataclass(frozen=True, slots=True)
class DeltaRound:
    """The rows of one round, and the link of the next. *server_time* is Graph's clock, None: not given."""

    rows: tuple[object, ...]
    link: str
    server_time: datetime | None


class DeltaReader:
    """Reads delta queries of one tenant. Every method raises `ReadError` for anything but a complete round."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def begin(self, query: DeltaQuery) -> str:
        """Return the link of the changes from now on."""
        response = await self._get(query.path, query, {**query.params, "$deltatoken": "latest"})
        if response.status == BAD_REQUEST and "$filter" in query.params:
            # Whether the word goes together with a filter is documented nowhere: else the first round is read once.
            response = await self._get(query.path, query, query.params)
        return (await self._read_to_end(self._require_ok(response, query), query, max_pages=None)).link

    async def read(self, link: str, query: DeltaQuery) -> DeltaRound:
        """Return what changed since *link* was given. Raises `CursorLost`."""
        return await retry_from_start(lambda: self._read_round(link, query), MAX_RESTARTS)

    async def _read_round(self, link: str, query: DeltaQuery) -> DeltaRound:
        response = await self._get(link, query)
        # A refused token and a refused parameter can't be distinguished by the code alone.
        if is_expired(response) or response.status == BAD_REQUEST:
            raise CursorLost(self._api.error_from_response(response).message, LOST_HINT)
        return await self._read_to_end(self._require_ok(response, query), query, MAX_ROUND_PAGES)

    async def _read_to_end(self, response: ApiResponse, query: DeltaQuery, max_pages: int | None) -> DeltaRound:
        """Return the whole round that begins with *response*. An empty page with a next link is not the end."""
        guard = self._api.page_guard(str(response.url), about=query.description)
        rows = response.rows("value")
        while (following := self._link(response, "@odata.nextLink", query)) is not None:
            if guard.page_count == max_pages:
                raise CursorLost(
                    f"{self._api.name} reports more than {max_pages} pages of {query.description} at once.", LOST_HINT
                )
            response = await self._api.get(guard.advance(following), accept=ACCEPTED_STATUSES, about=guard.page_label)
            if is_expired(response):
                raise CursorExpired(self._api.error_from_response(response).message, LATER_HINT)
            response = self._require_ok(response, query)
            rows += response.rows("value")
        link = self._link(response, "@odata.deltaLink", query)
        if link is None:
            message = f"{self._api.name} ended {query.description} without a delta link{response.request_label}."
            raise IncompleteRead(message, LATER_HINT)
        moment = server_time(response.headers)
        return DeltaRound(tuple(rows), link, None if moment is None else datetime.fromtimestamp(moment, UTC))

    async def _get(self, url: str, query: DeltaQuery, params: Mapping[str, str] | None = None) -> ApiResponse:
        return await self._api.get(url, params, accept=ACCEPTED_STATUSES, about=query.description)

    def _require_ok(self, response: ApiResponse, query: DeltaQuery) -> ApiResponse:
        if response.status == OK:
            return response
        hint = query.hint if response.status in {FORBIDDEN, NOT_FOUND} else LATER_HINT
        raise self._api.error_from_response(response, hint)

    def _link(self, response: ApiResponse, name: str, query: DeltaQuery) -> str | None:
        """Return a link of the page, None without it. Raises `IncompleteRead` for one to another server."""
        link = as_object(response.json()).get(name)
        if link is None:
            return None
        if isinstance(link, str) and link:
            return self._api.require_own_link(link, query.description)
        message = f"{response.server} gives for {query.description} a {name} that is not a link"
        raise IncompleteRead(f"{message}{response.request_label}.", LATER_HINT)
