"""Logins to the page work at any replica: two applications on one state, each with its own connection to it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine, text

from agent.metrics import Metrics
from agent.model.web_login import MAX_FAILED_LOGINS
from agent.settings.server import ServerSettings
from agent.settings.token import Role, hashed_token
from agent.store.state import SqlState
from agent.store.tables import begun_logins, failed_logins, web_sessions
from agent.web.app import application
from agent.web.auth import SESSION_CACHE_SECONDS
from tests.integration.test_health import FakeDaemonApi
from tests.migrated_state import new_postgres_state, new_sqlite_state
from tests.state_samples import Clock

ISSUER = "https://login.acme.com"
TOKEN = "pgs_of-ana"
KEY = RSAKey.generate_key(2048, {"kid": "k1"})
NAME = "pigment-sync"


@dataclass
class Provider:
    """An identity provider that checks who began the login, by the verifier of PKCE, and gives a code one use."""

    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    verifiers: list[str] = field(default_factory=list)

    def agree(self, location: str) -> str:
        """Return where the browser goes after its user agreed to log in."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        code = f"code{len(self.codes)}"
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    def answer(self, request: httpx.Request) -> httpx.Response:
        match request.url.path:
            case "/.well-known/openid-configuration":
                found: dict[str, Any] = {
                    "issuer": ISSUER,
                    "authorization_endpoint": f"{ISSUER}/authorize",
                    "token_endpoint": f"{ISSUER}/token",
                    "jwks_uri": f"{ISSUER}/keys",
                    "id_token_signing_alg_values_supported": ["RS256"],
                }
            case "/keys":
                found = {"keys": [KEY.as_dict(private=False)]}
            case _:
                return self._issue_token(parse_qs(request.content.decode()))
        return httpx.Response(200, json=found)

    def _issue_token(self, form: dict[str, list[str]]) -> httpx.Response:
        asked = self.codes.pop(form["code"][0], None)
        (verifier,) = form["code_verifier"]
        self.verifiers.append(verifier)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"][0]:
            return httpx.Response(400, json={"error": "invalid_grant"})
        claims = {
            "iss": ISSUER, "aud": NAME, "sub": "u1", "iat": int(time()), "exp": int(time()) + 60,
            "nonce": asked["nonce"], "email": "eve@acme.com", "email_verified": True, "groups": ["Auditors"],
        }  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "k1"}, claims, KEY)
        return httpx.Response(200, json={"access_token": "a", "token_type": "Bearer", "id_token": token})


@dataclass
class Seconds:
    passed: float = 0

    def now(self) -> float:
        return self.passed


@dataclass
class Service:
    """Two replicas on one state. A browser is a client that sends its cookies to either."""

    url: str
    provider: Provider
    seconds: Seconds
    apps: list[Any]
    states: list[SqlState]

    def browser(self, replica: int, cookies: httpx.Cookies | None = None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.apps[replica], client=("192.0.2.7", 1))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", cookies=cookies)

    def stored_text(self) -> str:
        engine = create_engine(self.url)
        with engine.connect() as connection:
            rows = [
                repr(connection.execute(text(f"SELECT * FROM {table.name}")).all())  # noqa: S608  (Names of our tables.)
                for table in (web_sessions, begun_logins, failed_logins)
            ]
        engine.dispose()
        return "".join(rows)


