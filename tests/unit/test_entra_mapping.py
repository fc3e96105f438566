"""Graph's rows, odd ones too, and how a user becomes a person."""

from __future__ import annotations

import pytest

from connectors.base import Status
from connectors.entra.mapping import (
    App,
    AppAssignment,
    GroupMember,
    User,
    UserMapper,
    app_from_json,
    assignment_from_json,
    group_member_from_json,
    user_from_json,
)

MAPPER = UserMapper("entra-eu")
GUEST = "ann_lee_acme.com#EXT#@example.onmicrosoft.com"
ANA: dict[str, object] = {
    "@odata.type": "#microsoft.graph.user",
    "id": "u-ana",
    "userPrincipalName": "ana@example.com",
    "mail": "ana.lima@example.com",
    "displayName": "Ana L.",
    "givenName": "Ana",
    "surname": "Lima",
    "accountEnabled": True,
    "userType": "Member",
    "otherMails": ["ana@home.example.com", None, ""],
    "proxyAddresses": ["SMTP:ana.lima@example.com", "smtp:al@example.com", "SIP:ana@example.com", "smtp", 7],
}


def test_user_is_read_from_a_whole_object() -> None:
    assert user_from_json(ANA) == User(
        "u-ana",
        "ana@example.com",
        "ana.lima@example.com",
        "Ana L.",
        "Ana",
        "Lima",
        True,
        "Member",
        ("ana@home.example.com",),
        ("ana.lima@example.com", "al@example.com"),
    )


@pytest.mark.parametrize("odd", [None, [], "row", 7, {}, {"id": 7, "accountEnabled": 1, "proxyAddresses": "smtp:a@b"}])
def test_odd_user_is_an_empty_one(odd: object) -> None:
    assert user_from_json(odd) == User("")
    assert group_member_from_json(odd) == GroupMember("", User(""))
    assert assignment_from_json(odd) == AppAssignment("", "", "")


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("#microsoft.graph.user", "user"),
        ("#microsoft.graph.Group", "group"),
        ("#microsoft.graph.orgContact", "orgcontact"),
        (None, ""),
    ],
)
def test_member_has_its_kind(kind: object, read: str) -> None:
    assert group_member_from_json({"@odata.type": kind, "id": "x"}).kind == read


def test_assignment_keeps_the_spaces_of_a_groups_name() -> None:
    row = {"principalId": "g-1", "principalType": "Group", "principalDisplayName": " Sales "}
    assert assignment_from_json(row) == AppAssignment("g-1", "group", " Sales ")


@pytest.mark.parametrize(
    ("enabled", "required", "app"),
    [
        (True, True, App("Pigment", is_enabled=True, is_open=False)),
        (False, False, App("Pigment", is_enabled=False, is_open=True)),
        (None, None, App("Pigment", is_enabled=True, is_open=False)),
    ],
)
def test_application_is_disabled_or_open_by_an_outright_false_only(enabled: object, required: object, app: App) -> None:
    row = {"displayName": "Pigment", "accountEnabled": enabled, "appRoleAssignmentRequired": required}
    assert app_from_json(row) == app


@pytest.mark.parametrize(
    ("user", "is_guest"),
    [
        (User("u", "ann@example.com", user_type="Guest"), True),
        (User("u", "ann@example.com", user_type="guest"), True),
        (User("u", GUEST), True),
        (User("u", GUEST.lower()), True),
        (User("u", GUEST, user_type="Member"), False),
        (User("u", "ann@example.com", user_type="Member"), False),
        (User("u", "ann@example.com"), False),
        (User("u"), False),
    ],
)
def test_guest_is_known_by_the_kind_or_else_by_the_login(user: User, is_guest: bool) -> None:
    assert user.is_guest is is_guest


@pytest.mark.parametrize(
    ("login", "address"),
    [
        (GUEST, "ann_lee@acme.com"),
        ("ann_acme.com#ext#@example.onmicrosoft.com", "ann@acme.com"),
        ("ann%20b_acme.com#EXT#@x", "ann%20b@acme.com"),
        ("ann#EXT#@example.onmicrosoft.com", ""),
        ("_acme.com#EXT#@x", ""),
        ("ann_#EXT#@x", ""),
        ("ann_b@example.com", ""),
        ("", ""),
    ],
)
def test_external_login_encodes_the_home_address(login: str, address: str) -> None:
    assert User("u", login).home_address == address


def test_external_person_is_addressed_by_mail_then_other_mail_then_home_address() -> None:
    for kind in ("Guest", "Member"):
        assert (
            MAPPER.email_of(User("u", GUEST, "a@acme.com", user_type=kind, other_mails=("b@acme.com",))) == "a@acme.com"
        )
        assert MAPPER.email_of(User("u", GUEST, user_type=kind, other_mails=("b@acme.com",))) == "b@acme.com"
        assert MAPPER.email_of(User("u", GUEST, user_type=kind)) == "ann_lee@acme.com"
    assert UserMapper("entra-eu", "mail").email_of(User("u", GUEST, other_mails=("b@acme.com",))) == ""


@pytest.mark.parametrize(
    ("enabled", "status", "word"),
    [
        (True, Status.ACTIVE, "accountEnabled=true"),
        (False, Status.SUSPENDED, "accountEnabled=false"),
        (None, Status.UNKNOWN, "accountEnabled=null"),
    ],
)
def test_account_enabled_decides_the_status(enabled: bool | None, status: Status, word: str) -> None:
    person = MAPPER.person_from_user(User("u", "a@example.com", is_enabled=enabled), (), individual=False)
    assert (person.status, person.source_status) == (status, word)


def test_person_has_the_login_or_the_mail_and_names_of_the_user() -> None:
    person = MAPPER.person_from_user(user_from_json(ANA), ("g-1",), individual=True)
    assert (person.connector, person.id, person.email) == ("entra-eu", "u-ana", "ana@example.com")
    assert (person.display_name, person.given_name, person.family_name) == ("Ana L.", "Ana", "Lima")
    assert (person.groups, person.individual, person.pending) == (("g-1",), True, False)
    assert person.aliases == ("al@example.com", "ana.lima@example.com")
    by_mail = UserMapper("entra-eu", "mail").person_from_user(user_from_json(ANA), (), individual=False)
    assert (by_mail.email, by_mail.aliases) == ("ana.lima@example.com", ("al@example.com",))


def test_person_without_a_display_name_has_given_and_family_name() -> None:
    assert (
        MAPPER.person_from_user(User("u", given_name="Ana", family_name="Lima"), (), individual=False).display_name
        == "Ana Lima"
    )
    assert MAPPER.person_from_user(User("u", family_name="Lima"), (), individual=False).display_name == "Lima"


def test_person_without_the_wanted_address_has_none() -> None:
    user = User("u", "ana@example.com", proxy_addresses=("al@example.com",))
    person = UserMapper("entra-eu", "mail").person_from_user(user, (), individual=False)
    assert (person.email, person.aliases) == (None, ("al@example.com",))
