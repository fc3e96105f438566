"""Read one Entra tenant: whole snapshots of its enterprise applications, or an error.

Only a group's direct members count unless a source asks for nested ones: Entra's own assignment does not cascade, so
whoever is in a nested group alone could not sign in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import httpx

from connectors.base import Finding, Progress, ReadError, Snapshot, Source, Status, Whereabouts, silent
from connectors.entra import endpoint
from connectors.entra.assembly import snapshot
from connectors.entra.checkup import findings
from connectors.entra.credential import Tokens
from connectors.entra.directory import Directory
from connectors.entra.graph import Graph
from connectors.entra.portrait import Portrait, enabled_word
from connectors.entra.row import member_from_json
from connectors.entra.settings import EntraSettings
from connectors.rest import DEFAULT_BOUNDS, REAL_TIME, Api, Bounds, Pause, Timer

__all__ = ["EntraConnector"]

NOBODY = "00000000-0000-0000-0000-000000000000"


class EntraConnector:
    """Implements `connectors.base.Connector`. One instance lives for one command or tick, and reads a group once.

    *ca_bundle* is for the token requests, which do not go through *client*. *wall* tells seconds since 1970.
    """

    def __init__(  # noqa: PLR0913  (five are optional and come from the wiring)
        self,
        name: str,
        settings: EntraSettings,
        client: httpx.AsyncClient,
        *,
        ca_bundle: Path | None = None,
        bounds: Bounds = DEFAULT_BOUNDS,
        timer: Timer = REAL_TIME,
        wall: Callable[[], float] = time.time,
        progress: Progress = silent,
    ) -> None:
        who = f"Entra ({name})"
        tokens = Tokens(who, settings, ca_bundle, bounds, timer, wall)
        pace = Pause(who, bounds.max_wait_seconds, timer)
        self._api = Api(who, f"{settings.graph}/v1.0", client, tokens, bounds=bounds, pace=pace, timer=timer)
        self._graph = Graph(self._api, progress)
        self._roles = tokens.roles
        self.forget()
        self._portrait = Portrait(name)
        self._name = name
        self._knock = endpoint.ourselves(settings.client_id or NOBODY)

    @property
    def name(self) -> str:
        return self._name

    @property
    def requests(self) -> int:
        """How many requests were sent so far, those for tokens aside."""
        return self._api.requests

    def forget(self) -> None:
        self._directory = Directory(self._graph, self._roles)
        self._fresh = Directory(self._graph, self._roles)

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        directory = self._fresh if fresh else self._directory
        return snapshot(await directory.read(source), source, replace(self._portrait, email=source.email))

    async def lookup(self, person_id: str, source: Source, /) -> Whereabouts:
        """Return what has become of one person. A deleted one moves to the deleted items, and is forgotten in time."""
        found = await self._directory.user(person_id)
        if found is None:
            # Asked for so that one replica that lags behind is not all that speaks for it.
            await self._graph.find(endpoint.deleted(person_id))
            return Whereabouts(Status.DELETED)
        status, word = self._portrait.status(found), enabled_word(found)
        if status is Status.SUSPENDED:
            return Whereabouts(status, word)
        if found.is_guest and not source.guests:
            return Whereabouts(status, word, frozenset())
        try:
            rows = await self._graph.rows(endpoint.groups_of(person_id, nested=source.nested), member_from_json)
        except ReadError as error:
            # The status stands without them.
            return Whereabouts(status, word, groups_failure=error.cause, groups_error=error.message)
        return Whereabouts(status, word, frozenset(row.user.id for row in rows if row.user.id))

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        return await findings(self._name, self._graph, self._directory, self._knock, sources, self.lookup)
