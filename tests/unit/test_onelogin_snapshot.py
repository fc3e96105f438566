"""An application's users, its roles and their people, put together."""

from __future__ import annotations

import pytest

from connectors.base import Group, IncompleteRead, Source, Status
from connectors.directory import AppGroup, require_visible, select_groups
from connectors.onelogin.mapping import NAMING, SCOPE_HINT, Assignment, Membership, User, UserMapper
from connectors.onelogin.snapshot import (
    ACCOUNT_FIELDS,
    AppData,
    RoleMembers,
    app_people,
    assignments,
    build_snapshot,
    role_members,
)

SOURCE = Source("onelogin-apac", "2000001")
MAPPER = UserMapper("onelogin-apac")
SALES, STAFF = AppGroup("501", "Sales"), AppGroup("502", "Staff")


def user(key: str | None, email: str | None = "ana@example.com", status: int | None = 1, state: int | None = 1) -> User:
    return User(key, email, "Ana", "Lima", status, state)


def read(
    people: tuple[str, ...],
    sales: tuple[str, ...] = (),
    staff: tuple[str, ...] = (),
    counted: tuple[AppGroup, ...] = (SALES, STAFF),
    unidentified: tuple[int, int] = (0, 0),
) -> AppData:
    inside = {
        "501": RoleMembers(frozenset(sales), unidentified[0]),
        "502": RoleMembers(frozenset(staff), unidentified[1]),
    }
    return AppData("Pigment", {key: user(key) for key in people}, (), inside, counted)


@pytest.mark.parametrize(
    ("shown", "assignment"),
    [
        (read(("1",), ("1",)), Assignment(("501",), individual=False)),
        (read(("1",), ("1",), ("1",)), Assignment(("501", "502"), individual=False)),
        (read((), ("1",)), Assignment(("501",), individual=False)),
        (read(("1",)), Assignment((), individual=True)),
        (read(("1",), (), ("1",), (SALES,)), None),
        (read((), (), ("1",), (SALES,)), None),
        (read(("1",), ("1",), ("1",), (SALES,)), Assignment(("501",), individual=False)),
        (read(("1",), (), (), (SALES, STAFF), (0, 1)), Assignment((), individual=True, is_sure=False)),
        (read(("1",), (), (), (SALES,), (0, 1)), Assignment((), individual=True, is_sure=False)),
        (read(("1",), ("1",), (), (SALES,), (0, 1)), Assignment(("501",), individual=False)),
    ],
)
def test_assignment_is_decided_by_the_table(shown: AppData, assignment: Assignment | None) -> None:
    assert assignments(shown).get("1") == assignment


def test_snapshot_has_each_person_once_and_in_order() -> None:
    shown = read(("3", "1", "2"), ("2", "1"), ("2",))
    snapshot = build_snapshot(shown, {key: user(key) for key in "321"}, SOURCE, MAPPER)
    assert [(each.id, each.groups, each.individual) for each in snapshot.people] == [
        ("1", ("501",), False),
        ("2", ("501", "502"), False),
        ("3", (), True),
    ]
    assert snapshot.groups == (Group("501", "Sales", 2), Group("502", "Staff", 1))
    assert (snapshot.source, snapshot.app_name, snapshot.notes, snapshot.unidentified) == (SOURCE, "Pigment", (), ())


def test_person_missing_from_the_account_is_unknown_among_others() -> None:
    snapshot = build_snapshot(read(("1", "2"), ("1", "2")), {"2": user("2")}, SOURCE, MAPPER)
    assert [each.status for each in snapshot.people] == [Status.UNKNOWN, Status.ACTIVE]


def test_account_without_any_person_of_the_application_is_an_error() -> None:
    with pytest.raises(IncompleteRead, match="none of the 2 people"):
        build_snapshot(read(("1", "2"), ("1", "2")), {}, SOURCE, MAPPER)


