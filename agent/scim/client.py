"""The SCIM client of one Pigment workspace: `agent.ports.Workspace` over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

import httpx

from agent.model import Fields, Listing, Member
from agent.scim.check import Checkup
from agent.scim.endpoint import Endpoint
from agent.scim.find import Finder
from agent.scim.paging import Lister
from agent.scim.token import Tokens, Warn
from agent.scim.write import Writer
from connectors.base import Finding, Permit, Progress, silent
from connectors.rest import DEFAULT_BOUNDS, NO_PACE, REAL_TIME, Api, Bounds, Pace, Timer

__all__ = ["ScimClient", "ScimWriter"]

PAGE_SIZE = 100
"""Every server seen takes it; some refuse more (`docs/reads-and-writes.md`)."""


def _ignore(event: str, **fields: object) -> None:
    """Warn nobody."""


class ScimClient:
    """One workspace, which it reads; `writing` gives what may write to it.

    *name* is the config's, *scim_url* verbatim as Pigment generated it. *pace* is shared by all workspaces on the host.
    Each of *tokens* is revealed when it is needed.
    """

    def __init__(  # noqa: PLR0913  (the wiring gives them by name)
        self,
        name: str,
        scim_url: str,
        tokens: Sequence[Callable[[], str]],
        client: httpx.AsyncClient,
        *,
        bounds: Bounds = DEFAULT_BOUNDS,
        pace: Pace = NO_PACE,
        timer: Timer = REAL_TIME,
        total_results: Literal["check", "ignore"] = "check",
        page_size: int = PAGE_SIZE,
        warn: Warn = _ignore,
    ) -> None:
        self.name = name
        self._tokens = Tokens(name, tokens, warn)
        who = f"Pigment workspace {name}"
        url = scim_url.removesuffix("/")
        self._api = Api(who, url, client, self._tokens.authorize, bounds=bounds, pace=pace, timer=timer)
        endpoint = Endpoint(self._api, self._tokens, timer)
        finder = Finder(endpoint, page_size)
        self._finder = finder
        self._lister = Lister(endpoint, page_size, bounds.max_pages, total_results)
        self._timer = timer
        self._checkup = Checkup(endpoint, finder)

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent so far."""
        return self._api.requests

    async def listing(self, progress: Progress = silent) -> Listing:
        """Return all members, inactive ones too. Raises `ReadError`. Every run begins here, with the first token."""
        self._tokens.restart()
        return await self._lister.listing(progress)

    async def find(self, email: str) -> tuple[Member, ...]:
        """Return the members whose `userName` is *email*, case ignored. Raises `ReadError`."""
        return await self._finder.find(email)

    def writing(self, permit: Permit) -> ScimWriter:
        """Return the same workspace to write to while *permit* holds."""
        endpoint = Endpoint(self._api, self._tokens, self._timer, permit)
        return ScimWriter(self, Writer(endpoint, self._finder, self._timer))

    async def check(self, unlikely: Callable[[], object] = uuid4) -> list[Finding]:
        """Try the URL, each token, and a lookup that finds no one; *unlikely* gives an address that no member has."""
        self._tokens.restart()
        return await self._checkup.findings(str(unlikely()))


@dataclass(frozen=True, slots=True)
class ScimWriter:
    """One workspace to write to: made by `ScimClient.writing`, and by nothing else."""

    client: ScimClient
    writer: Writer

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent so far."""
        return self.client.requests

    async def listing(self, progress: Progress = silent) -> Listing:
        """Return all members. Raises `ReadError`."""
        return await self.client.listing(progress)

    async def find(self, email: str) -> tuple[Member, ...]:
        """Return the members whose `userName` is *email*, case ignored. Raises `ReadError`."""
        return await self.client.find(email)

    async def create(self, email: str, display_name: str, given_name: str, family_name: str) -> Member:
        """POST an active member. Raises `WriteError`."""
        return await self.writer.create(email, display_name, given_name, family_name)

    async def patch(self, member: Member, wanted: Fields) -> Member:
        """PATCH `active` and the name, or PUT where that does not do. Raises `WriteError`."""
        return await self.writer.patch(member, wanted)

    async def replace(self, member: Member, wanted: Fields) -> Member:
        """PUT the whole member with *wanted* on top. Raises `WriteError`."""
        return await self.writer.replace(member, wanted)
