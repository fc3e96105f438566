"""Read one Okta org: single objects, and lists to their end. Each refusal has the hint that fits it.

Source: Okta's management API, `/apps/{id}`, `/apps/{id}/users`, `/apps/{id}/groups`, `/groups/{id}`,
`/groups/{id}/users`, `/users/{id}`, `/users/{id}/groups`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from connectors.base import Progress
from connectors.directory import AppGroup, FirstPage, path_id, require_object
from connectors.http import ApiClient, ApiResponse, CursorExpired, Timer, escape_control, retry_from_start
from connectors.okta.mapping import NAMING

__all__ = [
    "LATER_HINT",
    "Endpoint",
    "OktaClient",
    "app_endpoint",
    "app_groups_endpoint",
    "app_user_endpoint",
    "app_users_endpoint",
    "apps_endpoint",
    "error_code",
    "group_endpoint",
    "group_members_endpoint",
    "user_endpoint",
    "user_groups_endpoint",
    "users_with_email_endpoint",
    "users_with_status_endpoint",
]

OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, SERVER_ERROR = 200, 400, 403, 404, 500
ACCEPTED_STATUSES = frozenset({OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND})
EXPIRED_CURSOR_CODE, NOT_FOUND_CODE = "E0000029", "E0000007"
MAX_RESTARTS = 1
RETRY_SECONDS = (1, 2)
"""Delays before requesting a first page again, each time with half as many rows."""

EXPIRED_HINT = "Run again when Okta is less busy; a larger rate limit for this token makes the read shorter."
LATER_HINT = (
    "Try again later; if it persists, look at Okta's status page and report it to Okta's support with this message."
)

ROLE_HINT = "an admin role that may view it (API token: its owner needs the role)"
APP_HINT = (
    "Check `app` of the source (the id in the application's address in Okta's admin console), and give the service app "
    f"the scope okta.apps.read and {ROLE_HINT}."
)
GROUP_HINT = (
    f"Give the service app the scope okta.groups.read and {ROLE_HINT}, or if the "
    "group is no longer needed, unassign it from the application in Okta."
)
USER_HINT = f"Give the service app the scope okta.users.read and {ROLE_HINT}."
ID_HINT = "Check the ids in the config: letters and digits, as in the addresses of Okta's admin console."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A request. *description* names its subject in messages; *hint* is the next step where it is refused or not found.

    *limit* is the number of rows in a page, 0 where Okta has no such parameter; *expand* is what each row embeds, and
    *filter* Okta's filter of the list.
    """

    path: str
    description: str
    hint: str
    limit: int = 0
    expand: str = ""
    filter: str = ""

    def page_params(self, limit: int) -> dict[str, str]:
        named = {"expand": self.expand, "filter": self.filter, "limit": str(limit) if limit else ""}
        return {name: value for name, value in named.items() if value}


