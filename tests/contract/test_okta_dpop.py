"""DPoP (RFC 9449): our client signs with PyJWT, and the pretend Okta verifies with jwcrypto, an independent library."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS

from connectors.base import CredentialsRefused, IncompleteRead, ReadError, Snapshot, Source
from connectors.http import DEFAULT_LIMITS, Timer
from connectors.okta import OktaSettings
from connectors.okta.connector import OktaConnector
from connectors.okta.jwk import public_jwk, thumbprint
from sandbox.company import generate_company
from sandbox.okta import okta_app
from sandbox.okta.dpop import ProofError, ProofRequest, ProofVerifier
from tests.contract.pretend_directories import EC_KEY, ORG, PretendOkta, private

Handler = Callable[[httpx.Request], Awaitable[httpx.Response]]
URL = f"{ORG}/api/v1/apps"
KEY = ec.generate_private_key(ec.SECP256R1())


class DpopOrg:
    """The pretend Okta, whose service app requires DPoP, behind a transport that records and may interfere.

    *before* sees each request first; a response of it is the answer.
    """

    def __init__(self, size: int = 40) -> None:
        self.okta = PretendOkta(generate_company(size=size))
        self.client = self.okta.org.token_issuer.clients["0oaservice"]
        self.client.requires_dpop = True
        self.requests: list[httpx.Request] = []
        self.responses: list[httpx.Response] = []
        self.before: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
        self.skew = 0.0
        self.dates = False
        self._server = httpx.ASGITransport(okta_app(self.okta.org))

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.before(request) or await self._server.handle_async_request(request)
        await answer.aread()
        if self.dates:
            answer.headers["Date"] = formatdate(self.okta.clock.seconds, usegmt=True)
        self.responses.append(answer)
        return answer

    def connector(self, *, dpop: bool = True) -> OktaConnector:
        fields = {"client_id": "0oaservice", "private_key": private(EC_KEY), "kid": "ec", "dpop": dpop}
        settings = OktaSettings.model_validate({"type": "okta", "org_url": ORG} | fields)

        async def sleep(seconds: float) -> None:
            await asyncio.sleep(0)

        def wall() -> float:
            return self.okta.clock.seconds + self.skew

        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        timer = Timer(lambda: self.okta.clock.seconds, sleep, wall)
        return OktaConnector("okta-main", settings, client, limits=DEFAULT_LIMITS, timer=timer, wall=wall)

    async def read(self, *, dpop: bool = True) -> Snapshot:
        return await self.connector(dpop=dpop).read(Source("okta-main", self.okta.app.id))

    async def error(self, *, dpop: bool = True) -> ReadError:
        with pytest.raises(ReadError) as caught:
            await self.read(dpop=dpop)
        return caught.value

    def to_api(self) -> list[httpx.Request]:
        return [each for each in self.requests if each.url.path.startswith("/api/")]

    def to_token(self) -> list[httpx.Request]:
        return [each for each in self.requests if each.url.path.startswith("/oauth2/")]


@pytest.fixture
def org() -> DpopOrg:
    return DpopOrg()


def opened(proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of a proof that jwcrypto has verified."""
    signed = JWS()
    signed.deserialize(proof)
    header = signed.jose_header
    signed.verify(JWK(**header["jwk"]), header["alg"])
    return header, json.loads(signed.payload)


async def test_every_proof_is_verified_by_an_independent_library(org: DpopOrg) -> None:
    snapshot = await org.read()

    plain = DpopOrg()
    plain.client.requires_dpop = False
    assert {person.id for person in snapshot.people} == {person.id for person in (await plain.read(dpop=False)).people}
    seen = set()
    thumbprints = set()
    for request in org.requests:
        header, claims = opened(request.headers["dpop"])
        assert header.keys() == {"typ", "alg", "jwk"}
        assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256")
        assert header["jwk"].keys() == {"kty", "crv", "x", "y"}
        assert (claims["htm"], claims["htu"]) == (request.method, str(request.url).partition("?")[0])
        assert claims["iat"] == int(org.okta.clock.seconds)
        seen.add(claims["jti"])
        thumbprints.add(JWK(**header["jwk"]).thumbprint())
    assert len(seen) == len(org.requests)
    assert len(thumbprints) == 1
    for request in org.to_api():
        kind, _, token = request.headers["authorization"].partition(" ")
        digest = urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
        assert (kind, opened(request.headers["dpop"])[1]["ath"]) == ("DPoP", digest)
    assert org.okta.org.api_proofs.accepted == len(org.to_api())


