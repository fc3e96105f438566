"""Read one Entra tenant: complete snapshots of its enterprise applications, or an error.

Only a group's direct members count unless a source has `nested`. Entra's own assignment does not cascade, so members of
a nested group could not sign in.
"""

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
    PermissionMissing,
    Progress,
    ReadError,
    Snapshot,
    Source,
    Status,
    discard_progress,
)
from connectors.checks import check_clock, check_scopes, check_sources, check_suspended_person
from connectors.directory import AppGroup, select_groups
from connectors.entra.auth import MsalTokens
from connectors.entra.check import NEEDED_ROLES, check_application, find_disabled_person, with_narrower_roles
from connectors.entra.client import (
    CONSENT_HINT,
    GROUP_HINT,
    HIDDEN_HINT,
    HIDDEN_ROLE,
    LATER_HINT,
    GraphClient,
    app_assignments_endpoint,
    app_endpoint,
    deleted_user_endpoint,
    group_endpoint,
    group_label,
    group_members_endpoint,
    own_principal_endpoint,
    user_endpoint,
    user_groups_endpoint,
)
from connectors.entra.mapping import (
    NAMING,
    App,
    User,
    UserMapper,
    app_from_json,
    assignment_from_json,
    enabled_text,
    group_member_from_json,
    hides_members,
    user_from_json,
)
from connectors.entra.settings import EntraSettings
from connectors.entra.snapshot import (
    AppAssignments,
    AppData,
    GroupMembers,
    build_snapshot,
    group_members,
    sort_assignments,
)
from connectors.http import (
    DEFAULT_LIMITS,
    REAL_TIME,
    ApiClient,
    RequestLimits,
    RetryAfterLimiter,
    SingleFlight,
    Timer,
    escape_control,
    task_group,
)
from connectors.http.isolated_reads import IsolatedReads

__all__ = ["DirectoryReader", "EntraConnector", "create_api", "lookup_from_user"]

REACHED_MESSAGE = "Microsoft Graph reachable, credentials accepted."

MAX_NAMES = 5
NO_ROLES_MESSAGE = "the token does not show its permissions: the next lines show what it may read"
ROLES_REMEDY = f"Grant the application permissions {', '.join(NEEDED_ROLES)}, {CONSENT_HINT}."

NIL_CLIENT_ID = "00000000-0000-0000-0000-000000000000"


class EntraConnector:
    """Implements `connectors.base.Connector`. An instance serves one command or tick, and reads each group once.

    *wall* returns seconds since 1970.
    """

    def __init__(  # noqa: PLR0913  (four are optional and come from the wiring)
        self,
        name: str,
        settings: EntraSettings,
        client: httpx.AsyncClient,
        *,
        limits: RequestLimits = DEFAULT_LIMITS,
        timer: Timer = REAL_TIME,
        wall: Callable[[], float] = time.time,
        progress: Progress = discard_progress,
    ) -> None:
        self._api, self._token_roles = create_api(name, settings, client, limits=limits, timer=timer, wall=wall)
        self._client = GraphClient(self._api, progress)
        self._directory = DirectoryReader(self._client, self._token_roles)
        self._fresh_directory = DirectoryReader(self._client, self._token_roles)
        self._mapper = UserMapper(name)
        self._name = name
        self._root = settings.graph_root
        signs = settings.certificate is not None
        self._check_clock = partial(
            check_clock, url=f"{self._root}/v1.0/", client=client, limits=limits, wall=wall, signs=signs
        )
        self._probe = own_principal_endpoint(settings.client_id or NIL_CLIENT_ID)

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
        self._directory = DirectoryReader(self._client, self._token_roles)
        self._fresh_directory = DirectoryReader(self._client, self._token_roles)

    async def read(self, source: Source, *, fresh: bool = False) -> Snapshot:
        directory = self._fresh_directory if fresh else self._directory
        app_data = await directory.read_app_data(source)
        return await asyncio.to_thread(build_snapshot, app_data, source, replace(self._mapper, email=source.email))

    async def lookup(self, person_id: str, source: Source, /) -> LookupResult:
        """Return the status of one person. A deleted person moves to the deleted items, and later disappears."""
        found = await self._directory.read_user(person_id)
        if found is None:
            # A second request, so that a deletion is not concluded from one replica that lags behind.
            await self._client.find_one(deleted_user_endpoint(person_id))
            return LookupResult(Status.DELETED)
        return await lookup_from_user(self._client, self._mapper, found, source)

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        subject = f"connector {self._name}"

        async def check_grants() -> list[Finding]:
            roles = with_narrower_roles(self._token_roles())
            found = check_scopes(subject, roles, NEEDED_ROLES, NO_ROLES_MESSAGE, ROLES_REMEDY)
            if sources:
                find = partial(find_disabled_person, self._client)
                found += await check_suspended_person(subject, find, self.lookup, sources[0])
            return found

        return await check_sources(
            subject,
            lambda: self._client.probe(self._probe),
            REACHED_MESSAGE,
            sources,
            self._check_source,
            first=partial(self._check_clock, subject),
            then=check_grants,
        )

    async def _check_source(self, subject: str, source: Source) -> list[Finding]:
        app = await self._directory.read_app(source.app)
        assignments = await self._directory.read_assignments(source.app)
        require_visible = partial(self._directory.require_visible_members, nested=source.nested)
        return await check_application(
            subject,
            self._client,
            self._root,
            source,
            app,
            assignments,
            require_visible,
            self.lookup,
            self._directory.read_user,
        )


