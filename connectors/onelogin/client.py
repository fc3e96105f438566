"""Read one OneLogin account: single objects, and lists to their end, counted.

Its cursors are offsets: a row that is added or removed during a read shifts all others, so one may be skipped. A list
is therefore complete only if it has as many rows as its first `Total-Count`, and that number never went down. Without
such a number, two reads must find the same ids. Otherwise the list is read again.

Source: OneLogin's API, version 2: `/apps/{id}`, `/apps/{id}/users`, `/roles`, `/roles/{id}`, `/roles/{id}/users`,
`/users`, `/users/{id}`, `/users/{id}/apps`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.base import IncompleteRead, Progress
from connectors.directory import AppGroup, FirstPage, path_id, require_object
from connectors.http import ApiClient, ApiResponse, CursorExpired, decode_cursor, escape_control, header_numbers
from connectors.onelogin.mapping import NAMING, SCOPE_HINT, row_id

__all__ = [
    "PAGE_SIZE",
    "Endpoint",
    "OneLoginClient",
    "app_endpoint",
    "app_users_endpoint",
    "role_endpoint",
    "role_users_endpoint",
    "roles_endpoint",
    "user_apps_endpoint",
    "user_endpoint",
    "users_endpoint",
    "users_with_email_endpoint",
    "users_with_id_endpoint",
    "users_with_status_endpoint",
]

OK, FORBIDDEN, NOT_FOUND = 200, 403, 404
ACCEPTED_STATUSES = frozenset({OK, FORBIDDEN, NOT_FOUND})
EXPIRED_CURSOR_STATUSES = frozenset({400, 410, 422})
"""Responses to a cursor that OneLogin itself returned: it has expired."""

MAX_READS = 3
PAGE_SIZE = 1000
SAMPLE_ROWS = 50
"""Rows that `check` reads: enough to distinguish a missing permission from one odd row."""

UNSTABLE_HINT = (
    "Run again while assignments do not change in OneLogin; if it persists, report it to OneLogin's support."
)
TRUNCATED_HINT = "Check for a proxy between this machine and OneLogin that drops headers: it makes lists end early."
APP_HINT = f"Check `app` of the source (the number in the address of the application in OneLogin). {SCOPE_HINT}"
ROLE_HINT = f"Take the role off the application in OneLogin if it is of no use any more. {SCOPE_HINT}"
ID_HINT = "Check the ids in the config: numbers, as in the addresses of OneLogin's administration."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A request. *description* names its subject in messages; *hint* is the next step after a refusal."""

    path: str
    description: str
    hint: str
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_description(self) -> str:
        return f"the {self.description}"


@dataclass(slots=True)
class ListRead:
    """One read of a list. *total* is its first `Total-Count`, None where it has none.

    *is_truncated*: rows follow a page without a next cursor, because something in between removed its headers.
    """

    page_count: int = 0
    total: int | None = None
    has_shrunk: bool = False
    is_truncated: bool = False
    by_id: dict[str, object] = field(default_factory=dict)
    rows_without_id: list[object] = field(default_factory=list)
    _latest_total: int | None = None

    def add_page(self, response: ApiResponse) -> None:
        """Add one page: each row with an id once, as the last page shows it, and all rows without one."""
        self.page_count += 1
        for row in response.rows(None):
            key = row_id(row)
            if key is None:
                self.rows_without_id.append(row)
            else:
                self.by_id[key] = row
        total = _total_count(response)
        if total is None:
            return
        self.has_shrunk = self.has_shrunk or (self._latest_total is not None and total < self._latest_total)
        self.total = total if self.total is None else self.total
        self._latest_total = total

    @property
    def rows(self) -> list[object]:
        return [*self.by_id.values(), *self.rows_without_id]

    def is_complete(self, earlier: ListRead | None) -> bool:
        if self.total is None:
            return earlier is not None and not self.is_truncated and earlier.by_id.keys() == self.by_id.keys()
        return not self.has_shrunk and len(self.by_id) + len(self.rows_without_id) >= self.total


