"""The lists of one Okta org that snapshots are made of, each whole; a group that several sources share is read once."""

from __future__ import annotations

from connectors.base import IncompleteRead, Source
from connectors.okta import endpoint
from connectors.okta.assembly import AppRead, Members, app_people, members
from connectors.okta.org import Org
from connectors.okta.row import AppGroup, app_group_from_json, app_user_from_json, group_name, user_from_json
from connectors.okta.selection import counted_groups
from connectors.rest import legible
from connectors.rest.once import Once, side_by_side

__all__ = ["Directory"]


class Directory:
    """What one connector reads of its org. Every method raises `ReadError` for a list that is not whole."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._members = Once(self._read_members)
        self._names = Once(self._read_name)

    async def read(self, source: Source) -> AppRead:
        """Return everything of the source's application that its snapshot needs."""
        app_name = await self.app_name(source.app)
        async with side_by_side() as tasks:
            listing = tasks.create_task(self._org.rows(endpoint.app_users(source.app), app_user_from_json))
            groups = tasks.create_task(self._groups(source, app_name))
        people, unidentified = app_people(listing.result(), source.app)
        assigned, counted = groups.result()
        return AppRead(app_name, people, unidentified, frozenset(group.id for group in assigned), counted)

    async def _groups(self, source: Source, app_name: str) -> tuple[list[AppGroup], dict[AppGroup, Members]]:
        assigned = await self.assigned_groups(source.app)
        counted = counted_groups(assigned, source.groups, app_name)
        async with side_by_side() as tasks:
            inside = [tasks.create_task(self._members(group)) for group in counted]
        return assigned, {group: task.result() for group, task in zip(counted, inside, strict=True)}

    async def app_name(self, app_id: str) -> str:
        """Return the name that admins see. An application that is not active has nobody to tell of: an error."""
        app = await self._org.one(endpoint.app(app_id))
        label, status = app.get("label"), app.get("status")
        name = label if isinstance(label, str) and label else app_id
        if status != "ACTIVE":
            raise IncompleteRead(
                f"Application {legible(name)} ({app_id}) in Okta is {legible(str(status))}, not ACTIVE.",
                "Activate the application in Okta, or take it out of `sources`.",
            )
        return name

    async def assigned_groups(self, app_id: str) -> list[AppGroup]:
        """Return all groups of the application by id, each with its name, whether or not Okta embeds the group."""
        rows = await self._org.rows(endpoint.app_groups(app_id), app_group_from_json)
        if not all(group.id for group in rows):
            raise IncompleteRead(
                f"Okta returned a group of application {app_id} without its id.",
                "Try again; if it stays, unassign and assign the application's groups in Okta, or ask Okta's support.",
            )
        found = {group.id: group for group in rows}
        async with side_by_side() as tasks:
            named = [tasks.create_task(self._named(found[group_id])) for group_id in sorted(found)]
        return [task.result() for task in named]

    async def _named(self, group: AppGroup) -> AppGroup:
        return group if group.name else AppGroup(group.id, await self._names(group.id))

    async def _read_name(self, group_id: str) -> str:
        return group_name(await self._org.one(endpoint.group(group_id))) or group_id

    async def _read_members(self, group: AppGroup) -> Members:
        return members(await self._org.rows(endpoint.members(group), user_from_json), legible(group.name))