def create_api(
    name: str,
    settings: EntraSettings,
    client: httpx.AsyncClient,
    *,
    limits: RequestLimits = DEFAULT_LIMITS,
    timer: Timer = REAL_TIME,
    wall: Callable[[], float] = time.time,
) -> tuple[ApiClient, Callable[[], frozenset[str] | None]]:
    """Return a client of one tenant's Graph, with its own access token.

    The second value returns the permissions in the token, None where the token does not show them.
    """
    server_name = f"Entra ({name})"
    tokens = MsalTokens(server_name, settings, client, limits, timer, wall)
    api = ApiClient(
        server_name,
        f"{settings.graph_root}/v1.0",
        client,
        tokens.auth_headers,
        limits=limits,
        rate_limiter=RetryAfterLimiter(server_name, limits.max_wait_seconds, timer),
        timer=timer,
    )
    return api, tokens.token_roles


async def lookup_from_user(graph: GraphClient, mapper: UserMapper, user: User, source: Source) -> LookupResult:
    """Return the status of *user*, with the groups that hold them. Raises `ReadError`."""
    status, word = mapper.status_of(user), enabled_text(user)
    if status is Status.SUSPENDED:
        return LookupResult(status, word)
    if user.is_guest and not source.guests:
        return LookupResult(status, word, frozenset())
    try:
        rows = await graph.read_all(user_groups_endpoint(user.id, nested=source.nested), group_member_from_json)
        if not all(row.user.id for row in rows):
            message = f"{graph.name} shows a group of person {user.id} without its id."
            raise IncompleteRead(message, LATER_HINT)
    except ReadError as error:
        # The status is valid without the groups.
        return LookupResult(status, word, groups_failure=error.cause, groups_error=error.message)
    return LookupResult(status, word, frozenset(row.user.id for row in rows))


