"""How the Okta connector authenticates: API token, and `private_key_jwt` with RSA and EC keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from connectors.base import CredentialsRefused, IncompleteRead, ReadError
from tests.contract.okta_org import ORG, SOURCE, Fault, Org, body, broken_off, company, unreachable

TOKEN_URL = f"{ORG}/oauth2/v1/token"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256 = ec.generate_private_key(ec.SECP256R1())


def pem(key: PrivateKeyTypes, passphrase: bytes = b"") -> str:
    sealed = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed).decode()


class TokenOrg:
    """An org that gives out tokens for assertions it can verify with *key*, and takes the newest token only."""

    def __init__(self, org: Org, key: PrivateKeyTypes = RSA, lifetime_seconds: object = 3600) -> None:
        self.org = org
        self.public = key.public_key()
        self.lifetime_seconds = lifetime_seconds
        self.faults: list[Fault] = []
        self.token_requests: list[httpx.Request] = []
        self.claims: list[dict[str, object]] = []
        self.heads: list[dict[str, object]] = []
        self.revoked: set[str] = set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth2/v1/token":
            self.token_requests.append(request)
            await asyncio.sleep(0)
            return self.faults.pop(0)(request) if self.faults else self.token(request)
        header = request.headers["authorization"]
        if header != f"Bearer token-{len(self.claims)}" or header in self.revoked:
            return httpx.Response(401, json={"errorCode": "E0000011", "errorSummary": "Invalid token provided"})
        request.headers["authorization"] = "SSWS 00token"
        return self.org(request)

    def token(self, request: httpx.Request) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        assertion = form.pop("client_assertion")
        assert form == {
            "grant_type": "client_credentials",
            "scope": "okta.apps.read okta.groups.read okta.users.read",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        }
        head = jwt.get_unverified_header(assertion)
        options = {"verify_exp": False, "verify_iat": False}
        self.heads.append(head)
        self.claims.append(
            jwt.decode(assertion, self.public, [head["alg"]], audience=TOKEN_URL, options=options)  # type: ignore[arg-type]
        )
        answer = {
            "token_type": "Bearer",
            "expires_in": self.lifetime_seconds,
            "access_token": f"token-{len(self.claims)}",
        }
        return httpx.Response(200, json=answer)

    async def read(self, key: str = "", kid: str | None = None) -> int:
        connector = self.org.connector(
            transport=self, api_token=None, client_id="0oaservice", private_key=key or pem(RSA), kid=kid
        )
        return len((await connector.read(SOURCE)).people)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSA, "RS256"),
        (P256, "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
    ],
)
async def test_assertion_is_signed_with_the_key_it_is_given(key: PrivateKeyTypes, algorithm: str) -> None:
    org = TokenOrg(company(), key)
    assert await org.read(pem(key)) == 5
    assert org.heads == [{"alg": algorithm, "typ": "JWT"}]
    assert org.token_requests[0].headers["content-type"] == "application/x-www-form-urlencoded"
    (claims,) = org.claims
    assert claims.pop("jti")
    now = int(org.org.time.wall())
    assert claims == {"iss": "0oaservice", "sub": "0oaservice", "aud": TOKEN_URL, "iat": now, "exp": now + 300}


async def test_assertion_names_the_key_where_the_settings_do() -> None:
    org = TokenOrg(company())
    await org.read(kid="key-1")
    assert org.heads[0]["kid"] == "key-1"


async def test_private_key_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "okta.pem").write_text(pem(P256))
    org = TokenOrg(company(), P256)
    connector = org.org.connector(
        transport=org, api_token=None, client_id="0oaservice", private_key={"file": str(tmp_path / "okta.pem")}
    )
    assert len((await connector.read(SOURCE)).people) == 5


async def test_token_is_used_until_shortly_before_it_ends() -> None:
    org = TokenOrg(company())
    connector = org.org.connector(transport=org, api_token=None, client_id="0oaservice", private_key=pem(RSA))
    await connector.read(SOURCE)
    org.org.time.now += 3600 - 121
    await connector.read(SOURCE)
    assert len(org.token_requests) == 1
    org.org.time.now += 1
    await connector.read(SOURCE)
    assert len(org.token_requests) == 2
    assert len({str(claims["jti"]) for claims in org.claims}) == 2


async def test_requests_that_start_together_share_one_token() -> None:
    org = TokenOrg(company())
    connector = org.org.connector(transport=org, api_token=None, client_id="0oaservice", private_key=pem(RSA))
    first, second = await asyncio.gather(connector.read(SOURCE), connector.read(SOURCE))
    assert first == second
    assert len(org.token_requests) == 1


@pytest.mark.parametrize("lifetime_seconds", [30, None, "soon"])
async def test_token_without_a_usable_lifetime_is_used_for_a_minute(lifetime_seconds: object) -> None:
    org = TokenOrg(company(), lifetime_seconds=lifetime_seconds)
    connector = org.org.connector(transport=org, api_token=None, client_id="0oaservice", private_key=pem(RSA))
    await connector.read(SOURCE)
    org.org.time.now += 59
    await connector.read(SOURCE)
    assert len(org.token_requests) == 1
    org.org.time.now += 1
    await connector.read(SOURCE)
    assert len(org.token_requests) == 2


async def test_token_refused_during_a_read_is_renewed_once() -> None:
    org = TokenOrg(company())
    connector = org.org.connector(transport=org, api_token=None, client_id="0oaservice", private_key=pem(RSA))
    await connector.read(SOURCE)
    org.revoked.add("Bearer token-1")
    assert len((await connector.read(SOURCE)).people) == 5
    assert len(org.token_requests) == 2
    org.revoked |= {f"Bearer token-{number}" for number in range(9)}
    with pytest.raises(CredentialsRefused, match="answered 401"):
        await connector.read(SOURCE)
    assert len(org.token_requests) == 3


async def refusal(org: TokenOrg, key: str = "") -> ReadError:
    with pytest.raises(ReadError) as raised:
        await org.read(key)
    assert raised.value.hint
    assert "BEGIN" not in raised.value.message + raised.value.hint
    assert org.org.requests == []
    return raised.value


def status_alone(status: int) -> Fault:
    return body("<html>", status)


@pytest.mark.parametrize("fault", [*map(status_alone, (408, 429, 502, 503, 522)), broken_off, unreachable])
async def test_token_request_that_fails_in_passing_is_made_again_with_a_new_assertion(fault: Fault) -> None:
    org = TokenOrg(company())
    org.faults = [fault]
    assert await org.read() == 5
    first, second = (parse_qs(request.content.decode())["client_assertion"][0] for request in org.token_requests)
    assert first != second


@pytest.mark.parametrize("named", ["x-rate-limit-reset", "retry-after"])
async def test_token_endpoint_that_names_a_time_is_asked_as_long_as_the_longest_wait(named: str) -> None:
    org = TokenOrg(company())
    headers = org.org.limits(10, 0, 20) if named == "x-rate-limit-reset" else {named: "20"}
    org.faults = [lambda _: httpx.Response(429, headers=headers)] * 8
    assert await org.read() == 5
    assert len(org.token_requests) == 9
    assert org.org.time.now >= 1020


def error_response(status: int, error: str, description: str = "") -> Fault:
    return lambda _: httpx.Response(status, json={"error": error, "error_description": description})


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (error_response(401, "invalid_client", "The client_assertion signature is invalid."), "client_id"),
        (error_response(400, "invalid_scope", "One or more scopes are not configured."), "okta.groups.read"),
        (error_response(400, "invalid_dpop_proof", "The DPoP proof JWT header is missing."), "DPoP"),
        (error_response(403, "access_denied", "Policy evaluation failed."), "service app"),
        (body("<html>no</html>", 401), "client_id"),
        (lambda _: httpx.Response(200, json={"token_type": "DPoP", "access_token": "x"}), "DPoP"),
    ],
)
async def test_refused_token_request_is_a_matter_of_credentials(fault: Fault, remedy: str) -> None:
    org = TokenOrg(company())
    org.faults = [fault]
    ended = await refusal(org)
    assert isinstance(ended, CredentialsRefused)
    assert remedy in ended.hint
    assert len(org.token_requests) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_token_request_that_keeps_failing_ends_the_read(status: int) -> None:
    org = TokenOrg(company())
    org.faults = [body("<html><h1>Sorry</h1></html>", status)] * 9
    ended = await refusal(org)
    assert isinstance(ended, IncompleteRead)
    assert f"gave no token: {status}" in ended.message


@pytest.mark.parametrize(
    "fault",
    [
        unreachable,
        broken_off,
        body("<html>"),
        body("[]"),
        body('{"token_type": "Bearer"}'),
        body('{"token_type": "Bearer", "access_token": "a\\nb"}'),
        body('{"token_type": "Bearer", "access_token": "é"}'),
        body("", 404),
        body("", 302, {"location": "https://evil.example.com/"}),
    ],
)
async def test_token_answer_that_holds_no_token_ends_the_read(fault: Fault) -> None:
    org = TokenOrg(company())
    org.faults = [fault] * 9
    assert isinstance(await refusal(org), IncompleteRead)
    assert {request.url.host for request in org.token_requests} == {"acme.okta.com"}


@pytest.mark.parametrize(
    "key",
    [
        lambda: "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----",
        lambda: '{"kty": "RSA"}',
        lambda: pem(P256, b"passphrase"),
        lambda: pem(ed25519.Ed25519PrivateKey.generate()),
        lambda: pem(ec.generate_private_key(ec.SECP256K1())),
    ],
)
async def test_key_that_cannot_sign_is_a_matter_of_credentials(key: Callable[[], str]) -> None:
    org = TokenOrg(company())
    ended = await refusal(org, key())
    assert isinstance(ended, CredentialsRefused)
    assert "PEM" in ended.hint
    assert org.token_requests == []


async def test_api_token_is_sent_as_okta_documents_it() -> None:
    org = company()
    await org.connector().read(SOURCE)
    assert {request.headers["authorization"] for request in org.requests} == {"SSWS 00token"}


async def test_api_token_is_read_again_for_each_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("00old\n")
    org = company()
    connector = org.connector(api_token={"file": str(file)})
    with pytest.raises(CredentialsRefused):
        await connector.read(SOURCE)
    file.write_text("00token\n")
    assert len((await connector.read(SOURCE)).people) == 5


@pytest.mark.parametrize("token", ["00to ken", "00to\nken", "Žádný", "00token\x00"])
async def test_api_token_that_cannot_be_sent_is_a_matter_of_credentials(token: str) -> None:
    org = company()
    with pytest.raises(CredentialsRefused) as raised:
        await org.connector(api_token=token).read(SOURCE)
    assert token not in raised.value.message
    assert org.requests == []
