"""What a daemon takes up of others: the rest of a tick, a request, and nothing that two daemons did not survive."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from agent.bootstrap import open_shared_resources
from agent.daemon.interface import ManualRunRequest
from agent.engine.records import new_run
from agent.engine.request import RunRequest
from agent.model.daemon import DaemonRecord
from agent.model.job import Job, JobRequest, PlannedSchedule, stopped_job_id, tick_id
from agent.model.run import RunOutcome, RunStatus, Trigger
from agent.ports.state import State
from agent.settings.load import load
from agent.settings.root import Settings
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.integration.test_daemon import at_home

LATAM, EMEA, HOURLY = "pigment-latam", "pigment-eu", "every 1h"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=21, size=15, limit=RateLimit(None)) as served:
        yield served


@pytest.fixture
def config(sandbox: Sandbox, tmp_path: Path) -> Path:
    written = sandbox.write_config(tmp_path)
    document = yaml.safe_load(written.read_text("utf-8"))
    names = document["workspaces"]
    document["workspaces"] = {name: {**names[name], "schedule": {"every": "1h"}} for name in (LATAM, EMEA)}
    written.write_text(yaml.safe_dump(document), "utf-8")
    return written


async def leave_tick(state: State, settings: Settings, claims: int) -> None:
    """Leave a tick that *claims* daemons took: latam's run has ended, and emea's is still open."""
    now = (await state.load_job_board()).now
    hourly = PlannedSchedule(
        name=HOURLY, workspaces=(LATAM, EMEA), first=now, next_due=lambda due, _: due + timedelta(hours=1)
    )
    await state.start_due_ticks([hourly])
    for _ in range(claims):
        lease = await state.take_lease(tick_id(HOURLY), "dead")
        job = await state.claim_job(lease, "dead")
        assert job is not None
        await state.update_job(lease, replace(job, run_ids={LATAM: "r1", EMEA: "r2"}))
        await state.release_lease(lease)
    for name, run_id in ((LATAM, "r1"), (EMEA, "r2")):
        policy = settings.workspaces[name].policy(name)
        mine = await state.take_lease(name, "dead")
        request = RunRequest(Trigger.SCHEDULE, run_ids={name: run_id})
        await state.begin_run(new_run(policy, request, now), mine)
        if name == LATAM:
            await state.end_run(mine, run_id, RunOutcome(RunStatus.DONE))
        await state.release_lease(mine)


async def board_of(state: State) -> tuple[Sequence[Job], Sequence[Job]]:
    board = await state.load_job_board()
    return board.jobs, board.stopped


async def test_rest_of_a_tick_is_taken_up_and_its_finished_workspaces_are_not(config: Path) -> None:
    settings = load(config, {})
    async with open_shared_resources(settings) as shared:
        await leave_tick(shared.state, settings, claims=1)
    with capture_logs() as lines:
        async with at_home(config) as harness:
            await harness.until(lambda: harness.ended)
            await harness.idle()
            assert [result.workspace for _, result in harness.ended] == [EMEA]
            assert (await harness.run("r2")).status is RunStatus.INTERRUPTED
            assert await board_of(harness.shared.state) == ((), ())

    (taken,) = [line for line in lines if line["event"] == "job.taken_over"]
    assert (taken["left"], taken["finished"]) == ([EMEA], [LATAM])


async def test_tick_that_two_daemons_did_not_survive_is_stopped_and_shown(config: Path) -> None:
    settings = load(config, {})
    async with open_shared_resources(settings) as shared:
        await leave_tick(shared.state, settings, claims=2)
    with capture_logs() as lines:
        async with at_home(config) as harness:
            await harness.until(lambda: harness.daemon.stopped_ticks)
            (shown,) = harness.daemon.stopped_ticks

    assert not harness.ended
    assert shown.id == stopped_job_id(HOURLY)
    assert "no other continues it" in shown.error
    assert [line["schedule"] for line in lines if line["event"] == "tick.stopped"] == [HOURLY]


async def test_request_of_a_dead_daemon_runs_under_a_new_id_only_if_it_had_begun(config: Path) -> None:
    settings = load(config, {})
    async with open_shared_resources(settings) as shared:
        await leave_tick(shared.state, settings, claims=2)
        for run_id, name in (("r2", EMEA), ("fresh", LATAM)):
            asked = Job(
                id=f"request:{run_id}", request=JobRequest(trigger=Trigger.API, by="ana"), run_ids={name: run_id}
            )
            await shared.state.add_request(asked, 10)
            lease = await shared.state.take_lease(asked.id, "dead")
            await shared.state.claim_job(lease, "dead")
            await shared.state.release_lease(lease)
    async with at_home(config) as harness:
        await harness.until(lambda: len(harness.ended) == 2)
        await harness.idle()
        runs = {result.workspace: result.run_id for _, result in harness.ended}

    assert runs[LATAM] == "fresh"
    assert runs[EMEA] != "r2"


async def test_undo_of_a_dead_daemon_is_not_continued(config: Path) -> None:
    settings = load(config, {})
    undo = Job(id="request:u1", request=JobRequest(trigger=Trigger.API, by="ana", undone="r1"), run_ids={LATAM: "u1"})
    async with open_shared_resources(settings) as shared:
        await leave_tick(shared.state, settings, claims=2)
        await shared.state.add_request(undo, 10)
        lease = await shared.state.take_lease(undo.id, "dead")
        await shared.state.claim_job(lease, "dead")
        await shared.state.release_lease(lease)
    async with at_home(config) as harness:
        await harness.until(lambda: harness.daemon.stopped_ticks)
        await harness.idle()
        run = await harness.run("u1")
    assert (run.status, run.trigger) == (RunStatus.INTERRUPTED, Trigger.UNDO)
    assert "plan the undo again" in run.error
    assert not harness.ended


@pytest.mark.parametrize("has_another", [False, True])
async def test_stop_leaves_a_request_to_another_daemon_if_there_is_one(config: Path, *, has_another: bool) -> None:
    async with at_home(config) as harness:
        await harness.until(lambda: len(harness.ended) == 2)
        await harness.idle()
        state = harness.shared.state
        harness.blocks = asyncio.Event()
        asked = await harness.daemon.request_run(ManualRunRequest(LATAM, False, Trigger.API, "ana"))
        await harness.until(lambda: any(run.run_id == asked for run in harness.daemon.running_here))
        if has_another:
            now = (await state.load_job_board()).now
            await state.record_daemon(DaemonRecord(id="other", host="host-b", pid=7, version="0.1.0", started_at=now))
            await harness.daemon.look_for_others()
        await harness.daemon.stop()
        jobs, _ = await board_of(state)
        run = await state.load_run(asked)

    if has_another:
        (left,) = jobs
        assert (left.claims, left.is_claimed, dict(left.run_ids), run) == (0, False, {LATAM: asked}, None)
    else:
        assert jobs == ()
        assert run is not None
        assert run.status is RunStatus.INTERRUPTED


async def test_row_that_can_not_be_read_is_logged_and_ends_no_schedule(config: Path, tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with at_home(config) as harness:
            with sqlite3.connect(tmp_path / "state.db") as database:
                database.execute("INSERT INTO jobs VALUES ('unreadable', '', '{}', 1, 0, '', '', NULL, '')")
            await harness.until(lambda: any(line["event"] == "jobs.crashed" for line in logs))
            with sqlite3.connect(tmp_path / "state.db") as database:
                database.execute("DELETE FROM jobs WHERE id = 'unreadable'")
            run_id = await harness.daemon.request_run(
                ManualRunRequest(LATAM, is_dry_run=True, by="ana@acme.com", reason="a look", trigger=Trigger.API)
            )
            await harness.idle()
            assert (await harness.run(run_id)).status is RunStatus.PLANNED
