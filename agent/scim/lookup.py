"""Find members by email with a filter, and detect servers that ignore it."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol
from urllib.parse import quote

import orjson

from agent.errors import WriteError
from agent.model import Member
from agent.model.email import normalize
from agent.scim.codec import Page, attribute, member_from_json, page_from_json
from agent.scim.endpoint import Endpoint, user_path
from agent.scim.listing import Lister
from connectors.base import IncompleteRead, ReadError, discard_progress
from connectors.http import ApiResponse

__all__ = ["Finder", "ListingFinder", "MemberFinder", "filter_query"]

OK, NOT_FOUND = 200, 404


def filter_query(email: str, count: int, attribute_name: str = "userName") -> str:
    """Return the query of a lookup: `userName eq "x"`, escaped as JSON (RFC 7644, section 3.4.2.2), all encoded."""
    literal = orjson.dumps(email).decode()
    return f"filter={quote(f'{attribute_name} eq {literal}', safe='')}&startIndex=1&count={count}"


class MemberFinder(Protocol):
    """Looks up members of one workspace."""

    async def find(self, email: str) -> tuple[Member, ...]:
        """Return the members with that `userName`, ignoring case. Raises `ReadError`."""
        ...


class ListingFinder:
    """Looks up members in a listing of all, where a probe saw that the server's filter can't be used."""

    def __init__(self, lister: Lister) -> None:
        self._lister = lister

    async def find(self, email: str) -> tuple[Member, ...]:
        """Return the members with that `userName`, ignoring case. Raises `ReadError`."""
        listing = await self._lister.list_members(discard_progress)
        wanted = normalize(email)
        return tuple(member for member in listing.members if normalize(member.email) == wanted)


class Finder:
    """Looks up members of one workspace."""

    def __init__(self, endpoint: Endpoint, page_size: int) -> None:
        self._endpoint = endpoint
        self._page_size = page_size

    async def find(self, email: str) -> tuple[Member, ...]:
        """Return the members with that `userName`, ignoring case. Raises `ReadError`."""
        # Some servers return 404 when no member matches.
        response = await self._endpoint.read(f"Users?{filter_query(email, self._page_size)}", (OK, NOT_FOUND))
        if response.status == NOT_FOUND:
            if _is_scim_error(response):
                return ()
            raise self._endpoint.api.error_from_response(response)
        page = page_from_json(response.json(), self._endpoint.name, response.request_id_label)
        wanted = normalize(email)
        found = tuple(member for member in page.members if normalize(member.email) == wanted)
        if not found and _has_hidden_members(page):
            raise IncompleteRead(
                f"{self._endpoint.name} does not filter by userName: it returns other "
                f"members{response.request_id_label}.",
                "Check that `scim_url` is the URL that Pigment generated for this workspace.",
            )
        return found

    async def get(self, scim_id: str) -> Member | None:
        """Return the member with that id, None if the workspace reports that it does not exist.

        Raises `ReadError`, also for a 404 without a SCIM error: a path that does not exist shows no member.
        """
        try:
            path = user_path(scim_id)
        except WriteError as error:
            raise IncompleteRead(error.message, error.hint) from error
        response = await self._endpoint.read(path, (OK, NOT_FOUND))
        if response.status == NOT_FOUND:
            if _is_scim_error(response):
                return None
            raise self._endpoint.api.error_from_response(response)
        member = member_from_json(response.json())
        if member is None or member.scim_id != scim_id:
            raise IncompleteRead(
                f"{self._endpoint.name} answered with another member than {scim_id}{response.request_id_label}.",
                "Try again later; if it persists, ask Pigment's support.",
            )
        return member if member.etag else replace(member, etag=response.headers.get("etag", ""))


def _has_hidden_members(page: Page) -> bool:
    return page.unreadable_count > 0 or (page.total or 0) > page.row_count


def _is_scim_error(response: ApiResponse) -> bool:
    try:
        document = response.json()
    except ReadError:
        return False
    return isinstance(document, dict) and attribute(document, "schemas") is not None