class OktaClient:
    """Reads one org. Every method raises `ReadError` for anything but a complete answer."""

    def __init__(self, api: ApiClient, timer: Timer, progress: Progress) -> None:
        self._api = api
        self._timer = timer
        self._progress = progress

    @property
    def name(self) -> str:
        """The org's name in messages."""
        return self._api.name

    async def probe(self, endpoint: Endpoint) -> None:
        """Return once Okta accepts the credentials, whether or not it grants this request."""
        await self._api.get(
            endpoint.path, endpoint.page_params(endpoint.limit), accept={OK, FORBIDDEN}, about=endpoint.description
        )

    async def find_one(self, endpoint: Endpoint) -> Mapping[str, object] | None:
        """Return one JSON object, None when Okta itself reports that it does not exist."""
        params = endpoint.page_params(endpoint.limit)
        response = await self._api.get(endpoint.path, params, accept=ACCEPTED_STATUSES, about=endpoint.description)
        if response.status == NOT_FOUND and error_code(response) == NOT_FOUND_CODE:
            return None
        return require_object(self._require_ok(response, endpoint), endpoint.description, endpoint.hint)

    async def read_one(self, endpoint: Endpoint) -> Mapping[str, object]:
        """Return one JSON object."""
        response = await self._api.get(endpoint.path, accept=ACCEPTED_STATUSES, about=endpoint.description)
        return require_object(self._require_ok(response, endpoint), endpoint.description, endpoint.hint)

    async def read_first_page(self, endpoint: Endpoint, read_rows: Callable[[ApiResponse], list[T]]) -> FirstPage[T]:
        """Return the first page of a list."""
        response = await self._request_first_page(endpoint)
        return FirstPage(read_rows(response), response.link("next"))

    async def read_all(self, endpoint: Endpoint, read_rows: Callable[[ApiResponse], list[T]]) -> list[T]:
        """Return a complete list, each page as *read_rows* returns it.

        When its cursor expires, the list is read again from the start, once.
        """
        return await retry_from_start(lambda: self._read_pages(endpoint, read_rows), MAX_RESTARTS)

    async def _read_pages(self, endpoint: Endpoint, read_rows: Callable[[ApiResponse], list[T]]) -> list[T]:
        response = await self._request_first_page(endpoint)
        guard = self._api.page_guard(str(response.url), about=endpoint.description)
        rows = read_rows(response)
        while (link := response.link("next")) is not None:
            self._progress(f"{self._api.name}: {endpoint.description}", len(rows), None)
            next_url = guard.advance(link)
            response = await self._api.get(next_url, accept=ACCEPTED_STATUSES, about=guard.page_label)
            response = self._require_ok(response, endpoint)
            rows += read_rows(response)
        self._progress(f"{self._api.name}: {endpoint.description}", len(rows), len(rows))
        return rows

    async def _request_first_page(self, endpoint: Endpoint) -> ApiResponse:
        """Request the first page. After a 500, Okta's answer to a page that takes too long, request a shorter one."""
        limit = endpoint.limit
        for seconds in RETRY_SECONDS:
            response = await self._request_page(endpoint, limit, ACCEPTED_STATUSES | {SERVER_ERROR})
            if response.status != SERVER_ERROR:
                return self._require_ok(response, endpoint)
            limit //= 2
            await self._timer.sleep(seconds)
        return self._require_ok(await self._request_page(endpoint, limit, ACCEPTED_STATUSES | {SERVER_ERROR}), endpoint)

    async def _request_page(self, endpoint: Endpoint, limit: int, accept: frozenset[int]) -> ApiResponse:
        return await self._api.get(
            endpoint.path, endpoint.page_params(limit), accept=accept, about=endpoint.description
        )

    def _require_ok(self, response: ApiResponse, endpoint: Endpoint) -> ApiResponse:
        """Return *response* if its status is 200. Raises otherwise."""
        if response.status == OK:
            return response
        if error_code(response) == EXPIRED_CURSOR_CODE:
            raise CursorExpired(self._api.error_from_response(response).message, EXPIRED_HINT)
        raise self._api.error_from_response(
            response, endpoint.hint if response.status in {FORBIDDEN, NOT_FOUND} else LATER_HINT
        )


def apps_endpoint() -> Endpoint:
    """Request any application, to check that Okta is reachable and accepts the credentials."""
    return Endpoint(
        "/api/v1/apps", "its applications", f"Give the service app the scope okta.apps.read and {ROLE_HINT}.", 1
    )


def app_endpoint(app_id: str) -> Endpoint:
    return Endpoint(f"/api/v1/apps/{_id(app_id)}", f"application {app_id}", APP_HINT)


def app_users_endpoint(app_id: str, limit: int = 500) -> Endpoint:
    what = f"the people of application {app_id}"
    return Endpoint(f"/api/v1/apps/{_id(app_id)}/users", what, APP_HINT, limit, "user")


def app_user_endpoint(app_id: str, user_id: str) -> Endpoint:
    what = f"the assignment of person {user_id} to application {app_id}"
    return Endpoint(f"/api/v1/apps/{_id(app_id)}/users/{_id(user_id)}", what, APP_HINT, expand="user")


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


def users_with_status_endpoint(status: str) -> Endpoint:
    """Request one person of that status: without a filter, Okta leaves out those who were deactivated."""
    return Endpoint("/api/v1/users", f"its {status} people", USER_HINT, 1, filter=f'status eq "{status}"')


def users_with_email_endpoint(email: str, which: Literal["login", "mail"]) -> Endpoint:
    """Request the people whose login or mail is *email*. Unlike a search, a filter is not eventually consistent."""
    field = "profile.login" if which == "login" else "profile.email"
    literal = email.replace("\\", "\\\\").replace('"', '\\"')
    return Endpoint(
        "/api/v1/users", f"the people with the address {email}", USER_HINT, 200, filter=f'{field} eq "{literal}"'
    )


def user_groups_endpoint(user_id: str) -> Endpoint:
    return Endpoint(f"/api/v1/users/{_id(user_id)}/groups", f"the groups of person {user_id}", USER_HINT)


def _id(value: str) -> str:
    return path_id(value, NAMING.provider, ID_HINT)


def error_code(response: ApiResponse) -> str:
    """Return Okta's `errorCode`, empty for a response that is not Okta's."""
    return str(response.object_or_empty().get("errorCode", ""))
