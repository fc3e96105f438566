"""Read one OneLogin account: complete snapshots of its applications, or an error."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
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
from connectors.directory import (
    AppGroup,
    missing_fields,
    require_visible,
    select_groups,
)
from connectors.http import (
    DEFAULT_LIMITS,
    REAL_TIME,
    ApiClient,
    RequestLimits,
    SingleFlight,
    Timer,
    escape_control,
    task_group,
)
from connectors.http.isolated_reads import IsolatedReads
from connectors.onelogin.auth import access_tokens
from connectors.onelogin.check import check_application, find_suspended_person
from connectors.onelogin.client import (
    OneLoginClient,
    app_endpoint,
    app_users_endpoint,
    role_endpoint,
    role_users_endpoint,
    roles_endpoint,
    user_endpoint,
    users_endpoint,
)
from connectors.onelogin.mapping import (
    NAMING,
    SCOPE_HINT,
    User,
    UserMapper,
    membership_from_json,
    role_ids,
    row_id,
    row_name,
    status_text,
    user_from_json,
)
from connectors.onelogin.rate_limit import OneLoginRateLimiter
from connectors.onelogin.settings import OneLoginSettings
from connectors.onelogin.snapshot import (
    ACCOUNT_FIELDS,
    AppData,
    RoleMembers,
    app_people,
    assignments,
    build_snapshot,
    role_members,
)

__all__ = ["DirectoryReader", "OneLoginConnector", "create_api", "lookup_from_user"]

REACHED_MESSAGE = "OneLogin reachable, credentials accepted, users readable."

NO_SCOPE_MESSAGE = (
    "OneLogin's tokens do not show their scope (Read All is needed): the next lines show what is readable"
)

MIN_PAGE_SIZE = 50
"""The smallest page of all users: OneLogin's documentation has several numbers."""


class OneLoginConnector:
    """Implements `connectors.base.Connector`. An instance serves one command or tick, and reads each role once."""

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
        self._api = create_api(name, settings, client, limits, timer)
        self._client = OneLoginClient(self._api, progress)
        self._directory = DirectoryReader(self._client)
        self._fresh_directory = DirectoryReader(self._client)
        self._mapper = UserMapper(name, settings.entitled_statuses)
        self._name = name
        self._check_clock = partial(check_clock, url=settings.base_url, client=client, limits=limits, wall=timer.wall)

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
        """Return everyone assigned to the application. OneLogin has one address per person: `mail` is `login`."""
        directory = self._fresh_directory if fresh else self._directory
        read = await directory.read_app_data(source)
        assigned = await asyncio.to_thread(assignments, read)
        ignored = [key for key, each in assigned.items() if not each.groups] if source.ignores_individuals else []
        users, unread = await directory.read_users(sorted(assigned), frozenset(ignored))
        return await asyncio.to_thread(build_snapshot, read, users, source, self._mapper, unread)

    async def lookup(self, person_id: str, _source: Source, /) -> LookupResult:
        """Return the status of one person. OneLogin does not keep deleted people."""
        found = await self._client.find_one(user_endpoint(person_id))
        return lookup_from_user(self._api.name, self._mapper, person_id, found)

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        subject = f"connector {self._name}"

        async def check_grants() -> list[Finding]:
            found = check_scopes(subject, None, (), NO_SCOPE_MESSAGE, "")
            if sources:
                find = partial(find_suspended_person, self._client)
                found += await check_suspended_person(subject, find, self.lookup, sources[0])
            return found

        return await check_sources(
            subject,
            self._directory.require_visible,
            REACHED_MESSAGE,
            sources,
            self._check_source,
            first=partial(self._check_clock, subject),
            then=check_grants,
        )

    async def _check_source(self, subject: str, source: Source) -> list[Finding]:
        app_name, granting_roles = await self._directory.read_app(source.app)
        return await check_application(
            subject, self._client, source, escape_control(app_name), granting_roles, self.lookup
        )


def create_api(
    name: str, settings: OneLoginSettings, client: httpx.AsyncClient, limits: RequestLimits, timer: Timer = REAL_TIME
) -> ApiClient:
    """Return a client of the account with a token and a rate limit of its own."""
    server_name = f"OneLogin ({name})"
    rate_limiter = OneLoginRateLimiter(server_name, limits.max_wait_seconds, timer)
    return ApiClient(
        server_name,
        settings.base_url,
        client,
        access_tokens(server_name, settings, client, limits, timer),
        limits=limits,
        rate_limiter=rate_limiter,
        retry_delay=rate_limiter.retry_delay,
        timer=timer,
    )


def lookup_from_user(
    server: str, mapper: UserMapper, person_id: str, found: Mapping[str, object] | None
) -> LookupResult:
    """Return what the answer to a request for one user shows, None: OneLogin does not know them (any more)."""
    if found is None:
        return LookupResult(Status.DELETED)
    user, roles = user_from_json(found), role_ids(found)
    if user.id != person_id:
        raise IncompleteRead(
            f"{server} answered with another user than {person_id}.",
            "Try again later; if it persists, report it to OneLogin's support.",
        )
    status, word = mapper.status_of(user), status_text(user)
    if roles is None:
        error = f"{server} does not show all roles of user {person_id}: its role_ids are not a list of ids."
        return LookupResult(status, word, groups_failure="no usable answer", groups_error=error)
    return LookupResult(status, word, frozenset(roles))


