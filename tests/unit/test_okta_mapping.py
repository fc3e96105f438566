"""Okta's rows, odd ones too, and how a user becomes a person."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.base import Status
from connectors.directory import AppGroup
from connectors.okta.mapping import (
    KNOWN_STATUSES,
    AppUser,
    Assignment,
    User,
    UserMapper,
    app_group_from_json,
    app_user_from_json,
    user_from_json,
)

MAPPER = UserMapper("okta-main")
ANA: dict[str, object] = {
    "id": "00uana",
    "status": "ACTIVE",
    "profile": {
        "login": "ana@example.com",
        "email": "ana.lima@example.com",
        "firstName": "Ana",
        "lastName": "Lima",
        "displayName": None,
        "secondEmail": "ana@home.example.com",
    },
}


def test_user_is_read_from_a_whole_object() -> None:
    assert user_from_json(ANA) == User(
        "00uana", "ACTIVE", "ana@example.com", "ana.lima@example.com", "", "Ana", "Lima", "ana@home.example.com"
    )


@pytest.mark.parametrize("odd", [None, [], "row", 7, {}, {"id": 7, "status": None, "profile": "x"}, {"profile": []}])
def test_odd_user_is_an_empty_one(odd: object) -> None:
    assert user_from_json(odd) == User("")
    assert app_user_from_json(odd) == AppUser(User(""), "", "")


LISTED: dict[str, Any] = {
    "id": "00uana",
    "scope": "GROUP",
    "_embedded": {"user": ANA},
    "_links": {"group": {"href": "https://acme.okta.com/api/v1/groups/00g1", "name": "Sales"}},
}
EMBEDDED = ("_embedded", "user")
PROFILE = (*EMBEDDED, "profile")
PROFILE_FIELDS = ("login", "email", "displayName", "firstName", "lastName", "secondEmail")
LINK = ("_links", "group")
PATHS: list[tuple[str, ...]] = [
    *(("id",), ("scope",), EMBEDDED[:1], EMBEDDED, (*EMBEDDED, "id"), (*EMBEDDED, "status"), PROFILE),
    *((*PROFILE, name) for name in PROFILE_FIELDS),
    *(LINK[:1], LINK, (*LINK, "href"), (*LINK, "name")),
]
ODD_VALUES = st.one_of(
    st.sampled_from([None, True, False, 0, 7, 1.5, [], ["x"], {}, {"get": "x"}, "", "  ", "\tx ", "x" * 200]), st.text()
)


def _text_at(row: object, *path: str) -> str:
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row.strip() if isinstance(row, str) else ""


@given(st.dictionaries(st.sampled_from(PATHS), ODD_VALUES, max_size=4), st.sets(st.sampled_from(PATHS), max_size=2))
@example({("id",): ""}, set())
@example({}, {(*PROFILE, "displayName"), LINK})
def test_each_odd_field_is_an_absent_one_and_changes_no_other(
    odd: dict[tuple[str, ...], object], absent: set[tuple[str, ...]]
) -> None:
    row = deepcopy(LISTED)
    for path in sorted({*odd, *absent}, key=len, reverse=True):
        within: Any = row
        for name in path[:-1]:
            within = within[name]
        within[path[-1]] = deepcopy(odd.get(path))
        if path in absent:
            del within[path[-1]]

    read = app_user_from_json(row)

    user = User(
        _text_at(row, "id") or _text_at(row, *EMBEDDED, "id"),
        _text_at(row, *EMBEDDED, "status")[:100],
        *(_text_at(row, *PROFILE, name) for name in PROFILE_FIELDS),
    )
    link = _text_at(row, *LINK, "href").rstrip("/").rpartition("/")[2] or _text_at(row, *LINK, "name")
    assert read == AppUser(user, _text_at(row, "scope")[:100], link)
    embedded = row.get("_embedded")
    shown = embedded.get("user") if isinstance(embedded, dict) else None
    assert user_from_json(shown) == user._replace(id=_text_at(shown, "id"))


def test_hostile_status_is_cut_to_a_word() -> None:
    assert len(user_from_json({"id": "00u1", "status": "A" * 5000}).status) == 100


def test_app_user_takes_the_person_from_the_embedded_user_and_the_status_from_nowhere_else() -> None:
    row = {"id": "00uana", "scope": "GROUP", "status": "SUSPENDED", "_embedded": {"user": ANA}}
    assert app_user_from_json(row) == AppUser(user_from_json(ANA), "GROUP", "")


def test_app_user_without_its_own_id_has_that_of_the_embedded_user() -> None:
    assert app_user_from_json({"_embedded": {"user": ANA}}).user.id == "00uana"


def test_app_user_without_an_embedded_user_is_blank() -> None:
    row = app_user_from_json({"id": "00uana", "scope": "USER", "status": "ACTIVE", "_embedded": {"user": None}})
    assert row == AppUser(User("00uana"), "USER", "")
    assert row.user.is_blank


@pytest.mark.parametrize(
    ("link", "group"),
    [
        ({"href": "https://acme.okta.com/api/v1/groups/00g1", "name": "Sales"}, "00g1"),
        ({"href": "https://acme.okta.com/api/v1/groups/00g1/"}, "00g1"),
        ({"name": "00g1"}, "00g1"),
        ({"href": None}, ""),
        ("00g1", ""),
    ],
)
def test_link_names_the_group_by_its_address_or_its_name(link: object, group: str) -> None:
    assert app_user_from_json({"id": "00u1", "_links": {"group": link}}).link_group_id == group


def test_app_group_takes_its_name_from_the_embedded_group_as_it_is_spelled() -> None:
    row = {"id": "00g1", "profile": {"name": "role"}, "_embedded": {"group": {"profile": {"name": " Sales "}}}}
    assert app_group_from_json(row) == AppGroup("00g1", " Sales ")
    assert app_group_from_json({"id": "00g1", "profile": {"name": "role"}}) == AppGroup("00g1", "")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("ACTIVE", Status.ACTIVE),
        ("PASSWORD_EXPIRED", Status.ACTIVE),
        ("LOCKED_OUT", Status.ACTIVE),
        ("RECOVERY", Status.ACTIVE),
        ("PROVISIONED", Status.ACTIVE),
        ("ACTIVATING", Status.ACTIVE),
        ("STAGED", Status.SUSPENDED),
        ("SUSPENDED", Status.SUSPENDED),
        ("DEPROVISIONED", Status.SUSPENDED),
        ("active", Status.UNKNOWN),
        ("FROZEN", Status.UNKNOWN),
        ("", Status.UNKNOWN),
    ],
)
def test_status_word_is_judged_as_documented(word: str, status: Status) -> None:
    assert MAPPER.status_of(word) is status


def test_entitled_statuses_decide_between_active_and_suspended_only() -> None:
    mapper = UserMapper("okta-main", entitled_statuses=frozenset({"ACTIVE", "STAGED"}))
    assert {word for word in KNOWN_STATUSES if mapper.status_of(word) is Status.ACTIVE} == {"ACTIVE", "STAGED"}
    assert mapper.status_of("FROZEN") is Status.UNKNOWN


def test_person_has_the_login_or_the_mail_and_names_of_the_user() -> None:
    person = MAPPER.person_from_user(user_from_json(ANA), Assignment(("00g1",)))
    assert (person.connector, person.id, person.email) == ("okta-main", "00uana", "ana@example.com")
    assert (person.display_name, person.given_name, person.family_name) == ("Ana Lima", "Ana", "Lima")
    assert (person.source_status, person.groups, person.aliases) == ("ACTIVE", ("00g1",), ())
    by_mail = UserMapper("okta-main", "mail").person_from_user(user_from_json(ANA), Assignment())
    assert by_mail.email == "ana.lima@example.com"


def test_display_name_of_the_user_goes_before_given_and_family_name() -> None:
    assert MAPPER.person_from_user(User("00u1", "ACTIVE", display_name="Ana L."), Assignment()).display_name == "Ana L."
    assert MAPPER.person_from_user(User("00u1", "ACTIVE", family_name="Lima"), Assignment()).display_name == "Lima"


def test_person_without_the_wanted_address_has_none() -> None:
    assert (
        UserMapper("okta-main", "mail").person_from_user(User("00u1", "ACTIVE", "ana@example.com"), Assignment()).email
        is None
    )


def test_second_email_is_an_alias_only_where_the_settings_allow_it() -> None:
    mapper = UserMapper("okta-main", second_email_is_alias=True)
    assert mapper.person_from_user(user_from_json(ANA), Assignment()).aliases == ("ana@home.example.com",)
    same = User("00u1", "ACTIVE", "ana@example.com", second_email="ANA@example.com")
    assert mapper.person_from_user(same, Assignment()).aliases == ()
    assert mapper.person_from_user(User("00u1", "ACTIVE", "ana@example.com"), Assignment()).aliases == ()


def test_only_an_active_person_is_pending() -> None:
    waiting = Assignment(("00g1",), pending=True)
    assert [MAPPER.person_from_user(User("00u1", word), waiting).pending for word in ("ACTIVE", "SUSPENDED", "?")] == [
        True,
        False,
        False,
    ]