async def test_next_links_are_proved_at_their_own_url() -> None:
    org = DpopOrg(size=900)

    snapshot = await org.read()

    assert len(snapshot.people) > 500
    followed = [request for request in org.to_api() if "after" in request.url.params]
    assert followed
    assert org.okta.org.api_proofs.accepted == len(org.to_api())


async def test_token_request_is_repeated_with_the_nonce_and_another_assertion(org: DpopOrg) -> None:
    await org.read()

    first, second = (opened(request.headers["dpop"])[1] for request in org.to_token())
    assert "nonce" not in first
    assert second["nonce"] == org.okta.org.token_proofs.nonce
    assert second["jti"] != first["jti"]
    assertions = [parse_qs(request.content.decode())["client_assertion"][0] for request in org.to_token()]
    assert len(set(assertions)) == 2
    assert "nonce" not in opened(org.to_api()[0].headers["dpop"])[1], "the API gives nonces of its own"


async def test_nonce_of_the_token_endpoint_is_used_again(org: DpopOrg) -> None:
    connector = org.connector()
    await connector.read(Source("okta-main", org.okta.app.id))
    org.okta.org.token_issuer.revoke_all()
    connector.clear_cache()

    await connector.read(Source("okta-main", org.okta.app.id))

    assert len(org.to_token()) == 3, "the third brings the nonce of the first with it"


async def test_nonce_of_the_api_may_change_with_every_answer(org: DpopOrg) -> None:
    proofs = org.okta.org.api_proofs
    proofs.requires_nonce = proofs.rotates = True
    # As many as may be in flight at once.
    proofs.kept_nonces = 8

    snapshot = await org.read()

    assert snapshot.people
    refused = [each for each in org.responses if each.status_code == 401]
    assert 1 <= len(refused) <= 8, "only the first requests do not know a nonce"
    assert len(org.to_token()) == 2, "a nonce is no reason for another token"


async def test_nonce_that_is_rotated_during_a_read_costs_one_repetition() -> None:
    org = DpopOrg(size=900)
    org.okta.org.api_proofs.requires_nonce = True
    org.okta.org.api_proofs.kept_nonces = 0

    def rotate(request: httpx.Request) -> None:
        if "after" in request.url.params and not any("after" in each.url.params for each in org.requests[:-1]):
            org.okta.org.api_proofs.rotate_nonce()

    org.before = rotate

    snapshot = await org.read()

    assert len(snapshot.people) > 500
    pages = [request for request in org.to_api() if "after" in request.url.params]
    assert str(pages[0].url) in [str(request.url) for request in pages[1:]]


async def test_nonce_that_is_never_accepted_ends_the_read(org: DpopOrg) -> None:
    org.okta.org.api_proofs.requires_nonce = True
    org.before = lambda _: org.okta.org.api_proofs.rotate_nonce()
    org.okta.org.api_proofs.kept_nonces = 0

    error = await org.error()

    assert isinstance(error, IncompleteRead)
    assert "asked for a DPoP nonce, and accepts none that it gave" in error.message
    assert len([each for each in org.to_api() if each.url == org.to_api()[0].url]) == 2


