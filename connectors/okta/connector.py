"""Read one Okta org: whole snapshots of its applications, or an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import httpx

from connectors.base import Finding, Progress, Snapshot, Source, Status, silent
from connectors.okta import endpoint
from connectors.okta.assembly import snapshot
from connectors.okta.checkup import findings
from connectors.okta.credential import ApiToken, ServiceApp, Tokens
from connectors.okta.directory import Directory
from connectors.okta.org import Org
from connectors.okta.pace import OktaPace
from connectors.okta.portrait import Portrait
from connectors.okta.row import user_from_json
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
        pace = OktaPace(settings.rate_limit_share, bounds.max_wait_seconds, timer, wall)
        self._api = Api(
            who, settings.org_url, client, authorize, bounds=bounds, pace=pace, promise=pace.promise, timer=timer
        )
        self._org = Org(self._api, timer, progress)
        self._directory = Directory(self._org)
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

    async def read(self, source: Source) -> Snapshot:
        return snapshot(await self._directory.read(source), source, replace(self._portrait, email=source.email))

    async def lookup(self, person_id: str) -> Status:
        """Return what has become of one person. Okta keeps those it deactivated: only a deleted one is not found."""
        found = await self._org.find(endpoint.user(person_id))
        return Status.DELETED if found is None else self._portrait.status(user_from_json(found).status)

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        return await findings(self._name, self._org, self._directory, sources)


def _service_app(settings: OktaSettings) -> ServiceApp:
    if settings.client_id is None or settings.private_key is None:
        raise AssertionError("OktaSettings holds an API token, or a client id and a private key")
    return ServiceApp(settings.org_url, settings.client_id, settings.private_key, settings.kid)
