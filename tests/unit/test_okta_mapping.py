"""How a user of Okta becomes a person."""

from __future__ import annotations

import pytest

from connectors.base import Status
from connectors.okta.mapping import KNOWN_STATUSES, Assignment, Profile, User, UserMapper

MAPPER = UserMapper("okta-main")
ANA = User(
    "00uana",
    "ACTIVE",
    Profile("ana@example.com", "ana.lima@example.com", None, "Ana", "Lima", "ana@home.example.com"),
)


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
    person = MAPPER.person_from_user(ANA, Assignment(("00g1",)))
    assert (person.connector, person.id, person.email) == ("okta-main", "00uana", "ana@example.com")
    assert (person.display_name, person.given_name, person.family_name) == ("Ana Lima", "Ana", "Lima")
    assert (person.source_status, person.groups, person.aliases) == ("ACTIVE", ("00g1",), ())
    by_mail = UserMapper("okta-main", "mail").person_from_user(ANA, Assignment())
    assert by_mail.email == "ana.lima@example.com"


def test_display_name_of_the_user_goes_before_given_and_family_name() -> None:
    shown, not_shown = Profile(display_name="Ana L.", last_name="Lima"), Profile(last_name="Lima")
    assert MAPPER.person_from_user(User("00u1", "ACTIVE", shown), Assignment()).display_name == "Ana L."
    assert MAPPER.person_from_user(User("00u1", "ACTIVE", not_shown), Assignment()).display_name == "Lima"


def test_person_without_the_wanted_address_has_none() -> None:
    without_mail = User("00u1", "ACTIVE", Profile("ana@example.com"))
    assert UserMapper("okta-main", "mail").person_from_user(without_mail, Assignment()).email is None


def test_second_email_is_an_alias_only_where_the_settings_allow_it() -> None:
    mapper = UserMapper("okta-main", second_email_is_alias=True)
    assert mapper.person_from_user(ANA, Assignment()).aliases == ("ana@home.example.com",)
    same = User("00u1", "ACTIVE", Profile("ana@example.com", second_email="ANA@example.com"))
    assert mapper.person_from_user(same, Assignment()).aliases == ()
    assert mapper.person_from_user(User("00u1", "ACTIVE", Profile("ana@example.com")), Assignment()).aliases == ()


def test_only_an_active_person_is_pending() -> None:
    waiting = Assignment(("00g1",), pending=True)
    assert [MAPPER.person_from_user(User("00u1", word), waiting).pending for word in ("ACTIVE", "SUSPENDED", "?")] == [
        True,
        False,
        False,
    ]
