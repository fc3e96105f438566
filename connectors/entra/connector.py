"""Read one Entra tenant: whole snapshots of its applications, or an error.

Only a group's direct members count unless a source asks for nested ones: Entra's own assignment does not cascade, so
that whoever is in a nested group could not sign in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

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
from connectors.entra.credential import Tokens
from connectors.entra.graph import Graph, path_of
from connectors.entra.row import (
    SELECT,
    Assignment,
    User,
    assignment_from_json,
    email_of,
    id_of,
    kind_of,
    name_of,
    status_of,
    user_from_json,
)
from connectors.entra.settings import EntraSettings
from connectors.rest import DEFAULT_BOUNDS, REAL_TIME, Api, Bounds, Once, Timer, harmless_quote, side_by_side

__all__ = ["EntraConnector"]

APP_HINT = (
    "Write the object id of the enterprise application (its service principal) into `app`, and grant the app "
    "registration Application.Read.All with admin consent."
)
GROUP_HINT = (
    "Take the group off the enterprise application if it was deleted; else grant GroupMember.Read.All (for hidden "
    "memberships Member.Read.Hidden) with admin consent."
)
USER_HINT = "Grant the app registration User.Read.All with admin consent: without it Graph shows people as nulls."


class EntraConnector:
    """Implements `connectors.base.Connector`. One instance lives for one command or tick, and reads a group once."""

    def __init__(  # noqa: PLR0913  (four are optional and come from the wiring)
        self,
        name: str,
        settings: EntraSettings,
        client: httpx.AsyncClient,
        *,
        ca_bundle: Path | None = None,
        bounds: Bounds = DEFAULT_BOUNDS,
        timer: Timer = REAL_TIME,
        progress: Progress = silent,
    ) -> None:
        who = f"Entra ({name})"
        tokens = Tokens(who, settings, ca_bundle, bounds, timer)
        self._api = Api(who, settings.graph, client, tokens, bounds=bounds, timer=timer)
        self._graph = Graph(self._api, progress)
        self._members = Once(self._read_members)
        self._user = Once(self._read_user)
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent to Graph so far."""
        return self._api.requests

    async def read(self, source: Source) -> Snapshot:
        """Return everyone who is assigned to the application. Raises `ReadError`."""
        app_name = await self._app_name(source.app)
        assignments = await self._assignments(source.app)
        groups = _by_kind(assignments, "group")
        counted = _counted(groups, source.groups, app_name)
        direct = _by_kind(assignments, "user")
        async with side_by_side() as tasks:
            walks = {group: tasks.create_task(self._members((group, source.nested))) for group in counted}
            singles = {key: tasks.create_task(self._user(key)) for key in direct}
        rows = {group: walk.result() for group, walk in walks.items()}
        people = _People(self._name, source, {key: task.result() for key, task in singles.items()})
        for group in counted:
            people.add(group, groups[group], rows[group])
        shown = tuple(Group(group, groups[group], len(people.members[group])) for group in counted)
        notes = [*people.notes(), *_ignored(assignments)]
        return Snapshot(source, app_name, shown, people.persons(), tuple(notes), tuple(sorted(people.unidentified)))

    async def lookup(self, person_id: str) -> Status:
        """Return what has become of a person; a deleted one is gone from `/users` at once. Raises `ReadError`."""
        found = await self._graph.find(path_of("users", person_id), SELECT, "a user", USER_HINT)
        return Status.DELETED if found is None else status_of(user_from_json(found))

    async def check(self, sources: Sequence[Source]) -> list[Finding]:
        """Look at each source as a read would, with the first page of each list."""
        subject = f"connector {self._name}"
        return [await self._finding(f"{subject}, app {source.app}", source) for source in sources]

    async def _finding(self, subject: str, source: Source) -> Finding:
        try:
            app_name = harmless_quote(await self._app_name(source.app))
            groups = _by_kind(await self._assignments(source.app), "group")
            counted = _counted(groups, source.groups, app_name)
            for group in counted:
                path = path_of("groups", group, "members")
                _seen(await self._graph.first_rows(path, {"$select": SELECT}, f"the group {group}", GROUP_HINT))
        except ReadError as error:
            return Finding("error", subject, error.message, error.hint)
        if not counted:
            remedy = "Assign a group to the enterprise application; people assigned individually get no access here."
            return Finding("warning", subject, f"{app_name} has no groups, so nobody is entitled through it.", remedy)
        names = harmless_quote(", ".join(sorted(groups[group] for group in counted)))
        return Finding("ok", subject, f"{app_name} is enabled, and its people and groups can be read: {names}.")

    async def _app_name(self, app: str) -> str:
        path = path_of("servicePrincipals", app)
        found = await self._graph.find(path, "id,displayName,accountEnabled", f"the application {app}", APP_HINT)
        if found is None:
            raise IncompleteRead(f"{self._graph.who} has no enterprise application {harmless_quote(app)}.", APP_HINT)
        if found.get("accountEnabled") is False:
            raise IncompleteRead(
                f"The enterprise application {harmless_quote(name_of(found)) or app} in {self._graph.who} is disabled.",
                "Enable it (Enabled for users to sign in), or take this source out of the config.",
            )
        return name_of(found)

    async def _assignments(self, app: str) -> list[Assignment]:
        path = path_of("servicePrincipals", app, "appRoleAssignedTo")
        rows = await self._graph.rows(path, {}, f"who is assigned to the application {app}", APP_HINT)
        assignments = list(map(assignment_from_json, rows))
        # Who a principal is decides everything: a row that does not say it can't be left out.
        if any(each.id is None or not each.kind for each in assignments):
            raise IncompleteRead(f"{self._graph.who} shows an assignment without its principal.", APP_HINT)
        return assignments

    async def _read_members(self, key: tuple[str, bool]) -> list[object]:
        group, is_nested = key
        path = path_of("groups", group, "transitiveMembers" if is_nested else "members")
        rows = await self._graph.rows(path, {"$select": SELECT}, f"the group {group}", GROUP_HINT)
        _seen(rows)
        return rows

    async def _read_user(self, key: str) -> Mapping[str, object] | None:
        return await self._graph.find(path_of("users", key), SELECT, f"the user {key}", USER_HINT)


