"""The page's form of an approval: what it shows first, what its button does, and each refusal, which queues no run."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from html import unescape

import httpx
import pytest
from prometheus_client import CollectorRegistry

from agent.daemon.interface import RenameDecision, WorkspaceStatus
from agent.metrics import Metrics
from agent.model import Mode
from agent.model.approval import ApprovalPolicy
from agent.model.run import RunOutcome, RunStatus
from agent.report.document import encode_plan, plan_digest, plan_parts
from agent.settings.server import ServerSettings
from agent.settings.token import hashed_token
from agent.web.app import application
from connectors.secret import Secret
from tests.golden.samples import a_create, a_foreigner, a_guard, a_guarded_leaver, a_plan
from tests.integration.test_api_approvals import TOKENS, ApprovalDaemon
from tests.state_samples import a_change, a_run, done

JOINER = a_create("joiner@acme.com", "New Joiner")
HELD_JOINER = replace(
    a_guarded_leaver(9),
    kind=JOINER.kind,
    code="approval-required",
    email=JOINER.email,
    scim_id=None,
    person=JOINER.person,
    change=JOINER,
    guards=("approval-required",),
)
RENAMED = replace(
    a_foreigner(), code="possible-rename", email="ann.new@acme.com", reason="Ann may be ann.old@acme.com."
)
HELD = replace(
    a_plan("latam", holds=(*(a_guarded_leaver(each) for each in range(12)), HELD_JOINER, RENAMED)),
    guards=(a_guard(12), replace(a_guard(1), code="approval-required")),
)
BOTH = {"guard.approval-required": "on", "guard.max-deactivations": "on"}
SHOWN = "approval-required,max-deactivations"


@dataclass
class PageDaemon(ApprovalDaemon):
    """A daemon with one plan on hold. Its groups had other sizes before."""

    mode: Mode = Mode.ENFORCE
    decisions: list[RenameDecision] = field(default_factory=list)

    async def settle_rename(self, decision: RenameDecision) -> None:
        self.decisions.append(decision)

    async def load_workspace_status(self, name: str) -> WorkspaceStatus:
        return replace(await ApprovalDaemon.load_workspace_status(self, name), mode=self.mode)


@dataclass
class Visitor:
    client: httpx.AsyncClient

    async def log_in(self, name: str) -> None:
        self.client.cookies.clear()
        await self.client.post("/login", data={"token": f"token-of-{name}"})

    async def read(self, path: str = "/runs/held") -> str:
        """Return the words of a page."""
        text = (await self.client.get(path)).text
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())

    async def button(self) -> str:
        found = re.search(r'class="danger">([^<]+)<', (await self.client.get("/runs/held")).text)
        return found[1] if found else ""

    async def send(self, path: str = "/runs/held/approval", **fields: str) -> tuple[int, str]:
        csrf = re.search(r'name="csrf" value="([^"]+)"', (await self.client.get("/")).text)
        assert csrf
        given = {"csrf": csrf[1], "digest": plan_digest(HELD), "reason": "reviewed", "shown": SHOWN, "confirm": "12"}
        answer = await self.client.post(path, data=given | fields)
        return answer.status_code, " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


@pytest.fixture
async def daemon() -> PageDaemon:
    daemon = PageDaemon()
    run = replace(a_run("held"), status=RunStatus.HELD, digest=plan_digest(HELD), document=encode_plan(HELD))
    await daemon.state.record_run(run)
    lease = await daemon.state.take_lease("latam", "one")
    await daemon.state.update_memory(lease, (), frozenset(), {("okta-main", "00g1"): ("Pigment LatAm", 345)})
    await daemon.state.release_lease(lease)
    return daemon


@pytest.fixture
async def visitor(daemon: PageDaemon) -> AsyncIterator[Visitor]:
    entries = [Secret("value", str(hashed_token(f"token-of-{name}", role, name))) for name, role in TOKENS.items()]
    server = ServerSettings(tokens=tuple(entries))
    app = application(daemon, Metrics(CollectorRegistry()), lambda: server, httpx.AsyncHTTPTransport)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        found = Visitor(client)
        await found.log_in("ann")
        yield found


async def test_form_shows_the_evidence_and_a_button_with_the_numbers(visitor: Visitor, daemon: PageDaemon) -> None:
    daemon.approval_policy = ApprovalPolicy()
    shown = await visitor.read()

    assert shown.index("Pigment LatAm : 345 → 300") < shown.index("leaver0@acme.com") < shown.index("max-deactivations")
    assert "Deactivate 12 accounts, create 1 account?" in shown
    assert await visitor.button() == "Deactivate 12 accounts, create 1 account"
    assert "Type the number of deactivations" in shown
    page = (await visitor.client.get("/runs/held")).text
    assert sorted(re.findall(r'type="checkbox" id="guard\.([\w-]+)"', page)) == [
        "approval-required",
        "max-deactivations",
    ]
    assert 'name="reason" value="" maxlength="500" autocomplete="off" required' in page


async def test_approval_of_what_the_button_says_is_queued(visitor: Visitor, daemon: PageDaemon) -> None:
    daemon.approval_policy = ApprovalPolicy()
    status, _ = await visitor.send(**BOTH)

    assert status == 303
    (request,) = daemon.requests
    assert (request.by, request.reason, sorted(request.approved_guards)) == ("ann", "reviewed", SHOWN.split(","))


async def test_two_people_approve_one_guard(visitor: Visitor, daemon: PageDaemon) -> None:
    one = {"guard.max-deactivations": "on", "shown": "max-deactivations"}
    assert (await visitor.button()).startswith("Approve as first of 2: deactivate 12 accounts")
    assert (await visitor.send(**one))[0] == 303
    shown = await visitor.read()
    assert "Approved by ann at" in shown
    assert "until a second person approves, within 24 h." in shown
    assert "max-deactivations needs 1 more" in shown
    status, words = await visitor.send(**one)
    assert (status, "ann approved this plan before" in words) == (409, True)

    await visitor.log_in("bea")
    assert await visitor.button() == "Deactivate 12 accounts"
    assert (await visitor.send(**one))[0] == 303
    assert [(each.by, sorted(each.approved_guards)) for each in daemon.requests] == [
        ("ann", ["max-deactivations"]),
        ("bea", ["max-deactivations"]),
    ]


async def test_second_person_is_shown_what_is_released_and_what_is_only_recorded(visitor: Visitor) -> None:
    await visitor.send(**{"guard.max-deactivations": "on", "shown": "max-deactivations", "reason": "reviewed"})
    await visitor.log_in("bea")
    shown = await visitor.read()

    assert await visitor.button() == "Deactivate 12 accounts"
    assert "For the rest your approval is only recorded (create 1 account): a second person must approve it" in shown
    who = shown.partition("Who:")[2].partition("listed below")[0]
    assert who.strip().startswith("leaver0@acme.com")
    assert "joiner@acme.com" not in who


async def test_expired_approval_is_named_and_does_not_count(visitor: Visitor, daemon: PageDaemon) -> None:
    await visitor.send(**BOTH)
    daemon.approval_policy = ApprovalPolicy(needed=2, valid_for=timedelta(0))
    shown = await visitor.read()

    assert "The approval of ann of" in shown
    assert "has expired" in shown
    assert "max-deactivations needs 2 more" in shown


REFUSED: list[tuple[str, dict[str, str], int, str]] = [
    ("ann", {}, 422, "No guard is ticked. Nothing was approved."),
    ("ann", {"guard.max-deactivations": "on", "shown": SHOWN}, 200, "Nothing was approved yet. Check the button"),
    ("ann", {**BOTH, "confirm": "13"}, 422, "The typed number is not the number of deactivations, 12."),
    ("ann", {**BOTH, "confirm": ""}, 422, "The typed number is not the number of deactivations, 12."),
    ("ann", {**BOTH, "reason": " "}, 422, "An approval needs a reason."),
    ("ann", {**BOTH, "guard.nothing": "on"}, 422, "'nothing' is not a guard."),
    ("ann", {**BOTH, "guard.fleet": "on"}, 409, "fleet: holds nothing in this plan."),
    ("ann", {**BOTH, "digest": "sha256:00000000"}, 409, "is not that of this run's plan"),
    ("rea", BOTH, 403, "rea has the role read; this needs operate."),
]


@pytest.mark.parametrize("refused", REFUSED, ids=lambda each: each[3][:24])
async def test_refused_form_says_why_and_queues_nothing(
    visitor: Visitor, daemon: PageDaemon, refused: tuple[str, dict[str, str], int, str]
) -> None:
    by, fields, status, words = refused
    await visitor.log_in(by)
    found, shown = await visitor.send(**fields)

    assert (found, words in shown) == (status, True), shown
    assert daemon.requests == []


async def test_changed_ticks_show_the_new_numbers_and_keep_the_reason(visitor: Visitor) -> None:
    _, shown = await visitor.send(**{"guard.approval-required": "on", "reason": "reviewed twice"})

    assert "create 1 account?" in shown.lower()
    assert "deactivate" not in shown.split("Leave it on hold")[0].split("Approve as first")[1]


async def test_guard_whose_changes_another_one_holds_too_releases_nothing(daemon: PageDaemon, visitor: Visitor) -> None:
    daemon.approval_policy = ApprovalPolicy()
    both = replace(a_guarded_leaver(1), guards=("group-shrink", "max-deactivations"))
    plan = replace(HELD, holds=(both,), guards=(a_guard(1), replace(a_guard(1), code="group-shrink")))
    run = replace(a_run("shared"), status=RunStatus.HELD, digest=plan_digest(plan), document=encode_plan(plan))
    await daemon.state.record_run(run)
    _, shown = await visitor.send("/runs/shared/approval", digest=plan_digest(plan), **{"guard.group-shrink": "on"})

    assert "This approval releases nothing yet: guards that are not ticked hold the same changes." in shown
    assert "Approve these guards" in shown


async def test_plan_of_a_dry_run_workspace_is_not_approved(visitor: Visitor, daemon: PageDaemon) -> None:
    daemon.mode = Mode.DRY_RUN
    shown = await visitor.read()
    status, words = await visitor.send(**BOTH)

    assert "This plan can't be approved now. The workspace is in mode dry-run." in shown
    assert await visitor.button() == ""
    assert (status, "The workspace is in mode dry-run" in words) == (409, True)
    assert daemon.requests == []


async def test_plan_of_which_a_run_made_a_part_is_planned_again_before_it_is_approved(
    visitor: Visitor, daemon: PageDaemon
) -> None:
    lease = await daemon.state.take_lease("latam", "one")
    await daemon.state.begin_run(replace(a_run("part"), status=RunStatus.RUNNING), lease)
    await daemon.state.record_plan(lease, "part", plan_digest(HELD), plan_parts(HELD))
    await daemon.state.record_intent(lease, "part", 0, a_change())
    await daemon.state.record_answer(lease, done(a_change(), run="part"))
    await daemon.state.end_run(lease, "part", RunOutcome(RunStatus.HELD, ""))
    await daemon.state.release_lease(lease)
    shown = await visitor.read("/runs/part")
    status, words = await visitor.send("/runs/part/approval", **BOTH)

    assert "The run made changes, so the next plan is another one. Start a dry run, and approve what is left." in shown
    assert "Dry run of latam" in shown
    assert (status, "The run made changes" in words, daemon.requests) == (409, True, [])


async def test_button_of_before_another_approval_is_shown_again(visitor: Visitor, daemon: PageDaemon) -> None:
    button = await visitor.button()
    await visitor.send(**BOTH)
    await visitor.log_in("bea")
    status, shown = await visitor.send(**BOTH, button=button)

    assert (status, "the button does something else now. Nothing was approved yet." in shown) == (200, True)
    assert len(daemon.requests) == 1
    assert (await visitor.send(**BOTH, button=await visitor.button()))[0] == 303


async def test_old_plan_is_not_approved(visitor: Visitor, daemon: PageDaemon) -> None:
    newer = replace(HELD, holds=HELD.holds[:3])
    run = replace(
        a_run("newer"),
        status=RunStatus.HELD,
        started_at=a_run("held").started_at + timedelta(minutes=5),
        digest=plan_digest(newer),
        document=encode_plan(newer),
    )
    await daemon.state.record_run(run)
    shown = await visitor.read()
    status, words = await visitor.send(**BOTH)

    assert "This plan is old and can't be approved: a newer plan differs." in shown
    assert (status, "This plan is old: a newer one differs." in words) == (409, True)
    assert daemon.requests == []


async def test_reader_sees_the_evidence_and_no_form(visitor: Visitor) -> None:
    await visitor.log_in("rea")
    shown = await visitor.read()

    assert "Pigment LatAm : 345 → 300" in shown
    assert "Only an operator (role operate ) can approve it; you have the role read" in shown
    assert await visitor.button() == ""


async def test_possible_rename_is_settled_by_two_buttons_and_no_approval(visitor: Visitor, daemon: PageDaemon) -> None:
    page = (await visitor.client.get("/runs/held")).text
    for button in ("Same person: link", "Two people: create"):
        assert button in page
    assert "guard.possible-rename" not in page
    path, person = "/runs/held/possible-rename", "okta-main:00u9"
    assert (await visitor.send(path, person=person, decision="link", reason="her new surname"))[0] == 303
    assert (await visitor.send(path, person=person, decision="create", reason="two people"))[0] == 303

    assert [(each.is_same, each.person.id, each.by, each.reason) for each in daemon.decisions] == [
        (True, "00u9", "ann", "her new surname"),
        (False, "00u9", "ann", "two people"),
    ]
    assert {each.shown_reason for each in daemon.decisions} == {RENAMED.reason}
    assert daemon.requests == []


@pytest.mark.parametrize(
    ("by", "fields", "status"),
    [
        ("ann", {"decision": "link", "reason": " "}, 422),
        ("ann", {"decision": "both"}, 422),
        ("ann", {"decision": "link", "person": "okta-main:00u1"}, 422),
        ("rea", {"decision": "link"}, 403),
    ],
)
async def test_refused_decision_links_nothing(
    visitor: Visitor, daemon: PageDaemon, by: str, fields: dict[str, str], status: int
) -> None:
    await visitor.log_in(by)
    found, _ = await visitor.send("/runs/held/possible-rename", **{"person": "okta-main:00u9", **fields})

    assert (found, daemon.decisions) == (status, [])
