"""Read one Okta org: whole snapshots of its applications, or an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import httpx

from connectors.base import (
    Finding,
    IncompleteRead,
    LookupResult,
    Progress,
    ReadError,
    Snapshot,
    Source,
    Status,
    discard_progress,
)
from connectors.http import DEFAULT_LIMITS, REAL_TIME, ApiClient, AuthHeaders, RequestLimits, Timer
from connectors.okta import endpoints
from connectors.okta.auth import AccessTokens, ApiTokenAuth, ServiceApp
from connectors.okta.client import LATER_HINT, OktaClient
from connectors.okta.directory import DirectoryReader
from connectors.okta.mapping import UserMapper
from connectors.okta.preflight import check_sources
from connectors.okta.rate_limit import OktaRateLimiter
from connectors.okta.row import app_group_from_json, user_from_json
from connectors.okta.settings import OktaSettings
from connectors.okta.snapshot import build_snapshot

__all__ = ["OktaConnector"]


class OktaConnector:
    """Implements `connectors.base.Connector`. One instance lives for one command or tick, and reads a group once.

    *wall* tells seconds since 1970.
    """

    def __init__(  # noqa: PLR0913  (four are optional and come from the wiring)
        self,
        name: str,
        settings: OktaSettings,
        client: httpx.AsyncClient,
        *,
        limits: RequestLimits = DEFAULT_LIMITS,
        timer: Timer = REAL_TIME,
        wall: Callable[[], float] = time.time,
        progress: Progress = discard_progress,
    ) -> None:
        who = f"Okta ({name})"
        authorize: AuthHeaders
        if settings.api_token is not None:
            authorize = ApiTokenAuth(settings.api_token)
        else:
            authorize = AccessTokens(who, _service_app_from_settings(settings), client, limits, timer, wall)
        pace = OktaRateLimiter(settings.rate_limit_share, limits.max_wait_seconds, timer, wall, who)
        self._api = ApiClient(
            who,
            settings.org_url,
            client,
            authorize,
            limits=limits,
            rate_limiter=pace,
            retry_delay=pace.retry_delay,
            timer=timer,
        )
        self._client = OktaClient(self._api, timer, progress)
        self.clear_cache()
        self._name = name
        self._mapper = UserMapper(
            name,
            entitled_statuses=settings.entitled_statuses,
            second_email_is_alias="secondEmail" in settings.aliases,
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def request_count(self) -> int:
        """How many requests were sent so far, those for tokens aside."""
        return self._api.request_count

    def clear_cache(self) -> None:
        self._directory = DirectoryReader(self._client)
        self._fresh_directory = DirectoryReader(self._client)

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        directory = self._fresh_directory if fresh else self._directory
        return build_snapshot(await directory.read_app_data(source), source, replace(self._mapper, email=source.email))

    async def lookup(self, person_id: str, _source: Source, /) -> LookupResult:
        """Return what has become of one person. Okta keeps those it deactivated: only a deleted one is not found."""
        found = await self._client.find_one(endpoints.user(person_id))
        if found is None:
            return LookupResult(Status.DELETED)
        user = user_from_json(found)
        if user.id != person_id:
            raise IncompleteRead(f"{self._api.name} answered with another person than {person_id}.", LATER_HINT)
        word, status = user.status, self._mapper.status_of(user.status)
        if status is Status.SUSPENDED:
            return LookupResult(status, word)
        try:
            rows = await self._client.read_all(endpoints.user_groups(person_id), app_group_from_json)
        except ReadError as error:
            # The status stands without them.
            return LookupResult(status, word, groups_failure=error.cause, groups_error=error.message)
        return LookupResult(status, word, frozenset(group.id for group in rows if group.id))

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        return await check_sources(self._name, self._client, self._directory, sources, self.lookup)


def _service_app_from_settings(settings: OktaSettings) -> ServiceApp:
    if settings.client_id is None or settings.private_key is None:
        raise AssertionError("OktaSettings holds an API token, or a client id and a private key")
    return ServiceApp(settings.org_url, settings.client_id, settings.private_key, settings.kid)
