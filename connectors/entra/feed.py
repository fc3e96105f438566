"""Poll Graph for what changed, and look at the people that it names.

One poll reads `users/delta`, `groups/delta` for the groups that count, and of each application the service principal
and its assignments, which no delta query shows. Source: Graph v1.0, delta query overview. A row has no time, and shows
how an object is now: it is a hint, and nothing else.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson

from connectors.base import IncompleteRead, LookupResult, ReadError, Source, Status
from connectors.directory import AppGroup, as_object, as_text, is_path_id, select_groups
from connectors.entra.client import (
    MAX_PAGE_SIZE,
    GraphClient,
    app_assignments_endpoint,
    app_endpoint,
    deleted_user_endpoint,
    group_members_endpoint,
    nested_groups_endpoint,
    user_endpoint,
    user_groups_endpoint,
    users_with_email_endpoint,
)
from connectors.entra.connector import DirectoryReader, create_api, lookup_from_user
from connectors.entra.delta import LOST_HINT, MAX_GROUP_IDS, PEOPLE, DeltaReader, groups_query
from connectors.entra.mapping import (
    NAMING,
    User,
    UserMapper,
    app_from_json,
    assignment_from_json,
    group_member_from_json,
    user_from_json,
)
from connectors.entra.settings import EntraSettings
from connectors.entra.snapshot import GROUP_KIND, USER_KIND, sort_assignments
from connectors.feed import CursorLost, FeedEvent, FeedPage, Standing, StandingFound
from connectors.http import REAL_TIME, ApiClient, Timer, task_group
from connectors.provider import ConnectorContext

__all__ = ["SECOND_LOOK_SECONDS", "EntraFeed", "create_feed"]

SECOND_LOOK_SECONDS = 10.0
"""Graph's replicas lag behind each other: a move between two groups may show as neither."""

CURSOR_VERSION = 1
MISSING_APP, DISABLED_APP, ENABLED_APP = "missing", "disabled", "enabled"
THINGS = frozenset({"device", "serviceprincipal", "orgcontact"})
"""Members of groups that are neither people nor groups."""

REASONS = frozenset({"changed", "deleted"})
WITNESS_GROUPS, WITNESSES = 3, 5
"""Groups, and members of each, among which someone is sought who proves that memberships can be seen."""

GroupLinks = tuple[tuple[tuple[str, ...], str], ...]
"""Delta links, each with the ids of its groups."""


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where each delta query goes on, and a fingerprint of each application's assignments."""

    people: str = field(repr=False)
    groups: GroupLinks = field(repr=False)
    apps: Mapping[str, str]

    def encode(self) -> str:
        found = {"version": CURSOR_VERSION, "people": self.people, "groups": self.groups, "apps": self.apps}
        return orjson.dumps(found).decode()

    @classmethod
    def decode(cls, text: str) -> _Cursor:
        """Raises `CursorLost` for anything but a cursor of this version. The message does not repeat it."""
        try:
            found = orjson.loads(text)
            version, people, apps = found["version"], str(found["people"]), dict(found["apps"])
            groups = tuple((tuple(map(str, ids)), str(link)) for ids, link in found["groups"])
        except (ValueError, TypeError, KeyError, AttributeError):
            version, people, groups, apps = 0, "", (), {}
        if version != CURSOR_VERSION:
            raise CursorLost("The place of the feed in the state is not one of Entra's feed.", LOST_HINT)
        return cls(people, groups, apps)


@dataclass(frozen=True, slots=True)
class _AppState:
    """One application: a fingerprint of what decides who is assigned, and the *groups* that count.

    *nested* are those of them in which groups count too.
    """

    id: str
    fingerprint: str
    groups: tuple[AppGroup, ...] = ()
    nested: tuple[AppGroup, ...] = ()


