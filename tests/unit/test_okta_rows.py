"""Okta's rows, odd ones too, in pages that are as documented and in others."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.base import IncompleteRead, Person
from connectors.directory import AppGroup
from connectors.http import ApiResponse
from connectors.okta.mapping import AppUser, Assignment, Profile, User, UserMapper
from connectors.okta.rows import APP_USERS, USERS, RowReader, app_groups, app_user_from_json, user_from_json

MAPPER = UserMapper("okta-main", second_email_is_alias=True)
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


def page(*rows: object) -> ApiResponse:
    url = httpx.URL("https://acme.okta.com/api/v1/groups/00g1/users")
    return ApiResponse(200, httpx.Headers(), url, orjson.dumps(rows))


def person_of(user: User) -> tuple[Person, str]:
    return MAPPER.person_from_user(user, Assignment()), user.mail


def test_user_is_read_from_a_whole_object() -> None:
    profile = Profile("ana@example.com", "ana.lima@example.com", None, "Ana", "Lima", "ana@home.example.com")
    assert user_from_json(ANA) == User("00uana", "ACTIVE", profile)
    assert RowReader().users(page(ANA)) == [User("00uana", "ACTIVE", profile)]


def test_documented_pages_are_decoded_into_their_types() -> None:
    assert page(ANA).typed(USERS)
    assert page(LISTED).typed(APP_USERS)


@pytest.mark.parametrize("odd", [None, [], "row", 7, {}, {"id": 7, "status": None, "profile": "x"}, {"profile": []}])
def test_odd_user_is_an_empty_one_and_changes_no_other_row(odd: object) -> None:
    assert RowReader().users(page(odd, ANA)) == [User(""), user_from_json(ANA)]
    assert RowReader().app_users(page(odd, LISTED)) == [AppUser(User(""), "", ""), app_user_from_json(LISTED)]


def _text_at(row: object, *path: str) -> str:
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row.strip() if isinstance(row, str) else ""


@given(st.dictionaries(st.sampled_from(PATHS), ODD_VALUES, max_size=4), st.sets(st.sampled_from(PATHS), max_size=2))
@example({("id",): ""}, set())
@example({("id",): "00uana "}, set())
@example({(*EMBEDDED, "id"): "00ueva"}, set())
@example({(*PROFILE, "login"): " ana@example.com"}, set())
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

    (read,) = RowReader().app_users(page(row))

    user = User(
        _text_at(row, "id") or _text_at(row, *EMBEDDED, "id"),
        _text_at(row, *EMBEDDED, "status"),
        Profile(*(_text_at(row, *PROFILE, name) for name in PROFILE_FIELDS)),
    )
    link = _text_at(row, *LINK, "href").rstrip("/").rpartition("/")[2] or _text_at(row, *LINK, "name")
    assert person_of(read.user) == person_of(user)
    assert (read.scope, read.link_group_id) == (_text_at(row, "scope")[:100], link)
    assert read.user.is_blank == user.is_blank
    embedded = row.get("_embedded")
    shown = embedded.get("user") if isinstance(embedded, dict) else None
    (alone,) = RowReader().users(page(shown))
    assert person_of(alone) == person_of(User(_text_at(shown, "id"), user.raw_status, user.profile))


def test_hostile_status_is_cut_to_a_word() -> None:
    (user,) = RowReader().users(page({"id": "00u1", "status": "A" * 5000}))
    assert len(user.status) == 100


def test_app_user_takes_the_person_from_the_embedded_user_and_the_status_from_nowhere_else() -> None:
    row = {"id": "00uana", "scope": "GROUP", "status": "SUSPENDED", "_embedded": {"user": ANA}}
    assert RowReader().app_users(page(row)) == [AppUser(user_from_json(ANA), "GROUP", "")]


def test_app_user_without_its_own_id_has_that_of_the_embedded_user() -> None:
    (row,) = RowReader().app_users(page({"_embedded": {"user": ANA}}))
    assert row.user.id == "00uana"


def test_app_user_without_an_embedded_user_is_blank() -> None:
    row = {"id": "00uana", "scope": "USER", "status": "ACTIVE", "_embedded": {"user": None}}
    (read,) = RowReader().app_users(page(row))
    assert read == AppUser(User("00uana"), "USER", "")
    assert read.user.is_blank


@pytest.mark.parametrize(
    ("link", "group"),
    [
        ({"href": "https://acme.okta.com/api/v1/groups/00g1", "name": "Sales"}, "00g1"),
        ({"href": "https://acme.okta.com/api/v1/groups/00g1/"}, "00g1"),
        ({"name": "00g1"}, "00g1"),
        ({"href": None}, ""),
        (None, ""),
        ("00g1", ""),
    ],
)
def test_link_names_the_group_by_its_address_or_its_name(link: object, group: str) -> None:
    (row,) = RowReader().app_users(page(LISTED | {"_links": {"group": link}}))
    assert row.link_group_id == group


def test_equal_rows_of_a_person_become_one_user() -> None:
    reader = RowReader()
    (listed,), (member,) = reader.app_users(page(LISTED)), reader.users(page(ANA))
    assert member is listed.user
    (renamed,) = reader.users(page(ANA | {"status": "SUSPENDED"}))
    assert renamed.status == "SUSPENDED"
    assert listed.user.status == "ACTIVE"


def test_app_group_takes_its_name_from_the_embedded_group_as_it_is_spelled() -> None:
    row = {"id": "00g1", "profile": {"name": "role"}, "_embedded": {"group": {"profile": {"name": " Sales "}}}}
    assert app_groups(page(row, {"id": "00g2", "profile": {"name": "role"}})) == [
        AppGroup("00g1", " Sales "),
        AppGroup("00g2", ""),
    ]


@pytest.mark.parametrize("body", [b"{}", b"", b"[", b'[{"id": "00u1"}', b"null", b'[{"id": "\xff"}]'])
def test_body_that_is_not_a_list_is_not_a_page(body: bytes) -> None:
    response = ApiResponse(200, httpx.Headers(), httpx.URL("https://acme.okta.com/"), body)
    for read in (RowReader().users, RowReader().app_users, app_groups):
        with pytest.raises(IncompleteRead):
            read(response)
