"""The lists of one OneLogin account that snapshots are made of, each whole; what several sources share is read once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from connectors.base import IncompleteRead, ReadError, Source
from connectors.http import IsolatedReads, SingleFlight, task_group
from connectors.onelogin import endpoints
from connectors.onelogin.client import OneLoginClient
from connectors.onelogin.row import User, membership_from_json, role_ids, row_id, row_name, user_from_json
from connectors.onelogin.selection import Role, select_roles
from connectors.onelogin.snapshot import AppData, RoleMembers, app_people, missing_fields, require_visible, role_members

__all__ = ["DirectoryReader"]

MIN_PAGE_SIZE = 50
"""What a page of all users holds at worst: OneLogin's documents tell several numbers."""


class DirectoryReader:
    """What one connector reads of its account. Every method raises `ReadError` for a list that is not whole."""

    def __init__(self, account: OneLoginClient) -> None:
        self._client = account
        self._members = SingleFlight(self._read_members)
        self._all_users = SingleFlight(self._read_all_users)
        self._user = SingleFlight(self._read_user)
        self._user_count = SingleFlight(self._read_user_count)

    async def read_app_data(self, source: Source) -> AppData:
        """Return everything of the source's application that its snapshot needs, its people's own rows aside."""
        app_name, granting = await self.read_app(source.app)
        counted = select_roles(granting, source.groups, app_name)
        async with task_group() as tasks:
            listing = tasks.create_task(self._client.read_all(endpoints.app_users(source.app)))
            walks = {role.id: tasks.create_task(self._members(role)) for role in granting}
        people, unidentified = app_people(map(user_from_json, listing.result()), source.app)
        return AppData(app_name, people, unidentified, {key: walk.result() for key, walk in walks.items()}, counted)

    async def read_app(self, app_id: str) -> tuple[str, list[Role]]:
        """Return the name of an application and the roles that grant it.

        Its own `role_ids` say which they are: a server that does not know the filter would list all roles there are.
        """
        app = await self._client.read_one(endpoints.app(app_id))
        granting = role_ids(app)
        if granting is None:
            raise IncompleteRead(
                f"OneLogin does not show which roles grant application {app_id}: its role_ids are no list of ids.",
                f"{endpoints.SCOPE_HINT} If it has it, report this to OneLogin's support.",
            )
        return row_name(app).strip() or app_id, await self._read_roles(app_id, granting)

    async def read_users(
        self, wanted: Collection[str], ignored: Collection[str] = ()
    ) -> tuple[dict[str, User], dict[str, str]]:
        """Return the account's own rows of *wanted*, by id: one by one where that takes fewer requests than all pages.

        People missing from the list of all users are read by id; those unknown to OneLogin are left out. Beside the
        rows, a word explains why one of *ignored* could not be read: they decide nothing, and end no read.
        """
        found: dict[str, User] = {}
        if wanted and await self._is_large_part(wanted):
            everybody = await self._all_users("")
            found = {key: everybody[key] for key in wanted if key in everybody}
        missing = [key for key in wanted if key not in found]
        spared = [key for key in missing if key in ignored]
        async with task_group() as tasks:
            alone = [tasks.create_task(self._user(key)) for key in missing if key not in ignored]
            others = tasks.create_task(IsolatedReads().read_each(spared, self._user))
        answers = [*(task.result() for task in alone), *others.result().values()]
        unread = {key: error for key, error in others.result().items() if isinstance(error, ReadError)}
        # By the id that the row shows: one of somebody else says nothing of whom was asked for.
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
        if known and not missing_fields(known):
            return
        first = map(user_from_json, await self._client.read_first_page(endpoints.users()))
        if missing_fields([*known, *first]):
            await self._all_users("")

    async def _is_large_part(self, wanted: Collection[str]) -> bool:
        count = await self._user_count("")
        return count is None or len(wanted) * MIN_PAGE_SIZE >= count

    async def _read_roles(self, app_id: str, granting: list[str]) -> list[Role]:
        """Return the roles with their names, those that the list does not show asked for alone."""
        listed = await self._client.read_all(endpoints.roles(app_id)) if granting else []
        names = {row_id(row): row_name(row) for row in listed}
        async with task_group() as tasks:
            alone = {
                key: tasks.create_task(self._client.read_one(endpoints.role(key)))
                for key in granting
                if not names.get(key)
            }
        names |= {key: row_name(task.result()) for key, task in alone.items()}
        return [Role(key, names[key] or key) for key in granting]

    async def _read_members(self, role: Role) -> RoleMembers:
        return role_members(
            map(membership_from_json, await self._client.read_all(endpoints.role_users(role))), role.name
        )

    async def _read_all_users(self, _key: str) -> Mapping[str, User]:
        rows = [user_from_json(row) for row in await self._client.read_all(endpoints.users())]
        require_visible(rows, "the account's users")
        return _users_by_id(rows)

    async def _read_user(self, key: str) -> User | None:
        found = await self._client.find_one(endpoints.user(key))
        return None if found is None else user_from_json(found)

    async def _read_user_count(self, _key: str) -> int | None:
        return await self._client.read_total(endpoints.users())


def _users_by_id(users: Iterable[User]) -> dict[str, User]:
    return {user.id: user for user in users if user.id is not None}
