"""Put an application's users, its roles and their people together into one snapshot. Pure: nothing is read here.

OneLogin has no flag for an individual assignment: it is an application's user whom none of its roles holds, those
roles too that this source does not count. It is known only because every one of them was read to its end.

    in the application's users   in a counted role   in another role of it   the person is
    either                       yes                 either                  assigned through those roles
    yes                          no                  no                      assigned individually only
    either                       no                  yes                     not of this source
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from connectors.base import Group, IncompleteRead, Person, ReadNote, Snapshot, Source
from connectors.onelogin.endpoints import SCOPE_HINT
from connectors.onelogin.mapping import Assignment, UserMapper
from connectors.onelogin.row import Membership, User
from connectors.onelogin.selection import Role

__all__ = [
    "AppData",
    "RoleMembers",
    "app_people",
    "assignments",
    "build_snapshot",
    "missing_fields",
    "require_visible",
    "role_members",
]


@dataclass(frozen=True, slots=True)
class RoleMembers:
    """Everyone who has one role. *unidentified* counts the rows without an id."""

    people: frozenset[str]
    unidentified: int = 0


@dataclass(frozen=True, slots=True)
class AppData:
    """Everything that was read of one application, each list to its end.

    *members_by_role* has all its roles by id, *counted* are those that this source counts.
    """

    app_name: str
    people: Mapping[str, User]
    unidentified: tuple[User, ...]
    members_by_role: Mapping[str, RoleMembers]
    counted: tuple[Role, ...]


def app_people(users: Iterable[User], app: str) -> tuple[dict[str, User], tuple[User, ...]]:
    """Return the application's users by id, and the rows that have no id."""
    rows = list(users)
    found = {user.id: user for user in rows if user.id is not None}
    if rows and not found:
        raise _hidden_fields_error(f"the users of application {app}", len(rows), "id")
    return found, tuple(user for user in rows if user.id is None)


def role_members(rows: Iterable[Membership], role: str) -> RoleMembers:
    assigned = [row for row in rows if row.is_assigned]
    people = frozenset(row.id for row in assigned if row.id is not None)
    if assigned and not people:
        raise _hidden_fields_error(f"the people of role {role}", len(assigned), "id")
    return RoleMembers(people, sum(row.id is None for row in assigned))


def assignments(read: AppData) -> dict[str, Assignment]:
    """Return everybody of the source, by the table above."""
    is_sure = not any(each.unidentified for each in read.members_by_role.values())
    held = frozenset[str]().union(*(each.people for each in read.members_by_role.values()))
    individual = {key: Assignment((), True, is_sure) for key in read.people if key not in held}
    via: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for role in read.counted:
        for key in read.members_by_role[role.id].people:
            via[key] += (role.id,)
    return individual | {key: Assignment(groups, False) for key, groups in via.items()}


def build_snapshot(
    read: AppData,
    users: Mapping[str, User],
    source: Source,
    portrait: UserMapper,
    unread: Mapping[str, str] = MappingProxyType({}),
) -> Snapshot:
    """Return the snapshot of *source*. *users* are the account's own rows of those who are assigned, by id.

    *unread* has those that could not be read, with the reason: nothing is concluded about them.
    The result does not depend on the order in which anything was read.
    """
    assigned = sorted(assignments(read).items())
    people = tuple(
        portrait.person_from_user(key, users.get(key), read.people.get(key), replace(each, unread=unread.get(key, "")))
        for key, each in assigned
    )
    _require_people(people, users)
    unidentified = sorted(_unidentified_emails(read))
    return Snapshot(
        source,
        read.app_name,
        tuple(Group(role.id, role.name, len(read.members_by_role[role.id].people)) for role in read.counted),
        people,
        tuple(_unidentified_notes(unidentified)),
        tuple(unidentified),
    )


def missing_fields(users: Iterable[User]) -> tuple[str, ...]:
    """Return the fields that no row shows; in enough rows that is a missing permission."""
    rows = list(users)
    shown = {
        "id": any(user.id is not None for user in rows),
        "status": any(user.status is not None for user in rows),
        "state": any(user.state is not None for user in rows),
        "email": any(user.email is not None for user in rows),
    }
    return tuple(field for field, is_shown in shown.items() if rows and not is_shown)


def require_visible(users: Iterable[User], what: str) -> None:
    """Raise when a field is in none of the account's rows: a permission is missing, and nothing can be concluded."""
    rows = list(users)
    if fields := missing_fields(rows):
        raise _hidden_fields_error(what, len(rows), ", ".join(fields))


def _require_people(people: tuple[Person, ...], users: Mapping[str, User]) -> None:
    if people and not any(person.id in users for person in people):
        raise IncompleteRead(
            f"OneLogin shows none of the {len(people):,} people of the application among the account's users.",
            f"{SCOPE_HINT} If it has it, run again.",
        )


def _hidden_fields_error(what: str, count: int, fields: str) -> IncompleteRead:
    return IncompleteRead(f"OneLogin returned {what} ({count:,} rows), and none of them shows: {fields}.", SCOPE_HINT)


def _unidentified_emails(read: AppData) -> Iterator[str]:
    """Name whom rows without an id show: their email, or nothing where a role's row, which has none, is theirs."""
    for user in read.unidentified:
        yield user.email or ""
    for each in read.members_by_role.values():
        yield from [""] * each.unidentified


def _unidentified_notes(emails: list[str]) -> Iterator[ReadNote]:
    for email, count in Counter(emails).items():
        whose = email or "without an email"
        told = (
            f"OneLogin returned {count} row(s) without an id ({whose}): nobody who may be behind them is deactivated."
        )
        yield ReadNote("unidentified-row", email, told)
