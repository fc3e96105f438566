"""The API and the login of the page over real HTTP: access, actions, and invalid input that changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.version import installed_version
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests import plain_http
from tests.e2e.agent_process import Agent
from tests.e2e.company import leavers
from tests.e2e.daemon_process import OPERATOR, READER, Serving, access, configured, serving
from tests.e2e.requested_run import ended

pytestmark = pytest.mark.traced

LATAM = "pigment-latam"
RUNS = f"/api/v1/workspaces/{LATAM}/runs"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=5, size=40, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture(scope="module")
def agent(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    agent = configured(sandbox, tmp_path_factory.mktemp("api"), None, server=access())
    assert agent.run("sync").code in {0, 4}
    return agent


@pytest.fixture(scope="module")
def daemon(agent: Agent) -> Iterator[Serving]:
    with serving(agent) as found:
        yield found


@pytest.fixture
def client(daemon: Serving) -> Iterator[httpx.Client]:
    """A client without a token."""
    with plain_http.client(f"http://127.0.0.1:{daemon.port}") as client:
        yield client


@pytest.fixture
def operator(client: httpx.Client) -> httpx.Client:
    client.headers["Authorization"] = f"Bearer {OPERATOR}"
    return client


def journal(agent: Agent) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(agent.run("history", "--format", "json", "--limit", "1000").out)
    return found


def test_requested_run_is_accepted_at_once_and_journals_its_requester(operator: httpx.Client, agent: Agent) -> None:
    response = operator.post(RUNS, json={"mode": "plan", "reason": "a look"})
    assert response.status_code == 202
    assert response.headers["location"] == response.json()["url"]
    run = ended(operator, response.json()["url"])

    assert (run["status"], run["dry_run"], run["by"], run["reason"]) == ("planned", True, "ana@acme.com", "a look")
    assert run["plan"]["name"] == LATAM
    assert (run["version"], run["config_sha256"]) == (
        installed_version(),
        sha256(agent.config.read_bytes()).hexdigest(),
    )
    assert (run["approvals"], run["plan"]["run"]["id"]) == ([], run["id"])
    assert next(each for each in journal(agent) if each["id"] == run["id"])["by"] == "ana@acme.com"


def test_held_plan_is_approved_by_its_digest(operator: httpx.Client, sandbox: Sandbox) -> None:
    departed = [person.email for person in leavers(sandbox, 6)]
    held = ended(operator, operator.post(RUNS, json={"mode": "sync"}).json()["url"])
    assert (held["status"], held["tally"]["held"] >= 6) == ("held", True)
    approval = f"/api/v1/runs/{held['id']}/approval"

    wrong = operator.post(approval, json={"digest": "sha256:" + "0" * 64})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "digest")
    refused = [
        ({"digest": held["digest"]}, 422, "reason"),
        ({"digest": held["digest"], "reason": "moved", "guards": ["max-everything"]}, 422, "guards"),
        ({"digest": held["digest"], "reason": "moved", "guards": ["max-creates"]}, 409, "guards"),
    ]
    for body, status, code in refused:
        answer = operator.post(approval, json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert any(member.active for email in departed if (member := sandbox.workspace(LATAM).find_member(email)))

    accepted = operator.post(approval, json={"digest": held["digest"][:20], "reason": "moved"}).json()
    assert accepted["missing"] == []
    done = ended(operator, accepted["url"])
    assert (done["approved"], done["by"], done["trigger"]) == (held["digest"], "ana@acme.com", "api")
    (given,) = done["approvals"]
    assert (given["by"], given["reason"], given["guards"]) == ("ana@acme.com", "moved", [])
    assert done["plan"]["run"]["approvals"] == done["approvals"]
    assert {change["outcome"] for change in done["changes"]} == {"done"}
    assert not any(member.active for email in departed if (member := sandbox.workspace(LATAM).find_member(email)))


def test_workspaces_runs_and_people_can_be_read(client: httpx.Client) -> None:
    client.headers["Authorization"] = f"Bearer {READER}"
    workspaces = client.get("/api/v1/workspaces").json()["workspaces"]
    assert {each["name"] for each in workspaces} == {LATAM, "pigment-eu", "pigment-apac"}
    assert client.get(f"/api/v1/workspaces/{LATAM}").json()["name"] == LATAM
    runs = client.get("/api/v1/runs", params={"workspace": LATAM, "limit": 2}).json()["runs"]
    assert {run["workspace"] for run in runs} == {LATAM}
    assert client.get("/api/v1/runs", params={"since": "2999-01-01"}).json() == {"runs": []}
    person = client.get("/api/v1/people", params={"email": "nobody@acme.com"}).json()
    assert len(person["workspaces"]) == 3
    assert all(each["decision"] for each in person["workspaces"])


def test_pause_keeps_a_sync_from_writing_until_it_is_resumed(operator: httpx.Client, agent: Agent) -> None:
    eu = "/api/v1/workspaces/pigment-eu"
    assert operator.post(f"{eu}/pause", json={"reason": "audit"}).json()["pause"]["by"] == "ana@acme.com"
    run = ended(operator, operator.post(f"{eu}/runs", json={"mode": "sync"}).json()["url"])
    assert run["status"] == "planned"
    assert operator.post(f"{eu}/resume", json={}).json()["pause"] is None
    assert {"pause", "resume"} <= {each["trigger"] for each in journal(agent)}


BAD: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("POST", RUNS, {"content": b"{"}, 400, "body"),
    ("POST", RUNS, {"content": b"\xff"}, 400, "body"),
    ("POST", RUNS, {"json": {"mode": "force"}}, 422, "body"),
    ("POST", RUNS, {"json": {"mode": "sync", "approve": "all"}}, 422, "body"),
    ("POST", RUNS, {"json": {"mode": "plan", "user": "nobody"}}, 422, "body"),
    ("POST", RUNS, {"json": {"mode": "plan", "reason": "x" * 501}}, 422, "body"),
    ("POST", RUNS, {"json": ["plan"]}, 422, "body"),
    ("POST", RUNS, {"content": b""}, 400, "body"),
    ("POST", RUNS, {"json": {"mode": "plan", "reason": 1}}, 422, "body"),
    ("POST", RUNS, {"data": {"mode": "sync"}}, 415, "content-type"),
    ("POST", RUNS, {"content": b" " * 70_000}, 413, "too-large"),
    ("POST", RUNS + "?force=1", {"json": {"mode": "sync"}}, 400, "query"),
    ("POST", "/api/v1/workspaces/nowhere/runs", {"json": {"mode": "sync"}}, 404, "not-found"),
    ("GET", "/api/v1/workspaces/%2e%2e%2f%2e%2e%2fetc", {}, 404, "http"),
    ("GET", "/api/v1/runs/%00", {}, 404, "not-found"),
    ("GET", "/api/v1/runs/nothing", {}, 404, "not-found"),
    ("GET", "/api/v1/runs?limit=0", {}, 400, "query"),
    ("GET", "/api/v1/runs?limit=1&limit=2", {}, 400, "query"),
    ("GET", "/api/v1/runs?limit=501", {}, 400, "query"),
    ("GET", "/api/v1/runs?limit=1_0", {}, 400, "query"),
    ("GET", "/api/v1/runs?limti=1", {}, 400, "query"),
    ("GET", "/api/v1/runs?since=yesterday", {}, 400, "query"),
    ("GET", "/api/v1/runs?since=1772366400", {}, 400, "query"),
    ("GET", "/api/v1/people", {}, 400, "query"),
    ("GET", "/api/v1/people?email=x", {}, 400, "query"),
    ("GET", RUNS, {}, 405, "http"),
    ("DELETE", "/api/v1/workspaces", {}, 405, "http"),
    ("GET", "/api/v2", {}, 404, "http"),
]


def test_bad_request_is_a_problem_with_a_remedy_and_changes_nothing(operator: httpx.Client, agent: Agent) -> None:
    before = journal(agent)
    for method, path, more, status, code in BAD:
        headers = {"content-type": "application/json"} if "content" in more else {}
        answer = operator.request(method, path, headers=headers, **more)
        assert (path, answer.status_code) == (path, status)
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert (body["code"], body["status"], bool(body["remedy"])) == (code, status, True)

    assert journal(agent) == before


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {OPERATOR}", OPERATOR])
def test_no_request_is_accepted_without_a_token(client: httpx.Client, header: str) -> None:
    answer = client.post(RUNS, json={"mode": "sync"}, headers={"Authorization": header} if header else {})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_reader_may_not_operate(client: httpx.Client, agent: Agent) -> None:
    before = journal(agent)
    client.headers["Authorization"] = f"Bearer {READER}"
    for path in (RUNS, f"/api/v1/workspaces/{LATAM}/pause", "/api/v1/runs/x/approval"):
        assert client.post(path, json={"mode": "sync"}).status_code == 403

    assert journal(agent) == before


def logged_in(client: httpx.Client, token: str = OPERATOR) -> str:
    """Log in like a browser, and return the CSRF token of its forms."""
    answer = client.post("/login", data={"token": token, "next": "/"})
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    page = client.get("/").text
    return page.partition('name="csrf" value="')[2].partition('"')[0]


def test_forms_of_other_sites_do_nothing(client: httpx.Client, agent: Agent) -> None:
    csrf = logged_in(client)
    before = journal(agent)
    path, fields = f"/workspaces/{LATAM}/runs", {"mode": "sync"}
    refused = [
        client.post(path, data=fields),
        client.post(path, data=fields | {"csrf": "forged"}),
        client.post(path, data=fields | {"csrf": csrf}, headers={"Origin": "https://evil.example.com"}),
        client.post(path, data=fields | {"csrf": csrf}, headers={"Sec-Fetch-Site": "cross-site"}),
        client.post(path, data=fields | {"csrf": csrf}, headers={"Origin": "null"}),
    ]

    assert {answer.status_code for answer in refused} == {403}
    assert client.post(path, json=fields | {"csrf": csrf}).status_code == 415
    assert client.post(path, content="%", headers=FORM).status_code in {400, 403}
    assert client.post(path, data={"mode": "force", "csrf": csrf}).status_code == 422
    assert client.post("/workspaces/nowhere/runs", data=fields | {"csrf": csrf}).status_code == 404
    assert journal(agent) == before


def test_cookie_opens_the_page_and_never_the_api(client: httpx.Client) -> None:
    logged_in(client)
    assert client.get("/").status_code == 200
    assert client.get("/api/v1/workspaces").status_code == 401
    client.cookies.clear()
    client.cookies.set("pigment-sync", "forged")
    assert client.get("/").headers["location"] == "/login"


def test_reader_may_not_send_a_form(client: httpx.Client) -> None:
    csrf = logged_in(client, READER)
    assert client.post(f"/workspaces/{LATAM}/runs", data={"mode": "plan", "csrf": csrf}).status_code == 403


def test_session_is_invalid_after_logout(client: httpx.Client) -> None:
    csrf = logged_in(client)
    cookie = client.cookies["pigment-sync"]
    assert client.post("/logout", data={"csrf": csrf}).status_code == 303
    client.cookies.set("pigment-sync", cookie)
    assert client.get("/").status_code == 303


@pytest.mark.parametrize("wanted", ["https://evil.example.com", "//evil.example.com", "/\\evil.example.com", "x"])
def test_login_redirects_to_no_other_site(client: httpx.Client, wanted: str) -> None:
    answer = client.post("/login", data={"token": OPERATOR, "next": wanted})
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize(
    "path", ["/assets/..%2fapp.py", "/assets/../app.py", "/assets/none", "/workspaces/%2e%2e", "/runs/..%2f..%2fx"]
)
def test_path_tricks_find_nothing(client: httpx.Client, path: str) -> None:
    logged_in(client)
    answer = client.get(path)
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_every_answer_forbids_what_the_page_does_not_need(client: httpx.Client) -> None:
    for path in ("/login", "/api/v1/workspaces", "/healthz", "/nothing", "/assets/page.css"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


def test_unknown_host_is_refused_except_for_probes(client: httpx.Client) -> None:
    foreign = {"Host": "evil.example.com"}
    assert client.get("/login", headers=foreign).status_code == 421
    assert client.get("/healthz", headers=foreign).status_code == 200


def test_failed_logins_are_limited_and_get_a_retry_time(agent: Agent, sandbox: Sandbox, tmp_path: Path) -> None:
    fresh = configured(sandbox, tmp_path, None, server=access())
    with serving(fresh) as daemon:
        url = f"http://127.0.0.1:{daemon.port}"
        codes = [plain_http.post(f"{url}/login", data={"token": f"guess{n}"}).status_code for n in range(10)]
        late = plain_http.post(f"{url}/login", data={"token": "guess10"})
        # Behind a proxy all clients share one address: one outdated script must not block a pause by others.
        right = plain_http.post(f"{url}/login", data={"token": OPERATOR})
        line = daemon.until("login.refused")

    assert codes == [401] * 10
    assert (late.status_code, int(late.headers["retry-after"]) > 0) == (429, True)
    assert right.status_code == 303
    assert "guess" not in json.dumps(line)


def test_token_that_is_removed_from_the_file_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    fresh = configured(sandbox, tmp_path, None, server=access())
    with serving(fresh) as daemon:
        url = f"http://127.0.0.1:{daemon.port}"
        with plain_http.client(url) as browser:
            logged_in(browser)
            configured(sandbox, tmp_path, None, server={"port": 0})
            daemon.until("config.reloaded")
            assert browser.get("/").status_code == 303
            assert browser.get("/api/v1/runs", headers={"Authorization": f"Bearer {OPERATOR}"}).status_code == 401


def test_entry_that_is_not_a_hash_is_reported_at_start(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "entry"
    secret.write_text("pgs_a-token-by-mistake", "utf-8")
    ran = configured(sandbox, tmp_path, None, server={"port": 0, "tokens": [{"file": str(secret)}]}).run("serve")

    assert (ran.code, "hash-token" in ran.err) == (8, True)
    assert "by-mistake" not in ran.err


def test_head_is_answered_where_get_is(operator: httpx.Client) -> None:
    answer = operator.head("/api/v1/workspaces")
    assert (answer.status_code, answer.content) == (200, b"")
    assert operator.head("/api/v1/workspaces", headers={"Authorization": ""}).status_code == 401
