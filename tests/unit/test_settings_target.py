"""Fingerprints depend on the address of a workspace or a connector, never on its spelling or a credential."""

from __future__ import annotations

import pytest

from agent.settings.root import ConnectorSettings
from agent.settings.target import tenant_of, workspace_target
from connectors.entra import EntraSettings
from connectors.okta.settings import OktaSettings
from connectors.onelogin import OneLoginSettings

URL = "https://pigment.example.com/scim/v2"


@pytest.mark.parametrize(
    "spelling",
    [
        URL,
        f"{URL}/",
        f"{URL}//",
        "https://PIGMENT.Example.com/scim/v2",
        "HTTPS://pigment.example.com:443/scim/v2",
        "https://pigment.example.com./scim/v2",
        "https://pigment.example.com.:443/scim/v2/",
    ],
)
def test_spellings_of_one_url_have_one_fingerprint(spelling: str) -> None:
    assert workspace_target(spelling) == URL


@pytest.mark.parametrize(
    "other",
    [
        "https://pigment.example.com/scim/V2",
        "https://pigment.example.com:8443/scim/v2",
        "https://eu.pigment.example.com/scim/v2",
        "https://pigment.example.com/tenant/scim/v2",
    ],
)
def test_other_urls_have_other_fingerprints(other: str) -> None:
    assert workspace_target(other) != URL


def okta(**more: str) -> OktaSettings:
    return OktaSettings.model_validate(
        {"type": "okta", "org_url": "https://acme.okta.com", "api_token": {"env": "A"}, **more}
    )


def entra(**more: str) -> EntraSettings:
    given = {"type": "entra", "tenant_id": "1111-AAAA", "client_id": "c", "client_secret": {"env": "A"}, **more}
    return EntraSettings.model_validate(given)


def onelogin(**more: str) -> OneLoginSettings:
    given = {"type": "onelogin", "client_id": "c", "client_secret": {"env": "A"}, **more}
    return OneLoginSettings.model_validate(given)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (okta(), okta(org_url="https://ACME.okta.com/")),
        (okta(), okta(api_token="other")),
        (entra(), entra(tenant_id="1111-aaaa")),
        (entra(), entra(client_id="other")),
        (entra(), entra(cloud="global")),
        (onelogin(subdomain="acme"), onelogin(subdomain="ACME")),
        (onelogin(subdomain="acme"), onelogin(api_url="https://acme.onelogin.com")),
    ],
)
def test_a_connector_that_reads_the_same_tenant_keeps_its_fingerprint(
    one: ConnectorSettings, other: ConnectorSettings
) -> None:
    assert tenant_of(one) == tenant_of(other)


def test_a_connector_that_reads_another_tenant_has_another_fingerprint() -> None:
    different: list[ConnectorSettings] = [
        okta(),
        okta(org_url="https://acme.oktapreview.com"),
        entra(),
        entra(tenant_id="2222"),
        entra(cloud="usgov"),
        entra(graph_url="https://graph.example.com"),
        onelogin(subdomain="acme"),
        onelogin(subdomain="acme2"),
    ]

    assert len({tenant_of(each) for each in different}) == len(different)


def test_no_fingerprint_holds_a_credential() -> None:
    shown = " ".join(tenant_of(each) for each in (okta(api_token="s3cret"), entra(client_secret="s3cret")))

    assert "s3cret" not in shown