class DirectoryReader:
    """Reads the lists of one tenant. Every method raises `ReadError` for a list that is not complete.

    *roles* returns the permissions in the token, None where the token does not show them.
    """

    def __init__(self, graph: GraphClient, roles: Callable[[], frozenset[str] | None]) -> None:
        self._client = graph
        self._token_roles = roles
        self._members = SingleFlight(self._read_members)
        self._hides_members = SingleFlight(self._read_hides_members)
        self._users = SingleFlight(self.read_user)

    def clear(self) -> None:
        """Forget every list."""
        self._members.clear()
        self._hides_members.clear()
        self._users.clear()

    async def read_app_data(self, source: Source) -> AppData:
        """Return everything of the source's application that its snapshot needs."""
        app = await self.read_app(source.app)
        assignments = await self.read_assignments(source.app)
        counted = select_groups(assignments.groups, source.groups, app.name, NAMING)
        async with task_group() as tasks:
            member_tasks = [tasks.create_task(self._members((group, source.nested))) for group in counted]
        found = {group: task.result() for group, task in zip(counted, member_tasks, strict=True)}
        await self.require_visible_members(found, nested=source.nested)
        individuals = await self._read_individuals(assignments, found, source)
        read = {key: user for key, user in individuals.items() if not isinstance(user, ReadError)}
        unread = {key: error for key, error in individuals.items() if isinstance(error, ReadError)}
        if unread and not any(found[group].people for group in found) and not any(read.values()):
            raise next(iter(unread.values()))
        causes = {key: error.cause for key, error in unread.items()}
        return AppData(app.name, found, read, assignments.individual_names, assignments.other_principals, causes)

    async def read_app(self, app_id: str) -> App:
        """Return the application, named by its id where it has no name. Raises for a disabled one."""
        app = app_from_json(await self._client.read_one(app_endpoint(app_id)))
        if not app.is_enabled:
            raise IncompleteRead(
                f"The enterprise application {escape_control(app.name)} ({app_id}) in Entra is disabled.",
                "Enable it (Properties > Enabled for users to sign-in), or take it out of `sources`.",
            )
        return app if app.name else replace(app, name=app_id)

    async def read_assignments(self, app_id: str) -> AppAssignments:
        return sort_assignments(
            await self._client.read_all(app_assignments_endpoint(app_id), assignment_from_json), app_id
        )

    async def read_user(self, user_id: str) -> User | None:
        """Return one person, None when Graph does not know them (any more)."""
        found = await self._client.find_one(user_endpoint(user_id))
        return None if found is None else user_from_json(found)

    async def require_visible_members(self, found: Mapping[AppGroup, GroupMembers], *, nested: bool) -> None:
        """Raise for a group that hides its members from us: Graph answers with an empty or a short list, not with 403.

        Where the token does not show its permissions, only an empty list is suspicious.
        """
        roles = self._token_roles()
        if roles is not None and HIDDEN_ROLE in roles:
            return
        suspects = [group for group in sorted(found) if roles is not None or not found[group].people]
        async with task_group() as tasks:
            checks = [tasks.create_task(self._hides_members(group)) for group in suspects]
        hides = {group: task.result() for group, task in zip(suspects, checks, strict=True)}
        hidden = [group_label(group) for group in suspects if hides[group]]
        for group in suspects:
            # A group that has members and is unknown was deleted in between: the next run notices.
            if hides[group] is None and not found[group].people:
                raise IncompleteRead(
                    f"{self._client.name} lists no members of group {group_label(group)} and does not know the group.",
                    GROUP_HINT,
                )
        if roles is not None and nested:
            hidden += [
                escape_control(f"{name} (in {group.name})")
                for group in sorted(found)
                for name in found[group].hidden_groups
            ]
        if hidden:
            without = "does not have" if roles is not None else "seems not to have"
            raise PermissionMissing(
                f"{self._client.name} hides the members of group {', '.join(hidden[:MAX_NAMES])}: its visibility is "
                f"HiddenMembership, and the app registration {without} the permission {HIDDEN_ROLE}, so "
                "that its list is empty or short.",
                HIDDEN_HINT,
            )

    async def hides_members(self, group: AppGroup) -> bool | None:
        """Return whether a group hides its members from us, None when Graph does not know the group."""
        hides = await self._hides_members(group)
        return hides and HIDDEN_ROLE not in (self._token_roles() or ())

    async def _read_hides_members(self, group: AppGroup) -> bool | None:
        """Return whether a group hides its members, None when Graph does not know it."""
        found = await self._client.find_one(group_endpoint(group))
        return None if found is None else hides_members(found)

    async def _read_individuals(
        self, assignments: AppAssignments, found: Mapping[AppGroup, GroupMembers], source: Source
    ) -> dict[str, User | ReadError | None]:
        """Return the people assigned individually. Only those that no group shows are read one by one.

        Where the source ignores them, one who can't be read is returned as the error, and nothing else depends on it.
        """
        seen = {key: user for each in found.values() for key, user in each.people.items() if not user.is_blank}
        checks: dict[str, User | ReadError | None] = {}
        unseen = [key for key in assignments.individual_names if key not in seen]
        if source.ignores_individuals:
            checks = await IsolatedReads().read_each(unseen, self._users)
        else:
            async with task_group() as tasks:
                running = {key: tasks.create_task(self._users(key)) for key in unseen}
            checks = {key: task.result() for key, task in running.items()}
        return {key: checks[key] if key in checks else seen[key] for key in assignments.individual_names}

    async def _read_members(self, key: tuple[AppGroup, bool]) -> GroupMembers:
        group, nested = key
        return group_members(
            await self._client.read_all(group_members_endpoint(group, nested=nested), group_member_from_json),
            group.name,
        )
