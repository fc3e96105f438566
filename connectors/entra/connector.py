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

from connectors.base import Finding, LookupResult, Progress, ReadError, Snapshot, Source, Status, discard_progress
from connectors.entra import endpoints
from connectors.entra.auth import AccessTokens
from connectors.entra.client import GraphClient
from connectors.entra.directory import DirectoryReader
from connectors.entra.mapping import UserMapper, enabled_text
from connectors.entra.preflight import check_sources
from connectors.entra.row import group_member_from_json
from connectors.entra.settings import EntraSettings
from connectors.entra.snapshot import build_snapshot
from connectors.http import DEFAULT_LIMITS, REAL_TIME, ApiClient, RequestLimits, RetryAfterLimiter, Timer

__all__ = ["EntraConnector"]

NIL_CLIENT_ID = "00000000-0000-0000-0000-000000000000"


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
        limits: RequestLimits = DEFAULT_LIMITS,
        timer: Timer = REAL_TIME,
        wall: Callable[[], float] = time.time,
        progress: Progress = discard_progress,
    ) -> None:
        who = f"Entra ({name})"
        tokens = AccessTokens(who, settings, ca_bundle, limits, timer, wall)
        pace = RetryAfterLimiter(who, limits.max_wait_seconds, timer)
        self._api = ApiClient(
            who, f"{settings.graph_root}/v1.0", client, tokens, limits=limits, rate_limiter=pace, timer=timer
        )
        self._client = GraphClient(self._api, progress)
        self._token_roles = tokens.token_roles
        self.clear_cache()
        self._mapper = UserMapper(name)
        self._name = name
        self._probe = endpoints.own_principal(settings.client_id or NIL_CLIENT_ID)

    @property
    def name(self) -> str:
        return self._name

    @property
    def request_count(self) -> int:
        """How many requests were sent so far, those for tokens aside."""
        return self._api.request_count

    def clear_cache(self) -> None:
        self._directory = DirectoryReader(self._client, self._token_roles)
        self._fresh_directory = DirectoryReader(self._client, self._token_roles)

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        directory = self._fresh_directory if fresh else self._directory
        return build_snapshot(await directory.read_app_data(source), source, replace(self._mapper, email=source.email))

    async def lookup(self, person_id: str, source: Source, /) -> LookupResult:
        """Return what has become of one person. A deleted one moves to the deleted items, and is forgotten in time."""
        found = await self._directory.read_user(person_id)
        if found is None:
            # Asked for so that one replica that lags behind is not all that speaks for it.
            await self._client.find_one(endpoints.deleted_user(person_id))
            return LookupResult(Status.DELETED)
        status, word = self._mapper.status_of(found), enabled_text(found)
        if status is Status.SUSPENDED:
            return LookupResult(status, word)
        if found.is_guest and not source.guests:
            return LookupResult(status, word, frozenset())
        try:
            rows = await self._client.read_all(
                endpoints.user_groups(person_id, nested=source.nested), group_member_from_json
            )
        except ReadError as error:
            # The status stands without them.
            return LookupResult(status, word, groups_failure=error.cause, groups_error=error.message)
        return LookupResult(status, word, frozenset(row.user.id for row in rows if row.user.id))

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        return await check_sources(self._name, self._client, self._directory, self._probe, sources, self.lookup)
