"""Read one OneLogin account: whole snapshots of its applications, or an error.

OneLogin grants applications by roles; its own groups grant nothing. Whoever is among an application's users and in
none of its roles is assigned individually: there is no flag for it, so it is known only once every role was read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from urllib.parse import quote

import httpx

from connectors.base import (
    Finding,
    Group,
    IncompleteRead,
    Person,
    Progress,
    ReadError,
    ReadNote,
    Snapshot,
    Source,
    Status,
    silent,
)
from connectors.onelogin.account import SCOPE_HINT, Account
from connectors.onelogin.credential import Tokens
from connectors.onelogin.pace import OneLoginPace
from connectors.onelogin.row import User, id_of, is_assigned, name_of, status_of, user_from_json
from connectors.onelogin.settings import OneLoginSettings
from connectors.rest import DEFAULT_BOUNDS, REAL_TIME, Api, Bounds, Once, Timer, harmless_quote, side_by_side

__all__ = ["OneLoginConnector"]

USERS_PER_PAGE = 50
ROLE_HINT = f"Take the role off the application in OneLogin, or mend what hides it. {SCOPE_HINT}"
APP_HINT = "Write the id of the application as OneLogin's address bar shows it (apps/ID/edit) into `app`."


class OneLoginConnector:
    """Implements `connectors.base.Connector`. One instance lives for one command or tick, and reads a role once."""

    def __init__(
        self,
        name: str,
        settings: OneLoginSettings,
        client: httpx.AsyncClient,
        *,
        bounds: Bounds = DEFAULT_BOUNDS,
        timer: Timer = REAL_TIME,
        progress: Progress = silent,
    ) -> None:
        who = f"OneLogin ({name})"
        tokens = Tokens(who, settings, client, bounds, timer)
        pace = OneLoginPace(who, bounds.max_wait_seconds, timer)
        self._api = Api(who, settings.base_url, client, tokens, bounds=bounds, pace=pace, timer=timer)
        self._account = Account(self._api, progress)
        self._members = Once(self._read_members)
        self._everybody = Once(self._read_everybody)
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent so far, those for tokens aside."""
        return self._api.requests

    async def read(self, source: Source) -> Snapshot:
        """Return everyone who is assigned to the application. Raises `ReadError`."""
        app = await self._app(source.app)
        roles = await self._roles(source.app, app)
        counted = _counted(roles, source.groups, source.app)
        async with side_by_side() as tasks:
            direct = tasks.create_task(self._app_users(source.app))
            walks = {role: tasks.create_task(self._members(role)) for role in roles}
        members = {role: walk.result() for role, walk in walks.items()}
        rows = direct.result()
        ids = {key for key in map(id_of, rows) if key is not None}
        individual = ids - {each for role in members.values() for each in role}
        assigned = sorted(individual.union(*(members[role] for role in counted)))
        users = await self._users(assigned)
        groups = tuple(Group(role, roles[role], len(members[role])) for role in counted)
        people = tuple(self._person(key, users.get(key), counted, members, key in individual) for key in assigned)
        unidentified = tuple(user_from_json(row).email or "" for row in rows if id_of(row) is None)
        return Snapshot(source, name_of(app), groups, people, _notes(unidentified), unidentified)

    async def lookup(self, person_id: str) -> Status:
        """Return what has become of a person; OneLogin forgets the deleted. Raises `ReadError`."""
        found = await self._account.find(f"/api/2/users/{quote(person_id, safe='')}")
        return Status.DELETED if found is None else status_of(user_from_json(found))

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        """Look at the account, then at each source as a read would."""
        subject = f"connector {self._name}"
        try:
            await self._account.total("/api/2/users")
        except ReadError as error:
            return [Finding("error", subject, error.message, error.hint)]
        reached = Finding("ok", subject, "OneLogin is within reach and takes the credentials.")
        return [reached, *[await self._finding(f"{subject}, app {source.app}", source) for source in sources]]

    async def _finding(self, subject: str, source: Source) -> Finding:
        try:
            app = await self._app(source.app)
            roles = await self._roles(source.app, app)
            counted = _counted(roles, source.groups, source.app)
            await self._account.first_rows(f"/api/2/apps/{quote(source.app, safe='')}/users")
            for role in counted:
                await self._account.first_rows(f"/api/2/roles/{quote(role, safe='')}/users")
        except ReadError as error:
            return Finding("error", subject, error.message, error.hint)
        name = harmless_quote(name_of(app)) or source.app
        if not counted:
            remedy = "Give the application to a role; people who are assigned individually get no access here."
            return Finding("warning", subject, f"{name} has no roles, so nobody is entitled through it.", remedy)
        names = harmless_quote(", ".join(roles[role] for role in counted))
        return Finding("ok", subject, f"{name} and its people and roles can be read: {names}.")

    async def _app(self, app: str) -> Mapping[str, object]:
        return await self._account.one(f"/api/2/apps/{quote(app, safe='')}", f"application {app}", APP_HINT)

    async def _app_users(self, app: str) -> list[object]:
        rows = await self._account.rows(f"/api/2/apps/{quote(app, safe='')}/users", f"users of app {app}")
        if rows and all(id_of(row) is None for row in rows):
            raise IncompleteRead(f"{self._account.who} shows no id of any user of the app {app}.", SCOPE_HINT)
        return rows

    async def _roles(self, app: str, shown: Mapping[str, object]) -> dict[str, str]:
        """Return the names of the roles that grant the application, by id.

        The application's own `role_ids` say which they are: a server that does not know the filter lists all roles.
        """
        listed = await self._account.rows("/api/2/roles", "roles", {"app_id": app, "fields": "id,name"})
        names = {key: name_of(row) for row in listed if (key := id_of(row)) is not None}
        granting = shown.get("role_ids")
        if not isinstance(granting, list):
            return dict(sorted(names.items()))
        roles = {}
        for key in sorted(str(each) for each in granting):
            if key not in names:
                hint = f"Take the role off the application in OneLogin, or let the credential read it ({SCOPE_HINT})"
                names[key] = name_of(
                    await self._account.one(f"/api/2/roles/{quote(key, safe='')}", f"role {key}", hint)
                )
            roles[key] = names[key]
        return roles

    async def _read_members(self, role: str) -> frozenset[str]:
        rows = await self._account.rows(f"/api/2/roles/{quote(role, safe='')}/users", f"people of role {role}")
        found = frozenset(key for row in rows if (key := id_of(row)) is not None and is_assigned(row))
        if len(found) < sum(map(is_assigned, rows)):
            raise IncompleteRead(f"{self._account.who} shows people of the role {role} without an id.", SCOPE_HINT)
        return found

    async def _users(self, assigned: Collection[str]) -> Mapping[str, User]:
        """Return the full rows of *assigned*: one by one where that takes fewer requests than everybody's pages."""
        total = await self._account.total("/api/2/users") if assigned else None
        if total is None or len(assigned) * USERS_PER_PAGE >= total:
            return _seen(await self._everybody(""), assigned, self._account.who)
        async with side_by_side() as tasks:
            asked = {
                key: tasks.create_task(self._account.find(f"/api/2/users/{quote(key, safe='')}")) for key in assigned
            }
        found = {key: user_from_json(row) for key, task in asked.items() if (row := task.result()) is not None}
        return _seen(found.values(), assigned, self._account.who)

    async def _read_everybody(self, _key: str) -> tuple[User, ...]:
        return tuple(map(user_from_json, await self._account.rows("/api/2/users", "users")))

    def _person(
        self,
        key: str,
        user: User | None,
        counted: Iterable[str],
        members: Mapping[str, frozenset[str]],
        is_individual: bool,
    ) -> Person:
        groups = tuple(role for role in counted if key in members[role])
        if user is None:
            # Assigned a moment ago, and not among the users: deleted meanwhile, or skipped. Nothing is concluded.
            return Person(self._name, key, None, "", Status.UNKNOWN, "no such user", groups, is_individual)
        return Person(
            self._name,
            key,
            user.email,
            user.display_name,
            status_of(user),
            f"status {user.status}, state {user.state}",
            groups,
            is_individual,
            given_name=user.given_name,
            family_name=user.family_name,
        )