@pytest.fixture(params=["sqlite", "postgresql"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    is_sqlite = request.param == "sqlite"
    url = new_sqlite_state(tmp_path) if is_sqlite else new_postgres_state(request.getfixturevalue("postgres_server"))
    provider, seconds = Provider(), Seconds()
    oidc = {"issuer": ISSUER, "client_id": NAME, "client_secret": "of the client", "roles": {"Auditors": "read"}}
    server = ServerSettings.model_validate({"tokens": [str(hashed_token(TOKEN, Role.OPERATE, "ana"))], "oidc": oidc})
    async with AsyncExitStack() as stack:
        apps, states = [], []
        for _ in range(2):
            state = await SqlState.open(url, Clock().now)
            states.append(state)
            stack.push_async_callback(state.close)
            daemon, metrics = FakeDaemonApi(state=state), Metrics(CollectorRegistry())
            apps.append(
                application(daemon, metrics, lambda: server, lambda: httpx.MockTransport(provider.answer), seconds.now)
            )
        yield Service(url, provider, seconds, apps, states)


async def csrf_token(client: httpx.AsyncClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', (await client.get("/")).text)
    assert found
    return found[1]


async def test_session_of_one_replica_acts_at_the_other_and_ends_at_both(service: Service) -> None:
    async with service.browser(0) as one, service.browser(1) as other:
        assert (await one.post("/login", data={"token": TOKEN})).status_code == 303
        other.cookies = one.cookies
        csrf = await csrf_token(one)
        assert await csrf_token(other) == csrf
        cookie = one.cookies[NAME]
        kept = service.stored_text()
        assert "ana" in kept
        assert not any(secret in kept for secret in (cookie, csrf, TOKEN))

        assert (await other.post("/logout", data={"csrf": "x"})).status_code == 403
        assert (await other.post("/logout", data={"csrf": csrf})).headers["location"] == "/login"
        other.cookies.set(NAME, cookie)
        assert (await other.get("/")).headers["location"] == "/login"
        one.cookies.set(NAME, cookie)
        service.seconds.passed += SESSION_CACHE_SECONDS
        assert (await one.get("/")).headers["location"] == "/login"
        assert (await one.post("/logout", data={"csrf": csrf})).headers["location"] == "/login"


async def test_session_outlives_its_process(service: Service) -> None:
    async with service.browser(0) as client:
        await client.post("/login", data={"token": TOKEN})
        cookies = client.cookies
    # The second application has never seen it, as after a restart.
    async with service.browser(1, cookies) as client:
        assert (await client.get("/")).status_code == 200
        client.cookies.clear()
        client.cookies.set(NAME, "x" * 43)
        assert (await client.get("/")).headers["location"] == "/login"


async def test_wrong_tokens_are_counted_over_both_replicas(service: Service) -> None:
    async with service.browser(0) as one, service.browser(1) as other:
        seen = [
            (await client.post("/login", data={"token": f"guess{n}"})).status_code
            for n in range(MAX_FAILED_LOGINS // 2)
            for client in (one, other)
        ]
        late = [await client.post("/login", data={"token": "late"}) for client in (one, other)]
        api = await other.get("/api/v1/workspaces", headers={"Authorization": "Bearer late"})
        right = await one.post("/login", data={"token": TOKEN})

    assert seen == [401] * MAX_FAILED_LOGINS
    assert [each.status_code for each in (*late, api)] == [429] * 3
    assert all(0 < int(each.headers["retry-after"]) <= 301 for each in (*late, api))
    assert right.status_code == 303
    assert not any(word in service.stored_text() for word in ("guess", "late"))


async def test_login_that_began_at_one_replica_is_finished_once_at_the_other(service: Service) -> None:
    async with service.browser(0) as one, service.browser(1) as other:
        begun = await one.get("/login/oidc")
        assert begun.status_code == 302
        asked = parse_qs(urlsplit(begun.headers["location"]).query)
        back = service.provider.agree(begun.headers["location"])
        cookie = one.cookies["pigment-sync-login"]
        kept = service.stored_text()
        other.cookies = one.cookies

        done = await other.get(back)
        assert done.status_code == 200, done.text
        one.cookies = other.cookies
        assert "eve@acme.com" in (await one.get("/")).text
        (verifier,) = service.provider.verifiers
        secrets = {cookie, verifier, asked["state"][0], asked["nonce"][0]}
        assert len(secrets) == 4
        assert not any(secret in kept for secret in secrets)

        again = service.provider.agree(begun.headers["location"])
        one.cookies.set("pigment-sync-login", cookie, path="/login")
        refused = [(await client.get(again)).status_code for client in (one, other)]
        assert refused == [403, 403]
        assert len(service.provider.verifiers) == 1


async def test_login_that_another_browser_began_is_refused(service: Service) -> None:
    async with service.browser(0) as attacker, service.browser(1) as victim:
        begun = await attacker.get("/login/oidc")
        back = service.provider.agree(begun.headers["location"])
        assert (await victim.get(back)).status_code == 403
        await victim.get("/login/oidc")
        lured = await victim.get(back)

    assert lured.status_code == 403
    assert NAME not in victim.cookies
    assert service.provider.verifiers == []


async def test_replica_without_the_state_lets_no_visitor_in_and_does_not_pretend_to_log_out(service: Service) -> None:
    async with service.browser(0) as known, service.browser(0) as new:
        await known.post("/login", data={"token": TOKEN})
        csrf = await csrf_token(known)
        await service.states[0].close()
        login = await new.post("/login", data={"token": TOKEN})
        begun = await new.get("/login/oidc")
        logout = await known.post("/logout", data={"csrf": csrf})
        service.seconds.passed += SESSION_CACHE_SECONDS
        action = await known.post("/workspaces/latam/runs", data={"csrf": csrf})
        wrong = await new.post("/login", data={"token": "wrong"})
        async with service.browser(1, known.cookies) as other:
            assert (await other.get("/")).status_code == 200

    assert [each.status_code for each in (login, begun, logout, action, wrong)] == [503, 503, 503, 503, 401]
    assert "You are still logged in." in logout.text
    assert len(new.cookies) == 0
