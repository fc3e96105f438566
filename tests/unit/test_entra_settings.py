"""What an Entra connector may be configured with."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from connectors.entra import EntraSettings

USUAL: dict[str, object] = {
    "type": "entra",
    "tenant_id": "11111111-2222-3333-4444-555555555555",
    "client_id": "66666666-7777-8888-9999-000000000000",
    "client_secret": "s3cret-word",
}
MACHINE = USUAL | {"client_secret": None, "managed_identity": True}


def problem(fields: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as raised:
        EntraSettings.model_validate(fields)
    return str(raised.value)


def test_settings_have_the_documented_defaults() -> None:
    settings = EntraSettings.model_validate(USUAL)
    assert (settings.cloud, settings.managed_identity) == ("global", False)
    assert (settings.graph_root, settings.authority_root) == (
        "https://graph.microsoft.com",
        "https://login.microsoftonline.com",
    )
    assert all(field.description for field in EntraSettings.model_fields.values())


@pytest.mark.parametrize(
    ("cloud", "graph", "authority"),
    [
        ("usgov", "https://graph.microsoft.us", "https://login.microsoftonline.us"),
        ("usgov-dod", "https://dod-graph.microsoft.us", "https://login.microsoftonline.us"),
        ("china", "https://microsoftgraph.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
    ],
)
def test_cloud_decides_where_graph_and_the_sign_in_are(cloud: str, graph: str, authority: str) -> None:
    settings = EntraSettings.model_validate(USUAL | {"cloud": cloud})
    assert (settings.graph_root, settings.authority_root, settings.token_resource) == (graph, authority, graph)


def test_override_moves_where_graph_is_reached_and_not_what_tokens_are_for() -> None:
    settings = EntraSettings.model_validate(USUAL | {"graph_url": "http://127.0.0.1:8081"})
    assert (settings.graph_root, settings.token_resource) == ("http://127.0.0.1:8081", "https://graph.microsoft.com")


@pytest.mark.parametrize("field", ["graph_url", "authority_url"])
@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("https://graph.example.com/", "https://graph.example.com"),
        (" https://Graph.example.com:8443/? ", "https://graph.example.com:8443"),
        ("http://localhost:8081/", "http://localhost:8081"),
        ("http://[::1]:8081", "http://[::1]:8081"),
    ],
)
def test_override_is_a_root(field: str, text: str, root: str) -> None:
    assert getattr(EntraSettings.model_validate(USUAL | {field: text}), field) == root


@pytest.mark.parametrize("field", ["graph_url", "authority_url"])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://graph.microsoft.com", "loopback"),
        ("graph.microsoft.com", "https://"),
        ("ftp://graph.microsoft.com", "https://"),
        ("https://", "https://"),
        ("https://graph.example.com:x", "not a URL"),
        ("https://graph.microsoft.com/v1.0", "without /v1.0 and without the tenant"),
        ("https://me:secret-word@graph.example.com", "root alone"),
        ("https://graph.example.com/?a=b", "root alone"),
        ("https://graph.example.com/#a", "root alone"),
    ],
)
def test_override_that_is_no_root_is_refused_with_the_right_form(field: str, text: str, why: str) -> None:
    message = problem(USUAL | {field: text})
    assert why in message
    assert "secret-word" not in message


@pytest.mark.parametrize(
    "fields",
    [
        {"client_secret": None},
        {"certificate": "x"},
        {"managed_identity": True},
        {"client_secret": None, "certificate": "x", "managed_identity": True},
    ],
)
def test_exactly_one_kind_of_credential_is_wanted(fields: dict[str, object]) -> None:
    assert "exactly one of client_secret, certificate and managed_identity" in problem(USUAL | fields)


def test_only_the_machines_own_identity_needs_no_client_id() -> None:
    assert EntraSettings.model_validate(MACHINE | {"client_id": None}).client_id is None
    assert EntraSettings.model_validate(MACHINE).client_id == USUAL["client_id"]
    assert "set client_id" in problem(USUAL | {"client_id": None})
    assert "set client_id" in problem(USUAL | {"client_id": None, "client_secret": None, "certificate": "x"})


@pytest.mark.parametrize("tenant", ["11111111-2222-3333-4444-555555555555", "acme.onmicrosoft.com", "acme.com"])
def test_tenant_is_an_id_or_a_domain(tenant: str) -> None:
    assert EntraSettings.model_validate(USUAL | {"tenant_id": tenant}).tenant_id == tenant


@pytest.mark.parametrize(
    "fields",
    [
        {"tenant_id": ""},
        {"tenant_id": "common"},
        {"tenant_id": "Organizations"},
        {"tenant_id": "consumers"},
        {"tenant_id": "acme.com/../other"},
        {"client_id": ""},
        {"client_id": "x')/y"},
        {"cloud": "germany"},
        {"type": "okta"},
        {"unknown": 1},
    ],
)
def test_value_that_cannot_be_meant_is_refused(fields: dict[str, object]) -> None:
    assert next(iter(fields)) in problem(USUAL | fields)


def test_problem_never_shows_a_secret() -> None:
    assert "s3cret-word" not in problem(USUAL | {"certificate": "x"})
    assert "s3cret-word" not in repr(EntraSettings.model_validate(USUAL))