def _seen(users: Iterable[User], assigned: Collection[str], who: str) -> Mapping[str, User]:
    wanted = set(assigned)
    found = {user.id: user for user in users if user.id is not None and user.id in wanted}
    if found and all(user.status is None for user in found.values()):
        raise IncompleteRead(f"{who} shows no status of anybody.", SCOPE_HINT)
    return found


def _counted(roles: Mapping[str, str], wanted: Sequence[str], app: str) -> tuple[str, ...]:
    """Return the ids of the roles that *wanted* names by id or exact name, or all when it names none."""
    if not wanted:
        return tuple(roles)
    counted: dict[str, None] = {}
    for each in wanted:
        found = [each] if each in roles else [key for key, name in roles.items() if name == each]
        if len(found) != 1:
            names = harmless_quote(", ".join(sorted(roles.values()))) or "none"
            problem = f"has no role {each!r}" if not found else f"has {len(found)} roles named {each!r}"
            raise IncompleteRead(
                f"The application {harmless_quote(app)} in OneLogin {problem}; its roles are: {names}.",
                "Give the application to that role in OneLogin, or correct `groups` of this source (ids or names).",
            )
        counted[found[0]] = None
    return tuple(counted)


def _notes(unidentified: Sequence[str]) -> tuple[ReadNote, ...]:
    return tuple(
        ReadNote("unidentified-row", email, "OneLogin listed a user of the application without an id.")
        for email in sorted(set(unidentified))
    )
