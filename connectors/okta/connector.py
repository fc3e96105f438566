"""Read one Okta org: complete snapshots of its applications, or an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

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
from connectors.checks import check_clock, check_scopes, check_sources, check_suspended_person
from connectors.directory import AppGroup, select_groups
from connectors.http import (
    DEFAULT_LIMITS,
    REAL_TIME,
    ApiClient,
    AuthHeaders,
    RequestLimits,
    SingleFlight,
    Timer,
    escape_control,
    task_group,
)
from connectors.oauth import AccessTokens
from connectors.okta.auth import HINTS, SCOPES, ApiTokenAuth, ServiceApp, access_tokens
from connectors.okta.check import check_application, find_suspended_person
from connectors.okta.client import (
    LATER_HINT,
    OktaClient,
    app_endpoint,
    app_groups_endpoint,
    app_users_endpoint,
    apps_endpoint,
    group_endpoint,
    group_members_endpoint,
    user_endpoint,
    user_groups_endpoint,
)
from connectors.okta.dpop import DpopProofs
from connectors.okta.mapping import NAMING, UserMapper
from connectors.okta.rate_limit import OktaRateLimiter
from connectors.okta.rows import RowReader, app_groups, group_name, user_from_json
from connectors.okta.settings import OktaSettings
from connectors.okta.snapshot import AppData, GroupMembers, app_people, build_snapshot, group_members

__all__ = ["DirectoryReader", "OktaConnector", "create_api", "lookup_from_user", "user_mapper"]

REACHED_MESSAGE = "Okta reachable, credentials accepted."

NO_SCOPES_MESSAGE = "an API token has the rights of the administrator who made it: Okta does not show them"


class OktaConnector:
    """Implements `connectors.base.Connector`. An instance serves one command or tick, and reads each group once.

    *wall* returns seconds since 1970.
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
        self._api, self._token_scopes = create_api(name, settings, client, limits=limits, timer=timer, wall=wall)
        self._client = OktaClient(self._api, timer, progress)
        self._directory = DirectoryReader(self._client)
        self._fresh_directory = DirectoryReader(self._client)
        self._name = name
        self._org_url = settings.org_url
        signs = settings.api_token is None
        self._check_clock = partial(
            check_clock, url=settings.org_url, client=client, limits=limits, wall=wall, signs=signs
        )
        self._mapper = user_mapper(name, settings)

    @property
    def name(self) -> str:
        return self._name

    @property
    def request_count(self) -> int:
        """Return the number of requests sent so far, without those for tokens."""
        return self._api.request_count

    def clear_cache(self) -> None:
        # Emptied too: a reader and its caches refer to each other, and would wait for the garbage collector.
        self._directory.clear()
        self._fresh_directory.clear()
        self._directory = DirectoryReader(self._client)
        self._fresh_directory = DirectoryReader(self._client)

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        directory = self._fresh_directory if fresh else self._directory
        app_data = await directory.read_app_data(source)
        return await asyncio.to_thread(build_snapshot, app_data, source, replace(self._mapper, email=source.email))

    async def lookup(self, person_id: str, _source: Source, /) -> LookupResult:
        """Return the status of one person. Okta keeps deactivated people: only a deleted one is not found."""
        row = await self._client.find_one(user_endpoint(person_id))
        return await lookup_from_user(self._client, self._mapper, person_id, row)

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        subject = f"connector {self._name}"

        async def check_grants() -> list[Finding]:
            scopes = self._token_scopes()
            found = check_scopes(subject, scopes, SCOPES.split(), NO_SCOPES_MESSAGE, HINTS["invalid_scope"])
            if sources:
                find = partial(find_suspended_person, self._client)
                found += await check_suspended_person(subject, find, self.lookup, sources[0])
            return found

        return await check_sources(
            subject,
            lambda: self._client.probe(apps_endpoint()),
            REACHED_MESSAGE,
            sources,
            self._check_source,
            first=partial(self._check_clock, subject),
            then=check_grants,
        )

    async def _check_source(self, subject: str, source: Source) -> list[Finding]:
        app_name = escape_control(await self._directory.read_app_name(source.app))
        assigned = await self._directory.read_assigned_groups(source.app)
        return await check_application(subject, self._client, self._org_url, source, app_name, assigned, self.lookup)


def create_api(  # noqa: PLR0913  (four are optional and come from the wiring)
    name: str,
    settings: OktaSettings,
    client: httpx.AsyncClient,
    *,
    limits: RequestLimits = DEFAULT_LIMITS,
    timer: Timer = REAL_TIME,
    wall: Callable[[], float] = time.time,
    scopes: str = SCOPES,
) -> tuple[ApiClient, Callable[[], frozenset[str] | None]]:
    """Return a client of one org, with its own access token for *scopes* unless an API token is set.

    The second value returns the scopes that Okta granted to the token, None where that is unknown.
    """
    server_name = f"Okta ({name})"
    proofs = DpopProofs(wall) if settings.dpop else None
    authorize: AuthHeaders

    def granted() -> frozenset[str] | None:
        return authorize.scopes if isinstance(authorize, AccessTokens) else None

    if settings.api_token is not None:
        authorize = ApiTokenAuth(settings.api_token)
    else:
        app = replace(_service_app_from_settings(name, settings), scopes=scopes)
        authorize = access_tokens(server_name, app, client, limits, timer, wall, proofs)
    rate_limiter = OktaRateLimiter(settings.rate_limit_share, limits.max_wait_seconds, timer, wall, server_name)
    api = ApiClient(
        server_name,
        settings.org_url,
        client,
        authorize,
        limits=limits,
        rate_limiter=rate_limiter,
        retry_delay=rate_limiter.retry_delay,
        timer=timer,
        signer=proofs,
    )
    return api, granted


