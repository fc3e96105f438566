"""Login with a real OpenID Connect provider, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests import plain_http
from tests.e2e import browser
from tests.e2e.daemon_process import Serving, configured, serving
from tests.e2e.oidc_provider import oidc_provider

pytestmark = pytest.mark.traced

ROLES = {"Identity team": "operate", "Auditors": "read"}
LOGIN = "Log in with your company's account"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=5, size=20, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with oidc_provider() as url:
        yield url


@pytest.fixture(scope="module")
def daemon(sandbox: Sandbox, issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    oidc = {"issuer": issuer, "client_id": "pigment-sync", "client_secret": "a-secret-of-the-client", "roles": ROLES}
    agent = configured(sandbox, tmp_path_factory.mktemp("oidc"), None, server={"port": 0, "oidc": oidc})
    with serving(agent) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.opened() as found:
        yield found


def url(daemon: Serving) -> str:
    return f"http://127.0.0.1:{daemon.port}"


@pytest.mark.parametrize(
    ("sub", "name", "role"), [("ana", "ana@acme.com", "operate"), ("leo", "leo@acme.com (leo)", "read")]
)
def test_user_of_a_group_logs_in_with_its_role(
    daemon: Serving, chromium: Browser, sub: str, name: str, role: str
) -> None:
    with browser.tab(chromium, url(daemon)) as page:
        page.goto("/")
        page.get_by_role("link", name=LOGIN).click()
        page.locator("input[name=sub]").first.fill(sub)
        page.get_by_role("button", name="Authorize").click()
        expect(page.get_by_role("heading", name="Workspaces")).to_be_visible()
        assert f"{name} · {role}" in page.locator(".who").inner_text()
        assert (page.get_by_role("button", name="Sync now").count() > 0) is (role == "operate")


@pytest.mark.parametrize("sub", ["eve", "odd"])
def test_user_of_no_group_gets_an_explanation(daemon: Serving, issuer: str, sub: str) -> None:
    with plain_http.client() as client:
        answer = came_back(client, daemon, sub)
        assert (answer.status_code, "None of your groups" in answer.text) == (403, True)
        assert client.get(f"{url(daemon)}/").status_code == 303


def came_back(client: httpx.Client, daemon: Serving, sub: str) -> httpx.Response:
    """Start a login, confirm it at the provider, and return."""
    begun = client.get(f"{url(daemon)}/login/oidc")
    assert begun.status_code == 302
    agreed = client.post(begun.headers["location"], data={"sub": sub})
    return client.get(agreed.headers["location"])


def test_login_that_was_not_started_here_is_refused(daemon: Serving, issuer: str) -> None:
    with plain_http.client() as attacker, plain_http.client() as victim:
        begun = attacker.get(f"{url(daemon)}/login/oidc")
        agreed = attacker.post(begun.headers["location"], data={"sub": "ana"})
        lured = victim.get(agreed.headers["location"])
        assert lured.status_code == 403
        own = victim.get(f"{url(daemon)}/login/oidc")
        assert own.status_code == 302
        lured = victim.get(agreed.headers["location"])
        assert lured.status_code in {403, 502}
        assert "pigment-sync=" not in lured.headers.get("set-cookie", "")


def test_authorization_response_can_be_used_once(daemon: Serving) -> None:
    with plain_http.client() as client:
        answer = came_back(client, daemon, "leo")
        assert answer.status_code == 200
        assert client.get(str(answer.url)).status_code == 403


def test_unreachable_provider_is_reported(sandbox: Sandbox, tmp_path: Path) -> None:
    oidc = {"issuer": "http://127.0.0.1:9", "client_id": "x", "client_secret": "y", "roles": ROLES}
    with serving(configured(sandbox, tmp_path, None, server={"port": 0, "oidc": oidc})) as daemon:
        answer = plain_http.get(f"{url(daemon)}/login/oidc")

    assert (answer.status_code, "server.oidc.issuer" in answer.text) == (502, True)
