"""What a OneLogin connector may be configured with."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from connectors.onelogin import OneLoginSettings

WELL: dict[str, object] = {
    "type": "onelogin",
    "subdomain": "acme",
    "client_id": "id",
    "client_secret": {"file": "/run/secrets/onelogin"},
}
BY_URL = {name: value for name, value in WELL.items() if name != "subdomain"}


def problem(fields: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as raised:
        OneLoginSettings.model_validate(fields)
    return str(raised.value)


def test_settings_have_the_documented_defaults() -> None:
    settings = OneLoginSettings.model_validate(WELL)
    assert settings.base_url == "https://acme.onelogin.com"
    assert settings.entitled_statuses == {0, 1, 3, 4, 5, 7, 8}


@pytest.mark.parametrize(("text", "url"), [("Acme", "https://acme.onelogin.com"), ("a-1", "https://a-1.onelogin.com")])
def test_subdomain_is_the_first_part_of_the_address(text: str, url: str) -> None:
    assert OneLoginSettings.model_validate(WELL | {"subdomain": text}).base_url == url


@pytest.mark.parametrize(
    "text", ["", "acme.onelogin.com", "https://acme", "acme/", "-acme", "acme-", "a b", "acme\n", "évil", "acme@evil"]
)
def test_subdomain_that_is_more_than_that_is_refused(text: str) -> None:
    assert "first part of the account's address" in problem(WELL | {"subdomain": text})


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://acme.onelogin.com/", "https://acme.onelogin.com"),
        ("https://api.eu.onelogin.com", "https://api.eu.onelogin.com"),
        (" https://ACME.onelogin.com ", "https://acme.onelogin.com"),
        ("http://127.0.0.1:8083", "http://127.0.0.1:8083"),
        ("http://localhost:8083/", "http://localhost:8083"),
    ],
)
def test_api_url_is_the_root_of_the_account(text: str, url: str) -> None:
    assert OneLoginSettings.model_validate(BY_URL | {"api_url": text}).base_url == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://acme.onelogin.com", "loopback"),
        ("acme.onelogin.com", "https://"),
        ("ftp://acme.onelogin.com", "https://"),
        ("https://", "https://"),
        ("https://acme.onelogin.com:x", "not a URL"),
        ("https://acme.onelogin.com/api/2", "root alone"),
        ("https://me:secret-word@acme.onelogin.com", "root alone"),
        ("https://acme.onelogin.com/?a=b", "root alone"),
        ("https://acme.onelogin.com/#a", "root alone"),
    ],
)
def test_invalid_api_url_is_refused_with_the_right_form(text: str, why: str) -> None:
    message = problem(BY_URL | {"api_url": text})
    assert why in message
    assert "secret-word" not in message


@pytest.mark.parametrize("fields", [BY_URL, WELL | {"api_url": "https://acme.onelogin.com"}])
def test_exactly_one_address_is_wanted(fields: dict[str, object]) -> None:
    assert "exactly one of subdomain and api_url" in problem(fields)


def test_entitled_statuses_can_be_narrowed() -> None:
    settings = OneLoginSettings.model_validate(WELL | {"entitled_statuses": [1, 3]})
    assert settings.entitled_statuses == {1, 3}


@pytest.mark.parametrize(
    "fields",
    [
        {"client_id": ""},
        {"client_id": "id:more"},
        {"client_id": "i d"},
        {"client_secret": None},
        {"entitled_statuses": [1, 2]},
        {"entitled_statuses": [1, 6]},
        {"entitled_statuses": [3]},
        {"entitled_statuses": []},
        {"type": "okta"},
        {"unknown": 1},
    ],
)
def test_value_that_cannot_be_meant_is_refused(fields: dict[str, object]) -> None:
    assert next(iter(fields)) in problem(WELL | fields)


def test_problem_never_shows_a_secret() -> None:
    assert "very-secret" not in problem(WELL | {"client_secret": "very-secret", "client_id": ""})
    assert "very-secret" not in repr(OneLoginSettings.model_validate(WELL | {"client_secret": "very-secret"}))