class EntraFeed:
    """Implements `connectors.feed.Feed`. *sources* are those of the connector; *roles* as in `DirectoryReader`."""

    second_look_seconds = SECOND_LOOK_SECONDS

    def __init__(
        self,
        api: ApiClient,
        graph: GraphClient,
        roles: Callable[[], frozenset[str] | None],
        mapper: UserMapper,
        sources: Sequence[Source],
    ) -> None:
        self._api = api
        self._delta = DeltaReader(api)
        self._graph = graph
        self._roles = roles
        self._mapper = mapper
        self._sources = tuple(sources)

    async def begin(self) -> FeedPage:
        people = await self._delta.begin(PEOPLE)
        states = await self._read_apps()
        links = await self._begin_groups(states)
        return FeedPage((), _Cursor(people, links, _fingerprints(states)).encode())

    async def poll(self, cursor: str) -> FeedPage:
        known = _Cursor.decode(cursor)
        self._require_own_links(known)
        states = await self._read_apps()
        sorter = _RowSorter(states)
        async with task_group() as tasks:
            people_task = tasks.create_task(self._delta.read(known.people, PEOPLE))
            groups_task = tasks.create_task(self._read_groups(known.groups, sorter))
        people, (events, links) = people_task.result(), groups_task.result()
        changed = [each for each in states if known.apps.get(each.id) != each.fingerprint]
        if sorter.is_regrouped or known.apps != _fingerprints(states):
            fresh = await self._begin_groups(states)
            # What happened until the fresh links began shows through the old ones only.
            more, _ = await self._read_groups(links, sorter)
            events, links = [*events, *more], fresh
        following = _Cursor(people.link, links, _fingerprints(states))
        return FeedPage(
            (*map(_person_event, people.rows), *events, *map(_app_event, changed)),
            following.encode(),
            server_time=people.server_time,
        )

    def _require_own_links(self, cursor: _Cursor) -> None:
        """Raise `CursorLost` for a cursor that leads to another server: nothing is sent there."""
        try:
            for link in (cursor.people, *(link for _, link in cursor.groups)):
                self._api.require_own_link(link)
        except IncompleteRead as error:
            raise CursorLost(error.message, LOST_HINT) from error

    async def _read_groups(self, links: GroupLinks, sorter: _RowSorter) -> tuple[list[FeedEvent], GroupLinks]:
        async with task_group() as tasks:
            reads = [tasks.create_task(self._delta.read(link, groups_query(ids))) for ids, link in links]
        rounds = [task.result() for task in reads]
        events = [event for each in rounds for row in each.rows for event in sorter.events_from_group(row)]
        return events, tuple((ids, each.link) for (ids, _), each in zip(links, rounds, strict=True))

    async def _begin_groups(self, states: Sequence[_AppState]) -> GroupLinks:
        """Return fresh links for the groups that count, and for the groups inside them where those count too."""
        nested = {group for state in states for group in state.nested}
        async with task_group() as tasks:
            reads = [
                tasks.create_task(self._graph.read_all(nested_groups_endpoint(group), group_member_from_json))
                for group in sorted(nested)
            ]
        inner = {row.user.id for task in reads for row in task.result() if row.kind == GROUP_KIND}
        ids = sorted(inner | {group.id for state in states for group in state.groups})
        ids = [each for each in ids if is_path_id(each)]
        chunks = [tuple(ids[start : start + MAX_GROUP_IDS]) for start in range(0, len(ids), MAX_GROUP_IDS)]
        async with task_group() as tasks:
            begun = [tasks.create_task(self._delta.begin(groups_query(chunk))) for chunk in chunks]
        return tuple((chunk, task.result()) for chunk, task in zip(chunks, begun, strict=True))

    async def _read_apps(self) -> list[_AppState]:
        apps = dict.fromkeys(source.app for source in self._sources)
        async with task_group() as tasks:
            reads = [tasks.create_task(self._read_app(app)) for app in apps]
        return [task.result() for task in reads]

    async def _read_app(self, app_id: str) -> _AppState:
        found = await self._graph.find_one(app_endpoint(app_id))
        if found is None:
            return _AppState(app_id, MISSING_APP)
        app = app_from_json(found)
        rows = await self._graph.read_all(app_assignments_endpoint(app_id), assignment_from_json)
        assignments = sort_assignments(rows, app_id)
        sources = [source for source in self._sources if source.app == app_id]
        counted = {source: _counted_groups(assignments.groups, source, app.name) for source in sources}
        groups = tuple(sorted({group for each in counted.values() for group in each}))
        nested = tuple(sorted({group for source in sources if source.nested for group in counted[source]}))
        # An individual assignment decides about someone only where the policy counts it.
        individuals = () if all(source.ignores_individuals for source in sources) else assignments.individual_names
        state = ENABLED_APP if app.is_enabled else DISABLED_APP
        words = [state, *(group.id for group in groups), "", *sorted(individuals)]
        return _AppState(app_id, f"{state}-{_digest(words)}", groups, nested)

    def needs_second_look(self, first: StandingFound, /) -> bool:
        # A disabled or a deleted account shows as such.
        return first.found.status is Status.ACTIVE

    async def look_at(self, people: Mapping[str, str], source: Source) -> Mapping[str, StandingFound]:
        directory = DirectoryReader(self._graph, self._roles)
        app = await directory.read_app(source.app)
        assignments = await directory.read_assignments(source.app)
        groups = select_groups(assignments.groups, source.groups, app.name, NAMING)
        counted = frozenset(group.id for group in groups)
        individuals = frozenset(assignments.individual_names)
        async with task_group() as tasks:
            looks = {
                person: tasks.create_task(self._look_at_one(person, email, source, counted, individuals))
                for person, email in people.items()
            }
        standings = {person: replace(task.result(), counted=counted) for person, task in looks.items()}
        absent = [person for person, each in standings.items() if _is_absent(each)]
        shows_groups = any(each.found.groups and each.found.groups & counted for each in standings.values())
        if not absent or (
            await self._sees_groups(directory, groups)
            and (shows_groups or await self._sees_memberships(groups, source, people))
        ):
            return standings
        unproven = {person: StandingFound(Standing.UNKNOWN, standings[person].found) for person in absent}
        return {**standings, **unproven}

    async def _look_at_one(
        self, person_id: str, email: str, source: Source, counted: frozenset[str], individuals: frozenset[str]
    ) -> StandingFound:
        try:
            seen = await self._look(person_id, source, counted, individuals)
            is_unclear = seen.standing is Standing.LEFT and await self._has_another_holder(email, person_id)
        except ReadError as error:
            return StandingFound(Standing.UNKNOWN, LookupResult(Status.UNKNOWN, failure=error.cause))
        return StandingFound(Standing.UNKNOWN, seen.found) if is_unclear else seen

    async def _look(
        self, person_id: str, source: Source, counted: frozenset[str], individuals: frozenset[str]
    ) -> StandingFound:
        row = await self._graph.find_one(user_endpoint(person_id))
        if row is None:
            # Where the deleted items do not show them either, a replica may lag behind a new account, or our
            # permissions may have been narrowed.
            is_shown = await self._graph.find_one(deleted_user_endpoint(person_id)) is not None
            return StandingFound(Standing.LEFT if is_shown else Standing.UNKNOWN, LookupResult(Status.DELETED))
        user = user_from_json(row)
        found = await lookup_from_user(self._graph, self._mapper, user, source)
        if found.status is Status.SUSPENDED:
            return StandingFound(Standing.LEFT, found)
        is_uncounted_guest = user.is_guest and not source.guests
        if found.status is not Status.ACTIVE or found.groups is None or is_uncounted_guest:
            return StandingFound(Standing.UNKNOWN, found)
        # What an individual assignment means is the policy's, so a whole run decides it.
        if found.groups & counted or person_id in individuals:
            return StandingFound(Standing.ENTITLED, found)
        return StandingFound(Standing.LEFT, found)

    async def _has_another_holder(self, email: str, person_id: str) -> bool:
        """Return whether another account that may sign in has *email* now: a new id of the same human."""
        if not email:
            return False
        rows = await self._graph.read_all(users_with_email_endpoint(email), user_from_json)
        return any(row.id != person_id and row.is_enabled is not False for row in rows)

    async def _sees_groups(self, directory: DirectoryReader, groups: Sequence[AppGroup]) -> bool:
        """Return whether each group exists and hides no members from us: absence from another one proves nothing."""
        try:
            async with task_group() as tasks:
                reads = [tasks.create_task(directory.hides_members(group)) for group in groups]
        except ReadError:
            # The looks stay without a proof, and a whole run reports what can't be read.
            return False
        return all(task.result() is False for task in reads)

    async def _sees_memberships(self, groups: Sequence[AppGroup], source: Source, people: Collection[str]) -> bool:
        """Return whether the read that shows no group of *people* shows one of someone else."""
        try:
            for group in groups[:WITNESS_GROUPS]:
                witness = await self._find_witness(group, source, people)
                if witness is not None:
                    return await self._shows_group(witness, group, source)
        except ReadError:
            return False
        return False

    async def _find_witness(self, group: AppGroup, source: Source, people: Collection[str]) -> User | None:
        endpoint = group_members_endpoint(group, nested=source.nested, top=WITNESSES + len(people))
        endpoint = replace(endpoint, top=min(endpoint.top, MAX_PAGE_SIZE))
        page = await self._graph.read_first_page(endpoint, group_member_from_json)
        members = (row.user for row in page.rows if row.kind == USER_KIND)
        return next((user for user in members if user.id and user.id not in people), None)

    async def _shows_group(self, witness: User, group: AppGroup, source: Source) -> bool:
        rows = await self._graph.read_all(
            user_groups_endpoint(witness.id, nested=source.nested), group_member_from_json
        )
        return group.id in {row.user.id for row in rows}


