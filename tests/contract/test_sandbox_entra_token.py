"""The pretend authority gives tokens as Entra's does: to msal itself, over a real socket."""

from __future__ import annotations

import datetime
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import httpx
import jwt
import msal
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from sandbox.entra import entra_app
from tests.contract.pretend_entra import CLIENT, GRAPH, SECRET, TENANT, Harness

TOKEN = f"http://127.0.0.1/{TENANT}/oauth2/v2.0/token"


class Plain:
    """What msal needs of an HTTP client; https becomes http, for the sandbox has no certificate."""

    def __init__(self) -> None:
        self._client = httpx.Client(timeout=120)

    def get(self, url: str, headers: dict[str, str] | None = None, **_more: object) -> httpx.Response:
        return self._client.get(_http(url), headers=headers)

    def post(self, url: str, data: dict[str, str | bytes], headers: dict[str, str], **_more: object) -> httpx.Response:
        texts = {name: value.decode() if isinstance(value, bytes) else value for name, value in data.items()}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._client.post(_http(url), content=urlencode(texts), headers=headers | form)

    def close(self) -> None:
        self._client.close()


def _http(url: str) -> str:
    return url.replace("https://", "http://", 1)


@contextmanager
def served(harness: Harness) -> Iterator[str]:
    config = uvicorn.Config(entra_app(harness.tenant), ws="none", lifespan="off", log_config=None, log_level="error")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def a_certificate() -> tuple[str, str]:
    """Return a private key and a certificate of it, both PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pigment-sync")])
    begins = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + datetime.timedelta(days=3650))
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, plain).decode(), certificate


def acquired(host: str, credential: object) -> dict[str, object]:
    http = Plain()
    try:
        app = msal.ConfidentialClientApplication(
            CLIENT,
            client_credential=credential,
            authority=f"https://{host}/{TENANT}",
            http_client=http,
            instance_discovery=False,
        )
        return dict(app.acquire_token_for_client(scopes=[GRAPH]))
    finally:
        http.close()


def test_msal_gets_a_token_by_secret_that_carries_the_roles_and_opens_graph() -> None:
    harness = Harness()
    with served(harness) as host:
        found = acquired(host, SECRET)
        token = str(found["access_token"])
        path = f"http://{host}/v1.0/groups/{harness.sales.id}"
        answer = httpx.get(path, headers={"Authorization": f"Bearer {token}"})
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["roles"] == ["Application.Read.All", "GroupMember.Read.All", "User.Read.All"]
    assert (claims["aud"], claims["tid"], found["expires_in"]) == ("https://graph.microsoft.com", TENANT, 3599)
    assert answer.json()["displayName"] == "Sales"


def test_msal_reports_a_wrong_secret_without_an_exception() -> None:
    with served(Harness()) as host:
        found = acquired(host, "wrong")
    assert (found["error"], found["error_codes"]) == ("invalid_client", [7000215])


def test_msal_gets_a_token_by_certificate_and_not_by_another_one() -> None:
    key, certificate = a_certificate()
    other_key, other_certificate = a_certificate()
    harness = Harness(certificate=certificate)
    harness.clock[0] = 0.0
    with served(harness) as host:
        good = acquired(host, {"private_key": key, "public_certificate": certificate})
        bad = acquired(host, {"private_key": other_key, "public_certificate": other_certificate})
    assert "access_token" in good
    assert (bad["error"], bad["error_codes"]) == ("invalid_client", [700027])


@pytest.mark.parametrize(
    ("claims", "number"),
    [
        ({}, None),
        ({"iss": "other"}, 700021),
        ({"sub": "other"}, 700021),
        ({"aud": "https://elsewhere.example.com"}, 700023),
        ({"exp": 1_000}, 700024),
    ],
)
async def test_an_assertion_is_held_to_its_claims(claims: dict[str, object], number: int | None) -> None:
    key, certificate = a_certificate()
    harness = Harness(certificate=certificate)
    good = {"iss": CLIENT, "sub": CLIENT, "aud": TOKEN, "exp": int(harness.clock[0]) + 60}
    form = {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "scope": GRAPH,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(good | claims, key, algorithm="PS256"),
    }
    async with harness.client() as client:
        answer = await client.post(TOKEN, data=form)
    assert answer.json().get("error_codes") == (None if number is None else [number])
    assert answer.status_code == (200 if number is None else 401)


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": "other"}, 400, "unauthorized_client"),
        ({"scope": "User.Read"}, 400, "invalid_scope"),
        ({"client_secret": ""}, 401, "invalid_client"),
    ],
)
async def test_a_token_request_is_held_to_the_rules(change: dict[str, str], status: int, error: str) -> None:
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET, "scope": GRAPH}
    async with Harness().client() as client:
        assert (await client.post(TOKEN, data=form)).json()["token_type"] == "Bearer"
        answer = await client.post(TOKEN, data=form | change)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["error_description"].startswith("AADSTS")


@pytest.mark.parametrize("path", ["/other/oauth2/v2.0/token", "/other/v2.0/.well-known/openid-configuration"])
async def test_another_tenant_is_not_found(path: str) -> None:
    async with Harness().client() as client:
        answer = await client.request("POST" if path.endswith("token") else "GET", f"http://127.0.0.1{path}")
    assert (answer.status_code, answer.json()["error_codes"]) == (400, [90002])


async def test_instance_discovery_leads_to_the_tenant() -> None:
    async with Harness().client() as client:
        found = (await client.get("http://127.0.0.1:9/common/discovery/instance")).json()
    expected = f"https://127.0.0.1:9/{TENANT}/v2.0/.well-known/openid-configuration"
    assert found["tenant_discovery_endpoint"] == expected


@pytest.mark.parametrize("user_assigned", [False, True])
def test_msal_gets_a_token_for_a_managed_identity(monkeypatch: pytest.MonkeyPatch, user_assigned: bool) -> None:
    harness = Harness()
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    identity = (
        msal.UserAssignedManagedIdentity(client_id=CLIENT) if user_assigned else msal.SystemAssignedManagedIdentity()
    )
    with served(harness) as host, httpx.Client() as http:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://{host}")
        client = msal.ManagedIdentityClient(identity, http_client=http)
        found = client.acquire_token_for_client(resource="https://graph.microsoft.com")
        answer = httpx.get(
            f"http://{host}/v1.0/groups/{harness.sales.id}",
            headers={"Authorization": f"Bearer {found['access_token']}"},
        )
    assert answer.status_code == 200


def test_msal_gets_a_token_from_app_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Harness()) as host, httpx.Client() as http:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{host}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "sandbox-identity")
        client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=http)
        found = client.acquire_token_for_client(resource="https://graph.microsoft.com")
    assert found["token_type"] == "Bearer"


async def test_identity_endpoints_want_their_header_and_parameters() -> None:
    query = {"resource": "https://graph.microsoft.com", "api-version": "2018-02-01"}
    async with Harness().client() as client:
        imds = "http://127.0.0.1/metadata/identity/oauth2/token"
        assert (await client.get(imds, params=query)).status_code == 400
        assert (await client.get(imds, headers={"Metadata": "true"})).status_code == 400
        assert (await client.get(imds, params=query, headers={"Metadata": "true"})).status_code == 200
        query["api-version"] = "2019-08-01"
        assert (await client.get("http://127.0.0.1/msi/token", params=query)).status_code == 401
