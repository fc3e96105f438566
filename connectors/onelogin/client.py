"""Read one OneLogin account: single objects, and lists to their end, counted.

Its cursors are offsets in disguise: who comes or goes during a walk shifts all the others, so that one may be skipped.
A list is therefore believed only when it holds as many as its `Total-Count` said at first and that number never went
down on the way; where there is no such number, when two walks found the same ids. Else it is walked again.

Source: OneLogin's API, version 2: `/apps/{id}`, `/apps/{id}/users`, `/roles`, `/roles/{id}`, `/roles/{id}/users`,
`/users`, `/users/{id}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.base import IncompleteRead, Progress
from connectors.directory import AppGroup, path_id, require_object
from connectors.http import ApiClient, ApiResponse, CursorExpired, decode_cursor, escape_control, header_numbers
from connectors.onelogin.mapping import NAMING, SCOPE_HINT, row_id

__all__ = [
    "Endpoint",
    "OneLoginClient",
    "app_endpoint",
    "app_users_endpoint",
    "role_endpoint",
    "role_users_endpoint",
    "roles_endpoint",
    "user_endpoint",
    "users_endpoint",
]

OK, FORBIDDEN, NOT_FOUND = 200, 403, 404
ACCEPTED_STATUSES = frozenset({OK, FORBIDDEN, NOT_FOUND})
EXPIRED_CURSOR_STATUSES = frozenset({400, 410, 422})
"""To a page that a cursor of OneLogin's own names, after a first page was given: that cursor is good no more."""

MAX_READS = 3
PAGE_SIZE = 1000
SAMPLE_ROWS = 50
"""Rows looked at by `check`: enough to tell a missing permission from one odd row."""

