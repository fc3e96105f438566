"""A job whose run the state ended by a passing failure stays for the next claim; any other end is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

import pytest

from agent.daemon.runner import ActiveConfig, JobClaim, RunComponents, Runner
from agent.engine.lease import HeldLease
from agent.engine.request import RunRequest, RunResult
from agent.engine.shutdown import GracefulShutdown
from agent.engine.sync import Sync
from agent.errors import ExitCode, LeaseLost, StateError, UsageError
from agent.model import Mode, Unplanned
from agent.model.run import Run, RunStatus, Trigger
from agent.settings.root import Settings
from connectors.base import Progress
from tests.memory_state import MemoryState
from tests.state_samples import a_run

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AWAY = StateError("It restarts.", "Wait.", is_transient=True)
DOCUMENT = {
    "connectors": {"okta": {"type": "okta", "org_url": "https://acme.okta.com", "api_token": "token"}},
    "workspaces": {
        name: {
            "scim_url": f"https://{name}.example.com/scim/v2",
            "tokens": ["token-of-pigment"],
            "sources": [{"connector": "okta", "app": "0oa1"}],
            "mode": "enforce",
        }
        for name in ("latam", "emea")
    },
}


FAILED = Unplanned(
    workspace="latam", mode=Mode.ENFORCE, status="incomplete", code="incomplete-read", message="No.", remedy="Wait."
)


class StoppedClock:
    def now(self) -> datetime:
        return NOW

    def elapsed(self) -> float:
        return 0.0


@dataclass
class Failing:
    """Components whose runs raise *error*."""

    error: Exception
    shutdown: GracefulShutdown

    @property
    def sync(self) -> Sync:
        return cast("Sync", self)

    def undo_sync(self, _run_id: str) -> Sync:
        return cast("Sync", self)

    async def run(self, _names: Sequence[str], _request: RunRequest) -> list[RunResult]:
        raise self.error


async def a_runner(build: Callable[[GracefulShutdown], object], *, is_last: bool = False) -> tuple[Runner, JobClaim]:
    """Return a runner of the components that *build* returns, and a claim on a job for it."""

    @asynccontextmanager
    async def components(
        _settings: Settings, _progress: Progress, shutdown: GracefulShutdown
    ) -> AsyncIterator[RunComponents]:
        yield cast("RunComponents", build(shutdown))

    async def observe(_results: Sequence[RunResult], _trigger: Trigger, _seconds: float) -> None:
        """Count nothing."""

    clock = StoppedClock()
    state = MemoryState(clock.now)
    runner = Runner(ActiveConfig(Settings.model_validate(DOCUMENT), NOW), state, clock, components, observe)
    lease = await state.take_lease("request:r9", "one")
    return runner, JobClaim(HeldLease(lease, state, clock, asyncio.sleep, 13), is_last=is_last)


async def ended(error: Exception, undone: Run | None = None) -> tuple[bool, RunStatus | None]:
    """Return whether a run that raises *error* leaves its job unfinished, and how the journal has it."""
    runner, claim = await a_runner(lambda shutdown: Failing(error, shutdown))
    request = RunRequest(Trigger.API, run_ids={"latam": "r9"})
    _, task = runner.start(["latam"], request, is_dry_run=False, undone=undone, claim=claim)
    await task
    run = await runner.state.load_run("r9")
    return claim.is_unfinished, None if run is None else run.status


@pytest.mark.parametrize("error", [AWAY, LeaseLost("Another has it.", "Wait.")])
async def test_run_that_the_state_kept_from_its_end_is_left_to_the_next_claim(error: Exception) -> None:
    assert await ended(error) == (True, None)


@pytest.mark.parametrize("error", [StateError("Its disk is full.", "Free."), UsageError("No.", "Ask."), ValueError()])
async def test_run_that_would_end_the_same_way_again_is_recorded(error: Exception) -> None:
    assert await ended(error) == (False, RunStatus.INTERRUPTED)


async def test_undo_is_recorded_because_no_other_run_knows_the_pause_that_it_found() -> None:
    assert await ended(AWAY, a_run()) == (False, RunStatus.INTERRUPTED)


@dataclass
class Ending:
    """Components whose runs end with *results*. *notified* are the workspaces that notices were sent about."""

    results: list[RunResult]
    shutdown: GracefulShutdown
    notified: list[str]

    @property
    def sync(self) -> Sync:
        return cast("Sync", self)

    async def run(self, _names: Sequence[str], _request: RunRequest) -> list[RunResult]:
        return self.results

    async def notify(self, results: Sequence[RunResult]) -> None:
        self.notified += [each.workspace for each in results]


@pytest.mark.parametrize(("is_last", "notified"), [(False, ["emea"]), (True, ["latam", "emea"])])
async def test_notice_of_a_run_that_the_next_claim_goes_on_with_waits_for_its_end(
    is_last: bool, notified: list[str]
) -> None:
    lost = RunResult("latam", "r9", RunStatus.INTERRUPTED, ExitCode.UNEXPECTED, FAILED, "", is_unfinished=True)
    done = replace(lost, workspace="emea", is_unfinished=False)
    sent: list[str] = []
    runner, claim = await a_runner(lambda shutdown: Ending([lost, done], shutdown, sent), is_last=is_last)
    _, task = runner.start(["latam", "emea"], RunRequest(Trigger.SCHEDULE), is_dry_run=False, claim=claim)
    await task
    assert sent == notified
    assert claim.is_unfinished
