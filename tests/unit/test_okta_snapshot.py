"""The table above `connectors.okta.snapshot`, row by row, and what makes a read incomplete."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from connectors.base import IncompleteRead, Person, Snapshot, Source, Status
from connectors.directory import AppGroup
from connectors.okta.mapping import AppUser, Profile, User, UserMapper
from connectors.okta.snapshot import AppData, GroupMembers, app_people, build_snapshot, group_members

SOURCE = Source("okta-main", "0oa1")
MAPPER = UserMapper("okta-main")
EMPTY = GroupMembers({})
SALES, STAFF, OTHER = AppGroup("00g1", "Sales"), AppGroup("00g2", "Staff"), "00g9"


def user(name: str, status: str = "ACTIVE") -> User:
    login, mail = f"{name}@example.com", f"{name}@mail.example.com"
    return User(f"00u-{name}", status, Profile(login, mail, None, name.title(), "Lima"))


def row(name: str, scope: str = "GROUP", link: str = "", status: str = "ACTIVE") -> AppUser:
    return AppUser(user(name, status), scope, link)


def inside(*users: User) -> GroupMembers:
    return GroupMembers({each.id: each for each in users})


def read_of(*rows: AppUser, sales: GroupMembers = EMPTY, staff: GroupMembers = EMPTY) -> AppData:
    return AppData(
        "Pigment",
        {each.user.id: each for each in rows},
        (),
        frozenset({SALES.id, STAFF.id, OTHER}),
        {STAFF: staff, SALES: sales},
    )


def taken(read: AppData, mapper: UserMapper = MAPPER) -> Snapshot:
    return build_snapshot(read, SOURCE, mapper)


def only_person(read: AppData) -> Person:
    (person,) = taken(read).people
    return person


def test_group_scoped_person_carries_every_counted_group_that_holds_them() -> None:
    person = only_person(read_of(row("ana"), sales=inside(user("ana")), staff=inside(user("ana"))))
    assert person.groups == ("00g1", "00g2")
    assert not person.individual
    assert not person.pending


def test_directly_assigned_person_in_a_group_is_both() -> None:
    person = only_person(read_of(row("ana", "USER"), sales=inside(user("ana"))))
    assert person.groups == ("00g1",)
    assert person.individual


def test_directly_assigned_person_without_a_group_is_individual_only() -> None:
    person = only_person(read_of(row("ana", "USER", link="00g1")))
    assert person.groups == ()
    assert person.individual
    assert not person.pending


def test_person_linked_to_a_counted_group_is_kept_with_a_note() -> None:
    snapshot = taken(read_of(row("ana", link="00g1")))
    assert snapshot.people[0].groups == ("00g1",)
    assert not snapshot.people[0].pending
    assert [(note.code, note.email) for note in snapshot.notes] == [("assignment-moving", "ana@example.com")]
    assert "Sales" in snapshot.notes[0].reason


def test_person_linked_to_a_group_not_counted_is_not_of_the_source() -> None:
    assert taken(read_of(row("ana", link=OTHER))).people == ()


@pytest.mark.parametrize("link", ["", "00g-stranger"])
@pytest.mark.parametrize("scope", ["GROUP", "TEAM", ""])
def test_person_with_an_unknown_group_is_pending(scope: str, link: str) -> None:
    snapshot = taken(read_of(row("ana", scope, link)))
    assert snapshot.people[0].pending
    assert snapshot.people[0].groups == ()
    assert [note.code for note in snapshot.notes] == ["assignment-moving"]


def test_unknown_scope_in_a_group_is_group_assigned() -> None:
    person = only_person(read_of(row("ana", "TEAM"), sales=inside(user("ana"))))
    assert (person.groups, person.individual, person.pending) == (("00g1",), False, False)


def test_active_member_missing_from_the_application_is_pending() -> None:
    snapshot = taken(read_of(sales=inside(user("ana"))))
    assert (snapshot.people[0].groups, snapshot.people[0].pending) == (("00g1",), True)
    assert snapshot.notes == ()


@pytest.mark.parametrize(
    ("word", "status"), [("SUSPENDED", Status.SUSPENDED), ("DEPROVISIONED", Status.SUSPENDED), ("NEW", Status.UNKNOWN)]
)
def test_inactive_member_missing_from_the_application_is_a_person_of_the_group(word: str, status: Status) -> None:
    person = only_person(read_of(sales=inside(user("ana", word))))
    assert (person.status, person.source_status, person.groups, person.pending) == (status, word, ("00g1",), False)


def test_inactive_person_with_an_unknown_group_is_not_pending() -> None:
    person = only_person(read_of(row("ana", status="SUSPENDED")))
    assert (person.status, person.pending) == (Status.SUSPENDED, False)


def test_groups_count_everyone_in_them_and_stand_by_id() -> None:
    snapshot = taken(read_of(staff=inside(user("ana"), user("eva", "DEPROVISIONED"))))
    assert [(group.id, group.name, group.people) for group in snapshot.groups] == [
        ("00g1", "Sales", 0),
        ("00g2", "Staff", 2),
    ]


def test_person_with_a_blank_row_is_read_from_their_group() -> None:
    blank = row("ana")._replace(user=User("00u-ana"))
    person = only_person(read_of(blank, sales=inside(User("00u-ana")), staff=inside(user("ana", "SUSPENDED"))))
    assert (person.email, person.status) == ("ana@example.com", Status.SUSPENDED)


def test_person_with_a_complete_row_is_read_from_it() -> None:
    person = only_person(read_of(row("ana"), sales=inside(user("ana", "SUSPENDED"))))
    assert person.status is Status.ACTIVE


def test_blank_person_among_good_ones_is_unknown() -> None:
    blank = row("ana")._replace(user=User("00u-ana"))
    person = only_person(read_of(blank, sales=inside(User("00u-ana"))))
    assert (person.status, person.email, person.display_name) == (Status.UNKNOWN, None, "")


def test_snapshot_is_the_same_in_whatever_order_it_was_read() -> None:
    without_id, with_email = User(""), User("", "ACTIVE", Profile("eva@example.com"))
    first = read_of(row("ana"), row("eva"), sales=inside(user("eva"), user("ana")), staff=inside(user("ana")))
    first = replace(first, unidentified=(with_email, without_id))
    second = AppData(
        first.app_name,
        dict(reversed(list(first.people.items()))),
        (without_id, with_email),
        first.assigned_group_ids,
        dict(reversed(list(first.counted.items()))),
    )
    assert taken(first) == taken(second)


def test_rows_without_an_id_are_noted_by_their_email() -> None:
    without_email, with_email = (
        User("", "ACTIVE"),
        User("", "ACTIVE", Profile("eva@example.com", "eva@mail.example.com")),
    )
    read = replace(
        read_of(row("ana"), sales=GroupMembers({"00u-ana": user("ana")}, (with_email,))),
        unidentified=(without_email, with_email),
    )
    snapshot = taken(read)
    assert snapshot.unidentified == ("", "eva@example.com", "eva@example.com")
    assert [(note.code, note.email) for note in snapshot.notes] == [
        ("unidentified-row", ""),
        ("unidentified-row", "eva@example.com"),
    ]
    assert taken(read, replace(MAPPER, email="mail")).unidentified[1] == "eva@mail.example.com"


def test_of_several_rows_of_one_person_the_last_counts() -> None:
    people, unidentified = app_people([row("ana"), row("ana", "USER")], "0oa1")
    assert people == {"00u-ana": row("ana", "USER")}
    assert unidentified == ()
    assert group_members([user("ana"), user("ana", "SUSPENDED")], "00g1") == inside(user("ana", "SUSPENDED"))


def test_rows_without_an_id_among_good_ones_stand_apart() -> None:
    without_id = row("eva")._replace(user=structs.replace(user("eva"), id=""))
    people, unidentified = app_people([row("ana"), without_id], "0oa1")
    assert list(people) == ["00u-ana"]
    assert unidentified == (without_id.user,)
    assert group_members([user("ana"), without_id.user], "00g1") == GroupMembers(
        {"00u-ana": user("ana")}, (without_id.user,)
    )


def test_empty_lists_are_complete() -> None:
    assert app_people([], "0oa1") == ({}, ())
    assert group_members([], "00g1") == GroupMembers({})


def without(field: str, user: User) -> User:
    if field == "login":
        return structs.replace(user, profile=structs.replace(user.profile, login=None))
    return structs.replace(user, **{{"id": "id", "status": "raw_status"}[field]: ""})


@pytest.mark.parametrize("field", ["id", "status", "login"])
def test_field_that_no_row_shows_is_a_missing_permission(field: str) -> None:
    users = [without(field, user("ana")), without(field, user("eva"))]
    with pytest.raises(IncompleteRead, match=f"none of them shows: {field}") as raised:
        group_members(users, "00g1")
    assert "okta.users.read" in raised.value.hint
    with pytest.raises(IncompleteRead, match=r"people of application 0oa1 \(2 rows\)"):
        app_people([AppUser(each, "USER", "") for each in users], "0oa1")
