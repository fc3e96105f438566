"""Put an application's groups, their members and its individuals together into one snapshot. Pure: it reads nothing.

How a row of a group's members is taken:

    kind             shows an id   is
    user             yes           a person of the group
    user             no            unidentified
    none             yes           a person whose status is unknown: it may be somebody, and nothing is concluded
    none             no            unidentified
    group                          told of: Entra lets nobody sign in through it (unless the source counts nested ones)
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

__all__ = ["AppAssignments", "AppData", "GroupMembers", "build_snapshot", "group_members", "sort_assignments"]

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
    """Everyone in one group, by id. *unidentified* are the rows without one, *nested* the names of groups in it.

    *hidden* are the names of those groups in it that hide their members, *odd* the rows of a kind that is not known.
    """

    people: Mapping[str, User]
    unidentified: tuple[User, ...] = ()
    nested_groups: tuple[str, ...] = ()
    hidden_groups: tuple[str, ...] = ()
    unknown_kind: tuple[User, ...] = ()


@dataclass(frozen=True, slots=True)
class AppData:
    """Everything that was read of one application, each list to its end.

    *individuals* are those assigned directly, by id: None for somebody whom Entra does not know any more.
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
    """Sort *rows* out. Raises `IncompleteRead` for one that does not say whom it assigns: nobody can be left out."""
    groups: dict[str, str] = {}
    individuals: dict[str, str] = {}
    others: dict[str, str] = {}
    kinds = {"group": groups, "user": individuals}
    for row in rows:
        if not row.id or not row.kind:
            raise IncompleteRead(
                f"Entra returned an assignment of the application {app} without whom it assigns.",
                "Try again; if it stays, remove and add the application's users and groups in Entra.",
            )
        kinds.get(row.kind, others)[row.id] = row.name or row.id
    found = tuple(AppGroup(key, groups[key]) for key in sorted(groups))
    return AppAssignments(found, individuals, tuple(sorted(set(others.values()))))


def group_members(rows: Iterable[GroupMember], group: str) -> GroupMembers:
    """Sort the rows of *group* out by the table above."""
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


def build_snapshot(read: AppData, source: Source, portrait: UserMapper) -> Snapshot:
    """Return the snapshot of *source*. The result does not depend on the order in which anything was read."""
    via = group_memberships({group: inside.people for group, inside in read.counted.items()})
    everyone = _users_by_id(read)
    # A row of an unknown kind may mean something else by its fields: it is not taken for a guest either.
    entitled = [
        key for key in sorted(everyone) if source.guests or everyone[key].unknown_kind or not everyone[key].is_guest
    ]
    people = tuple(
        portrait.person_from_user(everyone[key], via.get(key, ()), individual=key in read.individual_names)
        for key in entitled
    )
    unseen = sorted(portrait.email_of(user) for each in read.counted.values() for user in each.unidentified)
    notes = (
        *_guest_notes(everyone, frozenset(entitled), portrait),
        *(() if source.nested else _nested_group_notes(read.counted)),
        *_assignment_notes(read),
        *_unknown_kind_notes(read, portrait),
        *unidentified_notes(NAMING.provider, unseen),
    )
    groups = tuple(Group(group.id, group.name, len(read.counted[group].people)) for group in sorted(read.counted))
    return Snapshot(source, read.app_name, groups, people, notes, tuple(unseen))


def _users_by_id(read: AppData) -> dict[str, User]:
    """Return everyone by id, each from the list that shows most."""
    individuals = {key: user for key, user in read.individuals.items() if user is not None}
    individuals |= {key: User(key, display_name=read.individual_names[key]) for key in read.unread_causes}
    people_by_group = {group: inside.people for group, inside in read.counted.items()}
    return fullest_rows(people_by_group, lambda user: user.is_blank, individuals)


def _guest_notes(everyone: Mapping[str, User], entitled: frozenset[str], portrait: UserMapper) -> Iterator[ReadNote]:
    for key in sorted(everyone.keys() - entitled):
        who = portrait.email_of(everyone[key])
        yield ReadNote("guest", who, f"{who or key} is a guest, and this source does not count guests (`guests`).")


def _nested_group_notes(counted: Mapping[AppGroup, GroupMembers]) -> Iterator[ReadNote]:
    for group in sorted(counted):
        for inner in counted[group].nested_groups:
            reason = f"{inner} is a group in {group.name}: Entra gives no access to those who are in {inner} alone."
            yield ReadNote("nested-group", "", reason)


def _assignment_notes(read: AppData) -> Iterator[ReadNote]:
    for key in sorted(read.individuals):
        if read.individuals[key] is None:
            reason = f"{read.individual_names[key]} is assigned individually, and Entra does not know them any more."
            yield ReadNote("assignment-left-over", "", reason)
    for key in sorted(read.unread_causes):
        reason = (
            f"{read.individual_names[key]} is assigned individually, and could not be looked up: "
            f"{read.unread_causes[key]}. Nothing is "
            "concluded about them."
        )
        yield ReadNote("assignment-not-read", "", reason)
    for name in read.other_principals:
        yield ReadNote("not-a-person", "", f"{name} is assigned, and is neither a person nor a group.")


def _unknown_kind_notes(read: AppData, portrait: UserMapper) -> Iterator[ReadNote]:
    places = [
        (user, f"in group {group.name}") for group in sorted(read.counted) for user in read.counted[group].unknown_kind
    ]
    individuals = (read.individuals[key] for key in sorted(read.individuals))
    places += [(user, "assigned individually") for user in individuals if user is not None and user.unknown_kind]
    for user, where in sorted(places, key=lambda place: (place[0].id, place[1])):
        email = portrait.email_of(user)
        who = email or user.display_name or user.id or "A row without a name"
        outcome = (
            "no member is created for it, and nothing is concluded about it"
            if user.has_address
            else "it does not count as a person"
        )
        yield ReadNote(
            "unknown-kind", email, f"{who}, {where}, is of an unknown kind ({user.unknown_kind}): {outcome}."
        )
