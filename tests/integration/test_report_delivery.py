"""Scheduled reports over the sandbox, a mail server, a webhook, an object store and a folder: each arrives once."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from openpyxl import load_workbook
from structlog.testing import capture_logs

from agent.delivery.due import MAX_ATTEMPTS
from agent.errors import WorkspaceBusy
from agent.model.report import DeliveryStatus, MadeReport, ReportStatus
from agent.model.run import RunOutcome, RunStatus
from agent.ports.reports import report_lease_key
from agent.sheet_parser import parse_sheet
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.notice_receivers import mail_server, webhook
from tests.object_store import object_store
from tests.report_world import START, ReportWorld, report_world
from tests.state_samples import a_change, a_run, done

LATAM, GROUP = "pigment-latam", "Pigment LatAm"
DAILY = {"cron": "0 7 * * *", "timezone": "Europe/Berlin"}
"""07:00 in Berlin is 06:00 UTC in winter, and 05:00 UTC from 29 March 2026."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=23, size=20, limit=RateLimit(None)) as served:
        yield served


def report(name: str, *to: str, **others: object) -> dict[str, object]:
    return {"name": name, "what": "plan", "workspaces": [LATAM], "schedule": DAILY, "to": list(to), **others}


async def newest(world: ReportWorld, name: str = "daily") -> MadeReport:
    return (await world.state.load_reports(name))[0]


def plan_entries(document: dict[str, object]) -> set[tuple[str, ...]]:
    """Return the changes and holds of a plan, found without the code that compares reports."""
    found: set[tuple[str, ...]] = set()
    plan = document["plan"]
    assert isinstance(plan, dict)
    for workspace in plan["workspaces"]:
        for change in workspace["changes"]:
            found.add((workspace["name"], f"{change['kind']} {change['email']}"))
        for hold in workspace["holds"]:
            wanted = hold.get("wanted", hold["email"])
            moves = f" → {wanted}" if wanted != hold["email"] else ""
            found.add((workspace["name"], f"on hold: {hold['kind']} {hold['email']}{moves} ({hold['code']})"))
    return found


