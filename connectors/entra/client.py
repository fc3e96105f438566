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
from connectors.directory import AppGroup, as_object, path_id, require_object
from connectors.entra.mapping import NAMING, USER_FIELDS
from connectors.http import ApiClient, ApiResponse, CursorExpired, escape_control, retry_from_start

__all__ = [
    "GROUP_HINT",
    "HIDDEN_HINT",
    "HIDDEN_ROLE",
    "Endpoint",
    "GraphClient",
    "app_assignments_endpoint",
    "app_endpoint",
    "deleted_user_endpoint",
    "error_code",
    "group_endpoint",
    "group_label",
    "group_members_endpoint",
    "own_principal_endpoint",
    "user_endpoint",
    "user_groups_endpoint",
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
"""Graph's words for a next link that it does not take any more: the first for lists, the others for deltas."""

MAX_RESTARTS = 3
"""Of one list: large ones have lost their place several times in one read."""

NOT_FOUND_CODE = "Request_ResourceNotFound"
LATER_HINT = "Try again later; if it stays, report it to Microsoft's support with this message."

MAX_PAGE_SIZE = 999
CONSENT_HINT = "with admin consent, to the app registration (Entra admin center > App registrations > API permissions)"
APP_HINT = (
    "Write the object id of the enterprise application into `app` (Entra admin center > Enterprise applications > "
    "Properties; not the application id, nor the object id of the app registration), and grant the application "
    f"permission Application.Read.All, {CONSENT_HINT}."
)
GROUP_HINT = (
    "If the group was deleted or is of no use any more, remove it from the enterprise application's users and groups; "
    "else grant the application permission GroupMember.Read.All (Member.Read.Hidden for hidden "
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
    """One thing to read. *description* names it in messages, *hint* says what to do when it is refused or not there.

    *select* names the fields, all when it is empty; lists have a *top* of rows to a page, objects the *id* that they
    must show.
    """

    path: str
    description: str
    hint: str
    select: str = ""
    top: int = 0
    id: str = ""

    @property
    def params(self) -> dict[str, str]:
        return ({"$select": self.select} if self.select else {}) | ({"$top": str(self.top)} if self.top else {})


class GraphClient:
    """The reading end of one tenant. Every method raises `ReadError` for whatever is not a whole answer."""

    def __init__(self, api: ApiClient, progress: Progress) -> None:
        self._api = api
        self._progress = progress

    @property
    def name(self) -> str:
        return self._api.name

    async def probe(self, ask: Endpoint) -> None:
        """Return when Graph knows who asks, whether or not it grants or has this."""
        await self._api.get(ask.path, ask.params, accept=PROBE_STATUSES, about=ask.description)

    async def find_one(self, ask: Endpoint) -> Mapping[str, object] | None:
        """Return one object, None when Graph itself says that it has no such thing."""
        answer = await self._request(ask)
        if answer.status == NOT_FOUND and error_code(answer) == NOT_FOUND_CODE:
            return None
        return require_object(self._require_ok(answer, ask), ask.description, ask.hint, object_id=ask.id)

    async def read_one(self, ask: Endpoint) -> Mapping[str, object]:
        """Return one object."""
        response = self._require_ok(await self._request(ask), ask)
        return require_object(response, ask.description, ask.hint, object_id=ask.id)

    async def read_first_page(self, ask: Endpoint, row: Callable[[object], T]) -> list[T]:
        """Return the first page of a list, for a look at it, each row as *row* reads it."""
        return [row(each) for each in self._require_ok(await self._request(ask), ask).rows("value")]

    async def read_all(self, ask: Endpoint, row: Callable[[object], T]) -> list[T]:
        """Return a whole list, begun again when Graph no longer knows a page that it named itself."""
        return await retry_from_start(lambda: self._read_pages(ask, row), MAX_RESTARTS)

    async def _read_pages(self, ask: Endpoint, row: Callable[[object], T]) -> list[T]:
        """Follow a list to its end. An empty page that names a next one is not it."""
        answer = self._require_ok(await self._request(ask), ask)
        walk = self._api.page_guard(str(answer.url), about=ask.description)
        rows = [row(each) for each in answer.rows("value")]
        while (onwards := _next_link(answer, ask)) is not None:
            self._progress(f"{self._api.name}: {ask.description}", len(rows), None)
            following = walk.advance(onwards)
            answer = await self._api.get(following, accept=PAGE_STATUSES, about=walk.page_label)
            if answer.status == GONE or (answer.status == BAD_REQUEST and error_code(answer) in EXPIRED_CODES):
                raise CursorExpired(self._api.error_from_response(answer).message, LATER_HINT)
            answer = self._require_ok(answer, ask)
            rows += map(row, answer.rows("value"))
        self._progress(f"{self._api.name}: {ask.description}", len(rows), len(rows))
        return rows

    async def _request(self, ask: Endpoint) -> ApiResponse:
        return await self._api.get(ask.path, ask.params, accept=ACCEPTED_STATUSES, about=ask.description)

    def _require_ok(self, answer: ApiResponse, ask: Endpoint) -> ApiResponse:
        """Return an answer that holds what was asked for, else raise."""
        if answer.status == OK:
            return answer
        raise self._api.error_from_response(answer, ask.hint)


def own_principal_endpoint(client_id: str) -> Endpoint:
    """Ask for our own service principal: a look at whether Graph is there and knows us."""
    return Endpoint(f"/servicePrincipals(appId='{_id(client_id)}')", "our own application", APP_HINT, "id")


def app_endpoint(app_id: str) -> Endpoint:
    fields = "id,displayName,accountEnabled,appRoleAssignmentRequired"
    return Endpoint(f"/servicePrincipals/{_id(app_id)}", f"application {app_id}", APP_HINT, fields, id=app_id)


def app_assignments_endpoint(app_id: str) -> Endpoint:
    what = f"the users and groups of application {app_id}"
    return Endpoint(f"/servicePrincipals/{_id(app_id)}/appRoleAssignedTo", what, APP_HINT, top=MAX_PAGE_SIZE)


def group_members_endpoint(of: AppGroup, *, nested: bool, top: int = MAX_PAGE_SIZE) -> Endpoint:
    """Ask for the direct members, or with *nested* for those of groups in the group too.

    The fields are users' ones, without a cast to users: a cast is served from an index that lags behind.
    """
    what = f"the members of group {group_label(of)}"
    if not nested:
        return Endpoint(f"/groups/{_id(of.id)}/members", what, GROUP_HINT, USER_FIELDS, top)
    return Endpoint(f"/groups/{_id(of.id)}/transitiveMembers", what, GROUP_HINT, f"{USER_FIELDS},visibility", top)


def group_endpoint(of: AppGroup) -> Endpoint:
    """Ask whether a group hides its members."""
    return Endpoint(
        f"/groups/{_id(of.id)}", f"group {group_label(of)}", GROUP_HINT, "id,displayName,visibility", id=of.id
    )


def group_label(group: AppGroup) -> str:
    """Return the name and the id of a group."""
    return group.id if group.name == group.id else f"{escape_control(group.name)} ({group.id})"


def user_endpoint(user_id: str) -> Endpoint:
    return Endpoint(f"/users/{_id(user_id)}", f"person {user_id}", USER_HINT, USER_FIELDS, id=user_id)


def user_groups_endpoint(user_id: str, *, nested: bool) -> Endpoint:
    """Ask for what holds a person: directly, or with *nested* through other groups too. Groups and roles alike."""
    relation = "transitiveMemberOf" if nested else "memberOf"
    what = f"the groups of person {user_id}"
    return Endpoint(f"/users/{_id(user_id)}/{relation}", what, USER_HINT, "id", MAX_PAGE_SIZE)


def deleted_user_endpoint(user_id: str) -> Endpoint:
    """Ask for a deleted person: Entra keeps them for 30 days."""
    return Endpoint(f"/directory/deletedItems/{_id(user_id)}", f"deleted person {user_id}", USER_HINT, id=user_id)


def _id(value: str) -> str:
    return path_id(value, NAMING.provider, ID_HINT)


def error_code(answer: ApiResponse) -> str:
    """Return Graph's `error.code`, empty when the answer is not one of Graph's."""
    return str(as_object(answer.object_or_empty().get("error")).get("code", ""))


def _next_link(answer: ApiResponse, ask: Endpoint) -> str | None:
    link = as_object(answer.json()).get("@odata.nextLink")
    if link is None or (isinstance(link, str) and link):
        return link
    message = f"{answer.server} gives a next page of {ask.description} that is not a link{answer.request_label}."
    raise IncompleteRead(message, LATER_HINT)