@dataclass(slots=True)
class _RowSorter:
    """Makes events of the rows of `groups/delta`. *is_regrouped*: a group came into another one, or left it."""

    states: Sequence[_AppState]
    is_regrouped: bool = False

    def events_from_group(self, row: object) -> Iterator[FeedEvent]:
        """Yield the events of one row. One of an unknown shape may concern anyone: it is wide."""
        fields = as_object(row)
        group, members = as_text(fields.get("id")), fields.get("members@delta")
        if fields.get("@removed") is not None or not group or not isinstance(members, list):
            yield self._wide_event(f"groups/delta{_removal_text(fields)}", group, row)
            return
        for entry in members:
            yield from self._events_from_member(entry, group)

    def _events_from_member(self, entry: object, group: str) -> Iterator[FeedEvent]:
        fields = as_object(entry)
        member, kind = as_text(fields.get("id")), as_text(fields.get("@odata.type")).rpartition(".")[2].lower()
        is_removed = fields.get("@removed") is not None
        word = f"groups/delta member {'removed' if is_removed else 'added'}"
        if kind == GROUP_KIND:
            if any(state.nested for state in self.states):
                self.is_regrouped = True
                yield self._wide_event(word, group, [group, entry])
        elif not member:
            yield self._wide_event(word, group, [group, entry])
        elif kind not in THINGS:
            yield FeedEvent(
                _digest([group, entry]), word, people=(member,), apps=self._apps(group), may_add=not is_removed
            )

    def _wide_event(self, word: str, group: str, row: object) -> FeedEvent:
        return FeedEvent(_digest(row), word, groups=(group,) if group else (), apps=self._apps(group), is_wide=True)

    def _apps(self, group: str) -> tuple[str, ...]:
        """Return the applications that *group* counts for: one inside another group, all with such groups."""
        found = tuple(state.id for state in self.states if any(each.id == group for each in state.groups))
        return found or tuple(state.id for state in self.states if state.nested)