UNSTABLE_HINT = "Run again when nobody changes assignments in OneLogin; if it stays, report it to OneLogin's support."
TRUNCATED_HINT = "Look at what stands between here and OneLogin: a proxy that drops headers makes lists end early."
APP_HINT = f"Check `app` of the source (the number in the address of the application in OneLogin). {SCOPE_HINT}"
ROLE_HINT = f"Take the role off the application in OneLogin if it is of no use any more. {SCOPE_HINT}"
ID_HINT = "Check the ids in the config: numbers, as in the addresses of OneLogin's administration."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing to read. *description* names it in messages, *hint* says what to do when it is refused or not there."""

    path: str
    description: str
    hint: str
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_description(self) -> str:
        return f"the {self.description}"


@dataclass(slots=True)
class ListRead:
    """What one walk over a list found. *total* is what the list said at first, None when it never said anything.

    *is_truncated* says that more came after the page that named no next one: something on the way took its headers.
    """

    page_count: int = 0
    total: int | None = None
    has_shrunk: bool = False
    is_truncated: bool = False
    by_id: dict[str, object] = field(default_factory=dict)
    rows_without_id: list[object] = field(default_factory=list)
    _latest_total: int | None = None

    def add_page(self, answer: ApiResponse) -> None:
        """Add one page: each row with an id once, as the last page shows it, and those without as they come."""
        self.page_count += 1
        for row in answer.rows(None):
            key = row_id(row)
            if key is None:
                self.rows_without_id.append(row)
            else:
                self.by_id[key] = row
        said = _total_count(answer)
        if said is None:
            return
        self.has_shrunk = self.has_shrunk or (self._latest_total is not None and said < self._latest_total)
        self.total = said if self.total is None else self.total
        self._latest_total = said

    @property
    def rows(self) -> list[object]:
        return [*self.by_id.values(), *self.rows_without_id]

    def is_complete(self, earlier: ListRead | None) -> bool:
        if self.total is None:
            return earlier is not None and not self.is_truncated and earlier.by_id.keys() == self.by_id.keys()
        return not self.has_shrunk and len(self.by_id) + len(self.rows_without_id) >= self.total


class OneLoginClient:
    """The reading end of one account. Every method raises `ReadError` for whatever is not a whole answer."""

    def __init__(self, api: ApiClient, progress: Progress) -> None:
        self._api = api
        self._progress = progress

    async def find_one(self, ask: Endpoint) -> Mapping[str, object] | None:
        """Return one JSON object, None when OneLogin itself says that it has no such thing."""
        answer = await self._api.get(ask.path, accept=ACCEPTED_STATUSES, about=ask.full_description)
        if answer.status == NOT_FOUND and _is_api_not_found(answer):
            return None
        return require_object(self._require_ok(answer, ask), ask.full_description, ask.hint)

    async def read_one(self, ask: Endpoint) -> Mapping[str, object]:
        """Return one JSON object."""
        answer = await self._api.get(ask.path, accept=ACCEPTED_STATUSES, about=ask.full_description)
        return require_object(self._require_ok(answer, ask), ask.full_description, ask.hint)

    async def read_total(self, ask: Endpoint) -> int | None:
        """Return how many rows a list says it has, None when it does not say."""
        return _total_count(await self._request_page(ask, {"limit": "1"}))

    async def read_first_page(self, ask: Endpoint) -> list[object]:
        """Return the first page of a list, for a look at it."""
        return (await self._request_page(ask, {"limit": str(SAMPLE_ROWS)})).rows(None)

    async def read_all(self, ask: Endpoint) -> list[object]:
        """Return a whole list, each row with an id once, and those without as they come."""
        walked: ListRead | None = None
        expired: CursorExpired | None = None
        for _ in range(MAX_READS):
            try:
                earlier, walked = walked, await self._read_pages(ask)
            except CursorExpired as error:
                walked, expired = None, error
                continue
            if walked.is_complete(earlier):
                return walked.rows
        raise expired or self._unstable_list_error(ask, walked)

    async def _read_pages(self, ask: Endpoint) -> ListRead:
        answer = await self._request_page(ask, {"limit": str(PAGE_SIZE)})
        walk = self._api.page_guard(ask.path, about=ask.full_description)
        walked = ListRead()
        while True:
            walked.add_page(answer)
            self._progress(f"{self._api.name}: {ask.description}", len(walked.by_id), walked.total)
            cursor = self._next_cursor(answer, ask)
            if not cursor:
                break
            # OneLogin refuses a cursor beside `limit` or `page`: it holds both.
            following = walk.advance(cursor)
            answer = await self._request_page(ask, {"cursor": following}, walk.page_label)
        if walked.page_count == 1 and walked.total is None:
            beyond = await self._request_page(ask, {"limit": str(PAGE_SIZE), "page": "2"})
            walked.is_truncated = any(row_id(row) not in walked.by_id for row in beyond.rows(None))
        return walked

    def _next_cursor(self, answer: ApiResponse, ask: Endpoint) -> str:
        """Return what names the next page, empty at the end."""
        found = {decode_cursor(line.strip()) for line in answer.headers.get_list("After-Cursor")} - {""}
        if len(found) > 1:
            raise IncompleteRead(
                f"{self._api.name} gives two different next pages of the {ask.description}.", TRUNCATED_HINT
            )
        return found.pop() if found else ""

    async def _request_page(self, ask: Endpoint, place: Mapping[str, str], about: str = "") -> ApiResponse:
        params = {**ask.params, **place}
        accept = ACCEPTED_STATUSES | (EXPIRED_CURSOR_STATUSES if "cursor" in place else frozenset())
        answer = await self._api.get(ask.path, params, accept=accept, about=about or ask.full_description)
        if answer.status in EXPIRED_CURSOR_STATUSES:
            raise CursorExpired(self._api.error_from_response(answer).message, UNSTABLE_HINT)
        return self._require_ok(answer, ask)

    def _require_ok(self, answer: ApiResponse, ask: Endpoint) -> ApiResponse:
        """Return an answer that holds what was asked for, else raise."""
        if answer.status == OK:
            return answer
        raise self._api.error_from_response(answer, ask.hint)

    def _unstable_list_error(self, ask: Endpoint, walked: ListRead | None) -> IncompleteRead:
        if walked is not None and walked.is_truncated:
            return IncompleteRead(
                f"{self._api.name} goes on with the {ask.description} and does not say where: no "
                "After-Cursor, no Total-Count.",
                TRUNCATED_HINT,
            )
        listed = 0 if walked is None else len(walked.rows)
        if walked is None or walked.total is None:
            told = f"listed {listed:,} {ask.description}, others each time"
        elif walked.has_shrunk:
            told = f"lost some of the {walked.total:,} {ask.description} while it listed them"
        else:
            told = f"says that there are {walked.total:,} {ask.description} and listed {listed:,}"
        return IncompleteRead(f"{self._api.name} {told}, {MAX_READS} times over.", UNSTABLE_HINT)


def _total_count(answer: ApiResponse) -> int | None:
    found = header_numbers(answer.headers, "Total-Count")
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


def user_endpoint(user_id: str) -> Endpoint:
    return Endpoint(f"/api/2/users/{_id(user_id)}", f"user {user_id}", SCOPE_HINT)


def _id(value: str) -> str:
    return path_id(value, NAMING.provider, ID_HINT)


def _is_api_not_found(answer: ApiResponse) -> bool:
    """Tell a 404 of the API, in any of its three shapes, from one of whatever stands in front of it."""
    document = answer.object_or_empty()
    inner = document.get("status")
    shapes = [document, inner] if isinstance(inner, dict) else [document]
    return any(NOT_FOUND in (each.get("statusCode"), each.get("code")) for each in shapes)
