"""The lists of one tenant that snapshots are made of, each whole; a group that several sources share is read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from connectors.base import IncompleteRead, PermissionMissing, ReadError, Source
from connectors.entra import endpoints
from connectors.entra.client import GraphClient
from connectors.entra.row import (
    App,
    User,
    app_from_json,
    assignment_from_json,
    group_member_from_json,
    hides_members,
    user_from_json,
)
from connectors.entra.selection import AppAssignments, AppGroup, select_groups, sort_assignments
from connectors.entra.snapshot import AppData, GroupMembers, group_members
from connectors.http import IsolatedReads, SingleFlight, escape_control, task_group

__all__ = ["DirectoryReader"]

MAX_NAMES = 5


class DirectoryReader:
    """What one connector reads of its tenant. Every method raises `ReadError` for a list that is not whole.

    *roles* returns the permissions in the token, None when it does not show them.
    """

    def __init__(self, graph: GraphClient, roles: Callable[[], frozenset[str] | None]) -> None:
        self._client = graph
        self._token_roles = roles
        self._members = SingleFlight(self._read_members)
        self._hides_members = SingleFlight(self._read_hides_members)
        self._users = SingleFlight(self.read_user)

    async def read_app_data(self, source: Source) -> AppData:
        """Return everything of the source's application that its snapshot needs."""
        app = await self.read_app(source.app)
        everything = await self.read_assignments(source.app)
        counted = select_groups(everything.groups, source.groups, app.name)
        async with task_group() as tasks:
            inside = [tasks.create_task(self._members((group, source.nested))) for group in counted]
        found = {group: task.result() for group, task in zip(counted, inside, strict=True)}
        await self.require_visible_members(found, nested=source.nested)
        individuals = await self._read_individuals(everything, found, source)
        read = {key: user for key, user in individuals.items() if not isinstance(user, ReadError)}
        unread = {key: error for key, error in individuals.items() if isinstance(error, ReadError)}
        if unread and not any(found[group].people for group in found) and not any(read.values()):
            raise next(iter(unread.values()))
        causes = {key: error.cause for key, error in unread.items()}
        return AppData(app.name, found, read, everything.individual_names, everything.other_principals, causes)

    async def read_app(self, app_id: str) -> App:
        """Return the application, by its id where it has no name. A disabled one has nobody to tell of: an error."""
        app = app_from_json(await self._client.read_one(endpoints.app(app_id)))
        if not app.is_enabled:
            raise IncompleteRead(
                f"The enterprise application {escape_control(app.name)} ({app_id}) in Entra is disabled.",
                "Enable it (Properties > Enabled for users to sign-in), or take it out of `sources`.",
            )
        return app if app.name else replace(app, name=app_id)

    async def read_assignments(self, app_id: str) -> AppAssignments:
        return sort_assignments(
            await self._client.read_all(endpoints.app_assignments(app_id), assignment_from_json), app_id
        )

    async def read_user(self, user_id: str) -> User | None:
        """Return one person, None when Graph does not know them (any more)."""
        found = await self._client.find_one(endpoints.user(user_id))
        return None if found is None else user_from_json(found)

    async def require_visible_members(self, found: Mapping[AppGroup, GroupMembers], *, nested: bool) -> None:
        """Raise for a group that hides its members from us: Graph answers with an empty or a short list, not with 403.

        Where the token does not show its permissions, only an empty list is suspicious.
        """
        roles = self._token_roles()
        if roles is not None and endpoints.HIDDEN_ROLE in roles:
            return
        doubtful = [group for group in sorted(found) if roles is not None or not found[group].people]
        async with task_group() as tasks:
            asked = [tasks.create_task(self._hides_members(group)) for group in doubtful]
        hides = {group: task.result() for group, task in zip(doubtful, asked, strict=True)}
        hidden = [endpoints.group_label(group) for group in doubtful if hides[group]]
        for group in doubtful:
            # One that was listed and is not known any more was deleted in between: the next run sees.
            if hides[group] is None and not found[group].people:
                raise IncompleteRead(
                    f"{self._client.name} lists no members of group {endpoints.group_label(group)} "
                    "and does not know the group.",
                    endpoints.GROUP_HINT,
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
                f"HiddenMembership, and the app registration {without} the permission {endpoints.HIDDEN_ROLE}, so "
                "that its list is empty or short.",
                endpoints.HIDDEN_HINT,
            )

    async def _read_hides_members(self, group: AppGroup) -> bool | None:
        """Return whether a group hides its members, None when Graph does not know it."""
        found = await self._client.find_one(endpoints.group(group))
        return None if found is None else hides_members(found)

    async def _read_individuals(
        self, everything: AppAssignments, found: Mapping[AppGroup, GroupMembers], source: Source
    ) -> dict[str, User | ReadError | None]:
        """Return the individually assigned; only those that no group shows are read one by one.

        Where the source ignores them, one who can't be read decides nothing, and stands as the error.
        """
        seen = {key: user for each in found.values() for key, user in each.people.items() if not user.is_blank}
        asked: dict[str, User | ReadError | None] = {}
        unseen = [key for key in everything.individual_names if key not in seen]
        if source.ignores_individuals:
            asked = await IsolatedReads().read_each(unseen, self._users)
        else:
            async with task_group() as tasks:
                running = {key: tasks.create_task(self._users(key)) for key in unseen}
            asked = {key: task.result() for key, task in running.items()}
        return {key: asked[key] if key in asked else seen[key] for key in everything.individual_names}

    async def _read_members(self, key: tuple[AppGroup, bool]) -> GroupMembers:
        group, nested = key
        return group_members(
            await self._client.read_all(endpoints.group_members(group, nested=nested), group_member_from_json),
            group.name,
        )