class OneLoginClient:
    """Reads one account. Every method raises `ReadError` for anything but a complete answer."""

    def __init__(self, api: ApiClient, progress: Progress) -> None:
        self._api = api
        self._progress = progress

    async def find_one(self, endpoint: Endpoint) -> Mapping[str, object] | None:
        """Return one JSON object, None when OneLogin itself reports that it does not exist."""
        response = await self._api.get(endpoint.path, accept=ACCEPTED_STATUSES, about=endpoint.full_description)
        if response.status == NOT_FOUND and _is_api_not_found(response):
            return None
        return require_object(self._require_ok(response, endpoint), endpoint.full_description, endpoint.hint)

    async def read_one(self, endpoint: Endpoint) -> Mapping[str, object]:
        """Return one JSON object."""
        response = await self._api.get(endpoint.path, accept=ACCEPTED_STATUSES, about=endpoint.full_description)
        return require_object(self._require_ok(response, endpoint), endpoint.full_description, endpoint.hint)

    async def read_total(self, endpoint: Endpoint) -> int | None:
        """Return the number of rows by `Total-Count`, None where a list has none."""
        return _total_count(await self._request_page(endpoint, {"limit": "1"}))

    async def read_first_page(self, endpoint: Endpoint, limit: int = SAMPLE_ROWS) -> FirstPage[object]:
        """Return the first page of a list, with the cursor of the next one."""
        response = await self._request_page(endpoint, {"limit": str(limit)})
        return FirstPage(response.rows(None), self._next_cursor(response, endpoint) or None)

    async def read_all(self, endpoint: Endpoint) -> list[object]:
        """Return a complete list: each row with an id once, and all rows without one."""
        listing: ListRead | None = None
        expired: CursorExpired | None = None
        for _ in range(MAX_READS):
            try:
                earlier, listing = listing, await self._read_pages(endpoint)
            except CursorExpired as error:
                listing, expired = None, error
                continue
            if listing.is_complete(earlier):
                return listing.rows
        raise expired or self._unstable_list_error(endpoint, listing)

    async def _read_pages(self, endpoint: Endpoint) -> ListRead:
        response = await self._request_page(endpoint, {"limit": str(PAGE_SIZE)})
        guard = self._api.page_guard(endpoint.path, about=endpoint.full_description)
        listing = ListRead()
        while True:
            listing.add_page(response)
            self._progress(f"{self._api.name}: {endpoint.description}", len(listing.by_id), listing.total)
            cursor = self._next_cursor(response, endpoint)
            if not cursor:
                break
            # OneLogin refuses a cursor together with `limit` or `page`: the cursor holds both.
            next_cursor = guard.advance(cursor)
            response = await self._request_page(endpoint, {"cursor": next_cursor}, guard.page_label)
        if listing.page_count == 1 and listing.total is None:
            second_page = await self._request_page(endpoint, {"limit": str(PAGE_SIZE), "page": "2"})
            listing.is_truncated = any(row_id(row) not in listing.by_id for row in second_page.rows(None))
        return listing

    def _next_cursor(self, response: ApiResponse, endpoint: Endpoint) -> str:
        """Return the cursor of the next page, empty at the end."""
        found = {decode_cursor(line.strip()) for line in response.headers.get_list("After-Cursor")} - {""}
        if len(found) > 1:
            raise IncompleteRead(
                f"{self._api.name} gives two different next pages of the {endpoint.description}.", TRUNCATED_HINT
            )
        return found.pop() if found else ""

    async def _request_page(self, endpoint: Endpoint, place: Mapping[str, str], about: str = "") -> ApiResponse:
        params = {**endpoint.params, **place}
        accept = ACCEPTED_STATUSES | (EXPIRED_CURSOR_STATUSES if "cursor" in place else frozenset())
        response = await self._api.get(endpoint.path, params, accept=accept, about=about or endpoint.full_description)
        if response.status in EXPIRED_CURSOR_STATUSES:
            raise CursorExpired(self._api.error_from_response(response).message, UNSTABLE_HINT)
        return self._require_ok(response, endpoint)

    def _require_ok(self, response: ApiResponse, endpoint: Endpoint) -> ApiResponse:
        """Return *response* if its status is 200. Raises otherwise."""
        if response.status == OK:
            return response
        raise self._api.error_from_response(response, endpoint.hint)

    def _unstable_list_error(self, endpoint: Endpoint, listing: ListRead | None) -> IncompleteRead:
        if listing is not None and listing.is_truncated:
            return IncompleteRead(
                f"{self._api.name} has more {endpoint.description} but does not link to them: no "
                "After-Cursor, no Total-Count.",
                TRUNCATED_HINT,
            )
        listed = 0 if listing is None else len(listing.rows)
        if listing is None or listing.total is None:
            problem = f"listed {listed:,} {endpoint.description}, different ones each time"
        elif listing.has_shrunk:
            problem = f"lost some of the {listing.total:,} {endpoint.description} while it listed them"
        else:
            problem = f"reports {listing.total:,} {endpoint.description} and listed {listed:,}"
        return IncompleteRead(f"{self._api.name} {problem}, {MAX_READS} times.", UNSTABLE_HINT)


