"""The pretend Okta gives tokens to authenticated clients only."""

from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.okta import OktaOptions, RateLimits
from tests.contract.pretend_directories import ASSERTION_TYPE, EC_KEY, RSA_KEY, PretendOkta


@pytest.fixture
def okta() -> PretendOkta:
    return PretendOkta()


def signed(okta: PretendOkta, **changes: object) -> str:
    return jwt.encode(okta.claims(**changes), EC_KEY, "ES256", headers={"kid": "ec"})


async def test_assertion_signed_with_either_kind_of_key_is_taken(okta: PretendOkta) -> None:
    for key, algorithm, kid in ((EC_KEY, "ES256", "ec"), (RSA_KEY, "RS256", "rsa")):
        answer = await okta.token(jwt.encode(okta.claims(), key, algorithm, headers={"kid": kid}))
        assert answer.json()["token_type"] == "Bearer"
        assert answer.json()["expires_in"] == 3600


async def test_key_id_may_be_left_out(okta: PretendOkta) -> None:
    answer = await okta.token(jwt.encode(okta.claims(), RSA_KEY, "RS256"))

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "0oasomebody"},
        {"sub": "0oasomebody"},
        {"aud": "https://acme.okta.example"},
        {"exp": 1_000_000_000},
        {"exp": 4_000_000_000},
        {"exp": None},
        {"jti": None},
    ],
)
async def test_assertion_with_a_wrong_claim_is_refused(okta: PretendOkta, changes: dict[str, object]) -> None:
    claims = {name: value for name, value in okta.claims(**changes).items() if value is not None}

    answer = await okta.token(jwt.encode(claims, EC_KEY, "ES256", headers={"kid": "ec"}))

    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_client"


async def test_assertion_signed_with_a_strange_key_is_refused(okta: PretendOkta) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())

    for headers in ({"kid": "ec"}, {"kid": "stranger"}, {}):
        answer = await okta.token(jwt.encode(okta.claims(), stranger, "ES256", headers=headers))
        assert answer.status_code == 401


async def test_assertion_signed_with_a_secret_is_refused(okta: PretendOkta) -> None:
    answer = await okta.token(jwt.encode(okta.claims(), "a secret of thirty-two bytes ....", "HS256"))

    assert answer.status_code == 401


async def test_invalid_assertion_is_refused(okta: PretendOkta) -> None:
    assert (await okta.token("rubbish")).json()["error"] == "invalid_client"


async def test_assertion_is_taken_once(okta: PretendOkta) -> None:
    assertion = signed(okta)

    assert [(await okta.token(assertion)).status_code for _ in range(2)] == [200, 401]


async def test_scope_that_was_not_granted_is_refused(okta: PretendOkta) -> None:
    answer = await okta.token(signed(okta), "okta.apps.read okta.apps.manage")

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


async def test_app_that_requires_dpop_reports_it(okta: PretendOkta) -> None:
    okta.org.token_issuer.clients["0oaservice"].requires_dpop = True

    answer = await okta.token(signed(okta))

    assert answer.status_code == 400
    assert answer.json() == {
        "error": "invalid_dpop_proof",
        "error_description": "The DPoP proof JWT header is missing.",
    }


async def test_token_reads_what_its_scopes_allow(okta: PretendOkta) -> None:
    headers = await okta.granted("okta.apps.read")

    app = await okta.http.get(f"/api/v1/apps/{okta.app.id}", headers=headers)
    group = await okta.http.get(f"/api/v1/groups/{okta.app.groups[0]}", headers=headers)
    assert app.status_code == 200
    assert (group.status_code, group.json()["errorCode"]) == (403, "E0000006")


async def test_token_ends_after_an_hour(okta: PretendOkta) -> None:
    headers = await okta.granted("okta.apps.read")

    okta.clock.seconds += 3599
    assert (await okta.http.get("/api/v1/apps", headers=headers)).status_code == 200
    okta.clock.seconds += 1
    assert (await okta.http.get("/api/v1/apps", headers=headers)).status_code == 401


async def test_revoked_token_is_refused(okta: PretendOkta) -> None:
    headers = await okta.granted("okta.apps.read")

    okta.org.token_issuer.revoke_all()

    answer = await okta.http.get("/api/v1/apps", headers=headers)
    assert (answer.status_code, answer.json()["errorCode"]) == (401, "E0000011")


@pytest.mark.parametrize(
    "authorization", ["", "SSWS", "SSWS other", "SSWSapi-token", "Bearer api-token", "ssws api-token"]
)
async def test_api_token_is_taken_in_its_documented_form_only(okta: PretendOkta, authorization: str) -> None:
    answer = await okta.http.get("/api/v1/apps", headers={"Authorization": authorization})

    assert answer.status_code == 401


async def test_api_token_without_a_space_is_accepted_where_the_option_is_set(okta: PretendOkta) -> None:
    okta.org.options = OktaOptions(takes_tight_ssws=True)

    answer = await okta.http.get("/api/v1/apps", headers={"Authorization": "SSWSapi-token"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion_type": "secret"}, "invalid_client"),
        ({"scope": ""}, "invalid_scope"),
    ],
)
async def test_token_request_of_another_kind_is_refused(okta: PretendOkta, change: dict[str, str], error: str) -> None:
    plain = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "scope": "okta.apps.read"}

    answer = await okta.http.post("/oauth2/v1/token", data=plain | {"client_assertion": signed(okta)} | change)

    assert answer.json()["error"] == error


async def test_token_endpoint_has_a_limit_of_its_own(okta: PretendOkta) -> None:
    okta.org.set_rate_limits(RateLimits(token=0))

    answer = await okta.token(signed(okta))

    assert (answer.status_code, answer.json()["errorCode"]) == (429, "E0000047")
    assert answer.headers["x-rate-limit-limit"] == "0"
    assert (await okta.get("/apps")).status_code == 200
