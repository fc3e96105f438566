"""Approvals that can't be given, over HTTP to the page and the API: each has its reason, and nothing is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import create_engine, update

from agent.settings.token import Role, hashed_token
from agent.store.tables import approvals
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests import plain_http
from tests.e2e.agent_process import Agent
from tests.e2e.company import leavers
from tests.e2e.daemon_process import OPERATOR, READER, configured, serving
from tests.e2e.requested_run import ended

pytestmark = pytest.mark.traced

LATAM, APAC = "pigment-latam", "pigment-apac"
SECOND = "pgs_" + "s" * 43
GONE = 5
MAX = "max-deactivations"


@dataclass(frozen=True)
class Bad:
    """An approval that is refused, as the page sends it (*fields*) and as the API does (*body*)."""

    status: int
    words: str
    fields: dict[str, str]
    body: dict[str, Any]


NO_DEACTIVATION = f"not the number of deactivations, {GONE}"
BAD = [
    Bad(422, "'max-everything' is not a guard", {"guard.max-everything": "on"}, {"guards": ["max-everything"]}),
    Bad(409, "max-creates: holds nothing in this plan", {"guard.max-creates": "on"}, {"guards": ["max-creates"]}),
    Bad(422, "An approval needs a reason", {"reason": " "}, {"reason": " "}),
    Bad(422, NO_DEACTIVATION, {"confirm": "50"}, {"confirm": 50}),
    Bad(409, "The digest is not that of this run's plan", {"digest": "0" * 64}, {"digest": "0" * 64}),
    Bad(422, "not a digest", {"digest": "latest"}, {"digest": "latest"}),
]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=5, size=40, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture
def agent(sandbox: Sandbox, tmp_path: Path) -> Agent:
    """An agent after its first sync. Two persons must approve; one workspace is in mode dry-run."""
    tokens = [
        hashed_token(OPERATOR, Role.OPERATE, "ana@acme.com"),
        hashed_token(SECOND, Role.OPERATE, "bea@acme.com"),
        hashed_token(READER, Role.READ, "audit"),
    ]
    agent = configured(sandbox, tmp_path, None, server={"port": 0, "tokens": [str(each) for each in tokens]})
    assert agent.run("sync").code in {0, 4}
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    document["approvals"] = {"needed": 2, "confirm_over": 3}
    document["limits"] = {"fleet_deactivations_percent": 100}
    document["workspaces"][APAC] |= {"mode": "dry-run", "require_approval": ["create"]}
    agent.config.write_text(yaml.safe_dump(document), "utf-8")
    return agent


@dataclass
class Person:
    """A person with a token, on the page and by the API."""

    page: httpx.Client
    api: httpx.Client
    token: str
    csrf: str = ""

    def log_in(self) -> None:
        assert self.page.post("/login", data={"token": self.token, "next": "/"}).status_code == 303
        self.csrf = self.page.get("/").text.partition('name="csrf" value="')[2].partition('"')[0]
        self.api.headers["Authorization"] = f"Bearer {self.token}"

    def plan(self, workspace: str) -> dict[str, Any]:
        accepted = self.api.post(f"/api/v1/workspaces/{workspace}/runs", json={"mode": "plan"})
        return ended(self.api, accepted.json()["url"])

    def approve(self, plan: dict[str, Any], **body: object) -> httpx.Response:
        return self.api.post(
            f"/api/v1/runs/{plan['id']}/approval", json={"digest": plan["digest"], "reason": "why"} | body
        )

    def send_form(self, plan: dict[str, Any], **fields: str) -> httpx.Response:
        shown = re.search(r'name="shown" value="([^"]*)"', self.page.get(f"/runs/{plan['id']}").text)
        guards = {name: value for name, value in fields.items() if name.startswith("guard.")} or {f"guard.{MAX}": "on"}
        form = {"csrf": self.csrf, "digest": plan["digest"], "reason": "why", "confirm": str(GONE)}
        form |= {"shown": shown[1] if shown else ""} | guards | fields
        return self.page.post(f"/runs/{plan['id']}/approval", data=form)


def words(page: httpx.Response) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def refuse(person: Person, plan: dict[str, Any], bad: Bad) -> None:
    """Send *bad* by both ways, and check the reason that each gives."""
    form = person.send_form(plan, **bad.fields)
    assert (form.status_code, bad.words in words(form)) == (bad.status, True), words(form)
    answer = person.approve(plan, **bad.body)
    assert answer.status_code == bad.status, answer.text
    problem = answer.json()
    # A malformed digest is refused by the schema of the body.
    assert bad.words in problem["detail"] or problem["code"] == "body"
    assert problem["remedy"]


def test_each_refused_approval_says_why_on_the_page_and_by_the_api(sandbox: Sandbox, agent: Agent) -> None:
    sandbox.company.hire("onelogin", "New", "Joiner", ["Pigment APAC"])
    first = leavers(sandbox, GONE - 1)
    with serving(agent) as daemon, ExitStack() as stack:
        base = f"http://127.0.0.1:{daemon.port}"
        clients = [stack.enter_context(plain_http.client(base)) for _ in range(6)]
        ana, bea, reader = (Person(clients.pop(), clients.pop(), token) for token in (OPERATOR, SECOND, READER))
        for each in (ana, bea, reader):
            each.log_in()
        old, dry = ana.plan(LATAM), ana.plan(APAC)
        departed = [*first, *leavers(sandbox, 1)]
        plan = ana.plan(LATAM)
        before = history(agent)
        for bad in BAD:
            refuse(ana, plan, bad)
        refuse(ana, dry, Bad(409, "in mode dry-run", {"guard.approval-required": "on"}, {}))
        refuse(ana, old, Bad(409, "This plan is old: a newer one differs", {}, {}))
        refuse(reader, plan, Bad(403, "audit has the role read; this needs operate", {}, {}))
        assert history(agent) == before

        recorded = ended(ana.api, ana.approve(plan, guards=[MAX], confirm=GONE).json()["url"])
        assert recorded["status"] == "held"
        refuse(ana, plan, Bad(409, "ana@acme.com approved this plan before", {}, {"guards": [MAX]}))
        expire_approvals(agent)
        assert "The approval of ana@acme.com of 20" in words(bea.page.get(f"/runs/{plan['id']}"))
        late = ended(bea.api, bea.approve(plan, guards=[MAX]).json()["url"])
        assert late["status"] == "held"
        assert re.search(r"The approval of ana@acme.com of 20\S+ \S+ UTC has expired", late["error"])

    active = {each.user_name.lower() for each in sandbox.workspace(LATAM).members if each.active}
    assert active >= {person.email.lower() for person in departed}


def history(agent: Agent) -> str:
    return agent.run("history", "--format", "json", "--limit", "1000").out


def expire_approvals(agent: Agent) -> None:
    engine = create_engine(f"sqlite:///{agent.config.parent}/state.db")
    with engine.begin() as connection:
        connection.execute(update(approvals).values(at=approvals.c.at - 25 * 3600 * 1_000_000))
    engine.dispose()