async def test_every_attempt_at_a_request_has_a_proof_of_its_own(org: DpopOrg) -> None:
    failures = [503, 429, 503, 429]

    def fail(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(failures.pop()) if failures else None

    org.before = fail

    await org.read()

    assert {each.status_code for each in org.responses} >= {429, 503, 200}
    proofs = [request.headers["dpop"] for request in org.requests]
    assert len({opened(proof)[1]["jti"] for proof in proofs}) == len(proofs)


async def test_token_is_renewed_with_the_same_key(org: DpopOrg) -> None:
    connector = org.connector()
    source = Source("okta-main", org.okta.app.id)
    await connector.read(source)
    first = opened(org.requests[0].headers["dpop"])[0]["jwk"]
    org.okta.clock.seconds += 3500
    connector.clear_cache()

    await connector.read(source)

    tokens = {request.headers["authorization"] for request in org.to_api()}
    assert len(tokens) == 2
    assert opened(org.requests[-1].headers["dpop"])[0]["jwk"] == first


async def test_app_that_requires_dpop_is_reported_with_the_setting(org: DpopOrg) -> None:
    error = await org.error(dpop=False)

    assert isinstance(error, CredentialsRefused)
    assert "The DPoP proof JWT header is missing" in error.message
    assert error.hint == "The service app requires DPoP: set `connectors.okta-main.dpop: true`."


async def test_bound_token_without_dpop_is_refused_with_the_setting(org: DpopOrg) -> None:
    org.before = lambda _: httpx.Response(200, json={"token_type": "DPoP", "access_token": "x", "expires_in": 9})

    assert "set `connectors.okta-main.dpop: true`" in (await org.error(dpop=False)).hint


async def test_bearer_token_is_discarded_where_dpop_is_on(org: DpopOrg) -> None:
    org.client.requires_dpop, org.client.ignores_dpop = False, True

    error = await org.error()

    assert isinstance(error, CredentialsRefused)
    assert "gave a token that is not bound to our key" in error.message
    assert "`connectors.okta-main.dpop: false`" in error.hint
    assert not org.to_api(), "the token is not used"


@pytest.mark.parametrize("skew", [-300.0, 300.0])
@pytest.mark.parametrize("dates", [True, False])
async def test_wrong_clock_is_named(org: DpopOrg, skew: float, dates: bool) -> None:
    org.skew, org.dates = skew, dates

    error = await org.error()

    assert isinstance(error, CredentialsRefused)
    assert "'iat' claim" in error.message
    if dates:
        assert f"clock is 300 s {'ahead of' if skew > 0 else 'behind'} Okta's" in error.hint
    else:
        assert "synchronize it (NTP)" in error.hint


async def test_wrong_clock_during_a_read_is_named(org: DpopOrg) -> None:
    org.dates = True

    connector = org.connector()
    await connector.lookup(org.okta.company.person("ana.lima@acme.com").id, Source("okta-main", org.okta.app.id))
    org.skew = 300.0
    with pytest.raises(CredentialsRefused) as caught:
        await connector.read(Source("okta-main", org.okta.app.id))

    assert "refused a DPoP proof" in caught.value.message
    assert "clock is 300 s ahead of Okta's" in caught.value.hint


@pytest.mark.parametrize("place", ["/oauth2/", "/api/"])
async def test_proxy_that_changes_the_url_is_named(org: DpopOrg, place: str) -> None:
    is_token = place == "/oauth2/"
    verifier = org.okta.org.token_proofs if is_token else org.okta.org.api_proofs
    moved = MovedVerifier(verifier.now, requires_nonce=False)
    if is_token:
        org.okta.org.token_proofs = moved
    else:
        org.okta.org.api_proofs = moved

    error = await org.error()

    assert isinstance(error, CredentialsRefused)
    assert "'htu' claim in the DPoP proof JWT is invalid" in error.message
    assert "Set `org_url` to the address by which Okta knows itself" in error.hint


class MovedVerifier(ProofVerifier):
    """Okta behind a proxy that adds a path: it compares with the address at which the proxy asked."""

    def verify(self, request: ProofRequest, token: str | None = None, thumbprint: str | None = None) -> str:
        moved = ProofRequest(request.method, request.url.replace(ORG, f"{ORG}/inside"), request.proofs)
        return super().verify(moved, token, thumbprint)


async def test_bound_token_is_no_bearer_token(org: DpopOrg) -> None:
    await org.read()
    good = org.to_api()[-1]
    token = good.headers["authorization"].partition(" ")[2]

    async with httpx.AsyncClient(transport=httpx.ASGITransport(okta_app(org.okta.org)), base_url=ORG) as http:
        bearer = await http.get("/api/v1/apps", headers={"Authorization": f"Bearer {token}"})
        replayed = await http.get(good.url, headers={"Authorization": f"DPoP {token}", "DPoP": good.headers["dpop"]})
        without = await http.get("/api/v1/apps", headers={"Authorization": f"DPoP {token}"})

    assert bearer.status_code == 401
    assert (replayed.status_code, without.status_code) == (400, 400)
    assert 'error="invalid_dpop_proof"' in replayed.headers["www-authenticate"]
    assert "has already been used" in replayed.headers["www-authenticate"]


def make_proof(
    changes: Mapping[str, object] | None = None,
    header: Mapping[str, object] | None = None,
    key: Any = KEY,
    algorithm: str = "ES256",
) -> str:
    claims = {"jti": uuid4().hex, "htm": "GET", "htu": URL, "iat": 1_800_000_000, "ath": ath("token"), "nonce": "n"}
    claims = {name: value for name, value in (claims | dict(changes or {})).items() if value is not None}
    headers = {"typ": "dpop+jwt", "jwk": public_jwk(KEY)} | dict(header or {})
    return jwt.encode(claims, key, algorithm, headers=headers)


def ath(token: str) -> str:
    return urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()


def a_verifier() -> ProofVerifier:
    return ProofVerifier(lambda: 1_800_000_000, requires_nonce=True, _nonces=["n"])


PRIVATE = dict(json.loads(JWK.from_pyca(KEY).export_private()))
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = ec.generate_private_key(ec.SECP256R1())


def test_good_proofs_are_accepted_once() -> None:
    verifier = a_verifier()
    proof = make_proof()

    assert verifier.verify(ProofRequest("GET", f"{URL}?limit=1", [proof]), "token", thumbprint(public_jwk(KEY)))
    with pytest.raises(ProofError, match="already been used"):
        verifier.verify(ProofRequest("GET", URL, [proof]))
    by_rsa = make_proof(header={"jwk": public_jwk(RSA)}, key=RSA, algorithm="RS256")
    assert verifier.verify(ProofRequest("GET", URL, [by_rsa]), "token") == thumbprint(public_jwk(RSA))


@pytest.mark.parametrize(
    ("proofs", "description"),
    [
        ([], "header is missing"),
        ([make_proof(), make_proof()], "must be one DPoP header"),
        (["rubbish"], "must be one DPoP header"),
        (["a.b.c"], "signature"),
        ([make_proof(header={"typ": "JWT"})], "typ dpop"),
        ([make_proof(header={"jwk": None})], "typ dpop"),
        ([make_proof(header={"jwk": PRIVATE})], "private key"),
        ([make_proof(key=OTHER)], "signature"),
        ([make_proof(key="a secret of thirty-two bytes ....", algorithm="HS256")], "signature|typ dpop"),
        ([make_proof(key=None, algorithm="none")], "signature|typ dpop"),
        ([make_proof(header={"jwk": public_jwk(OTHER)}, key=OTHER)], "not the one of the access token"),
        ([make_proof({"htm": "POST"})], "'htm'"),
        ([make_proof({"htm": None})], "'htm'"),
        ([make_proof({"htu": f"{URL}/0oa1"})], "'htu'"),
        ([make_proof({"htu": f"{URL}?limit=1"})], "'htu'"),
        ([make_proof({"htu": URL.replace("https", "http")})], "'htu'"),
        ([make_proof({"iat": 1_800_000_000 - 61})], "'iat'"),
        ([make_proof({"iat": 1_800_000_000 + 61})], "'iat'"),
        ([make_proof({"iat": None})], "'iat'"),
        ([make_proof({"jti": None})], "'jti'"),
        ([make_proof({"ath": ath("another")})], "'ath'"),
        ([make_proof({"ath": None})], "'ath'"),
        ([make_proof({"nonce": "old"})], "nonce"),
        ([make_proof({"nonce": None})], "nonce"),
    ],
)
def test_pretend_okta_refuses_every_proof_that_rfc_9449_refuses(proofs: list[str], description: str) -> None:
    with pytest.raises(ProofError, match=description):
        a_verifier().verify(ProofRequest("GET", f"{URL}?limit=1", proofs), "token", thumbprint(public_jwk(KEY)))


@pytest.mark.parametrize(
    "key", [KEY, RSA, ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1())]
)
def test_thumbprint_is_that_of_an_independent_library(key: Any) -> None:
    assert thumbprint(public_jwk(key)) == JWK.from_pyca(key.public_key()).thumbprint()
    theirs = json.loads(JWK.from_pyca(key.public_key()).export_public())
    assert public_jwk(key) | {"kid": theirs["kid"]} == theirs
