"""What an Okta connector may be configured with."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from connectors.okta import OktaSettings

TOKEN: dict[str, object] = {"type": "okta", "org_url": "https://acme.okta.com", "api_token": "00token"}
KEY: dict[str, object] = {
    "type": "okta",
    "org_url": "https://acme.okta.com",
    "client_id": "0oaservice",
    "private_key": {"file": "okta.pem"},
}


def problem(fields: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as raised:
        OktaSettings.model_validate(fields)
    return str(raised.value)


def test_settings_have_the_documented_defaults() -> None:
    settings = OktaSettings.model_validate(KEY)
    assert settings.rate_limit_share == 0.5
    assert settings.aliases == frozenset()
    assert settings.kid is None
    assert settings.entitled_statuses == {
        "ACTIVE",
        "PASSWORD_EXPIRED",
        "LOCKED_OUT",
        "RECOVERY",
        "PROVISIONED",
        "ACTIVATING",
    }


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://acme.okta.com/", "https://acme.okta.com"),
        ("https://acme.oktapreview.com", "https://acme.oktapreview.com"),
        ("https://corp-admin-tools.example.com", "https://corp-admin-tools.example.com"),
        ("https://login-admin.example.com", "https://login-admin.example.com"),
        ("https://login.example.com:8443", "https://login.example.com:8443"),
        (" https://ACME.okta.com/? ", "https://acme.okta.com"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("http://localhost:8081/", "http://localhost:8081"),
    ],
)
def test_org_url_is_the_root_of_the_org(text: str, url: str) -> None:
    assert OktaSettings.model_validate(TOKEN | {"org_url": text}).org_url == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("https://acme-admin.okta.com", "write https://acme.okta.com"),
        ("https://acme-admin.oktapreview.com/admin/apps", "write https://acme.oktapreview.com"),
        ("http://acme.okta.com", "loopback"),
        ("acme.okta.com", "https://"),
        ("ftp://acme.okta.com", "https://"),
        ("https://", "https://"),
        ("https://acme.okta.com:x", "not a URL"),
        ("https://acme.okta.com/api/v1", "root alone"),
        ("https://me:secret-word@acme.okta.com", "root alone"),
        ("https://acme.okta.com/?a=b", "root alone"),
    ],
)
def test_invalid_org_url_is_refused_with_the_right_form(text: str, why: str) -> None:
    message = problem(TOKEN | {"org_url": text})
    assert why in message
    assert "secret-word" not in message


@pytest.mark.parametrize(
    "fields",
    [
        {"api_token": None},
        {"api_token": None, "client_id": "0oa1"},
        {"api_token": None, "private_key": "x"},
        {"client_id": "0oa1"},
        {"private_key": "x"},
        {"kid": "key-1"},
    ],
)
def test_exactly_one_kind_of_credential_is_wanted(fields: dict[str, object]) -> None:
    assert "api_token" in problem(TOKEN | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"rate_limit_share": 1},
        {"rate_limit_share": -0.1},
        {"entitled_statuses": ["ACTIVE", "SUSPENDED"]},
        {"entitled_statuses": ["STAGED"]},
        {"aliases": ["mobilePhone"]},
        {"type": "entra"},
        {"unknown": 1},
    ],
)
def test_value_that_cannot_be_meant_is_refused(fields: dict[str, object]) -> None:
    assert next(iter(fields)) in problem(TOKEN | fields)


def test_problem_never_shows_a_secret() -> None:
    assert "00very-secret" not in problem(TOKEN | {"api_token": "00very-secret", "client_id": "0oa1"})
    assert "00very-secret" not in repr(OktaSettings.model_validate(TOKEN | {"api_token": "00very-secret"}))


def test_dpop_is_off_by_default_and_needs_a_key() -> None:
    assert OktaSettings.model_validate(KEY).dpop is False
    assert OktaSettings.model_validate(KEY | {"dpop": True}).dpop is True
    assert OktaSettings.model_validate(TOKEN | {"dpop": False}).dpop is False
    assert "dpop needs client_id and private_key: an api_token can't be bound to a key" in problem(
        TOKEN | {"dpop": True}
    )
