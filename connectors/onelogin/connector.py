"""Read one OneLogin account: whole snapshots of its applications, or an error."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from connectors.base import Finding, IncompleteRead, LookupResult, Progress, Snapshot, Source, Status, discard_progress
from connectors.http import DEFAULT_LIMITS, REAL_TIME, ApiClient, RequestLimits, Timer
from connectors.onelogin import endpoints
from connectors.onelogin.auth import AccessTokens
from connectors.onelogin.client import OneLoginClient
from connectors.onelogin.directory import DirectoryReader
from connectors.onelogin.mapping import UserMapper, status_text
from connectors.onelogin.preflight import check_sources
from connectors.onelogin.rate_limit import OneLoginRateLimiter
from connectors.onelogin.row import role_ids, user_from_json
from connectors.onelogin.settings import OneLoginSettings
from connectors.onelogin.snapshot import assignments, build_snapshot

__all__ = ["OneLoginConnector"]


class OneLoginConnector:
    """Implements `connectors.base.Connector`. One instance lives for one command or tick, and reads a role once."""

    def __init__(
        self,
        name: str,
        settings: OneLoginSettings,
        client: httpx.AsyncClient,
        *,
        limits: RequestLimits = DEFAULT_LIMITS,
        timer: Timer = REAL_TIME,
        progress: Progress = discard_progress,
    ) -> None:
        who = f"OneLogin ({name})"
        tokens = AccessTokens(who, settings, client, limits, timer)
        pace = OneLoginRateLimiter(who, limits.max_wait_seconds, timer)
        self._api = ApiClient(
            who,
            settings.base_url,
            client,
            tokens,
            limits=limits,
            rate_limiter=pace,
            retry_delay=pace.retry_delay,
            timer=timer,
        )
        self._client = OneLoginClient(self._api, progress)
        self.clear_cache()
        self._mapper = UserMapper(name, settings.entitled_statuses)
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def request_count(self) -> int:
        """How many HTTP requests were sent so far, those for tokens aside."""
        return self._api.request_count

    def clear_cache(self) -> None:
        self._directory = DirectoryReader(self._client)
        self._fresh_directory = DirectoryReader(self._client)

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        """Return everyone who is assigned to the application. OneLogin has one address of each: `mail` is `login`."""
        directory = self._fresh_directory if fresh else self._directory
        read = await directory.read_app_data(source)
        assigned = assignments(read)
        ignored = [key for key, each in assigned.items() if not each.groups] if source.ignores_individuals else []
        users, unread = await directory.read_users(sorted(assigned), frozenset(ignored))
        return build_snapshot(read, users, source, self._mapper, unread)

    async def lookup(self, person_id: str, _source: Source, /) -> LookupResult:
        """Return what has become of one person. OneLogin forgets those it deletes."""
        found = await self._client.find_one(endpoints.user(person_id))
        if found is None:
            return LookupResult(Status.DELETED)
        user, roles = user_from_json(found), role_ids(found)
        if user.id != person_id:
            raise IncompleteRead(
                f"{self._api.name} answered with another user than {person_id}.",
                "Try again later; if it persists, report it to OneLogin's support.",
            )
        status, word = self._mapper.status_of(user), status_text(user)
        if roles is None:
            error = f"{self._api.name} does not show all roles of user {person_id}: its role_ids are not a list of ids."
            return LookupResult(status, word, groups_failure="no usable answer", groups_error=error)
        return LookupResult(status, word, frozenset(roles))

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        return await check_sources(self._name, self._client, self._directory, sources, self.lookup)
