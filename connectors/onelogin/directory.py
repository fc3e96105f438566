"""The lists of one OneLogin account that snapshots are made of, each whole; what several sources share is read once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from connectors.base import IncompleteRead, ReadError, Source
from connectors.onelogin import endpoint
from connectors.onelogin.account import Account
from connectors.onelogin.assembly import AppRead, Members, app_people, lacking, members, require_sight
from connectors.onelogin.row import User, id_of, membership_from_json, name_of, role_ids, user_from_json
from connectors.onelogin.selection import Role, counted_roles
from connectors.rest import Once, OneByOne, side_by_side

__all__ = ["Directory"]

USERS_PER_PAGE = 50
"""What a page of all users holds at worst: OneLogin's documents tell several numbers."""


class Directory:
    """What one connector reads of its account. Every method raises `ReadError` for a list that is not whole."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._members = Once(self._read_members)
        self._users = Once(self._read_users)
        self._user = Once(self._read_user)
        self._count = Once(self._read_count)

    async def read(self, source: Source) -> AppRead:
        """Return everything of the source's application that its snapshot needs, its people's own rows aside."""
        app_name, granting = await self.app(source.app)
        counted = counted_roles(granting, source.groups, app_name)
        async with side_by_side() as tasks:
            listing = tasks.create_task(self._account.rows(endpoint.app_users(source.app)))
            walks = {role.id: tasks.create_task(self._members(role)) for role in granting}
        people, unidentified = app_people(map(user_from_json, listing.result()), source.app)
        return AppRead(app_name, people, unidentified, {key: walk.result() for key, walk in walks.items()}, counted)

    async def app(self, app_id: str) -> tuple[str, list[Role]]:
        """Return the name of an application and the roles that grant it.

        Its own `role_ids` say which they are: a server that does not know the filter would list all roles there are.
        """
        app = await self._account.one(endpoint.app(app_id))
        granting = role_ids(app)
        if granting is None:
            raise IncompleteRead(
                f"OneLogin does not show which roles grant application {app_id}: its role_ids are no list of ids.",
                f"{endpoint.SCOPE_HINT} If it has it, report this to OneLogin's support.",
            )
        return name_of(app).strip() or app_id, await self._named(app_id, granting)

    async def users(
        self, wanted: Collection[str], ignored: Collection[str] = ()
    ) -> tuple[dict[str, User], dict[str, str]]:
        """Return the account's own rows of *wanted*, by id: one by one where that takes fewer requests than all pages.

        People missing from the list of all users are read by id; those unknown to OneLogin are left out. Beside the
        rows, a word explains why one of *ignored* could not be read: they decide nothing, and end no read.
        """
        found: dict[str, User] = {}
        if wanted and await self._is_large_part(wanted):
            everybody = await self._users("")
            found = {key: everybody[key] for key in wanted if key in everybody}
        missing = [key for key in wanted if key not in found]
        spared = [key for key in missing if key in ignored]
        async with side_by_side() as tasks:
            alone = [tasks.create_task(self._user(key)) for key in missing if key not in ignored]
            others = tasks.create_task(OneByOne().read(spared, self._user))
        answers = [*(task.result() for task in alone), *others.result().values()]
        unread = {key: error for key, error in others.result().items() if isinstance(error, ReadError)}
        # By the id that the row shows: one of somebody else says nothing of whom was asked for.
        seen = _by_id(user for user in answers if isinstance(user, User))
        if seen and not found:
            await self.require_sight(seen.values())
        if unread and not (found or seen):
            raise next(iter(unread.values()))
        return found | seen, {key: error.cause for key, error in unread.items()}

    async def require_sight(self, known: Collection[User] = ()) -> None:
        """Raise when no row of the account shows a field. *known* are rows that were read.

        The few of one application may all lack what the scope would show, an email for instance: others are checked
        before a permission counts as missing, on the first page and, if necessary, on all.
        """
        if known and not lacking(known):
            return
        first = map(user_from_json, await self._account.first_rows(endpoint.users()))
        if lacking([*known, *first]):
            await self._users("")

    async def _is_large_part(self, wanted: Collection[str]) -> bool:
        count = await self._count("")
        return count is None or len(wanted) * USERS_PER_PAGE >= count

    async def _named(self, app_id: str, granting: list[str]) -> list[Role]:
        """Return the roles with their names, those that the list does not show asked for alone."""
        listed = await self._account.rows(endpoint.roles(app_id)) if granting else []
        names = {id_of(row): name_of(row) for row in listed}
        async with side_by_side() as tasks:
            alone = {
                key: tasks.create_task(self._account.one(endpoint.role(key))) for key in granting if not names.get(key)
            }
        names |= {key: name_of(task.result()) for key, task in alone.items()}
        return [Role(key, names[key] or key) for key in granting]

    async def _read_members(self, role: Role) -> Members:
        return members(map(membership_from_json, await self._account.rows(endpoint.role_users(role))), role.name)

    async def _read_users(self, _key: str) -> Mapping[str, User]:
        rows = [user_from_json(row) for row in await self._account.rows(endpoint.users())]
        require_sight(rows, "the account's users")
        return _by_id(rows)

    async def _read_user(self, key: str) -> User | None:
        found = await self._account.find(endpoint.user(key))
        return None if found is None else user_from_json(found)

    async def _read_count(self, _key: str) -> int | None:
        return await self._account.total(endpoint.users())


def _by_id(users: Iterable[User]) -> dict[str, User]:
    return {user.id: user for user in users if user.id is not None}