class DirectoryReader:
    """Reads the lists of one account. Every method raises `ReadError` for a list that is not complete."""

    def __init__(self, account: OneLoginClient) -> None:
        self._client = account
        self._members = SingleFlight(self._read_members)
        self._all_users = SingleFlight(self._read_all_users)
        self._user = SingleFlight(self._read_user)
        self._user_count = SingleFlight(self._read_user_count)

    def clear(self) -> None:
        """Forget every list."""
        self._members.clear()
        self._all_users.clear()
        self._user.clear()
        self._user_count.clear()

    async def read_app_data(self, source: Source) -> AppData:
        """Return everything of the source's application that its snapshot needs, except its people's own rows."""
        app_name, granting_roles = await self.read_app(source.app)
        counted = tuple(sorted(select_groups(granting_roles, source.groups, app_name, NAMING)))
        async with task_group() as tasks:
            listing = tasks.create_task(self._client.read_all(app_users_endpoint(source.app)))
            member_tasks = {role.id: tasks.create_task(self._members(role)) for role in granting_roles}
        people, unidentified = app_people(map(user_from_json, listing.result()), source.app)
        return AppData(
            app_name, people, unidentified, {key: task.result() for key, task in member_tasks.items()}, counted
        )

    async def read_app(self, app_id: str) -> tuple[str, list[AppGroup]]:
        """Return the name of an application and the roles that grant it.

        The roles come from its own `role_ids`: a server that ignores the filter would list all roles.
        """
        app = await self._client.read_one(app_endpoint(app_id))
        granting_roles = role_ids(app)
        if granting_roles is None:
            raise IncompleteRead(
                f"OneLogin does not show which roles grant application {app_id}: its role_ids are no list of ids.",
                f"{SCOPE_HINT} If it has it, report this to OneLogin's support.",
            )
        return row_name(app).strip() or app_id, await self._read_roles(app_id, granting_roles)

    async def read_users(
        self, wanted: Collection[str], ignored: Collection[str] = ()
    ) -> tuple[dict[str, User], dict[str, str]]:
        """Return the account's own rows of *wanted*, by id: one by one where that takes fewer requests than all pages.

        People missing from the list of all users are read by id; those unknown to OneLogin are left out. The
        second mapping has the cause for each of *ignored* that could not be read, which does not end the read.
        """
        found: dict[str, User] = {}
        if wanted and await self._is_large_part(wanted):
            users_by_id = await self._all_users("")
            found = {key: users_by_id[key] for key in wanted if key in users_by_id}
        missing = [key for key in wanted if key not in found]
        ignorable = [key for key in missing if key in ignored]
        async with task_group() as tasks:
            single_reads = [tasks.create_task(self._user(key)) for key in missing if key not in ignored]
            others = tasks.create_task(IsolatedReads().read_each(ignorable, self._user))
        answers = [*(task.result() for task in single_reads), *others.result().values()]
        unread = {key: error for key, error in others.result().items() if isinstance(error, ReadError)}
        # By the id in the row: the row of another person proves nothing about the requested one.
        seen = _users_by_id(user for user in answers if isinstance(user, User))
        if seen and not found:
            await self.require_visible(seen.values())
        if unread and not (found or seen):
            raise next(iter(unread.values()))
        return found | seen, {key: error.cause for key, error in unread.items()}

    async def require_visible(self, known: Collection[User] = ()) -> None:
        """Raise when no row of the account shows a field. *known* are rows that were read.

        The few of one application may all lack what the scope would show, an email for instance: others are checked
        before a permission counts as missing, on the first page and, if necessary, on all.
        """
        if known and not missing_fields(tuple(known), ACCOUNT_FIELDS):
            return
        first = map(user_from_json, (await self._client.read_first_page(users_endpoint())).rows)
        if missing_fields([*known, *first], ACCOUNT_FIELDS):
            await self._all_users("")

    async def _is_large_part(self, wanted: Collection[str]) -> bool:
        count = await self._user_count("")
        return count is None or len(wanted) * MIN_PAGE_SIZE >= count

    async def _read_roles(self, app_id: str, granting_roles: list[str]) -> list[AppGroup]:
        """Return the roles with their names. Roles that the list does not show are requested one by one."""
        listed = await self._client.read_all(roles_endpoint(app_id)) if granting_roles else []
        names = {row_id(row): row_name(row) for row in listed}
        async with task_group() as tasks:
            single_reads = {
                key: tasks.create_task(self._client.read_one(role_endpoint(key)))
                for key in granting_roles
                if not names.get(key)
            }
        names |= {key: row_name(task.result()) for key, task in single_reads.items()}
        return [AppGroup(key, names[key] or key) for key in granting_roles]

    async def _read_members(self, role: AppGroup) -> RoleMembers:
        return role_members(
            map(membership_from_json, await self._client.read_all(role_users_endpoint(role))), role.name
        )

    async def _read_all_users(self, _key: str) -> Mapping[str, User]:
        rows = [user_from_json(row) for row in await self._client.read_all(users_endpoint())]
        require_visible(rows, ACCOUNT_FIELDS, "the account's users", provider=NAMING.provider, hint=SCOPE_HINT)
        return _users_by_id(rows)

    async def _read_user(self, key: str) -> User | None:
        found = await self._client.find_one(user_endpoint(key))
        return None if found is None else user_from_json(found)

    async def _read_user_count(self, _key: str) -> int | None:
        return await self._client.read_total(users_endpoint())


def _users_by_id(users: Iterable[User]) -> dict[str, User]:
    return {user.id: user for user in users if user.id is not None}
