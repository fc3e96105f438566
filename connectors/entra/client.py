"""Read Microsoft Graph: single objects, and lists to their end. Each refusal has the hint that fits it.

Source: Microsoft Graph v1.0, `servicePrincipal`, `appRoleAssignedTo`, `group: list members`, `user: get`,
`user: list memberOf`,
`directory: deletedItems`. The longest page is asked for everywhere: without `$top`, rows of `appRoleAssignedTo` have
been left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from connectors.base import IncompleteRead, Progress
from connectors.directory import AppGroup, FirstPage, as_object, path_id, require_object
from connectors.entra.mapping import NAMING, USER_FIELDS
from connectors.http import ApiClient, ApiResponse, CursorExpired, escape_control, retry_from_start

__all__ = [
    "CONSENT_HINT",
    "GROUP_HINT",
    "HIDDEN_HINT",
    "HIDDEN_ROLE",
    "LATER_HINT",
    "MAX_PAGE_SIZE",
    "USER_HINT",
    "Endpoint",
    "GraphClient",
    "app_assignments_endpoint",
    "app_endpoint",
    "deleted_user_endpoint",
    "disabled_users_endpoint",
    "error_code",
    "group_endpoint",
    "group_label",
    "group_members_endpoint",
    "is_expired",
    "nested_groups_endpoint",
    "own_principal_endpoint",
    "user_endpoint",
    "user_groups_endpoint",
    "users_with_email_endpoint",
]

OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, GONE = 200, 400, 403, 404, 410
ACCEPTED_STATUSES = frozenset({OK, FORBIDDEN, NOT_FOUND})
PROBE_STATUSES = frozenset({OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND})
PAGE_STATUSES = ACCEPTED_STATUSES | {BAD_REQUEST, GONE}
EXPIRED_CODES = frozenset(
    {
        "Directory_ExpiredPageToken",
        "Directory_ResyncRequired",
        "resyncRequired",
        "syncStateNotFound",
        "syncStateInvalid",
    }
)
"""Graph's codes for an expired next link: the first for lists, the others for delta queries."""

MAX_RESTARTS = 3
"""Restarts of one list: large lists have expired several times in one read."""

NOT_FOUND_CODE = "Request_ResourceNotFound"
LATER_HINT = "Try again later; if it persists, report it to Microsoft's support with this message."

