"""Read one Okta org: single objects, and lists to their end. Each refusal has the hint that fits it.

Source: Okta's management API, `/apps/{id}`, `/apps/{id}/users`, `/apps/{id}/groups`, `/groups/{id}`,
`/groups/{id}/users`, `/users/{id}`, `/users/{id}/groups`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from connectors.base import Progress
from connectors.directory import AppGroup, path_id, require_object
from connectors.http import ApiClient, ApiResponse, CursorExpired, Timer, escape_control, retry_from_start
from connectors.okta.mapping import NAMING

__all__ = [
    "LATER_HINT",
    "Endpoint",
    "OktaClient",
    "app_endpoint",
    "app_groups_endpoint",
    "app_users_endpoint",
    "apps_endpoint",
    "error_code",
    "group_endpoint",
    "group_members_endpoint",
    "user_endpoint",
    "user_groups_endpoint",
]

OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, SERVER_ERROR = 200, 400, 403, 404, 500
ACCEPTED_STATUSES = frozenset({OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND})
EXPIRED_CURSOR_CODE, NOT_FOUND_CODE = "E0000029", "E0000007"
MAX_RESTARTS = 1
RETRY_SECONDS = (1, 2)
"""Waits before asking for a first page again, each time half as long a page."""

EXPIRED_HINT = "Run again when Okta is less busy; a larger rate limit for this token makes the read shorter."
LATER_HINT = (
    "Try again later; if it stays, look at Okta's status page and report it to Okta's support with this message."
)

ROLE_HINT = "an admin role that may view it (API token: its owner needs the role)"
APP_HINT = (
    "Check `app` of the source (the id in the application's address in Okta's admin console), and give the service app "
    f"the scope okta.apps.read and {ROLE_HINT}."
)
GROUP_HINT = (
    f"Give the service app the scope okta.groups.read and {ROLE_HINT}, or, if the group is of no use "
    "any more, unassign it "
    "from the application in Okta."
)
USER_HINT = f"Give the service app the scope okta.users.read and {ROLE_HINT}."
ID_HINT = "Check the ids in the config: letters and digits, as in the addresses of Okta's admin console."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing to read. *description* names it in messages, *hint* says what to do when it is refused or not there.

    Lists have a *limit* of rows to a page, 0 where Okta takes none, and *expand* names what to embed in each.
    """

    path: str
    description: str
    hint: str
    limit: int = 0
    expand: str = ""

    def page_params(self, limit: int) -> dict[str, str]:
        return ({"expand": self.expand} if self.expand else {}) | ({"limit": str(limit)} if limit else {})