def _total_count(response: ApiResponse) -> int | None:
    found = header_numbers(response.headers, "Total-Count")
    return found[-1] if found else None


def app_endpoint(app_id: str) -> Endpoint:
    return Endpoint(f"/api/2/apps/{_id(app_id)}", f"application {app_id}", APP_HINT)


def app_users_endpoint(app_id: str) -> Endpoint:
    return Endpoint(f"/api/2/apps/{_id(app_id)}/users", f"users of application {app_id}", APP_HINT)


def roles_endpoint(app_id: str) -> Endpoint:
    params = {"app_id": _id(app_id), "fields": "id,name"}
    return Endpoint("/api/2/roles", f"roles of application {app_id}", SCOPE_HINT, params)


def role_endpoint(role_id: str) -> Endpoint:
    return Endpoint(f"/api/2/roles/{_id(role_id)}", f"role {role_id}", ROLE_HINT)


def role_users_endpoint(of: AppGroup) -> Endpoint:
    named = of.id if of.name == of.id else f"{escape_control(of.name)} ({of.id})"
    return Endpoint(f"/api/2/roles/{_id(of.id)}/users", f"people of role {named}", ROLE_HINT)


def users_endpoint() -> Endpoint:
    return Endpoint("/api/2/users", "users", SCOPE_HINT)


def users_with_status_endpoint(status: int) -> Endpoint:
    return Endpoint("/api/2/users", f"users of status {status}", SCOPE_HINT, {"status": str(status)})


def users_with_email_endpoint(email: str) -> Endpoint:
    return Endpoint("/api/2/users", "users with one address", SCOPE_HINT, {"email": email})


def users_with_id_endpoint(user_id: str) -> Endpoint:
    return Endpoint("/api/2/users", f"users with the id {user_id}", SCOPE_HINT, {"user_ids": _id(user_id)})


def user_apps_endpoint(user_id: str) -> Endpoint:
    """Return the applications of a person. Without the parameter OneLogin leaves out what its portal hides."""
    params = {"ignore_visibility": "true"}
    return Endpoint(f"/api/2/users/{_id(user_id)}/apps", f"applications of user {user_id}", SCOPE_HINT, params)


def user_endpoint(user_id: str) -> Endpoint:
    return Endpoint(f"/api/2/users/{_id(user_id)}", f"user {user_id}", SCOPE_HINT)


def _id(value: str) -> str:
    return path_id(value, NAMING.provider, ID_HINT)


def _is_api_not_found(response: ApiResponse) -> bool:
    """Return whether a 404 is the API's own, in any of its three shapes, and not that of a proxy."""
    document = response.object_or_empty()
    inner = document.get("status")
    shapes = [document, inner] if isinstance(inner, dict) else [document]
    return any(NOT_FOUND in (each.get("statusCode"), each.get("code")) for each in shapes)
