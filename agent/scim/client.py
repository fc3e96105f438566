"""The SCIM client of one Pigment workspace: `agent.ports.workspace.WorkspaceWriter` over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

import httpx

from agent.model import Fields, Listing, Member
from agent.model.page_size import SMALL_PAGE
from agent.model.request_budget import RequestPurpose
from agent.model.server_facts import AS_ASSUMED, ServerFacts
from agent.scim.endpoint import Endpoint
from agent.scim.listing import Lister
from agent.scim.lookup import Finder, ListingFinder, MemberFinder
from agent.scim.page_size import FixedPageSize, PageSize
from agent.scim.purpose import requests_for
from agent.scim.tokens import WarnFunction, WorkspaceTokens
from connectors.base import Area, Finding, Permit, Progress, discard_progress
from connectors.http import DEFAULT_LIMITS, NO_RATE_LIMITER, REAL_TIME, ApiClient, RateLimiter, RequestLimits, Timer

# A dry run reads only: it starts faster without what writes and checks.
if TYPE_CHECKING:
    from agent.scim.probe import EndpointRequests
    from agent.scim.writer import Writer

__all__ = ["ScimClient", "ScimWriter"]


def _ignore_warning(event: str, **fields: object) -> None:
    """Ignore warnings."""


class ScimClient:
    """Reads one workspace; `writer_for` returns the writer.

    *name* is the key in the config, *scim_url* the URL exactly as Pigment generated it. *rate_limiter* is shared by all
    workspaces on the host. Each of *tokens* is read when it is needed.
    """

    def __init__(  # noqa: PLR0913  (`bootstrap` passes them by name)
        self,
        name: str,
        scim_url: str,
        tokens: Sequence[Callable[[], str]],
        client: httpx.AsyncClient,
        *,
        limits: RequestLimits = DEFAULT_LIMITS,
        rate_limiter: RateLimiter = NO_RATE_LIMITER,
        timer: Timer = REAL_TIME,
        total_results: Literal["check", "ignore"] = "check",
        page_size: int | PageSize = SMALL_PAGE,
        warn: WarnFunction = _ignore_warning,
    ) -> None:
        self.name = name
        self._tokens = WorkspaceTokens(name, tokens, warn)
        who = f"Pigment workspace {name}"
        url = scim_url.removesuffix("/")
        self._api = ApiClient(
            who, url, client, self._tokens.authorize, limits=limits, rate_limiter=rate_limiter, timer=timer
        )
        self._endpoint = Endpoint(self._api, self._tokens, timer)
        self._sizes = FixedPageSize(page_size) if isinstance(page_size, int) else page_size
        self._finder = Finder(self._endpoint, min(self._sizes.largest, SMALL_PAGE))
        self._lister = Lister(self._endpoint, self._sizes, limits.max_pages, total_results)
        self._timer = timer
        self._client = client
        self._url = url
        self._limits = limits

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent so far."""
        return self._api.request_count

    async def list_members(self, progress: Progress = discard_progress) -> Listing:
        """Return all members, including inactive ones. Raises `ReadError`. Starts with the first token."""
        self._tokens.restart()
        return await self._lister.list_members(progress)

    async def find(self, email: str) -> tuple[Member, ...]:
        """Return the members with the `userName` *email*, ignoring case. Raises `ReadError`."""
        return await self._finder.find(email)

    async def get(self, scim_id: str) -> Member | None:
        """Return the member with the id *scim_id*, None without one. Raises `ReadError`."""
        # A feed reads the member of a person who may have left: the first request of a deactivation.
        with requests_for(RequestPurpose.DEACTIVATION):
            return await self._finder.get(scim_id)

    def writer_for(self, permit: Permit, facts: ServerFacts = AS_ASSUMED) -> ScimWriter:
        """Return a writer for this workspace, valid while *permit* holds, for a server as *facts* describe it."""
        from agent.scim.writer import Writer

        endpoint = Endpoint(self._api, self._tokens, self._timer, permit)
        finder: MemberFinder = self._finder if facts.filters else ListingFinder(self._lister)
        return ScimWriter(self, finder, Writer(endpoint, finder, self._timer, facts))

    def probe_requests_for(self, permit: Permit) -> EndpointRequests:
        """Return the single requests of `probe`, which write while *permit* holds."""
        from agent.scim.probe import EndpointRequests

        return EndpointRequests(Endpoint(self._api, self._tokens, self._timer, permit))

    async def check(self, new_name: Callable[[], object] = uuid4) -> list[Finding]:
        """Check the URL, each token, and a lookup without a match. *new_name* returns a name that no member has."""
        from agent.scim.preflight import Preflight
        from connectors.checks import check_clock

        self._tokens.restart()
        subject, wall = f"workspace {self.name}", self._timer.wall
        clock = partial(check_clock, subject, self._url, self._client, self._limits, wall=wall, area=Area.WORKSPACE)
        return await Preflight(self.name, self._endpoint, self._finder, self._sizes, clock).run(str(new_name()))


@dataclass(frozen=True, slots=True)
class ScimWriter:
    """Writes to one workspace. Created by `ScimClient.writer_for` only."""

    client: ScimClient
    finder: MemberFinder
    writer: Writer

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent so far."""
        return self.client.requests

    async def list_members(self, progress: Progress = discard_progress) -> Listing:
        """Return all members. Raises `ReadError`."""
        return await self.client.list_members(progress)

    async def find(self, email: str) -> tuple[Member, ...]:
        """Return the members with the `userName` *email*, ignoring case. Raises `ReadError`."""
        return await self.finder.find(email)

    async def get(self, scim_id: str) -> Member | None:
        """Return the member with the id *scim_id*, None without one. Raises `ReadError`."""
        return await self.client.get(scim_id)

    async def create(self, email: str, display_name: str, given_name: str, family_name: str) -> Member:
        """POST an active member. Raises `WriteError`."""
        with requests_for(RequestPurpose.WRITE):
            return await self.writer.create(email, display_name, given_name, family_name)

    async def patch(self, member: Member, wanted: Fields) -> Member:
        """PATCH `active` and the name, or PUT where PATCH does not work. Raises `WriteError`."""
        with requests_for(_purpose_of(wanted)):
            return await self.writer.patch(member, wanted)

    async def replace(self, member: Member, wanted: Fields) -> Member:
        """PUT the whole member with the fields of *wanted* replaced. Raises `WriteError`."""
        with requests_for(_purpose_of(wanted)):
            return await self.writer.replace(member, wanted)


def _purpose_of(wanted: Fields) -> RequestPurpose:
    return RequestPurpose.DEACTIVATION if wanted.active is False else RequestPurpose.WRITE
