"""How the Entra connector authenticates: client secret, certificate, and managed identity, all through msal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import jwt
import pytest
import respx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from connectors.base import CredentialsRefused, IncompleteRead, ReadError
from connectors.secret import SecretInvalid
from tests.contract.entra_tenant import AUTHORITY, CLIENT_ID, SOURCE, TENANT_ID, company, discovery, granted, sign_in

DISCOVERY, TOKEN = f"{AUTHORITY}/v2.0/.well-known/openid-configuration", f"{AUTHORITY}/oauth2/v2.0/token"
IMDS = "http://169.254.169.254/metadata/identity/oauth2/token"
LARGE = b'{"a": "' + b"x" * 2**21 + b'"}'
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
MACHINE: dict[str, object] = {"client_secret": None, "client_id": None, "managed_identity": True}


@pytest.fixture(autouse=True)
def router(monkeypatch: pytest.MonkeyPatch) -> Iterator[respx.MockRouter]:
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"):
        monkeypatch.delenv(name, raising=False)
    with sign_in() as routes:
        yield routes


def pem(key: CertificateIssuerPrivateKeyTypes, passphrase: bytes = b"") -> str:
    sealed = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed).decode()


def certificate(key: CertificateIssuerPrivateKeyTypes) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pigment-sync")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=3650))
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def form(request: httpx.Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.content.decode()).items()}


async def people(**settings: object) -> int:
    return len((await company().connector(**settings).read(SOURCE)).people)  # type: ignore[arg-type]


async def refusal(**settings: object) -> ReadError:
    tenant = company()
    with pytest.raises(ReadError) as raised:
        await tenant.connector(**settings).read(SOURCE)  # type: ignore[arg-type]
    text = raised.value.message + raised.value.hint
    assert raised.value.hint
    assert "BEGIN" not in text
    assert "s3cret-word" not in text
    assert tenant.requests == []
    return raised.value


async def test_secret_is_sent_to_the_tenants_token_endpoint_alone(router: respx.MockRouter) -> None:
    assert await people() == 4
    requests = [(call.request.method, str(call.request.url)) for call in router.calls]
    assert requests == [("GET", DISCOVERY), ("POST", TOKEN)]
    sent = form(router["token"].calls[0].request)
    assert sent["client_id"] == CLIENT_ID
    assert sent["client_secret"] == "s3cret-word"
    assert sent["grant_type"] == "client_credentials"
    assert sent["scope"].split()[0] == "https://graph.microsoft.com/.default"


async def test_secret_is_read_from_its_file_again_for_each_token(tmp_path: Path, router: respx.MockRouter) -> None:
    file = tmp_path / "secret"
    file.write_text("old+/&=\n")
    tenant = company()
    connector = tenant.connector(client_secret={"file": str(file)})
    await connector.read(SOURCE)
    file.write_text("new\n")
    tenant.time.now += 3600
    await connector.read(SOURCE)
    assert [form(call.request)["client_secret"] for call in router["token"].calls] == ["old+/&=", "new"]


async def test_certificate_signs_an_assertion_that_its_public_key_verifies(router: respx.MockRouter) -> None:
    other = certificate(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    assert await people(client_secret=None, certificate=other + certificate(KEY) + pem(KEY)) == 4
    sent = form(router["token"].calls[0].request)
    assert "client_secret" not in sent
    claims = jwt.decode(sent["client_assertion"], KEY.public_key(), ["PS256", "RS256"], audience=TOKEN)
    assert (claims["iss"], claims["sub"]) == (CLIENT_ID, CLIENT_ID)
    (shown,) = jwt.get_unverified_header(sent["client_assertion"])["x5c"]
    assert shown.replace("\n", "") in certificate(KEY).replace("\n", "")


async def test_token_is_used_until_shortly_before_it_ends(router: respx.MockRouter) -> None:
    tenant = company()
    connector = tenant.connector()
    await connector.read(SOURCE)
    tenant.time.now += 3599 - 301
    await connector.read(SOURCE)
    assert router["token"].call_count == 1
    tenant.time.now += 1
    await connector.read(SOURCE)
    assert router["token"].call_count == 2


@pytest.mark.parametrize("lifetime", [30, "45", 0])
async def test_token_of_a_short_life_is_used_for_a_minute(router: respx.MockRouter, lifetime: object) -> None:
    router["token"].side_effect = [granted(number, lifetime) for number in (1, 2)]
    tenant = company()
    connector = tenant.connector()
    await connector.read(SOURCE)
    tenant.time.now += 59
    await connector.read(SOURCE)
    assert router["token"].call_count == 1
    tenant.time.now += 1
    await connector.read(SOURCE)
    assert router["token"].call_count == 2


async def test_requests_that_start_together_share_one_token(router: respx.MockRouter) -> None:
    connector = company().connector()
    first, second = await asyncio.gather(connector.read(SOURCE), connector.read(SOURCE))
    assert first == second
    assert router["token"].call_count == 1


async def test_token_refused_during_a_read_is_renewed_once(router: respx.MockRouter) -> None:
    tenant = company()
    connector = tenant.connector()
    await connector.read(SOURCE)
    tenant.is_token = lambda header: header != "Bearer token-1"
    assert len((await connector.read(SOURCE)).people) == 4
    assert router["token"].call_count == 2
    tenant.is_token = lambda _: False
    with pytest.raises(CredentialsRefused, match="answered 401"):
        await connector.read(SOURCE)
    assert router["token"].call_count == 3


@pytest.mark.parametrize("cloud", ["usgov", "usgov-dod", "china"])
async def test_token_of_another_cloud_is_asked_of_it_for_its_own_graph(router: respx.MockRouter, cloud: str) -> None:
    hosts = {
        "usgov": ("login.microsoftonline.us", "graph.microsoft.us"),
        "usgov-dod": ("login.microsoftonline.us", "dod-graph.microsoft.us"),
        "china": ("login.chinacloudapi.cn", "microsoftgraph.chinacloudapi.cn"),
    }
    login, graph = hosts[cloud]
    root = f"https://{login}/{TENANT_ID}"
    router.get(f"{root}/v2.0/.well-known/openid-configuration").respond(json=discovery(root))
    token = router.post(f"{root}/oauth2/v2.0/token").mock(return_value=granted())
    tenant = company()
    with pytest.raises(IncompleteRead):  # next links of the pretend tenant name the global cloud
        await tenant.connector(cloud=cloud).read(SOURCE)
    assert {request.url.host for request in tenant.requests} == {graph}
    assert form(token.calls[0].request)["scope"].split()[0] == f"https://{graph}/.default"
    assert {call.request.url.host for call in router.calls} == {login}


@pytest.mark.parametrize("root", ["https://login.test.local:8443", "http://127.0.0.1:8089"])
async def test_other_authority_is_asked_as_it_is_written_and_no_one_else(router: respx.MockRouter, root: str) -> None:
    authority = f"{root}/{TENANT_ID}"
    stated = authority.replace("http:", "https:")
    router.get(f"{authority}/v2.0/.well-known/openid-configuration").respond(json=discovery(stated))
    router.post(f"{authority}/oauth2/v2.0/token").mock(return_value=granted())
    assert await people(authority_url=root) == 4
    assert {f"{call.request.url.scheme}://{call.request.url.netloc.decode()}" for call in router.calls} == {root}


# Managed identities.


@pytest.mark.parametrize("client_id", [None, CLIENT_ID])
async def test_machine_asks_its_own_endpoint_for_a_token(router: respx.MockRouter, client_id: str | None) -> None:
    answer = {"access_token": "token-1", "expires_in": "3599", "resource": "r", "token_type": "Bearer"}
    machine = router.get(IMDS).respond(json=answer | ({"client_id": client_id} if client_id else {}))
    assert await people(**MACHINE | {"client_id": client_id}) == 4
    request = machine.calls[0].request
    assert request.headers["metadata"] == "true"
    assert request.url.params["resource"] == "https://graph.microsoft.com"
    assert request.url.params.get("client_id") == client_id
    assert {call.request.url.host for call in router.calls} == {"169.254.169.254"}


async def test_machine_without_a_managed_identity_ends_the_read(router: respx.MockRouter) -> None:
    machine = router.get(IMDS).mock(side_effect=httpx.ConnectTimeout("timed out"))
    ended = await refusal(**MACHINE)
    assert isinstance(ended, IncompleteRead)
    assert "managed identity of this machine" in ended.message
    assert "client_secret" in ended.hint
    assert machine.call_count == 5
    assert machine.calls[0].request.extensions["timeout"]["connect"] == 5


MACHINE_TOKEN = {"access_token": "token-1", "expires_in": "3599", "resource": "r", "token_type": "Bearer"}


@pytest.mark.parametrize(
    "updating",
    [
        [httpx.Response(404)] * 2,
        [httpx.Response(404, json={"error": "not_found"})] * 3,
        [httpx.Response(410, text="<html>Gone</html>")],
        [httpx.Response(410)] * 12,
        [httpx.Response(410), httpx.Response(404), httpx.Response(503), httpx.Response(410)],
    ],
)
async def test_machine_endpoint_that_is_being_updated_is_asked_again(
    router: respx.MockRouter, updating: list[httpx.Response]
) -> None:
    machine = router.get(IMDS).mock(side_effect=[*updating, httpx.Response(200, json=MACHINE_TOKEN)])
    assert await people(**MACHINE) == 4
    assert machine.call_count == len(updating) + 1


@pytest.mark.parametrize(("status", "least", "most"), [(404, 5, 20), (410, 70, 90)])
async def test_machine_endpoint_that_stays_away_ends_the_read(
    router: respx.MockRouter, status: int, least: int, most: int
) -> None:
    router.get(IMDS).respond(status, text="<html>Not now</html>")
    tenant = company()
    with pytest.raises(IncompleteRead) as ended:
        await tenant.connector(**MACHINE).read(SOURCE)  # type: ignore[arg-type]
    assert least <= tenant.time.now - 1000 <= most
    assert f"got no token: {status}" in ended.value.message
    assert "managed identity" in ended.value.hint
    assert "cloud" not in ended.value.hint
    assert "authority_url" not in ended.value.hint


# What does not go well.


def error_response(error: str, description: str, status: int = 401) -> httpx.Response:
    return httpx.Response(status, json={"error": error, "error_description": description})


@pytest.mark.parametrize(
    "fault",
    [
        httpx.Response(502, text="<html>"),
        httpx.Response(429),
        httpx.Response(503),
        httpx.Response(500),
        httpx.Response(408),
        httpx.Response(522, text="<html>"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("broke off"),
    ],
)
@pytest.mark.parametrize("endpoint", ["discovery", "token"])
async def test_token_request_that_fails_in_passing_is_made_again(
    router: respx.MockRouter, endpoint: str, fault: httpx.Response | Exception
) -> None:
    well = httpx.Response(200, json=discovery()) if endpoint == "discovery" else granted()
    router[endpoint].side_effect = [fault, well, well]
    assert await people() == 4
    assert router["discovery"].call_count == 2


async def test_token_endpoint_is_retried_no_sooner_than_retry_after(router: respx.MockRouter) -> None:
    router["token"].side_effect = [httpx.Response(429, headers={"retry-after": "40"}), granted()]
    tenant = company()
    await tenant.connector().read(SOURCE)
    assert 40 <= sum(tenant.time.naps) < 42


@pytest.mark.parametrize("endpoint", ["discovery", "token"])
async def test_token_endpoint_that_names_a_time_is_asked_as_long_as_the_longest_wait(
    router: respx.MockRouter, endpoint: str
) -> None:
    busy = httpx.Response(429, headers={"retry-after": "1"})
    well = httpx.Response(200, json=discovery()) if endpoint == "discovery" else granted()
    router[endpoint].side_effect = [*[busy] * 8, well, well]
    assert await people() == 4


@pytest.mark.parametrize("status", [429, 500, 502, 503])
@pytest.mark.parametrize("endpoint", ["discovery", "token"])
async def test_token_request_that_keeps_failing_ends_the_read(
    router: respx.MockRouter, endpoint: str, status: int
) -> None:
    router[endpoint].respond(status, text="<html><h1>Sorry</h1></html>")
    ended = await refusal()
    assert isinstance(ended, IncompleteRead)
    assert f'got no token: {status}: "Sorry"' in ended.message


@pytest.mark.parametrize(
    ("description", "code", "remedy"),
    [
        ("AADSTS7000215: Invalid client secret provided. Trace ID: t", "AADSTS7000215", "not its id"),
        ("AADSTS7000222: The provided client secret keys are expired. Visit", "AADSTS7000222", "new client secret"),
        ("AADSTS700016: Application with identifier 'x' was not found.", "AADSTS700016", "client_id"),
        ("AADSTS700027: Client assertion failed signature validation.", "AADSTS700027", "Upload the certificate"),
        ("AADSTS53003: Access has been blocked by Conditional Access policies.", "AADSTS53003", "Conditional Access"),
        ("AADSTS999999: Something new with s3cret-word in it. Trace ID: t", "AADSTS999999", "app registration"),
    ],
)
async def test_refused_token_request_is_a_matter_of_credentials(
    router: respx.MockRouter, description: str, code: str, remedy: str
) -> None:
    router["token"].side_effect = [error_response("invalid_client", description)]
    ended = await refusal()
    assert isinstance(ended, CredentialsRefused)
    assert f'Entra (entra-eu) got no token: 401 invalid_client: "{code}: ' in ended.message
    assert "Trace ID" not in ended.message
    assert remedy in ended.hint
    assert router["token"].call_count == 1


async def test_unknown_tenant_is_a_matter_of_credentials(router: respx.MockRouter) -> None:
    router["discovery"].mock(return_value=error_response("invalid_tenant", "AADSTS90002: Tenant 'x' not found.", 400))
    ended = await refusal()
    assert isinstance(ended, CredentialsRefused)
    assert "AADSTS90002" in ended.message
    assert "tenant_id" in ended.hint
    assert router["token"].call_count == 0


@pytest.mark.parametrize("status", [400, 403])
async def test_refusal_that_is_not_entras_is_quoted_shortly(router: respx.MockRouter, status: int) -> None:
    router["token"].side_effect = [httpx.Response(status, text=f"<h1>Blocked</h1> s3cret-word {'x ' * 999}")]
    ended = await refusal()
    assert isinstance(ended, CredentialsRefused)
    assert f'{status}: "Blocked' in ended.message
    assert len(ended.message) < 400


async def test_machine_that_lacks_the_identity_is_a_matter_of_credentials(router: respx.MockRouter) -> None:
    router.get(IMDS).mock(return_value=error_response("invalid_request", "Identity not found", 400))
    ended = await refusal(**MACHINE)
    assert isinstance(ended, CredentialsRefused)
    assert "Identity not found" in ended.message
    assert "managed identity" in ended.hint


async def test_identity_that_msal_cannot_ask_for_is_a_matter_of_credentials(
    router: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Service Fabric: msal wants a requests.Session there.
    monkeypatch.setenv("IDENTITY_ENDPOINT", "https://127.0.0.1/")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    monkeypatch.setenv("IDENTITY_SERVER_THUMBPRINT", "A" * 40)
    ended = await refusal(**MACHINE)
    assert isinstance(ended, CredentialsRefused)
    assert "can't request a token (Service Fabric" in ended.message
    assert router.calls.call_count == 0


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, text="[]"),
        httpx.Response(200, json={"token_type": "Bearer", "expires_in": 3599}),
        httpx.Response(200, json={"token_type": "Bearer", "expires_in": 3599, "access_token": "a\nb"}),
        httpx.Response(200, json={"token_type": "Bearer", "expires_in": 3599, "access_token": "é"}),
        granted(expires_in=None),
        granted(expires_in="soon"),
        httpx.Response(404, text="not here"),
        httpx.Response(302, headers={"location": "https://evil.example.com/"}),
        httpx.Response(200, content=LARGE),
        error_response("temporarily_unavailable", "AADSTS90033: A transient error has occurred.", 400),
    ],
)
async def test_token_answer_that_holds_no_token_ends_the_read(router: respx.MockRouter, answer: httpx.Response) -> None:
    router["token"].side_effect = lambda _: answer
    ended = await refusal()
    assert isinstance(ended, IncompleteRead)
    assert "authority_url" in ended.hint
    assert {call.request.url.host for call in router.calls} == {"login.microsoftonline.com"}


@pytest.mark.parametrize(
    "text",
    [
        "<html>",
        "[]",
        "{}",
        '{"token_endpoint": "http://evil.example.com/token", "authorization_endpoint": "https://x/"}',
        '{"token_endpoint": "https://login:x/token", "authorization_endpoint": "https://x/", "issuer": "https://x/"}',
        '{"token_endpoint": 7, "authorization_endpoint": "https://x/"}',
    ],
)
async def test_invalid_authority_ends_the_read(router: respx.MockRouter, text: str) -> None:
    router["discovery"].respond(200, text=text)
    assert isinstance(await refusal(), IncompleteRead)
    assert {call.request.url.host for call in router.calls} == {"login.microsoftonline.com"}


P256 = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no PEM", "not a PEM"),
        (pem(KEY), "not a PEM"),
        (certificate(KEY), "not a PEM"),
        (pem(KEY, b"passphrase") + certificate(KEY), "with a passphrase"),
        (pem(KEY) + "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----", "can't be read"),
        (pem(P256) + certificate(P256), "not an RSA key"),
        (pem(KEY) + certificate(OTHER), "does not match the certificate"),
    ],
)
async def test_certificate_that_cannot_prove_anything_is_a_matter_of_credentials(
    router: respx.MockRouter, text: str, why: str
) -> None:
    ended = await refusal(client_secret=None, certificate=text)
    assert isinstance(ended, SecretInvalid)
    assert why in ended.message
    assert "PEM" in ended.hint
    assert router.calls.call_count == 0


async def test_secret_that_is_not_there_is_a_matter_of_credentials(router: respx.MockRouter) -> None:
    ended = await refusal(client_secret={"env": "PIGMENT_TEST_NOT_SET"})
    assert isinstance(ended, CredentialsRefused)
    assert "PIGMENT_TEST_NOT_SET" in ended.message
    assert router.calls.call_count == 0