def test_people_of_one_application_may_all_have_no_email() -> None:
    shown = AppData("Pigment", {}, (), {"501": RoleMembers(frozenset("12"))}, (SALES,))
    snapshot = build_snapshot(shown, {key: user(key, None) for key in "12"}, SOURCE, MAPPER)
    assert [person.email for person in snapshot.people] == [None, None]


def test_rows_without_an_id_have_their_email_or_an_empty_text() -> None:
    without_id = (user(None, "b@example.com"), user(None, None), user(None, "b@example.com"))
    shown = AppData("Pigment", {"1": user("1")}, without_id, {"501": RoleMembers(frozenset("1"), 1)}, (SALES,))
    snapshot = build_snapshot(shown, {"1": user("1")}, SOURCE, MAPPER)
    assert snapshot.unidentified == ("", "", "b@example.com", "b@example.com")
    assert [(note.code, note.email) for note in snapshot.notes] == [
        ("unidentified-row", ""),
        ("unidentified-row", "b@example.com"),
    ]
    assert "2 row(s)" in snapshot.notes[0].reason


def test_application_shows_its_people_by_id_and_the_others_apart() -> None:
    assert app_people([user("1"), user(None)], "2000001") == ({"1": user("1")}, (user(None),))
    assert app_people([], "2000001") == ({}, ())
    with pytest.raises(IncompleteRead, match=r"users of application 2000001 \(2 rows\), and none of them shows: id"):
        app_people([user(None), user(None)], "2000001")


def test_role_has_those_who_are_assigned() -> None:
    rows = [Membership("1", True), Membership("2", False), Membership(None, True), Membership(None, False)]
    assert role_members(rows, "501") == RoleMembers(frozenset("1"), 1)
    assert role_members([], "501") == role_members([Membership("2", False)], "501") == RoleMembers(frozenset())
    with pytest.raises(IncompleteRead, match="people of role 501"):
        role_members([Membership(None, True)], "501")


@pytest.mark.parametrize(
    ("rows", "hidden"),
    [
        ([user(None), user(None)], "id"),
        ([user("1", status=None)], "status"),
        ([user("1", state=None)], "state"),
        ([user("1", None), user("2", None)], "email"),
        ([User("1", None, "Ana", "Lima")], "status, state, email"),
    ],
)
def test_field_that_no_row_shows_is_a_missing_permission(rows: list[User], hidden: str) -> None:
    with pytest.raises(IncompleteRead, match=f"none of them shows: {hidden}") as raised:
        require_visible(rows, ACCOUNT_FIELDS, "the users", provider="OneLogin", hint=SCOPE_HINT)
    assert "Read All" in raised.value.hint


def test_field_that_one_row_shows_is_not_hidden() -> None:
    require_visible([], ACCOUNT_FIELDS, "the users", provider="OneLogin", hint=SCOPE_HINT)
    require_visible(
        [User("1", None, "", ""), user("2")], ACCOUNT_FIELDS, "the users", provider="OneLogin", hint=SCOPE_HINT
    )


def test_roles_are_counted_by_id_or_exact_name() -> None:
    granting = [SALES, STAFF, AppGroup("503", "501")]
    assert select_groups(granting, (), "Pigment", NAMING) == tuple(granting)
    assert select_groups(granting, ("Staff", "501", "502"), "Pigment", NAMING) == (STAFF, SALES)


@pytest.mark.parametrize("wanted", ["sales", "Sales ", "50", ""])
def test_role_that_the_application_does_not_have_is_an_error(wanted: str) -> None:
    with pytest.raises(IncompleteRead, match="its roles are: Sales, Staff"):
        select_groups([SALES, STAFF], (wanted,), "Pigment", NAMING)
    with pytest.raises(IncompleteRead, match="its roles are: none"):
        select_groups([], (wanted,), "Pigment", NAMING)


def test_name_that_two_roles_have_is_an_error_that_lists_them() -> None:
    with pytest.raises(IncompleteRead, match=r"2 roles .* named 'Sales': 501, 502"):
        select_groups([SALES, AppGroup("502", "Sales")], ("Sales",), "Pigment", NAMING)