class _People:
    """The people of one source as they are put together."""

    def __init__(self, connector: str, source: Source, direct: Mapping[str, Mapping[str, object] | None]) -> None:
        self._connector = connector
        self._source = source
        self._users: dict[str, User] = {}
        self._direct = frozenset(direct)
        self._nested: set[tuple[str, str]] = set()
        self.members: dict[str, set[str]] = {}
        self.unidentified: list[str] = []
        for key, row in direct.items():
            if row is not None:
                self._users[key] = user_from_json(row)
            # Deleted since the list was read: then nobody is assigned any more.

    def add(self, group: str, group_name: str, rows: Iterable[object]) -> None:
        """Add a group's members: users count, groups in it are told of, devices and the like are nobody."""
        members = self.members.setdefault(group, set())
        for row in rows:
            kind = kind_of(row)
            if kind == "group" and not self._source.nested:
                self._nested.add((name_of(row) or id_of(row) or "?", group_name))
            if kind != "user":
                continue
            user = user_from_json(row)
            if user.id is None:
                self.unidentified.append(email_of(user, self._source.email) or "")
            else:
                self._users[user.id] = user
                members.add(user.id)

    def persons(self) -> tuple[Person, ...]:
        return tuple(self._person(key) for key in sorted(self._users) if self._counts(self._users[key]))

    def _counts(self, user: User) -> bool:
        return self._source.guests or not user.is_guest

    def _person(self, key: str) -> Person:
        user = self._users[key]
        enabled = {True: "true", False: "false", None: "null"}[user.is_enabled]
        return Person(
            self._connector,
            key,
            email_of(user, self._source.email),
            user.display_name or f"{user.given_name} {user.family_name}".strip(),
            status_of(user),
            f"accountEnabled {enabled}",
            tuple(group for group in self.members if key in self.members[group]),
            key in self._direct,
            aliases=user.aliases,
            given_name=user.given_name,
            family_name=user.family_name,
        )

    def notes(self) -> list[ReadNote]:
        notes = [
            ReadNote(
                "nested-group",
                "",
                f"{inner} is a group in {outer}: Entra gives its members no access. Assign it, or set nested: true.",
            )
            for inner, outer in sorted(self._nested)
        ]
        for key in sorted(self._users):
            user = self._users[key]
            if not self._counts(user):
                email = email_of(user, self._source.email) or ""
                notes.append(
                    ReadNote("guest", email, f"{user.display_name or key} is a guest; guests: true counts them.")
                )
        return notes


def _seen(rows: Sequence[object]) -> None:
    """Raise `IncompleteRead` when Graph shows people as nulls, which is how it says that a permission is missing."""
    users = [user_from_json(row) for row in rows if kind_of(row) == "user"]
    if users and all(not user.login and user.is_enabled is None for user in users):
        raise IncompleteRead("Entra shows nothing but ids of anybody in a group.", USER_HINT)
    if users and all(user.id is None for user in users):
        raise IncompleteRead("Entra shows no id of anybody in a group.", USER_HINT)
    if any(not kind_of(row) for row in rows):
        raise IncompleteRead("Entra shows a member of a group without saying whether it is a person.", USER_HINT)


def _by_kind(assignments: Iterable[Assignment], kind: str) -> dict[str, str]:
    """Return names by id: a principal is listed once for each of its app roles."""
    found = {each.id: each.name or each.id for each in assignments if each.id and each.kind.lower() == kind}
    return dict(sorted(found.items()))


def _ignored(assignments: Iterable[Assignment]) -> list[ReadNote]:
    others = sorted({each.name or str(each.id) for each in assignments if each.kind.lower() not in {"user", "group"}})
    return [ReadNote("not-a-person", "", f"{name} is assigned and is neither a person nor a group.") for name in others]


def _counted(groups: Mapping[str, str], wanted: Sequence[str], app: str) -> tuple[str, ...]:
    """Return the ids of the groups that *wanted* names by id or exact name, or all when it names none."""
    if not wanted:
        return tuple(groups)
    counted: dict[str, None] = {}
    for each in wanted:
        found = [each] if each in groups else [key for key, name in groups.items() if name == each]
        if len(found) != 1:
            names = harmless_quote(", ".join(sorted(groups.values()))) or "none"
            problem = f"has no group {each!r}" if not found else f"has {len(found)} groups named {each!r}"
            raise IncompleteRead(
                f"The enterprise application {harmless_quote(app)} in Entra {problem}; its groups are: {names}.",
                "Assign that group to the application, or correct `groups` of this source (ids or exact names).",
            )
        counted[found[0]] = None
    return tuple(counted)
