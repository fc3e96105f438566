"""The daemon with real components and the sandbox over real HTTP: scheduled, requested, stopped and reloaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from structlog.testing import capture_logs

from agent.bootstrap import Components, SharedResources, SystemClock, build_components, open_shared_resources
from agent.daemon.daemon import Daemon
from agent.daemon.interface import ManualRunRequest, NotFound, TooManyRequests
from agent.daemon.reload import ConfigWatcher
from agent.daemon.runner import NEVER_STARTED, STOPPED
from agent.daemon.schedule import stale_after
from agent.daemon.tasks import MAX_ACTIVE_RUNS, MAX_QUERIES
from agent.engine.records import new_run
from agent.engine.request import RunRequest, RunResult
from agent.engine.shutdown import GracefulShutdown
from agent.errors import StateError
from agent.model.run import Pause, Run, RunStatus, Trigger
from agent.settings.load import load
from agent.settings.root import Settings
from connectors.base import Progress
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.migrated_state import new_sqlite_state

LATAM, WITHIN_SECONDS = "pigment-latam", 300


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=21, size=30, limit=RateLimit(None)) as served:
        yield served


@dataclass
class Harness:
    """A daemon with its resources. *ended* are the observed results, *blocks* keeps runs from starting.

    *blocked* counts those.
    """

    daemon: Daemon
    shared: SharedResources
    config: Path
    ended: list[tuple[Trigger, RunResult]] = field(default_factory=list)
    blocks: asyncio.Event | None = None
    blocked: int = 0

    async def until(self, holds: Callable[[], object]) -> None:
        for _ in range(WITHIN_SECONDS * 50):
            if holds():
                return
            await asyncio.sleep(0.02)
        raise TimeoutError(f"not within {WITHIN_SECONDS} s")

    async def idle(self) -> None:
        await self.until(lambda: not self.daemon.active_runs)

    async def run(self, run_id: str) -> Run:
        found = await self.shared.state.load_run(run_id)
        assert found is not None
        return found


def written(sandbox: Sandbox, folder: Path, **latam: object) -> Path:
    """Write a configuration of one workspace without a schedule, or with the settings *latam*, and a new state."""
    config = sandbox.write_config(folder)
    # A test may write a second configuration for the state that it has.
    if not (folder / "state.db").exists():
        new_sqlite_state(folder)
    document = yaml.safe_load(config.read_text("utf-8"))
    document["workspaces"] = {LATAM: {**document["workspaces"][LATAM], "schedule": None, **latam}}
    config.write_text(yaml.safe_dump(document), "utf-8")
    return config


@asynccontextmanager
async def at_home(config: Path) -> AsyncIterator[Harness]:
    settings = load(config, {})
    async with open_shared_resources(settings) as shared:
        harnesses: list[Harness] = []

        async def observe(results: Sequence[RunResult], trigger: Trigger, seconds: float) -> None:
            assert seconds >= 0
            harnesses[0].ended += [(trigger, result) for result in results]

        @asynccontextmanager
        async def create_components(
            now: Settings, progress: Progress, stopping: GracefulShutdown
        ) -> AsyncIterator[Components]:
            if harnesses[0].blocks is not None:
                harnesses[0].blocked += 1
                await harnesses[0].blocks.wait()
            async with build_components(now, progress, stopping, shared) as made:
                yield made

        daemon = Daemon(
            settings, shared.state, SystemClock(), create_components, observe, shared.rate_limiters.budget_left
        )
        harnesses.append(Harness(daemon, shared, config))
        await daemon.start()
        try:
            yield harnesses[0]
        finally:
            if harnesses[0].blocks is not None:
                harnesses[0].blocks.set()
            await daemon.stop()


@pytest.fixture
def home(sandbox: Sandbox, tmp_path: Path) -> AbstractAsyncContextManager[Harness]:
    return at_home(written(sandbox, tmp_path))


def run_request(*, is_dry_run: bool = False, approval: str | None = None, workspace: str = LATAM) -> ManualRunRequest:
    return ManualRunRequest(workspace, is_dry_run, Trigger.API, "ana", "to see", approved_digest=approval)


async def test_run_that_was_asked_for_has_the_id_that_was_promised(home: AbstractAsyncContextManager[Harness]) -> None:
    async with home as harness:
        run_id = await harness.daemon.request_run(run_request(is_dry_run=True))
        (ongoing,) = harness.daemon.active_runs
        await harness.idle()

        assert (ongoing.run_id, ongoing.workspace, ongoing.is_dry_run, ongoing.by) == (run_id, LATAM, True, "ana")
        run = await harness.run(run_id)
        assert (run.status, run.dry_run, run.trigger, run.by) == (RunStatus.PLANNED, True, Trigger.API, "ana")
        assert run.reason == "to see"


async def test_requested_sync_is_observed_and_in_the_journal(
    home: AbstractAsyncContextManager[Harness],
) -> None:
    async with home as harness:
        run_id = await harness.daemon.request_run(run_request())
        await harness.idle()
        standing = await harness.daemon.load_workspace_status(LATAM)

        assert [(trigger, result.run_id) for trigger, result in harness.ended] == [(Trigger.API, run_id)]
        assert standing.last_run is not None
        assert standing.last_run.id == run_id
        assert standing.last_read == standing.last_applied == standing.last_run
        await harness.daemon.request_run(run_request(is_dry_run=True))
        await harness.idle()
        after = await harness.daemon.load_workspace_status(LATAM)
        assert after.last_run == standing.last_run, "a look by hand does not clear what a sync held"
        assert after.last_read != standing.last_read
        assert (standing.schedule, standing.next_run) == ("", None)


async def test_progress_of_a_run_can_be_seen(home: AbstractAsyncContextManager[Harness]) -> None:
    async with home as harness:
        await harness.daemon.request_run(run_request(is_dry_run=True))
        await harness.until(
            lambda: any(run.step for run in harness.daemon.active_runs) or not harness.daemon.active_runs
        )

        assert harness.daemon.active_runs, "it ended without a word of progress"


async def test_approval_of_another_plan_is_refused_as_stale(home: AbstractAsyncContextManager[Harness]) -> None:
    async with home as harness:
        run_id = await harness.daemon.request_run(run_request(approval="sha256:" + "0" * 64))
        await harness.idle()

        run = await harness.run(run_id)
        assert run.status is RunStatus.STALE
        assert not harness.ended


async def test_unknown_workspace_is_refused_with_the_known_ones(home: AbstractAsyncContextManager[Harness]) -> None:
    async with home as harness:
        with pytest.raises(NotFound) as refused:
            await harness.daemon.request_run(run_request(workspace="nowhere"))
        with pytest.raises(NotFound):
            await harness.daemon.load_workspace_status("nowhere")

        assert LATAM in refused.value.hint


async def test_client_in_a_loop_is_refused(home: AbstractAsyncContextManager[Harness]) -> None:
    async with home as harness:
        harness.blocks = asyncio.Event()
        for _ in range(MAX_ACTIVE_RUNS):
            await harness.daemon.request_run(run_request(is_dry_run=True))

        with pytest.raises(TooManyRequests, match=str(MAX_ACTIVE_RUNS)):
            await harness.daemon.request_run(run_request())


async def test_questions_never_take_what_runs_need(sandbox: Sandbox, tmp_path: Path) -> None:
    config = written(sandbox, tmp_path)
    document = yaml.safe_load(config.read_text("utf-8"))
    # The sandbox's own configuration has no limit.
    document["pigment"]["requests_per_window"] = 400
    config.write_text(yaml.safe_dump(document), "utf-8")
    async with at_home(config) as harness:
        harness.blocks = asyncio.Event()
        queries = [asyncio.create_task(harness.daemon.explain_person("ana@acme.com")) for _ in range(MAX_QUERIES + 1)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests, match="5 queries"):
            await queries.pop()
        harness.blocks.set()
        assert len(await asyncio.gather(*queries)) == MAX_QUERIES

        window = harness.shared.rate_limiters.for_url(str(harness.daemon.settings.workspaces[LATAM].scim_url))
        before = harness.daemon.budget_left()
        assert before is not None
        # As if a run, or queries of another daemon, had used more than half of the window.
        asked_for = httpx.URL(harness.daemon.settings.workspaces[LATAM].scim_url)
        for _ in range(before - harness.daemon.settings.pigment.requests_per_window // 2 + 1):
            await window.acquire("GET", asked_for)
            window.on_response(asked_for, 200, httpx.Headers())
        with pytest.raises(TooManyRequests, match="reserved for runs"):
            await harness.daemon.explain_person("ana@acme.com")
        # A run uses the reserved requests.
        run_id = await harness.daemon.request_run(run_request(is_dry_run=True))
        await harness.idle()
        assert (await harness.run(run_id)).status is RunStatus.PLANNED


async def test_run_that_never_began_is_accounted_for(home: AbstractAsyncContextManager[Harness]) -> None:
    async with home as harness:
        harness.blocks = asyncio.Event()
        ids = [await harness.daemon.request_run(run_request(is_dry_run=True)) for _ in range(6)]
        await harness.until(lambda: harness.blocked)
        stopping = asyncio.create_task(harness.daemon.stop())
        await asyncio.sleep(0)
        harness.blocks.set()
        assert await stopping

        runs = [await harness.run(run_id) for run_id in ids]
        assert {run.status for run in runs} == {RunStatus.INTERRUPTED}
        assert {run.error for run in runs} == {NEVER_STARTED, STOPPED}


async def test_pause_by_the_desk_holds_off_writes_and_is_journalled(home: AbstractAsyncContextManager[Harness]) -> None:
    async with home as harness:
        await harness.daemon.pause(LATAM, "ana", "an audit")
        paused = await harness.daemon.load_workspace_status(LATAM)
        await harness.daemon.resume(LATAM, "bea", "it is over")
        resumed = await harness.daemon.load_workspace_status(LATAM)

        assert isinstance(paused.pause, Pause)
        assert (paused.pause.by, paused.pause.reason) == ("ana", "an audit")
        assert resumed.pause is None
        runs = await harness.shared.state.load_runs([LATAM])
        assert {(run.trigger, run.by) for run in runs} >= {(Trigger.PAUSE, "ana"), (Trigger.RESUME, "bea")}


async def test_missed_run_is_made_up_once_and_then_the_schedule_goes_on(sandbox: Sandbox, tmp_path: Path) -> None:
    config = written(sandbox, tmp_path, schedule={"every": "1h"})
    settings = load(config, {})
    long_ago = datetime.now(UTC) - timedelta(days=2)
    async with open_shared_resources(settings) as shared:
        run = new_run(settings.workspaces[LATAM].policy(LATAM), RunRequest(Trigger.SCHEDULE), long_ago)
        await shared.state.record_run(run)

    async with at_home(config) as harness:
        await harness.until(lambda: harness.ended)
        await harness.idle()
        standing = await harness.daemon.load_workspace_status(LATAM)

        assert [trigger for trigger, _ in harness.ended] == [Trigger.SCHEDULE]
        assert standing.schedule == "every 1h"
        assert standing.next_run is not None
        assert timedelta(minutes=59) < standing.next_run - datetime.now(UTC) < timedelta(minutes=61)
        assert standing.last_read is not None
        assert standing.last_read.finished_at is not None
        assert standing.stale_after == standing.last_read.finished_at + timedelta(hours=2)

    async with at_home(config) as again:
        due = (await again.daemon.load_workspace_status(LATAM)).next_run
        assert due is not None
        assert timedelta(minutes=58) < due - datetime.now(UTC) <= timedelta(hours=1)
        assert not again.ended


async def test_new_file_comes_into_force_and_a_broken_one_does_not(sandbox: Sandbox, tmp_path: Path) -> None:
    config = written(sandbox, tmp_path)
    async with at_home(config) as harness:
        applied: list[Settings] = []
        watcher = ConfigWatcher(config, {}, load(config, {}), harness.daemon, applied.append)
        await watcher.reload_if_changed()
        assert not applied

        written(sandbox, tmp_path, schedule={"cron": "0 6 * * *"}, mode="dry-run")
        await watcher.reload_if_changed()
        standing = await harness.daemon.load_workspace_status(LATAM)
        assert standing.schedule == "cron 0 6 * * * (UTC)"
        assert standing.next_run is not None
        started_at = (await harness.daemon.check_health()).started_at
        assert standing.last_read is None
        assert standing.stale_after == stale_after(harness.daemon.settings.workspaces[LATAM].schedule, started_at)
        assert len(applied) == 1

        config.write_text("workspaces: {", "utf-8")
        with capture_logs() as lines:
            await watcher.reload_if_changed()
        health = await harness.daemon.check_health()
        assert (await harness.daemon.load_workspace_status(LATAM)).schedule == "cron 0 6 * * * (UTC)"
        assert [line["event"] for line in lines if line["log_level"] == "error"] == ["config.refused"]
        assert any("is invalid" in problem for problem in health.problems)

        written(sandbox, tmp_path)
        config.write_text(config.read_text("utf-8") + "ca_bundle: not-there.pem\n", "utf-8")
        await watcher.reload_if_changed()
        assert any("ca_bundle names" in problem for problem in (await harness.daemon.check_health()).problems)
        assert (await harness.daemon.load_workspace_status(LATAM)).schedule == "cron 0 6 * * * (UTC)"

        written(sandbox, tmp_path)
        watcher.request_reload()
        await watcher.reload_if_changed()
        assert (await harness.daemon.check_health()).problems == ()
        assert (await harness.daemon.load_workspace_status(LATAM)).next_run is None


class Gone:
    """A state that is unavailable for every call."""

    def __getattr__(self, name: str) -> object:
        raise StateError("The state is gone.", "Bring it back.")


async def test_new_file_is_taken_as_a_whole_or_not_at_all_and_then_tried_again(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    config = written(sandbox, tmp_path, schedule={"cron": "0 6 * * *"})
    async with at_home(config) as harness:
        applied: list[Settings] = []
        watcher = ConfigWatcher(config, {}, load(config, {}), harness.daemon, applied.append)
        before = await harness.daemon.load_workspace_status(LATAM)
        loaded_at = (await harness.daemon.check_health()).config_loaded_at
        harness.daemon.state = Gone()  # type: ignore[assignment]
        written(sandbox, tmp_path, schedule={"cron": "0 7 * * *"}, mode="dry-run")
        with capture_logs() as lines:
            await watcher.reload_if_changed()
            await watcher.reload_if_changed()
        problems = (await harness.daemon.check_health()).problems
        harness.daemon.state = harness.shared.state

        assert await harness.daemon.load_workspace_status(LATAM) == before
        assert before.next_run is not None
        assert harness.daemon.settings.workspaces[LATAM].mode == "enforce"
        assert (await harness.daemon.check_health()).config_loaded_at == loaded_at
        assert not applied
        assert "tried again" in problems[0]
        assert (
            f"The one of {loaded_at:%Y-%m-%d %H:%M:%S} UTC stays active, with its schedules. The state" in problems[0]
        )
        assert [line["event"] for line in lines] == ["config.refused"], "each reason once, not every two seconds"

        # The file is not touched, and no SIGHUP is sent.
        await watcher.reload_if_changed()
        after = await harness.daemon.load_workspace_status(LATAM)
        assert (after.schedule, after.mode) == ("cron 0 7 * * * (UTC)", "dry-run")
        assert after.next_run is not None
        assert (await harness.daemon.check_health()).problems == ()
        assert len(applied) == 1


async def test_refused_file_is_loaded_again_once_its_references_are_fixed(sandbox: Sandbox, tmp_path: Path) -> None:
    config = written(sandbox, tmp_path)
    async with at_home(config) as harness:
        applied: list[Settings] = []
        watcher = ConfigWatcher(config, {}, load(config, {}), harness.daemon, applied.append)
        good = config.read_text("utf-8")
        config.unlink()
        await watcher.reload_if_changed()
        assert any("is invalid" in problem for problem in (await harness.daemon.check_health()).problems)
        config.write_text(good, "utf-8")
        await watcher.reload_if_changed()

        assert (await harness.daemon.check_health()).problems == ()
        assert len(applied) == 1


async def test_bug_in_a_run_ends_that_run_only(sandbox: Sandbox, tmp_path: Path) -> None:
    config = written(sandbox, tmp_path)
    settings = load(config, {})
    async with open_shared_resources(settings) as shared:

        @asynccontextmanager
        async def create_components(
            now: Settings, progress: Progress, stopping: GracefulShutdown
        ) -> AsyncIterator[Components]:
            if len(await shared.state.load_runs([LATAM])) == 0:
                raise ZeroDivisionError("a bug")
            async with build_components(now, progress, stopping, shared) as made:
                yield made

        async def observe(results: Sequence[RunResult], trigger: Trigger, seconds: float) -> None:
            assert results

        daemon = Daemon(
            settings, shared.state, SystemClock(), create_components, observe, shared.rate_limiters.budget_left
        )
        harness = Harness(daemon, shared, config)
        await daemon.start()
        with capture_logs() as lines:
            first = await daemon.request_run(run_request())
            await harness.idle()
        second = await daemon.request_run(run_request(is_dry_run=True))
        await harness.idle()
        await daemon.stop()

        assert (await harness.run(first)).status is RunStatus.INTERRUPTED
        assert "ZeroDivisionError" in (await harness.run(first)).error
        assert "run.crashed" in [line["event"] for line in lines]
        assert (await harness.run(second)).status is RunStatus.PLANNED


async def test_health_names_a_state_that_is_out_of_reach(home: AbstractAsyncContextManager[Harness]) -> None:
    async with home as harness:
        assert (await harness.daemon.check_health()).problems == ()

        harness.daemon.state = Gone()  # type: ignore[assignment]
        try:
            assert any("The state is gone." in problem for problem in (await harness.daemon.check_health()).problems)
        finally:
            harness.daemon.state = harness.shared.state