async def test_three_weeks_with_an_outage_deliver_every_report_once(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    with (
        run_sandbox(seed=24, size=20, limit=RateLimit(None)) as sandbox,
        mail_server() as mailbox,
        webhook() as hook,
        object_store("reports") as store,
    ):
        targets = [mailbox.url.reveal(), hook.url.reveal(), folder.as_uri(), store.url("reports", "pigment")]
        async with report_world(sandbox, tmp_path, report("daily", *targets, formats=["json", "html"])) as world:
            expected: list[datetime] = []
            for day in range(21):
                morning = START + timedelta(days=day)
                if day % 2:
                    sandbox.company.hire("okta", f"Newcomer{day}", "Tester", [GROUP])
                if day == 4:
                    # A target that is down for three hours: the report waits for it.
                    await world.tick(morning + timedelta(hours=5, minutes=30))
                    hook.status = 500
                    await world.tick(morning + timedelta(hours=8, minutes=30))
                    hook.status = 200
                if 8 <= day < 11:
                    # Nothing runs for three days.
                    world.clock.moment = morning + timedelta(days=1)
                    continue
                # On the other days a tick each two hours shows the same.
                step = timedelta(minutes=30) if day in (4, 7, 11) else timedelta(hours=2)
                await world.tick(morning + timedelta(days=1), step)
                expected.append(morning + timedelta(hours=6))
            # The first tick after the outage, at 00:30 of day 11, makes the newest missed report: that of day 10.
            expected = sorted([*expected, START + timedelta(days=10, hours=6)])
            reports = sorted(await world.state.load_reports("daily", 100), key=lambda each: each.scheduled_at)

    assert [each.scheduled_at for each in reports] == expected
    assert {one.status for each in reports for one in each.deliveries} == {DeliveryStatus.DELIVERED}
    assert [each.missed for each in reports if each.missed] == [
        (START + timedelta(days=8, hours=6), START + timedelta(days=9, hours=6))
    ]
    names = sorted(f"{each.id}.{suffix}" for each in reports for suffix in ("json", "html"))
    assert sorted(path.name for path in folder.iterdir()) == names
    assert "daily-20260302T060000Z.html" in names
    assert len(mailbox.mails) == len(hook.received) == len(reports) == 19
    assert world.readings == 19
    assert world.notices != [], "the report that was late by two hours is noticed"
    assert {name for name, _, _ in world.notices} == {"daily"}
    assert {key for _, key, _ in world.notices} == {"daily-20260306T060000Z"}
    documents = [json.loads((folder / f"{each.id}.json").read_text("utf-8")) for each in reports]
    assert documents[0]["news"]["since"] is None
    for before, now, earlier in zip(documents, documents[1:], reports, strict=False):
        old, new = plan_entries(before), plan_entries(now)
        assert now["news"]["since"] == earlier.scheduled_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert {(each["workspace"], each["text"]) for each in now["news"]["new"]} == new - old
        assert {(each["workspace"], each["text"]) for each in now["news"]["gone"]} == old - new
    assert sum(len(each["news"]["new"]) for each in documents) >= 9
    content = mailbox.mails[0].content
    assert isinstance(content, bytes)
    mail = message_from_bytes(content, policy=default)
    attached = {part.get_filename(): part.get_payload(decode=True) for part in mail.iter_attachments()}
    first = reports[0].id
    assert attached == {f"{first}.{each}": (folder / f"{first}.{each}").read_bytes() for each in ("json", "html")}
    assert str(mail["Subject"]).startswith("pigment-sync report daily: ")


async def test_mail_that_is_too_large_is_refused_once_with_what_to_do(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    with mail_server(max_bytes=5_000) as mailbox:
        target = mailbox.url.reveal()
        to = (target, (tmp_path / "reports").as_uri())
        async with report_world(sandbox, tmp_path, report("daily", *to)) as world:
            await world.tick(START + timedelta(days=1, hours=3))
            found = await newest(world)

    assert mailbox.mails == []
    refused, delivered = found.deliveries
    assert (refused.status, refused.attempts) == (DeliveryStatus.REFUSED, 1)
    assert refused.target.startswith("1: mailto://127.0.0.1")
    assert "because of its size (1 file, " in refused.error
    assert "Drop a format" in refused.error
    assert "folder" in refused.error
    assert delivered.status is DeliveryStatus.DELIVERED
    assert [(name, key) for name, key, _ in world.notices] == [("daily", found.id)] * len(world.notices)
    assert refused.error in world.notices[0][2].body


async def test_webhook_that_refuses_the_size_is_not_tried_again(sandbox: Sandbox, tmp_path: Path) -> None:
    with webhook() as hook:
        hook.status = 413
        async with report_world(sandbox, tmp_path, report("daily", hook.url.reveal())) as world:
            await world.tick(START + timedelta(hours=12))
            (delivery,) = (await newest(world)).deliveries

    assert (delivery.status, delivery.attempts) == (DeliveryStatus.REFUSED, 1)


async def test_target_out_of_reach_is_tried_for_two_days_and_no_longer(sandbox: Sandbox, tmp_path: Path) -> None:
    target = "json://127.0.0.1:1/token-of-the-hook"
    weekly = {**report("weekly", target), "schedule": {"cron": "0 7 * * mon"}}
    async with report_world(sandbox, tmp_path, weekly) as world:
        with capture_logs() as lines:
            await world.tick(START + timedelta(days=6))
        found = await newest(world, "weekly")

    (delivery,) = found.deliveries
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.GIVEN_UP, MAX_ATTEMPTS)
    assert "can't be reached" in delivery.error
    assert found.files == {}
    assert "token-of-the-hook" not in f"{lines} {found} {world.notices}"
    assert len([line for line in lines if line["event"] == "report.not_delivered"]) == MAX_ATTEMPTS


async def test_folder_that_comes_back_gets_the_report_that_waited(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    async with report_world(sandbox, tmp_path, report("daily", folder.as_uri())) as world:
        await world.tick(START + timedelta(hours=8))
        (waiting,) = (await newest(world)).deliveries
        folder.mkdir()
        await world.tick(START + timedelta(hours=12))
        found = await newest(world)

    assert "does not exist. Create it, or mount it." in waiting.error
    assert [each.status for each in found.deliveries] == [DeliveryStatus.DELIVERED]
    assert [path.name for path in folder.iterdir()] == [f"{found.id}.html"]
    assert world.readings == 1


async def test_newer_report_takes_the_place_of_one_that_never_arrived(sandbox: Sandbox, tmp_path: Path) -> None:
    with webhook() as hook:
        hook.status = 500
        async with report_world(sandbox, tmp_path, report("daily", hook.url.reveal(), formats=["json"])) as world:
            await world.tick(START + timedelta(days=2, hours=5))
            hook.status = 200
            await world.tick(START + timedelta(days=2, hours=12))
            reports = await world.state.load_reports("daily")

    assert len(hook.received) == 1
    assert [each.deliveries[0].status for each in reports] == [
        DeliveryStatus.DELIVERED,
        DeliveryStatus.SUPERSEDED,
        DeliveryStatus.SUPERSEDED,
    ]
    assert reports[0].missed == (START + timedelta(hours=6), START + timedelta(days=1, hours=6))


async def test_report_of_a_workspace_that_cannot_be_read_has_that_on_top(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    formats = ["text", "markdown", "html", "json", "csv"]
    both = {**report("daily", folder.as_uri(), formats=formats), "workspaces": [LATAM, "pigment-eu"]}
    async with report_world(sandbox, tmp_path, both, tokens=["not-the-token"]) as world:
        await world.tick(START + timedelta(hours=8))
        found = await newest(world)
        files = {path.suffix: path.read_text("utf-8") for path in folder.iterdir()}

    assert found.status is ReportStatus.MADE
    assert f"{LATAM} could not be read" in found.title
    assert files[".txt"].startswith(f"! {LATAM} could not be read.")
    assert files[".md"].startswith(f"> **{LATAM} could not be read.**")
    assert files[".html"].index("could not be read.") < files[".html"].index("What is new")
    assert files[".html"].index("What is new") < files[".html"].index("What a sync would do</h1>")
    document = json.loads(files[".json"])
    assert [each["workspace"] for each in document["news"]["unread"]] == [LATAM]
    statuses = {each["name"]: each["status"] for each in document["plan"]["workspaces"]}
    assert statuses == {LATAM: "credentials", "pigment-eu": "planned"}


async def test_unchanged_report_is_delivered_only_if_asked_for(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    with run_sandbox(seed=25, size=20, limit=RateLimit(None)) as own:
        async with report_world(own, tmp_path, report("daily", folder.as_uri(), when="changed")) as world:
            await world.tick(START + timedelta(days=3))
            quiet = len(list(folder.iterdir()))
            own.company.hire("okta", "Nadia", "Novak", [GROUP])
            await world.tick(START + timedelta(days=4))
            reports = await world.state.load_reports("daily")
            sent = await world.service.send_now(world.settings.reports[0], "ana")

    assert quiet == 1
    assert [each.status for each in reports] == [
        ReportStatus.MADE,
        ReportStatus.UNCHANGED,
        ReportStatus.UNCHANGED,
        ReportStatus.MADE,
    ]
    assert "1 new" in reports[0].title
    assert (sent.status, sent.by, sent.delivered_at) == (ReportStatus.MADE, "ana", world.clock.moment)
    assert len(list(folder.iterdir())) == 3


async def test_two_processes_deliver_one_report_once(sandbox: Sandbox, tmp_path: Path) -> None:
    with webhook() as hook:
        async with report_world(sandbox, tmp_path, report("daily", hook.url.reveal())) as world:
            other = replace(world.service, holder="two")
            await world.tick(START + timedelta(hours=5, minutes=30))
            world.clock.moment = START + timedelta(hours=6)
            await asyncio.gather(*(each.run_due(world.settings.reports) for each in (world.service, other) * 3))
            lease = await world.state.take_lease(report_lease_key("daily"), "two")

            async def sleep_while_the_other_renews(seconds: float) -> None:
                await world.clock.sleep(seconds)
                await world.state.renew_lease(lease)

            waiting = replace(world.service, sleep=sleep_while_the_other_renews)
            with pytest.raises(WorkspaceBusy):
                await waiting.send_now(world.settings.reports[0], "ana")
            await world.state.release_lease(lease)

    assert len(hook.received) == 1
    assert world.readings == 1


@pytest.mark.parametrize("died", ["while it read", "before it sent", "after it sent"])
async def test_process_that_dies_leaves_the_same_report_to_the_next(
    sandbox: Sandbox, tmp_path: Path, died: str
) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    with webhook() as hook:
        to = (hook.url.reveal(), folder.as_uri())
        async with report_world(sandbox, tmp_path, report("daily", *to)) as world:
            await world.tick(START + timedelta(hours=5, minutes=30))
            world.clock.moment = START + timedelta(hours=6)
            key = "daily-20260302T060000Z"
            lease = await world.state.take_lease(report_lease_key("daily"), "dead")
            if died == "while it read":
                begun = MadeReport(id=key, name="daily", scheduled_at=world.clock.moment, attempts=1)
                await world.state.record_report(lease, begun)
                await world.state.release_lease(lease)
            else:
                await world.state.release_lease(lease)
                await world.service.run_due(world.settings.reports)
                made = await newest(world)
                lease = await world.state.take_lease(report_lease_key("daily"), "dead")
                files = {path.name: path.read_bytes() for path in folder.iterdir()}
                unsent = tuple(
                    replace(each, status=DeliveryStatus.PENDING, delivered_at=None) for each in made.deliveries
                )
                facts = (await world.state.load_report(key)) or made
                await world.state.record_report(lease, replace(facts, deliveries=unsent, files=files))
                await world.state.release_lease(lease)
                if died == "before it sent":
                    (folder / f"{key}.html").unlink()
                    hook.received.clear()
            await world.tick(START + timedelta(hours=8))
            found = await newest(world)

    assert found.id == key
    assert [each.status for each in found.deliveries] == [DeliveryStatus.DELIVERED] * 2
    assert [path.name for path in folder.iterdir()] == [f"{key}.html"]
    assert {str(each["attachments"]).count(f"{key}.html") for each in hook.received} == {1}
    assert len(hook.received) == (2 if died == "after it sent" else 1)


async def test_access_and_activity_have_their_differences(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    formats = ["json", "html", "text", "markdown", "csv"]
    reports = [{**report(name, folder.as_uri(), formats=formats), "what": name} for name in ("access", "activity")]
    reports[0]["formats"] = [*formats, "xlsx"]
    with run_sandbox(seed=26, size=20, limit=RateLimit(None)) as own:
        async with report_world(own, tmp_path, *reports) as world:
            await world.tick(START + timedelta(days=1))
            lease = await world.state.take_lease(LATAM, "run")
            run = replace(a_run("r1", LATAM, world.clock.moment), by="ana")
            await world.state.begin_run(run, lease)
            record = done(a_change(), 0, at=world.clock.moment)
            await world.state.record_intent(lease, "r1", 0, record.change)
            await world.state.record_answer(lease, record)
            await world.state.end_run(lease, "r1", RunOutcome(status=RunStatus.DONE))
            await world.state.release_lease(lease)
            leaver = next(each for each in own.workspace(LATAM).members if each.active and "acme" in each.user_name)
            own.workspace(LATAM).admin_deactivate(leaver.user_name)
            await world.tick(START + timedelta(days=2))
            documents = {
                name: json.loads((folder / f"{name}-20260303T060000Z.json").read_text("utf-8"))
                for name in ("access", "activity")
            }
            page = (folder / "activity-20260303T060000Z.html").read_text("utf-8")
            sheet = (folder / "access-20260303T060000Z.xlsx").read_bytes()

    access, activity = documents["access"], documents["activity"]
    assert [each["text"] for each in access["news"]["gone"]] == [leaver.user_name]
    assert access["news"]["new"] == []
    assert leaver.user_name not in [each["email"] for each in access["access"]]
    rows, problems = parse_sheet(sheet, "access.xlsx")
    assert ([row.email for row in rows], problems) == ([each["email"] for each in access["access"]], [])
    about = [cell.value for row in load_workbook(io.BytesIO(sheet))["About"].iter_rows() for cell in row]
    assert "report access" in about
    assert f"Workspace {LATAM}" in about
    assert [each["text"] for each in activity["news"]["new"]] == ["deactivate ann@acme.com: done"]
    assert activity["activity"]["since"] == "2026-03-02T06:00:00Z"
    assert [each["id"] for each in activity["activity"]["runs"]] == ["r1"]
    assert "ann@acme.com" in page
