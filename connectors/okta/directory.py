"""The lists of one Okta org that snapshots are made of, each whole; a group that several sources share is read once."""

from __future__ import annotations

from connectors.base import IncompleteRead, Source
from connectors.http import escape_control
from connectors.http.single_flight import SingleFlight, task_group
from connectors.okta import endpoints
from connectors.okta.client import OktaClient
from connectors.okta.row import AppGroup, app_group_from_json, app_user_from_json, group_name, user_from_json
from connectors.okta.selection import select_groups
from connectors.okta.snapshot import AppData, GroupMembers, app_people, group_members

__all__ = ["DirectoryReader"]


class DirectoryReader:
    """What one connector reads of its org. Every method raises `ReadError` for a list that is not whole."""

    def __init__(self, org: OktaClient) -> None:
        self._client = org
        self._members = SingleFlight(self._read_members)
        self._names = SingleFlight(self._read_group_name)

    async def read_app_data(self, source: Source) -> AppData:
        """Return everything of the source's application that its snapshot needs."""
        app_name = await self.read_app_name(source.app)
        async with task_group() as tasks:
            listing = tasks.create_task(self._client.read_all(endpoints.app_users(source.app), app_user_from_json))
            groups = tasks.create_task(self._read_groups(source, app_name))
        people, unidentified = app_people(listing.result(), source.app)
        assigned, counted = groups.result()
        return AppData(app_name, people, unidentified, frozenset(group.id for group in assigned), counted)

    async def _read_groups(self, source: Source, app_name: str) -> tuple[list[AppGroup], dict[AppGroup, GroupMembers]]:
        assigned = await self.read_assigned_groups(source.app)
        counted = select_groups(assigned, source.groups, app_name)
        async with task_group() as tasks:
            inside = [tasks.create_task(self._members(group)) for group in counted]
        return assigned, {group: task.result() for group, task in zip(counted, inside, strict=True)}

    async def read_app_name(self, app_id: str) -> str:
        """Return the name that admins see. An application that is not active has nobody to tell of: an error."""
        app = await self._client.read_one(endpoints.app(app_id))
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
        rows = await self._client.read_all(endpoints.app_groups(app_id), app_group_from_json)
        if not all(group.id for group in rows):
            raise IncompleteRead(
                f"Okta returned a group of application {app_id} without its id.",
                "Try again; if it stays, unassign and assign the application's groups in Okta, or ask Okta's support.",
            )
        found = {group.id: group for group in rows}
        async with task_group() as tasks:
            named = [tasks.create_task(self._fill_name(found[group_id])) for group_id in sorted(found)]
        return [task.result() for task in named]

    async def _fill_name(self, group: AppGroup) -> AppGroup:
        return group if group.name else AppGroup(group.id, await self._names(group.id))

    async def _read_group_name(self, group_id: str) -> str:
        return group_name(await self._client.read_one(endpoints.group(group_id))) or group_id

    async def _read_members(self, group: AppGroup) -> GroupMembers:
        return group_members(
            await self._client.read_all(endpoints.group_members(group), user_from_json), escape_control(group.name)
        )