class OktaClient:
    """The reading end of one org. Every method raises `ReadError` for whatever is not a whole answer."""

    def __init__(self, api: ApiClient, timer: Timer, progress: Progress) -> None:
        self._api = api
        self._timer = timer
        self._progress = progress

    async def probe(self, ask: Endpoint) -> None:
        """Return when Okta knows who asks, whether or not it grants this."""
        await self._api.get(ask.path, ask.page_params(ask.limit), accept={OK, FORBIDDEN}, about=ask.description)

    async def find_one(self, ask: Endpoint) -> Mapping[str, object] | None:
        """Return one JSON object, None when Okta itself says that it has no such thing."""
        answer = await self._api.get(ask.path, accept=ACCEPTED_STATUSES, about=ask.description)
        if answer.status == NOT_FOUND and error_code(answer) == NOT_FOUND_CODE:
            return None
        return require_object(self._require_ok(answer, ask), ask.description, ask.hint)

    async def read_one(self, ask: Endpoint) -> Mapping[str, object]:
        """Return one JSON object."""
        answer = await self._api.get(ask.path, accept=ACCEPTED_STATUSES, about=ask.description)
        return require_object(self._require_ok(answer, ask), ask.description, ask.hint)

    async def read_first_page(self, ask: Endpoint, row: Callable[[object], T]) -> list[T]:
        """Return the first page of a list, for a look at it, each row as *row* reads it."""
        return [row(each) for each in (await self._request_first_page(ask)).rows(None)]

    async def read_all(self, ask: Endpoint, row: Callable[[object], T]) -> list[T]:
        """Return a whole list. When its cursor expires on the way it is read again from the start, once."""
        return await retry_from_start(lambda: self._read_pages(ask, row), MAX_RESTARTS)

    async def _read_pages(self, ask: Endpoint, row: Callable[[object], T]) -> list[T]:
        answer = await self._request_first_page(ask)
        walk = self._api.page_guard(str(answer.url), about=ask.description)
        rows = [row(each) for each in answer.rows(None)]
        while (onwards := answer.link("next")) is not None:
            self._progress(f"{self._api.name}: {ask.description}", len(rows), None)
            following = walk.advance(onwards)
            answer = await self._api.get(following, accept=ACCEPTED_STATUSES, about=walk.page_label)
            answer = self._require_ok(answer, ask)
            rows += map(row, answer.rows(None))
        self._progress(f"{self._api.name}: {ask.description}", len(rows), len(rows))
        return rows

    async def _request_first_page(self, ask: Endpoint) -> ApiResponse:
        """Ask for the first page; on a 500, which Okta answers when a page takes it too long, for a shorter one."""
        limit = ask.limit
        for seconds in RETRY_SECONDS:
            answer = await self._request_page(ask, limit, ACCEPTED_STATUSES | {SERVER_ERROR})
            if answer.status != SERVER_ERROR:
                return self._require_ok(answer, ask)
            limit //= 2
            await self._timer.sleep(seconds)
        return self._require_ok(await self._request_page(ask, limit, ACCEPTED_STATUSES | {SERVER_ERROR}), ask)

    async def _request_page(self, ask: Endpoint, limit: int, accept: frozenset[int]) -> ApiResponse:
        return await self._api.get(ask.path, ask.page_params(limit), accept=accept, about=ask.description)

    def _require_ok(self, answer: ApiResponse, ask: Endpoint) -> ApiResponse:
        """Return an answer that holds what was asked for, else raise."""
        if answer.status == OK:
            return answer
        if error_code(answer) == EXPIRED_CURSOR_CODE:
            raise CursorExpired(self._api.error_from_response(answer).message, EXPIRED_HINT)
        raise self._api.error_from_response(answer, ask.hint if answer.status in {FORBIDDEN, NOT_FOUND} else LATER_HINT)


def apps_endpoint() -> Endpoint:
    """Ask for any application at all: a look at whether Okta is there and knows us."""
    return Endpoint(
        "/api/v1/apps", "its applications", f"Give the service app the scope okta.apps.read and {ROLE_HINT}.", 1
    )


def app_endpoint(app_id: str) -> Endpoint:
    return Endpoint(f"/api/v1/apps/{_id(app_id)}", f"application {app_id}", APP_HINT)


def app_users_endpoint(app_id: str, limit: int = 500) -> Endpoint:
    what = f"the people of application {app_id}"
    return Endpoint(f"/api/v1/apps/{_id(app_id)}/users", what, APP_HINT, limit, "user")


def app_groups_endpoint(app_id: str) -> Endpoint:
    what = f"the groups of application {app_id}"
    return Endpoint(f"/api/v1/apps/{_id(app_id)}/groups", what, APP_HINT, 200, "group")


def group_endpoint(group_id: str) -> Endpoint:
    return Endpoint(f"/api/v1/groups/{_id(group_id)}", f"group {group_id}", GROUP_HINT)


def group_members_endpoint(of: AppGroup, limit: int = 200) -> Endpoint:
    what = f"the members of group {escape_control(of.name)} ({of.id})"
    return Endpoint(f"/api/v1/groups/{_id(of.id)}/users", what, GROUP_HINT, limit)


def user_endpoint(user_id: str) -> Endpoint:
    return Endpoint(f"/api/v1/users/{_id(user_id)}", f"person {user_id}", USER_HINT)


def user_groups_endpoint(user_id: str) -> Endpoint:
    return Endpoint(f"/api/v1/users/{_id(user_id)}/groups", f"the groups of person {user_id}", USER_HINT)


def _id(value: str) -> str:
    return path_id(value, NAMING.provider, ID_HINT)


def error_code(answer: ApiResponse) -> str:
    """Return Okta's `errorCode`, empty when the answer is not one of Okta's."""
    return str(answer.object_or_empty().get("errorCode", ""))
