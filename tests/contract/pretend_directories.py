"""The pretend Okta and OneLogin in memory, with a client of each, for the tests of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sandbox.company import Company, generate_company
from sandbox.okta import OktaOrg, ServiceApp, okta_app
from sandbox.onelogin import Credential, OneLoginAccount, onelogin_app

ORG = "https://acme.okta.example"
ACCOUNT = "https://acme.onelogin.example"
SECRET = "secret"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def public(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@dataclass
class Clock:
    """Seconds since 1970, which only a test moves."""

    seconds: float = field(default_factory=lambda: datetime(2026, 11, 23, tzinfo=UTC).timestamp())

    def __call__(self) -> float:
        return self.seconds


class PretendOkta:
    """An org, and a client that has its API token."""

    def __init__(self, company: Company | None = None) -> None:
        self.clock = Clock()
        self.company = company or generate_company()
        keys = {"ec": public(EC_KEY), "rsa": public(RSA_KEY)}
        self.company.log.now = self.clock
        self.org = OktaOrg(
            self.company.okta,
            clients=[ServiceApp("0oaservice", keys)],
            api_tokens=["api-token"],
            now=self.clock,
            happenings=self.company.log,
        )
        self.app = self.company.okta.pigment
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(okta_app(self.org)),
            base_url=ORG,
            headers={"Authorization": "SSWS api-token"},
        )
        self._used = 0

    async def get(self, path: str, **query: str) -> httpx.Response:
        return await self.http.get(f"/api/v1{path}", params=query)

    async def rows(self, path: str, **query: str) -> list[dict[str, object]]:
        """Walk a list to its end."""
        answer = await self.get(path, **query)
        found = list(answer.raise_for_status().json())
        while "next" in answer.links:
            answer = await self.http.get(answer.links["next"]["url"])
            found += answer.raise_for_status().json()
        return found

    def claims(self, **changes: object) -> dict[str, object]:
        self._used += 1
        plain = {"iss": "0oaservice", "sub": "0oaservice", "aud": f"{ORG}/oauth2/v1/token"}
        return plain | {"exp": self.clock.seconds + 300, "jti": f"once-{self._used}"} | changes

    async def token(self, assertion: str, scope: str = "okta.apps.read") -> httpx.Response:
        form = {"grant_type": "client_credentials", "scope": scope, "client_assertion_type": ASSERTION_TYPE}
        return await self.http.post("/oauth2/v1/token", data=form | {"client_assertion": assertion})

    async def granted(self, scope: str) -> dict[str, str]:
        """Return the headers of a service app that has *scope*."""
        answer = await self.token(jwt.encode(self.claims(), EC_KEY, "ES256", headers={"kid": "ec"}), scope)
        return {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}


class PretendOneLogin:
    """An account, and a client that signs in at its first request."""

    def __init__(self, company: Company | None = None) -> None:
        self.clock = Clock()
        self.company = company or generate_company()
        self.company.log.now = self.clock
        self.account = OneLoginAccount(
            self.company.onelogin,
            [Credential("id", SECRET), Credential("people", SECRET, "Read Users")],
            now=self.clock,
            happenings=self.company.log,
        )
        self.app = self.company.onelogin.pigment
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(onelogin_app(self.account)), base_url=ACCOUNT)

    async def token(self, client_id: str = "id", secret: str = SECRET) -> httpx.Response:
        grant = {"grant_type": "client_credentials"}
        return await self.http.post("/auth/oauth2/v2/token", json=grant, auth=(client_id, secret))

    async def get(self, path: str, **query: str) -> httpx.Response:
        if "authorization" not in self.http.headers:
            await self.sign_in()
        return await self.http.get(f"/api/2{path}", params=query)

    async def sign_in(self, client_id: str = "id") -> None:
        self.http.headers["Authorization"] = f"bearer {(await self.token(client_id)).json()['access_token']}"

    async def rows(self, path: str, **query: str) -> list[dict[str, object]]:
        """Walk a list to its end."""
        answer = await self.get(path, **query)
        found = list(answer.raise_for_status().json())
        while cursor := answer.headers.get("after-cursor"):
            answer = await self.get(path, cursor=cursor)
            found += answer.raise_for_status().json()
        return found