def user_mapper(name: str, settings: OktaSettings) -> UserMapper:
    return UserMapper(
        name,
        entitled_statuses=settings.entitled_statuses,
        second_email_is_alias="secondEmail" in settings.aliases,
    )


async def lookup_from_user(
    org: OktaClient, mapper: UserMapper, person_id: str, row: Mapping[str, object] | None
) -> LookupResult:
    """Return the status of *row*, the user object of one person, with the groups that hold them. Raises `ReadError`."""
    if row is None:
        return LookupResult(Status.DELETED)
    user = user_from_json(row)
    if user.id != person_id:
        raise IncompleteRead(f"{org.name} answered with another person than {person_id}.", LATER_HINT)
    word, status = user.status, mapper.status_of(user.status)
    if status is Status.SUSPENDED:
        return LookupResult(status, word)
    try:
        rows = await org.read_all(user_groups_endpoint(person_id), app_groups)
    except ReadError as error:
        # The status is valid without the groups.
        return LookupResult(status, word, groups_failure=error.cause, groups_error=error.message)
    return LookupResult(status, word, frozenset(group.id for group in rows if group.id))


def _service_app_from_settings(name: str, settings: OktaSettings) -> ServiceApp:
    if settings.client_id is None or settings.private_key is None:
        raise AssertionError("OktaSettings holds an API token, or a client id and a private key")
    return ServiceApp(name, settings.org_url, settings.client_id, settings.private_key, settings.kid)


class DirectoryReader:
    """Reads the lists of one org. Every method raises `ReadError` for a list that is not complete."""

    def __init__(self, org: OktaClient) -> None:
        self._client = org
        self._members = SingleFlight(self._read_members)
        self._names = SingleFlight(self._read_group_name)
        self._rows = RowReader()

    def clear(self) -> None:
        """Forget every list."""
        self._members.clear()
        self._names.clear()
        self._rows.clear()

    async def read_app_data(self, source: Source) -> AppData:
        """Return everything of the source's application that its snapshot needs."""
        app_name = await self.read_app_name(source.app)
        async with task_group() as tasks:
            listing = tasks.create_task(self._client.read_all(app_users_endpoint(source.app), self._rows.app_users))
            groups = tasks.create_task(self._read_groups(source, app_name))
        people, unidentified = await asyncio.to_thread(app_people, listing.result(), source.app)
        assigned, counted = groups.result()
        return AppData(app_name, people, unidentified, frozenset(group.id for group in assigned), counted)

    async def _read_groups(self, source: Source, app_name: str) -> tuple[list[AppGroup], dict[AppGroup, GroupMembers]]:
        assigned = await self.read_assigned_groups(source.app)
        counted = select_groups(assigned, source.groups, app_name, NAMING)
        async with task_group() as tasks:
            member_tasks = [tasks.create_task(self._members(group)) for group in counted]
        return assigned, {group: task.result() for group, task in zip(counted, member_tasks, strict=True)}

    async def read_app_name(self, app_id: str) -> str:
        """Return the name that admins see. Raises for an application that is not active: its lists would be empty."""
        app = await self._client.read_one(app_endpoint(app_id))
        label, status = app.get("label"), app.get("status")
        name = label if isinstance(label, str) and label else app_id
        if status != "ACTIVE":
            raise IncompleteRead(
                f"Application {escape_control(name)} ({app_id}) in Okta is {escape_control(str(status))}, not ACTIVE.",
                "Activate the application in Okta, or take it out of `sources`.",
            )
        return name

    async def read_assigned_groups(self, app_id: str) -> list[AppGroup]:
        """Return all groups of the application by id, each with its name, whether or not Okta embeds the group."""
        rows = await self._client.read_all(app_groups_endpoint(app_id), app_groups)
        if not all(group.id for group in rows):
            raise IncompleteRead(
                f"Okta returned a group of application {app_id} without its id.",
                "Try again; if it persists, reassign the application's groups in Okta, or ask Okta's support.",
            )
        found = {group.id: group for group in rows}
        async with task_group() as tasks:
            named = [tasks.create_task(self._fill_name(found[group_id])) for group_id in sorted(found)]
        return [task.result() for task in named]

    async def _fill_name(self, group: AppGroup) -> AppGroup:
        return group if group.name else AppGroup(group.id, await self._names(group.id))

    async def _read_group_name(self, group_id: str) -> str:
        return group_name(await self._client.read_one(group_endpoint(group_id))) or group_id

    async def _read_members(self, group: AppGroup) -> GroupMembers:
        return group_members(
            await self._client.read_all(group_members_endpoint(group), self._rows.users), escape_control(group.name)
        )
