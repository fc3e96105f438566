"""Build a snapshot from an application's groups, their members and its individual assignments. Pure.

How a row of a group's members is read:

    kind             shows an id   is
    user             yes           a person of the group
    user             no            unidentified
    none             yes           a person whose status is unknown: nothing is concluded
    none             no            unidentified
    group                          a note: Entra grants no access through it (unless the source counts nested groups)
    device, contact, application   not a person
    any other, with a login        a person, nothing is concluded about them, with a note: new kinds appear
    any other, without one         not a person, with a note
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from connectors.base import Group, IncompleteRead, ReadNote, Snapshot, Source
from connectors.directory import AppGroup, fullest_rows, group_memberships, require_visible, unidentified_notes
from connectors.entra.mapping import NAMING, AppAssignment, GroupMember, User, UserMapper
from connectors.http import escape_control

__all__ = [
    "GROUP_KIND",
    "USER_KIND",
    "AppAssignments",
    "AppData",
    "GroupMembers",
    "build_snapshot",
    "group_members",
    "sort_assignments",
]

VISIBILITY_HINT = (
    "Grant the app registration the application permission User.Read.All, with admin consent: without it Graph shows "
    "people as nulls."
)
REQUIRED_FIELDS: Mapping[str, Callable[[User], bool]] = {
    "id": lambda user: bool(user.id),
    "userPrincipalName": lambda user: bool(user.login),
    "accountEnabled": lambda user: user.is_enabled is not None,
}
"""Fields that everyone has."""

USER_KIND, GROUP_KIND, UNKNOWN_KIND = "user", "group", ""


@dataclass(frozen=True, slots=True)
class AppAssignments:
    """Everything that is assigned, each once however many app roles it has; *individuals* are names by id."""

    groups: tuple[AppGroup, ...]
    individual_names: dict[str, str]
    other_principals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupMembers:
    """The members of one group, by id. *unidentified* are the rows without an id, *nested_groups* the groups in it.

    *hidden_groups* are those of them that hide their members, *unknown_kind* the rows of a kind that is not known.
    """

    people: Mapping[str, User]
    unidentified: tuple[User, ...] = ()
    nested_groups: tuple[str, ...] = ()
    hidden_groups: tuple[str, ...] = ()
    unknown_kind: tuple[User, ...] = ()


@dataclass(frozen=True, slots=True)
class AppData:
    """The complete lists of one application.

    *individuals* are those assigned directly, by id: None for a person whom Entra no longer knows.
    *individual_names* are theirs in the assignments; *other_principals* are the names of what is assigned and is
    neither a person nor a group. *unread_causes* are those assigned directly who could not be read, by id, with the
    cause in a word: of them nothing is concluded.
    """

    app_name: str
    counted: Mapping[AppGroup, GroupMembers]
    individuals: Mapping[str, User | None]
    individual_names: Mapping[str, str]
    other_principals: tuple[str, ...] = ()
    unread_causes: Mapping[str, str] = field(default_factory=dict)


def sort_assignments(rows: Iterable[AppAssignment], app: str) -> AppAssignments:
    """Group *rows* by kind. Raises `IncompleteRead` for a row without its principal, which might be anyone."""
    groups: dict[str, str] = {}
    individuals: dict[str, str] = {}
    others: dict[str, str] = {}
    kinds = {"group": groups, "user": individuals}
    for row in rows:
        if not row.id or not row.kind:
            raise IncompleteRead(
                f"Entra returned an assignment of the application {app} without its principal.",
                "Try again; if it persists, remove and add the application's users and groups in Entra.",
            )
        kinds.get(row.kind, others)[row.id] = row.name or row.id
    found = tuple(AppGroup(key, groups[key]) for key in sorted(groups))
    return AppAssignments(found, individuals, tuple(sorted(set(others.values()))))


def group_members(rows: Iterable[GroupMember], group: str) -> GroupMembers:
    """Group the members of *group* by the table above."""
    listed = list(rows)
    users = [_user_from_group_member(row) for row in listed if row.kind in {USER_KIND, UNKNOWN_KIND}]
    require_visible(
        users,
        REQUIRED_FIELDS,
        f"the members of group {escape_control(group)}",
        provider=NAMING.provider,
        hint=VISIBILITY_HINT,
        is_plausible=lambda user: bool(user.id and user.login),
    )
    odd = tuple(row.user for row in listed if row.user.unknown_kind)
    users += (user for user in odd if user.has_address)
    nested = {row.user.display_name or row.user.id: row.hides_members for row in listed if row.kind == GROUP_KIND}
    return GroupMembers(
        {user.id: user for user in users if user.id},
        tuple(user for user in users if not user.id),
        tuple(sorted(nested)),
        tuple(sorted(name for name, hides in nested.items() if hides)),
        odd,
    )


def _user_from_group_member(row: GroupMember) -> User:
    return row.user if row.kind == USER_KIND else replace(row.user, is_enabled=None)


def build_snapshot(app_data: AppData, source: Source, mapper: UserMapper) -> Snapshot:
    """Return the snapshot of *source*. The result does not depend on the order in which anything was read."""
    memberships = group_memberships({group: members.people for group, members in app_data.counted.items()})
    users_by_id = _users_by_id(app_data)
    # A row of an unknown kind may mean something else by its fields: it is not taken for a guest either.
    entitled = [
        key
        for key in sorted(users_by_id)
        if source.guests or users_by_id[key].unknown_kind or not users_by_id[key].is_guest
    ]
    people = tuple(
        mapper.person_from_user(users_by_id[key], memberships.get(key, ()), individual=key in app_data.individual_names)
        for key in entitled
    )
    unidentified_emails = sorted(
        mapper.email_of(user) for each in app_data.counted.values() for user in each.unidentified
    )
    notes = (
        *_guest_notes(users_by_id, frozenset(entitled), mapper),
        *(() if source.nested else _nested_group_notes(app_data.counted)),
        *_assignment_notes(app_data),
        *_unknown_kind_notes(app_data, mapper),
        *unidentified_notes(NAMING.provider, unidentified_emails),
    )
    groups = tuple(
        Group(group.id, group.name, len(app_data.counted[group].people)) for group in sorted(app_data.counted)
    )
    return Snapshot(source, app_data.app_name, groups, people, notes, tuple(unidentified_emails))


def _users_by_id(app_data: AppData) -> dict[str, User]:
    """Return everyone by id, each from the list that shows most."""
    individuals = {key: user for key, user in app_data.individuals.items() if user is not None}
    individuals |= {key: User(key, display_name=app_data.individual_names[key]) for key in app_data.unread_causes}
    people_by_group = {group: members.people for group, members in app_data.counted.items()}
    return fullest_rows(people_by_group, lambda user: user.is_blank, individuals)


def _guest_notes(users_by_id: Mapping[str, User], entitled: frozenset[str], mapper: UserMapper) -> Iterator[ReadNote]:
    for key in sorted(users_by_id.keys() - entitled):
        who = mapper.email_of(users_by_id[key])
        yield ReadNote("guest", who, f"{who or key} is a guest, and this source does not count guests (`guests`).")


def _nested_group_notes(counted: Mapping[AppGroup, GroupMembers]) -> Iterator[ReadNote]:
    for group in sorted(counted):
        for inner in counted[group].nested_groups:
            reason = f"{inner} is a group in {group.name}: Entra gives no access to those who are in {inner} alone."
            yield ReadNote("nested-group", "", reason)


def _assignment_notes(app_data: AppData) -> Iterator[ReadNote]:
    for key in sorted(app_data.individuals):
        if app_data.individuals[key] is None:
            reason = f"{app_data.individual_names[key]} is assigned individually, and Entra no longer knows them."
            yield ReadNote("assignment-left-over", "", reason)
    for key in sorted(app_data.unread_causes):
        reason = (
            f"{app_data.individual_names[key]} is assigned individually, and could not be looked up: "
            f"{app_data.unread_causes[key]}. Nothing is "
            "concluded about them."
        )
        yield ReadNote("assignment-not-read", "", reason)
    for name in app_data.other_principals:
        yield ReadNote("not-a-person", "", f"{name} is assigned, and is neither a person nor a group.")


def _unknown_kind_notes(app_data: AppData, mapper: UserMapper) -> Iterator[ReadNote]:
    places = [
        (user, f"in group {group.name}")
        for group in sorted(app_data.counted)
        for user in app_data.counted[group].unknown_kind
    ]
    individuals = (app_data.individuals[key] for key in sorted(app_data.individuals))
    places += [(user, "assigned individually") for user in individuals if user is not None and user.unknown_kind]
    for user, where in sorted(places, key=lambda place: (place[0].id, place[1])):
        email = mapper.email_of(user)
        who = email or user.display_name or user.id or "A row without a name"
        outcome = (
            "no member is created for it, and nothing is concluded about it"
            if user.has_address
            else "it does not count as a person"
        )
        yield ReadNote(
            "unknown-kind", email, f"{who}, {where}, is of an unknown kind ({user.unknown_kind}): {outcome}."
        )
