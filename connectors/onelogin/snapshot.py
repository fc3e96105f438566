"""Build a snapshot from an application's users, its roles and their people. Pure.

OneLogin has no flag for an individual assignment: it is a user of the application whom none of its roles holds, counted
or not. It is known only because every role was read to its end.

    in the application's users   in a counted role   in another role of it   the person is
    either                       yes                 either                  assigned through those roles
    yes                          no                  no                      assigned individually only
    either                       no                  yes                     not of this source
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from connectors.base import Group, IncompleteRead, Person, Snapshot, Source
from connectors.directory import AppGroup, group_memberships, require_visible, unidentified_notes
from connectors.onelogin.mapping import NAMING, SCOPE_HINT, Assignment, Membership, User, UserMapper

__all__ = [
    "ACCOUNT_FIELDS",
    "AppData",
    "RoleMembers",
    "app_people",
    "assignments",
    "build_snapshot",
    "role_members",
]

ID_FIELD: Mapping[str, Callable[[User | Membership], bool]] = {"id": lambda row: row.id is not None}
ACCOUNT_FIELDS: Mapping[str, Callable[[User], bool]] = {
    "id": lambda user: user.id is not None,
    "status": lambda user: user.status is not None,
    "state": lambda user: user.state is not None,
    "email": lambda user: user.email is not None,
}
"""Fields that the account's own rows show: where enough rows lack one, a permission is missing."""


@dataclass(frozen=True, slots=True)
class RoleMembers:
    """The people of one role. *unidentified* is the number of rows without an id."""

    people: frozenset[str]
    unidentified: int = 0


@dataclass(frozen=True, slots=True)
class AppData:
    """The complete lists of one application.

    *members_by_role* has all its roles by id, *counted* are those that this source counts.
    """

    app_name: str
    people: Mapping[str, User]
    unidentified: tuple[User, ...]
    members_by_role: Mapping[str, RoleMembers]
    counted: tuple[AppGroup, ...]


def app_people(users: Iterable[User], app: str) -> tuple[dict[str, User], tuple[User, ...]]:
    """Return the application's users by id, and the rows that have no id."""
    rows = list(users)
    require_visible(rows, ID_FIELD, f"the users of application {app}", provider=NAMING.provider, hint=SCOPE_HINT)
    found = {user.id: user for user in rows if user.id is not None}
    return found, tuple(user for user in rows if user.id is None)


def role_members(rows: Iterable[Membership], role: str) -> RoleMembers:
    assigned = [row for row in rows if row.is_assigned]
    require_visible(assigned, ID_FIELD, f"the people of role {role}", provider=NAMING.provider, hint=SCOPE_HINT)
    people = frozenset(row.id for row in assigned if row.id is not None)
    return RoleMembers(people, sum(row.id is None for row in assigned))


def assignments(app_data: AppData) -> dict[str, Assignment]:
    """Return the assignments of the source by person, by the table above."""
    is_sure = not any(each.unidentified for each in app_data.members_by_role.values())
    held = frozenset[str]().union(*(each.people for each in app_data.members_by_role.values()))
    individual = {key: Assignment((), True, is_sure) for key in app_data.people if key not in held}
    memberships = group_memberships({role: app_data.members_by_role[role.id].people for role in app_data.counted})
    return individual | {key: Assignment(groups, False) for key, groups in memberships.items()}


def build_snapshot(
    app_data: AppData,
    users: Mapping[str, User],
    source: Source,
    mapper: UserMapper,
    unread: Mapping[str, str] = MappingProxyType({}),
) -> Snapshot:
    """Return the snapshot of *source*. *users* are the account's own rows of those who are assigned, by id.

    *unread* has those that could not be read, with the reason: nothing is concluded about them.
    The result does not depend on the order in which anything was read.
    """
    assigned = sorted(assignments(app_data).items())
    people = tuple(
        mapper.person_from_user(
            key, users.get(key), app_data.people.get(key), replace(each, unread=unread.get(key, ""))
        )
        for key, each in assigned
    )
    _require_people(people, users)
    unidentified = sorted(_unidentified_emails(app_data))
    return Snapshot(
        source,
        app_data.app_name,
        tuple(Group(role.id, role.name, len(app_data.members_by_role[role.id].people)) for role in app_data.counted),
        people,
        tuple(unidentified_notes(NAMING.provider, unidentified)),
        tuple(unidentified),
    )


def _require_people(people: tuple[Person, ...], users: Mapping[str, User]) -> None:
    if people and not any(person.id in users for person in people):
        raise IncompleteRead(
            f"OneLogin shows none of the {len(people):,} people of the application among the account's users.",
            f"{SCOPE_HINT} If it has it, run again.",
        )


def _unidentified_emails(app_data: AppData) -> Iterator[str]:
    """Yield the email of each row without an id, empty for a role's row, which has no email."""
    for user in app_data.unidentified:
        yield user.email or ""
    for each in app_data.members_by_role.values():
        yield from [""] * each.unidentified