MAX_PAGE_SIZE = 999
CONSENT_HINT = "with admin consent, to the app registration (Entra admin center > App registrations > API permissions)"
APP_HINT = (
    "Write the object id of the enterprise application into `app` (Entra admin center > Enterprise applications > "
    "Properties; not the application id, nor the object id of the app registration), and grant the application "
    f"permission Application.Read.All, {CONSENT_HINT}."
)
GROUP_HINT = (
    "If the group was deleted or is no longer needed, remove it from the enterprise application's users and groups; "
    "otherwise grant the application permission GroupMember.Read.All (Member.Read.Hidden for hidden "
    f"members), {CONSENT_HINT}."
)
HIDDEN_ROLE = "Member.Read.Hidden"
HIDDEN_HINT = (
    f"Grant the application permission {HIDDEN_ROLE}, {CONSENT_HINT}, or unassign the group from the enterprise "
    "application. A managed identity may keep using a token without it for up to 24 hours."
)
USER_HINT = f"Grant the application permission User.Read.All, {CONSENT_HINT}."
ID_HINT = "Check the ids in the config: object ids, as in 00000000-0000-0000-0000-000000000000."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A request. *description* names its subject in messages; *hint* is the next step where it is refused or not found.

    *select* names the fields, empty for all, *filter* the rows. *top* is the number of rows in a page, *id* the id that
    an object must show.
    """

    path: str
    description: str
    hint: str
    select: str = ""
    top: int = 0
    id: str = ""
    filter: str = ""

    @property
    def params(self) -> dict[str, str]:
        named = {"$select": self.select, "$filter": self.filter, "$top": str(self.top) if self.top else ""}
        return {name: value for name, value in named.items() if value}


class GraphClient:
    """Reads one tenant. Every method raises `ReadError` for anything but a complete answer."""

    def __init__(self, api: ApiClient, progress: Progress) -> None:
        self._api = api
        self._progress = progress

    @property
    def name(self) -> str:
        return self._api.name

    async def probe(self, endpoint: Endpoint) -> None:
        """Return once Graph accepts the credentials, whether or not it grants or has the subject."""
        await self._api.get(endpoint.path, endpoint.params, accept=PROBE_STATUSES, about=endpoint.description)

    async def find_one(self, endpoint: Endpoint) -> Mapping[str, object] | None:
        """Return one object, None when Graph itself reports that it does not exist."""
        response = await self._request(endpoint)
        if response.status == NOT_FOUND and error_code(response) == NOT_FOUND_CODE:
            return None
        return require_object(
            self._require_ok(response, endpoint), endpoint.description, endpoint.hint, object_id=endpoint.id
        )

    async def read_one(self, endpoint: Endpoint) -> Mapping[str, object]:
        """Return one object."""
        response = self._require_ok(await self._request(endpoint), endpoint)
        return require_object(response, endpoint.description, endpoint.hint, object_id=endpoint.id)

    async def read_first_page(self, endpoint: Endpoint, parse: Callable[[object], T]) -> FirstPage[T]:
        """Return the first page of a list, each row read by *parse*."""
        response = self._require_ok(await self._request(endpoint), endpoint)
        return FirstPage([parse(item) for item in response.rows("value")], _next_link(response, endpoint))

    async def read_all(self, endpoint: Endpoint, parse: Callable[[object], T]) -> list[T]:
        """Return a complete list. When Graph's own next link has expired, the list is read again from the start."""
        return await retry_from_start(lambda: self._read_pages(endpoint, parse), MAX_RESTARTS)

    async def _read_pages(self, endpoint: Endpoint, parse: Callable[[object], T]) -> list[T]:
        """Return all rows. An empty page with a next link is not the end."""
        response = self._require_ok(await self._request(endpoint), endpoint)
        guard = self._api.page_guard(str(response.url), about=endpoint.description)
        rows = [parse(item) for item in response.rows("value")]
        while (link := _next_link(response, endpoint)) is not None:
            self._progress(f"{self._api.name}: {endpoint.description}", len(rows), None)
            next_url = guard.advance(link)
            response = await self._api.get(next_url, accept=PAGE_STATUSES, about=guard.page_label)
            if is_expired(response):
                raise CursorExpired(self._api.error_from_response(response).message, LATER_HINT)
            response = self._require_ok(response, endpoint)
            rows += map(parse, response.rows("value"))
        self._progress(f"{self._api.name}: {endpoint.description}", len(rows), len(rows))
        return rows

    async def _request(self, endpoint: Endpoint) -> ApiResponse:
        return await self._api.get(endpoint.path, endpoint.params, accept=ACCEPTED_STATUSES, about=endpoint.description)

    def _require_ok(self, response: ApiResponse, endpoint: Endpoint) -> ApiResponse:
        """Return *response* if its status is 200. Raises otherwise."""
        if response.status == OK:
            return response
        raise self._api.error_from_response(response, endpoint.hint)


def own_principal_endpoint(client_id: str) -> Endpoint:
    """Request our own service principal, to check that Graph is reachable and accepts the credentials."""
    return Endpoint(f"/servicePrincipals(appId='{_id(client_id)}')", "our own application", APP_HINT, "id")


def app_endpoint(app_id: str) -> Endpoint:
    fields = "id,displayName,accountEnabled,appRoleAssignmentRequired"
    return Endpoint(f"/servicePrincipals/{_id(app_id)}", f"application {app_id}", APP_HINT, fields, id=app_id)


def app_assignments_endpoint(app_id: str) -> Endpoint:
    what = f"the users and groups of application {app_id}"
    return Endpoint(f"/servicePrincipals/{_id(app_id)}/appRoleAssignedTo", what, APP_HINT, top=MAX_PAGE_SIZE)


