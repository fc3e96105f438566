"""How groups, members and individuals of an Entra application become one snapshot."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from connectors.base import Group, IncompleteRead, Source, Status
from connectors.directory import AppGroup, select_groups
from connectors.entra.mapping import NAMING, AppAssignment, GroupMember, User, UserMapper
from connectors.entra.snapshot import AppData, GroupMembers, build_snapshot, group_members, sort_assignments

SOURCE = Source("entra-eu", "sp-pigment")
MAPPER = UserMapper("entra-eu")
SALES, STAFF = AppGroup("g-sales", "Sales"), AppGroup("g-staff", "Staff")


def person(name: str, is_enabled: bool | None = True, **fields: str) -> User:
    return User(f"u-{name}", f"{name}@example.com", is_enabled=is_enabled, **fields)  # type: ignore[arg-type]


def inside(*users: User, unidentified: tuple[User, ...] = (), nested: tuple[str, ...] = ()) -> GroupMembers:
    return GroupMembers({user.id: user for user in users}, unidentified, nested)


def app(counted: dict[AppGroup, GroupMembers], individuals: dict[str, User | None] | None = None) -> AppData:
    names = {key: key.removeprefix("u-").title() for key in individuals or {}}
    return AppData("Pigment", counted, individuals or {}, names)


def test_members_are_sorted_out_by_what_they_are() -> None:
    rows = [
        GroupMember("user", person("ana")),
        GroupMember("group", User("g-inner", display_name="Inner")),
        GroupMember("group", User("g-nameless")),
        GroupMember("device", User("d-1")),
        GroupMember("orgcontact", User("c-1")),
        GroupMember("serviceprincipal", User("s-1")),
        GroupMember("user", User("", "lost@example.com")),
        GroupMember("", person("odd")),
    ]
    found = group_members(rows, "Sales")
    assert dict(found.people) == {"u-ana": person("ana"), "u-odd": person("odd", None)}
    assert found.unidentified == (User("", "lost@example.com"),)
    assert found.nested_groups == ("Inner", "g-nameless")


def test_group_of_devices_and_groups_is_empty_and_lacks_no_permission() -> None:
    assert group_members([GroupMember("device", User("d-1")), GroupMember("group", User("g-1"))], "Sales").people == {}


@pytest.mark.parametrize(
    ("users", "absent"),
    [
        ([User("u-1"), User("u-2")], "userPrincipalName, accountEnabled"),
        ([person("ana", None), person("eva", None)], "accountEnabled"),
        ([User("u-1", is_enabled=True)], "userPrincipalName"),
        ([User("", "ana@example.com", is_enabled=True)], "id"),
    ],
)
def test_field_that_no_row_shows_is_a_missing_permission(users: list[User], absent: str) -> None:
    with pytest.raises(IncompleteRead, match=f"none of them shows: {absent}\\.") as raised:
        group_members([GroupMember("user", user) for user in users], "Sales")
    assert "User.Read.All" in raised.value.hint


def test_one_row_that_shows_it_is_enough() -> None:
    assert (
        len(group_members([GroupMember("user", User("u-1")), GroupMember("user", person("ana"))], "Sales").people) == 2
    )


def test_person_of_several_groups_is_one_with_all_of_them() -> None:
    snapshot = build_snapshot(app({STAFF: inside(person("ana")), SALES: inside(person("ana"))}), SOURCE, MAPPER)
    assert [(each.id, each.groups) for each in snapshot.people] == [("u-ana", ("g-sales", "g-staff"))]
    assert snapshot.groups == (Group("g-sales", "Sales", 1), Group("g-staff", "Staff", 1))


def test_fuller_of_two_rows_is_used() -> None:
    blank = User("u-ana")
    for one, other in permutations([blank, person("ana")]):
        snapshot = build_snapshot(app({SALES: inside(one), STAFF: inside(other)}, {"u-ana": blank}), SOURCE, MAPPER)
        assert [each.status for each in snapshot.people] == [Status.ACTIVE]


def test_group_counts_members_of_any_status() -> None:
    guest = person("gus", user_type="Guest")
    snapshot = build_snapshot(app({SALES: inside(person("ana"), person("ivo", False), guest)}), SOURCE, MAPPER)
    assert snapshot.groups[0].people == 3
    assert [each.id for each in snapshot.people] == ["u-ana", "u-ivo"]


def test_guest_who_is_assigned_individually_is_left_out_as_any_guest() -> None:
    read = app({}, {"u-gus": person("gus", user_type="Guest")})
    assert build_snapshot(read, SOURCE, MAPPER).people == ()
    assert len(build_snapshot(read, replace(SOURCE, guests=True), MAPPER).people) == 1


def test_guest_without_an_address_is_named_by_id() -> None:
    (note,) = build_snapshot(app({SALES: inside(User("u-gus", user_type="Guest"))}), SOURCE, MAPPER).notes
    assert (note.code, note.email) == ("guest", "")
    assert note.reason.startswith("u-gus is a guest")


def test_deleted_individual_is_noted() -> None:
    snapshot = build_snapshot(app({}, {"u-gone": None}), SOURCE, MAPPER)
    assert snapshot.people == ()
    assert [note.code for note in snapshot.notes] == ["assignment-left-over"]
    assert "Gone is assigned individually" in snapshot.notes[0].reason


def test_unidentified_rows_are_counted_by_their_address() -> None:
    lost = User("", "lost@example.com")
    read = app({SALES: inside(unidentified=(lost, User(""))), STAFF: inside(unidentified=(lost,))})
    snapshot = build_snapshot(read, SOURCE, MAPPER)
    assert snapshot.unidentified == ("", "lost@example.com", "lost@example.com")
    assert [note.reason.split(":")[0] for note in snapshot.notes] == [
        "Entra returned 1 row(s) without an id (without an email)",
        "Entra returned 2 row(s) without an id (lost@example.com)",
    ]


def test_snapshot_is_the_same_in_any_order() -> None:
    ana, eva, gus = person("ana"), person("eva"), person("gus", user_type="Guest")
    first = app({SALES: inside(ana, eva, gus), STAFF: inside(gus, ana)}, {"u-eva": eva, "u-gone": None})
    for order in permutations([ana, eva, gus]):
        again = app({STAFF: inside(ana, gus), SALES: inside(*order)}, {"u-gone": None, "u-eva": eva})
        assert build_snapshot(again, SOURCE, MAPPER) == build_snapshot(first, SOURCE, MAPPER)


def test_assignments_are_sorted_out_each_once() -> None:
    rows = [
        AppAssignment("g-staff", "group", "Staff"),
        AppAssignment("g-sales", "group", ""),
        AppAssignment("g-staff", "group", "Staff"),
        AppAssignment("u-ana", "user", "Ana"),
        AppAssignment("u-ana", "user", "Ana"),
        AppAssignment("s-1", "serviceprincipal", "Export"),
        AppAssignment("s-2", "serviceprincipal", ""),
        AppAssignment("s-3", "somethingnew", "Export"),
    ]
    found = sort_assignments(rows, "sp-pigment")
    assert found.groups == (AppGroup("g-sales", "g-sales"), STAFF)
    assert found.individual_names == {"u-ana": "Ana"}
    assert found.other_principals == ("Export", "s-2")


@pytest.mark.parametrize("row", [AppAssignment("", "group", "Staff"), AppAssignment("g-1", "", "Staff")])
def test_assignment_without_a_principal_is_refused(row: AppAssignment) -> None:
    with pytest.raises(IncompleteRead, match="application sp-pigment without its principal"):
        sort_assignments([row], "sp-pigment")


def test_groups_are_counted_as_the_source_names_them() -> None:
    assert select_groups([SALES, STAFF], [], "Pigment", NAMING) == (SALES, STAFF)
    assert select_groups([SALES, STAFF], ["Staff", "G-STAFF", "g-sales"], "Pigment", NAMING) == (
        STAFF,
        SALES,
    )


def test_id_of_one_group_goes_before_the_name_of_another() -> None:
    assert select_groups([SALES, AppGroup("g-2", "g-sales")], ["g-sales"], "Pigment", NAMING) == (SALES,)


@pytest.mark.parametrize("wanted", ["staff", " Staff", "", "Nobody"])
def test_group_that_is_not_assigned_is_an_error_that_names_those_that_are(wanted: str) -> None:
    with pytest.raises(IncompleteRead, match="its groups are: Sales, Staff"):
        select_groups([SALES, STAFF], [wanted], "Pigment", NAMING)
    with pytest.raises(IncompleteRead, match="its groups are: none"):
        select_groups([], [wanted], "Pigment", NAMING)