def _is_absent(standing: StandingFound) -> bool:
    return standing.standing is Standing.LEFT and standing.found.status is Status.ACTIVE


def _counted_groups(assigned: Sequence[AppGroup], source: Source, app: str) -> tuple[AppGroup, ...]:
    try:
        return select_groups(assigned, source.groups, app, NAMING)
    except IncompleteRead:
        # A name that the application does not have is an error of the whole run that the changed fingerprint starts.
        return tuple(assigned)


def _fingerprints(states: Sequence[_AppState]) -> dict[str, str]:
    return {each.id: each.fingerprint for each in states}


def _app_event(state: _AppState) -> FeedEvent:
    word = "change of the assignments" if state.groups else "change of the application"
    return FeedEvent(_digest([state.id, state.fingerprint]), word, apps=(state.id,), is_wide=True)


def _person_event(row: object) -> FeedEvent:
    """Return the event of a row of `users/delta`. One of an unknown shape may concern anyone: it is wide."""
    fields = as_object(row)
    person = as_text(fields.get("id"))
    word = f"users/delta{_removal_text(fields)}"
    return FeedEvent(_digest(row), word, people=(person,) if person else (), is_wide=not person)


def _removal_text(fields: Mapping[str, object]) -> str:
    """Return the mark of a removed object, with Graph's reason where it is a known one."""
    removed = fields.get("@removed")
    if removed is None:
        return ""
    reason = as_text(as_object(removed).get("reason"))
    return f" @removed {reason}" if reason in REASONS else " @removed"


def _digest(value: object) -> str:
    """Return an id of a row: Graph gives none, and a row that comes twice is one event."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:16]


def create_feed(
    name: str,
    settings: EntraSettings,
    context: ConnectorContext,
    *,
    timer: Timer = REAL_TIME,
    wall: Callable[[], float] = time.time,
) -> EntraFeed:
    """Return the feed of one tenant. *wall* returns seconds since 1970."""
    api, roles = create_api(name, settings, context.client, limits=context.limits, timer=timer, wall=wall)
    graph = GraphClient(api, context.progress)
    return EntraFeed(api, graph, roles, UserMapper(name), context.sources)