def group_members_endpoint(of: AppGroup, *, nested: bool, top: int = MAX_PAGE_SIZE) -> Endpoint:
    """Request the direct members, or with *nested* also those of groups in the group.

    The fields are those of users, without a cast to users: Graph serves casts from an index that lags behind.
    """
    what = f"the members of group {group_label(of)}"
    if not nested:
        return Endpoint(f"/groups/{_id(of.id)}/members", what, GROUP_HINT, USER_FIELDS, top)
    return Endpoint(f"/groups/{_id(of.id)}/transitiveMembers", what, GROUP_HINT, f"{USER_FIELDS},visibility", top)


def nested_groups_endpoint(of: AppGroup) -> Endpoint:
    """Request the ids of everything in a group, to find the groups inside."""
    what = f"the groups in group {group_label(of)}"
    return Endpoint(f"/groups/{_id(of.id)}/transitiveMembers", what, GROUP_HINT, "id", MAX_PAGE_SIZE)


def group_endpoint(of: AppGroup) -> Endpoint:
    """Request whether a group hides its members."""
    return Endpoint(
        f"/groups/{_id(of.id)}", f"group {group_label(of)}", GROUP_HINT, "id,displayName,visibility", id=of.id
    )


def group_label(group: AppGroup) -> str:
    """Return the name and the id of a group."""
    return group.id if group.name == group.id else f"{escape_control(group.name)} ({group.id})"


def user_endpoint(user_id: str) -> Endpoint:
    return Endpoint(f"/users/{_id(user_id)}", f"person {user_id}", USER_HINT, USER_FIELDS, id=user_id)


def disabled_users_endpoint() -> Endpoint:
    """Request one person who may not sign in. With `$top` Graph gives no next link here, and none is wanted."""
    return Endpoint("/users", "people who may not sign in", USER_HINT, "id", 1, filter="accountEnabled eq false")


def users_with_email_endpoint(email: str) -> Endpoint:
    """Request the people who sign in with *email* or get mail there. With `$top` Graph would give no next link."""
    quoted = email.replace("'", "''")
    terms = f"userPrincipalName eq '{quoted}' or mail eq '{quoted}'"
    return Endpoint("/users", "people with an address", USER_HINT, "id,userPrincipalName,accountEnabled", filter=terms)


def user_groups_endpoint(user_id: str, *, nested: bool) -> Endpoint:
    """Request the groups and roles of a person: direct ones, or with *nested* also those through other groups."""
    relation = "transitiveMemberOf" if nested else "memberOf"
    what = f"the groups of person {user_id}"
    return Endpoint(f"/users/{_id(user_id)}/{relation}", what, USER_HINT, "id", MAX_PAGE_SIZE)


def deleted_user_endpoint(user_id: str) -> Endpoint:
    """Request a deleted person: Entra keeps them for 30 days."""
    return Endpoint(f"/directory/deletedItems/{_id(user_id)}", f"deleted person {user_id}", USER_HINT, id=user_id)


def _id(value: str) -> str:
    return path_id(value, NAMING.provider, ID_HINT)


def error_code(response: ApiResponse) -> str:
    """Return Graph's `error.code`, empty for a response that is not Graph's."""
    return str(as_object(response.object_or_empty().get("error")).get("code", ""))


def is_expired(response: ApiResponse) -> bool:
    """Return whether Graph no longer takes the link that was followed."""
    return response.status == GONE or (
        response.status in {BAD_REQUEST, NOT_FOUND} and error_code(response) in EXPIRED_CODES
    )


def _next_link(response: ApiResponse, endpoint: Endpoint) -> str | None:
    link = as_object(response.json()).get("@odata.nextLink")
    if link is None or (isinstance(link, str) and link):
        return link
    message = (
        f"{response.server} gives a next page of {endpoint.description} that is not a link{response.request_label}."
    )
    raise IncompleteRead(message, LATER_HINT)
