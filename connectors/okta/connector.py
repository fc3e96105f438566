"""Read one Okta org: whole snapshots of its applications, or an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import httpx

from connectors.base import Finding, IncompleteRead, Progress, ReadError, Snapshot, Source, Status, Whereabouts, silent
from connectors.okta import endpoint
from connectors.okta.assembly import snapshot
from connectors.okta.checkup import findings
from connectors.okta.credential import ApiToken, ServiceApp, Tokens
from connectors.okta.directory import Directory
from connectors.okta.org import LATER_HINT, Org
from connectors.okta.pace import OktaPace
from connectors.okta.portrait import Portrait
from connectors.okta.row import app_group_from_json, user_from_json
from connectors.okta.settings import OktaSettings
from connectors.rest import DEFAULT_BOUNDS, REAL_TIME, Api, Authorize, Bounds, Timer

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
        bounds: Bounds = DEFAULT_BOUNDS,
        timer: Timer = REAL_TIME,
        wall: Callable[[], float] = time.time,
        progress: Progress = silent,
    ) -> None:
        who = f"Okta ({name})"
        authorize: Authorize
        if settings.api_token is not None:
            authorize = ApiToken(settings.api_token)
        else:
            authorize = Tokens(who, _service_app(settings), client, bounds, timer, wall)
        pace = OktaPace(settings.rate_limit_share, bounds.max_wait_seconds, timer, wall, who)
        self._api = Api(
            who, settings.org_url, client, authorize, bounds=bounds, pace=pace, promise=pace.promise, timer=timer
        )
        self._org = Org(self._api, timer, progress)
        self.forget()
        self._name = name
        self._portrait = Portrait(
            name,
            entitled_statuses=settings.entitled_statuses,
            second_email_is_alias="secondEmail" in settings.aliases,
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def requests(self) -> int:
        """How many requests were sent so far, those for tokens aside."""
        return self._api.requests

    def forget(self) -> None:
        self._directory = Directory(self._org)
        self._fresh = Directory(self._org)

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        directory = self._fresh if fresh else self._directory
        return snapshot(await directory.read(source), source, replace(self._portrait, email=source.email))

    async def lookup(self, person_id: str, _source: Source, /) -> Whereabouts:
        """Return what has become of one person. Okta keeps those it deactivated: only a deleted one is not found."""
        found = await self._org.find(endpoint.user(person_id))
        if found is None:
            return Whereabouts(Status.DELETED)
        user = user_from_json(found)
        if user.id != person_id:
            raise IncompleteRead(f"{self._api.who} answered with another person than {person_id}.", LATER_HINT)
        word, status = user.status, self._portrait.status(user.status)
        if status is Status.SUSPENDED:
            return Whereabouts(status, word)
        try:
            rows = await self._org.rows(endpoint.groups_of(person_id), app_group_from_json)
        except ReadError as error:
            # The status stands without them.
            return Whereabouts(status, word, groups_failure=error.cause, groups_error=error.message)
        return Whereabouts(status, word, frozenset(group.id for group in rows if group.id))

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        return await findings(self._name, self._org, self._directory, sources, self.lookup)


def _service_app(settings: OktaSettings) -> ServiceApp:
    if settings.client_id is None or settings.private_key is None:
        raise AssertionError("OktaSettings holds an API token, or a client id and a private key")
    return ServiceApp(settings.org_url, settings.client_id, settings.private_key, settings.kid)
