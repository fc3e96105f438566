"""The lists of one tenant that snapshots are made of, each whole; a group that several sources share is read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from connectors.base import IncompleteRead, PermissionMissing, ReadError, Source
from connectors.entra import endpoint
from connectors.entra.assembly import AppRead, Members, members
from connectors.entra.graph import Graph
from connectors.entra.row import (
    App,
    User,
    app_from_json,
    assignment_from_json,
    hides_members,
    member_from_json,
    user_from_json,
)
from connectors.entra.selection import AppGroup, Assigned, assigned, counted_groups
from connectors.rest import Once, OneByOne, legible, side_by_side

__all__ = ["Directory"]

MOST_NAMES = 5


class Directory:
    """What one connector reads of its tenant. Every method raises `ReadError` for a list that is not whole.

    *roles* returns the permissions in the token, None when it does not show them.
    """

    def __init__(self, graph: Graph, roles: Callable[[], frozenset[str] | None]) -> None:
        self._graph = graph
        self._roles = roles
        self._members = Once(self._read_members)
        self._hides = Once(self._read_hides)
        self._users = Once(self.user)

    async def read(self, source: Source) -> AppRead:
        """Return everything of the source's application that its snapshot needs."""
        app = await self.app(source.app)
        everything = await self.assigned(source.app)
        counted = counted_groups(everything.groups, source.groups, app.name)
        async with side_by_side() as tasks:
            inside = [tasks.create_task(self._members((group, source.nested))) for group in counted]
        found = {group: task.result() for group, task in zip(counted, inside, strict=True)}
        await self.require_shown(found, nested=source.nested)
        individuals = await self._individuals(everything, found, source)
        read = {key: user for key, user in individuals.items() if not isinstance(user, ReadError)}
        unread = {key: error for key, error in individuals.items() if isinstance(error, ReadError)}
        if unread and not any(found[group].people for group in found) and not any(read.values()):
            raise next(iter(unread.values()))
        causes = {key: error.cause for key, error in unread.items()}
        return AppRead(app.name, found, read, everything.individuals, everything.others, causes)

    async def app(self, app_id: str) -> App:
        """Return the application, by its id where it has no name. A disabled one has nobody to tell of: an error."""
        app = app_from_json(await self._graph.one(endpoint.app(app_id)))
        if not app.is_enabled:
            raise IncompleteRead(
                f"The enterprise application {legible(app.name)} ({app_id}) in Entra is disabled.",
                "Enable it (Properties > Enabled for users to sign-in), or take it out of `sources`.",
            )
        return app if app.name else replace(app, name=app_id)

    async def assigned(self, app_id: str) -> Assigned:
        return assigned(await self._graph.rows(endpoint.assigned(app_id), assignment_from_json), app_id)

    async def user(self, user_id: str) -> User | None:
        """Return one person, None when Graph does not know them (any more)."""
        found = await self._graph.find(endpoint.user(user_id))
        return None if found is None else user_from_json(found)

    async def require_shown(self, found: Mapping[AppGroup, Members], *, nested: bool) -> None:
        """Raise for a group that hides its members from us: Graph answers with an empty or a short list, not with 403.

        Where the token does not show its permissions, only an empty list is suspicious.
        """
        roles = self._roles()
        if roles is not None and endpoint.HIDDEN_ROLE in roles:
            return
        doubtful = [group for group in sorted(found) if roles is not None or not found[group].people]
        async with side_by_side() as tasks:
            asked = [tasks.create_task(self._hides(group)) for group in doubtful]
        hides = {group: task.result() for group, task in zip(doubtful, asked, strict=True)}
        hidden = [endpoint.named(group) for group in doubtful if hides[group]]
        for group in doubtful:
            # One that was listed and is not known any more was deleted in between: the next run sees.
            if hides[group] is None and not found[group].people:
                raise IncompleteRead(
                    f"{self._graph.who} lists no members of group {endpoint.named(group)} and does not know the group.",
                    endpoint.GROUP_HINT,
                )
        if roles is not None and nested:
            hidden += [legible(f"{name} (in {group.name})") for group in sorted(found) for name in found[group].hidden]
        if hidden:
            without = "does not have" if roles is not None else "seems not to have"
            raise PermissionMissing(
                f"{self._graph.who} hides the members of group {', '.join(hidden[:MOST_NAMES])}: its visibility is "
                f"HiddenMembership, and the app registration {without} the permission {endpoint.HIDDEN_ROLE}, so "
                "that its list is empty or short.",
                endpoint.HIDDEN_HINT,
            )

    async def _read_hides(self, group: AppGroup) -> bool | None:
        """Return whether a group hides its members, None when Graph does not know it."""
        found = await self._graph.find(endpoint.group(group))
        return None if found is None else hides_members(found)

    async def _individuals(
        self, everything: Assigned, found: Mapping[AppGroup, Members], source: Source
    ) -> dict[str, User | ReadError | None]:
        """Return the individually assigned; only those that no group shows are read one by one.

        Where the source ignores them, one who can't be read decides nothing, and stands as the error.
        """
        seen = {key: user for each in found.values() for key, user in each.people.items() if not user.is_blank}
        asked: dict[str, User | ReadError | None] = {}
        unseen = [key for key in everything.individuals if key not in seen]
        if source.ignores_individuals:
            asked = await OneByOne().read(unseen, self._users)
        else:
            async with side_by_side() as tasks:
                running = {key: tasks.create_task(self._users(key)) for key in unseen}
            asked = {key: task.result() for key, task in running.items()}
        return {key: asked[key] if key in asked else seen[key] for key in everything.individuals}

    async def _read_members(self, key: tuple[AppGroup, bool]) -> Members:
        group, nested = key
        return members(await self._graph.rows(endpoint.members(group, nested=nested), member_from_json), group.name)
