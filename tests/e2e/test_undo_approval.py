"""Two people approve one undo over real HTTP: the API, the page and the command refuse the same person twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from agent.settings.token import Role, hashed_token
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests import plain_http
from tests.e2e.agent_process import Agent
from tests.e2e.company import leavers
from tests.e2e.daemon_process import OPERATOR, READER, Serving, configured, serving
from tests.e2e.requested_run import ended

pytestmark = pytest.mark.traced

LATAM, GONE = "pigment-latam", 2


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=5, size=40, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture
def agent(sandbox: Sandbox, tmp_path: Path) -> Agent:
    """An agent that deactivated two people. Two others must approve before any member is reactivated."""
    tokens = [hashed_token(OPERATOR, Role.OPERATE, "ana@acme.com"), hashed_token(READER, Role.OPERATE, "bea@acme.com")]
    server = {"port": 0, "tokens": [str(each) for each in tokens]}
    agent = configured(sandbox, tmp_path, None, server=server)
    assert agent.run("sync", "-w", LATAM).code in {0, 4}
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    document["approvals"] = {"needed": 2}
    document["workspaces"][LATAM]["require_approval"] = ["reactivate"]
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    return agent


@pytest.fixture
def daemon(agent: Agent) -> Iterator[Serving]:
    with serving(agent) as found:
        yield found


@pytest.fixture
def clients(daemon: Serving) -> Iterator[list[httpx.Client]]:
    """Three clients without a token or a session."""
    with ExitStack() as stack:
        base = f"http://127.0.0.1:{daemon.port}"
        yield [stack.enter_context(plain_http.client(base)) for _ in range(3)]


def log_in(client: httpx.Client, token: str) -> str:
    """Log in to the page, and return the CSRF token of its forms."""
    assert client.post("/login", data={"token": token, "next": "/"}).status_code == 303
    return client.get("/").text.partition('name="csrf" value="')[2].partition('"')[0]


def words(page: httpx.Response) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def test_undo_needs_two_people_by_the_api_on_the_page_and_by_the_command(
    sandbox: Sandbox, agent: Agent, clients: list[httpx.Client]
) -> None:
    departed = {person.email.lower() for person in leavers(sandbox, GONE)}

    def active() -> set[str]:
        return {each.user_name.lower() for each in sandbox.workspace(LATAM).members if each.active} & departed

    ana, bea, ana_on_the_page = clients
    ana.headers["Authorization"] = f"Bearer {OPERATOR}"
    done = ended(ana, ana.post(f"/api/v1/workspaces/{LATAM}/runs", json={"mode": "sync"}).json()["url"])
    assert active() == set()
    undo = f"/api/v1/runs/{done['id']}/undo"
    plan = ended(ana, ana.post(undo, json={}).json()["url"])
    needs = plan["approval"]
    assert (needs["blocked"], needs["needed"], needs["waits"]) == ("", 2, True)
    assert needs["counts"] == {"reactivate": GONE}
    given = {"digest": plan["digest"], "reason": "the wrong office"}
    first = ana.post(undo, json=given)
    assert first.json()["missing"] == [{"guard": "approval-required", "approved_by": ["ana@acme.com"], "people": 1}], (
        first.text
    )
    recorded = ended(ana, first.json()["url"])
    assert (recorded["status"], recorded["trigger"], active()) == ("held", "undo", set())
    assert "approval-required needs the approval of a second person" in recorded["error"]
    assert ana.get(f"/api/v1/workspaces/{LATAM}").json()["pause"] is None

    _refuse_same_person(ana, ana_on_the_page, agent, undo, plan)
    assert active() == set()

    csrf = log_in(bea, READER)
    path = f"/runs/{done['id']}/undo/{plan['id']}"
    shown = words(bea.get(path))
    assert "Approved by ana@acme.com at" in shown
    assert ": the wrong office . Counts until" in shown
    assert "approval-required needs 1 more" in shown
    assert f"Undo: reactivate {GONE} accounts, and pause" in shown
    form = {"csrf": csrf, "digest": plan["digest"], "reason": "agreed"}
    outdated = bea.post(path, data=form | {"button": f"Approve as first of 2: undo: reactivate {GONE} accounts"})
    assert "the button does something else now" in words(outdated)
    accepted = bea.post(path, data=form)
    assert accepted.status_code == 303, words(accepted)
    undone = ended(ana, "/api/v1" + accepted.headers["location"])
    assert [(each["by"], each["reason"]) for each in undone["approvals"]] == [
        ("ana@acme.com", "the wrong office"),
        ("bea@acme.com", "agreed"),
    ]
    assert active() == departed
    assert ana.get(f"/api/v1/workspaces/{LATAM}").json()["pause"]["by"] == "bea@acme.com"


def _refuse_same_person(
    client: httpx.Client, visitor: httpx.Client, agent: Agent, undo: str, plan: dict[str, Any]
) -> None:
    """Try the second approval as the person of the first one, by each way."""
    run_id, given = undo.split("/")[-2], {"digest": plan["digest"], "reason": "again"}
    again = client.post(undo, json=given)
    assert (again.status_code, again.json()["code"]) == (409, "already-approved")
    csrf, path = log_in(visitor, OPERATOR), f"/runs/{run_id}/undo/{plan['id']}"
    assert "You approved this plan before: a second person must approve it." in words(visitor.get(path))
    form = visitor.post(path, data=given | {"csrf": csrf})
    assert (form.status_code, "ana@acme.com approved this plan before" in words(form)) == (409, True)
    command = agent.run("undo", run_id, "--approve", plan["digest"], "--by", "ANA@acme.com", "--reason", "again")
    assert (command.code, "approved this plan before" in command.err) == (4, True), command.err
