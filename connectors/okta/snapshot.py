"""Build a snapshot from an application's people, its groups and their members. Pure.

How a row of the application's list is read, with *counted* groups (those that `groups:` names, else all of them):

    scope    in a counted group   _links.group names     the person is
    USER     yes                                         assigned through those groups, and individually
    USER     no                                          assigned individually only
    GROUP    yes                                         assigned through those groups
    GROUP    no                   a counted group        assigned through that one: Okta is still moving them
    GROUP    no                   a group not counted    not of this source
    GROUP    no                   none, or unknown       pending: nothing is concluded
    other    as GROUP

An active person in a counted group who is not in the list is pending: Okta assigns in the background. Any other status
is a person who may not sign in: Okta keeps deactivated people in their groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from connectors.base import Group, Person, ReadNote, Snapshot, Source
from connectors.directory import AppGroup, fullest_rows, group_memberships, require_visible, unidentified_notes
from connectors.okta.mapping import NAMING, AppUser, Assignment, User, UserMapper

__all__ = ["AppData", "GroupMembers", "app_people", "build_snapshot", "group_members"]

INDIVIDUAL_SCOPE = "USER"
VISIBILITY_HINT = (
    "Grant the service app okta.users.read and okta.groups.read and an admin role that may view users and groups (or "
    "give the API token's owner that role)."
)
REQUIRED_FIELDS: Mapping[str, Callable[[User], bool]] = {
    "id": lambda user: bool(user.id),
    "status": lambda user: bool(user.status),
    "login": lambda user: bool(user.login),
}
"""Fields that everyone has."""


@dataclass(frozen=True, slots=True)
class GroupMembers:
    """The members of one group, by id. *unidentified* are the rows without an id."""

    people: Mapping[str, User]
    unidentified: tuple[User, ...] = ()


@dataclass(frozen=True, slots=True)
class AppData:
    """The complete lists of one application.

    *assigned_group_ids* are the ids of all its groups, *counted* those that this source counts, with their members.
    """

    app_name: str
    people: Mapping[str, AppUser]
    unidentified: tuple[User, ...]
    assigned_group_ids: frozenset[str]
    counted: Mapping[AppGroup, GroupMembers]


def app_people(rows: Iterable[AppUser], app: str) -> tuple[dict[str, AppUser], tuple[User, ...]]:
    """Return the application's people by id (of rows with one id the last), and the rows that have no id."""
    listed = list(rows)
    _require_visible([row.user for row in listed], f"the people of application {app}")
    found = {row.user.id: row for row in listed if row.user.id}
    return found, tuple(row.user for row in listed if not row.user.id)


def group_members(rows: Iterable[User], group: str) -> GroupMembers:
    listed = list(rows)
    _require_visible(listed, f"the members of group {group}")
    return GroupMembers({user.id: user for user in listed if user.id}, tuple(user for user in listed if not user.id))


def _require_visible(users: Sequence[User], description: str) -> None:
    require_visible(
        users,
        REQUIRED_FIELDS,
        description,
        provider=NAMING.provider,
        hint=VISIBILITY_HINT,
        is_plausible=lambda user: bool(user.id and user.login),
    )


def build_snapshot(app_data: AppData, source: Source, mapper: UserMapper) -> Snapshot:
    """Return the snapshot of *source*. The result does not depend on the order in which anything was read."""
    memberships = group_memberships({group: members.people for group, members in app_data.counted.items()})
    members = _users_by_id(app_data.counted)
    settled = dict(_listed_people(app_data, members, memberships, mapper))
    settled.update(_people_only_in_groups(app_data, members, memberships, mapper))
    unidentified_users = [
        *app_data.unidentified,
        *(user for each in app_data.counted.values() for user in each.unidentified),
    ]
    unidentified = sorted(mapper.email_of(user) for user in unidentified_users)
    return Snapshot(
        source,
        app_data.app_name,
        tuple(Group(group.id, group.name, len(app_data.counted[group].people)) for group in sorted(app_data.counted)),
        tuple(settled[key] for key in sorted(settled)),
        (*_moving_assignment_notes(app_data, memberships, settled), *unidentified_notes(NAMING.provider, unidentified)),
        tuple(unidentified),
    )


def _users_by_id(counted: Mapping[AppGroup, GroupMembers]) -> dict[str, User]:
    """Return the members of all groups by id, each from the group that shows most."""
    return fullest_rows({group: members.people for group, members in counted.items()}, lambda user: user.is_blank)


def _listed_people(
    app_data: AppData, members: Mapping[str, User], memberships: Mapping[str, tuple[str, ...]], mapper: UserMapper
) -> Iterator[tuple[str, Person]]:
    counted = frozenset(group.id for group in app_data.counted)
    for key, row in app_data.people.items():
        assignment = _assignment(row, memberships.get(key, ()), counted, app_data.assigned_group_ids)
        if assignment is not None:
            user = members.get(key, row.user) if row.user.is_blank else row.user
            yield key, mapper.person_from_user(user, assignment)


def _assignment(
    row: AppUser, groups: tuple[str, ...], counted: frozenset[str], assigned: frozenset[str]
) -> Assignment | None:
    """Decide by the table above. None: the person does not belong to this source."""
    if row.scope == INDIVIDUAL_SCOPE or groups:
        return _counted_assignment(groups, row.scope == INDIVIDUAL_SCOPE)
    if row.link_group_id in counted:
        return Assignment((row.link_group_id,))
    return None if row.link_group_id in assigned else Assignment(pending=True)


@lru_cache(maxsize=1024)
def _counted_assignment(groups: tuple[str, ...], is_individual: bool) -> Assignment:
    # Most people have one of a few.
    return Assignment(groups, is_individual)


def _people_only_in_groups(
    app_data: AppData, members: Mapping[str, User], memberships: Mapping[str, tuple[str, ...]], mapper: UserMapper
) -> Iterator[tuple[str, Person]]:
    for key, user in members.items():
        if key not in app_data.people:
            yield key, mapper.person_from_user(user, Assignment(memberships[key], pending=True))


def _moving_assignment_notes(
    app_data: AppData, memberships: Mapping[str, tuple[str, ...]], settled: Mapping[str, Person]
) -> Iterator[ReadNote]:
    """Yield a note for each person that Okta is moving: the list has them, their groups do not."""
    names = {group.id: group.name for group in app_data.counted}
    for key in sorted(settled.keys() - memberships.keys()):
        person = settled[key]
        if person.individual:
            continue
        who = person.email or key
        if person.groups:
            reason = f"Okta assigns {who} through the group {names[person.groups[0]]}, which does not hold them."
        else:
            reason = f"Okta assigns {who} through a group, but none of the application's groups holds them."
        yield ReadNote("assignment-moving", person.email or "", reason)
