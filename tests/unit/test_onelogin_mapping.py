"""OneLogin's rows, odd ones too, and how a user becomes a person."""

from __future__ import annotations

import pytest

from connectors.base import Person, Status
from connectors.directory import is_path_id
from connectors.onelogin.mapping import (
    Assignment,
    Membership,
    User,
    UserMapper,
    membership_from_json,
    role_ids,
    row_id,
    row_name,
    user_from_json,
)

MAPPER = UserMapper("onelogin-apac")
SALES = Assignment(("501",), individual=False)
ANA = User("101", "ana@example.com", "Ana", "Lima", 1, 1)


def user(status: int | None, state: int | None) -> User:
    return User("101", "ana@example.com", "Ana", "Lima", status, state)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (101, "101"),
        ("101", "101"),
        (" 101 ", "101"),
        ("a-b_1", "a-b_1"),
        (0, "0"),
        (None, None),
        ("", None),
        (True, None),
        (1.0, None),
        ([101], None),
        ("1/2", None),
        ("..", None),
        ("1\x1b[2J", None),
        ("1" * 101, None),
    ],
)
def test_id_is_text_that_can_be_asked_for(value: object, key: str | None) -> None:
    assert row_id({"id": value}) == key


@pytest.mark.parametrize("row", [None, 7, "101", [], [101], {}])
def test_row_that_is_no_object_has_neither_id_nor_name_nor_fields(row: object) -> None:
    assert row_id(row) is None
    assert row_name(row) == ""
    assert user_from_json(row) == User(None, None, "", "", None, None)
    assert membership_from_json(row) == Membership(None, is_assigned=True)


def test_id_is_a_whole_one() -> None:
    assert is_path_id("101")
    assert not is_path_id("101\n")


@pytest.mark.parametrize(("name", "read"), [("Sales", "Sales"), (" Sales ", " Sales "), (None, ""), (7, "")])
def test_name_is_as_spelled(name: object, read: str) -> None:
    assert row_name({"name": name}) == read


@pytest.mark.parametrize(
    ("shown", "ids"),
    [
        ({"role_ids": [502, 501]}, ["501", "502"]),
        ({"role_ids": ["502", 502]}, ["502"]),
        ({"role_ids": []}, []),
        ({"role_ids": None}, None),
        ({}, None),
        ({"role_ids": "501"}, None),
        ({"role_ids": [501, None]}, None),
        ({"role_ids": [{"id": 501}]}, None),
    ],
)
def test_roles_of_an_application_are_known_all_or_not_at_all(shown: dict[str, object], ids: list[str] | None) -> None:
    assert role_ids(shown) == ids


@pytest.mark.parametrize(("assigned", "counts"), [(True, True), (None, True), ("", True), (False, False)])
def test_membership_counts_unless_assigned_is_false(assigned: object, counts: bool) -> None:
    assert membership_from_json({"id": 101, "assigned": assigned}) == Membership("101", counts)
    assert membership_from_json({"id": 101}) == Membership("101", is_assigned=True)


def test_user_is_read_with_white_space_folded_away() -> None:
    row = {"id": 101, "email": " ana@example.com ", "firstname": " Ana ", "lastname": "Lima", "status": 1, "state": 1}
    assert user_from_json(row) == ANA


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (2, 2),
        ("2", 2),
        (None, None),
        ("", None),
        ("two", None),
        (True, None),
        (1.0, None),
        ("٣", None),
        ("9" * 99, None),
    ],
)
def test_status_and_state_are_numbers_or_nothing(value: object, number: int | None) -> None:
    read = user_from_json({"id": 101, "status": value, "state": value})
    assert (read.status, read.state) == (number, number)


@pytest.mark.parametrize(
    ("given", "family", "name"),
    [("Ana", "Lima", "Ana Lima"), ("Ana", "", "Ana"), ("", "Lima", "Lima"), ("", "", "")],
)
def test_display_name_is_given_and_family_name(given: str, family: str, name: str) -> None:
    assert User("101", None, given, family).display_name == name


@pytest.mark.parametrize("status", [0, 1, 3, 4, 5, 7, 8])
def test_approved_person_is_active_whatever_their_trouble_signing_in(status: int) -> None:
    assert MAPPER.status_of(user(status, 1)) is Status.ACTIVE


@pytest.mark.parametrize("status", [0, 1, 2, 3, 4, 5, 7, 8])
@pytest.mark.parametrize("state", [0, 2, 3])
def test_person_who_is_not_approved_is_suspended(status: int, state: int) -> None:
    assert MAPPER.status_of(user(status, state)) is Status.SUSPENDED


@pytest.mark.parametrize("state", [0, 1, 2, 3, 9, None])
def test_suspended_person_is_suspended_in_any_state(state: int | None) -> None:
    assert MAPPER.status_of(user(2, state)) is Status.SUSPENDED


@pytest.mark.parametrize(
    ("status", "state"), [(6, 1), (9, 1), (-1, 1), (None, 1), (6, 3), (None, 3), (1, None), (1, 4)]
)
def test_undocumented_number_is_unknown(status: int | None, state: int | None) -> None:
    assert MAPPER.status_of(user(status, state)) is Status.UNKNOWN


@pytest.mark.parametrize(("status", "seen"), [(1, Status.ACTIVE), (7, Status.SUSPENDED), (6, Status.UNKNOWN)])
def test_settings_narrow_who_is_active(status: int, seen: Status) -> None:
    assert UserMapper("onelogin-apac", frozenset({1, 3})).status_of(user(status, 1)) is seen


def test_person_is_the_accounts_own_row() -> None:
    listed = User("101", "old@example.com", "A", "L")
    assert MAPPER.person_from_user("101", ANA, listed, SALES) == Person(
        "onelogin-apac",
        "101",
        "ana@example.com",
        "Ana Lima",
        Status.ACTIVE,
        "status 1, state 1",
        ("501",),
        given_name="Ana",
        family_name="Lima",
    )


def test_person_without_the_accounts_row_is_unknown_and_keeps_what_the_application_shows() -> None:
    seen = MAPPER.person_from_user("101", None, User("101", "ana@example.com", "Ana", "Lima"), SALES)
    assert (seen.status, seen.email, seen.display_name) == (Status.UNKNOWN, "ana@example.com", "Ana Lima")
    bare = MAPPER.person_from_user("101", None, None, SALES)
    assert (bare.status, bare.email, bare.display_name, bare.groups) == (Status.UNKNOWN, None, "", ("501",))


def test_person_with_an_uncertain_role_is_unknown() -> None:
    seen = MAPPER.person_from_user("101", ANA, None, Assignment((), individual=True, is_sure=False))
    assert (seen.status, seen.individual) == (Status.UNKNOWN, True)


def test_email_is_taken_from_the_application_only_where_the_account_shows_none() -> None:
    listed = User("101", "ana@example.com", "Ana", "Lima")
    hidden = User("101", None, "Ana", "Lima", 1, 1)
    assert MAPPER.person_from_user("101", hidden, listed, SALES).email == "ana@example.com"
    assert MAPPER.person_from_user("101", hidden, None, SALES).email is None


def test_number_that_is_missing_is_called_none() -> None:
    assert MAPPER.person_from_user("101", user(None, 1), None, SALES).source_status == "status none, state 1"
