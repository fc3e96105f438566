"""A plan that becomes too old while its changes are sent is made again; approvals cover only the approved changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import httpx

from agent.engine.dryrun import dry_run
from agent.engine.planner import Planner, ReadOnlyWorkspace
from agent.engine.request import FleetLimit, RunRequest, RunResult, WorkspaceContext
from agent.engine.sync import Sync
from agent.errors import ExitCode
from agent.guard.replan import plan_contents
from agent.model import Kind, Mode, Policy
from agent.model.run import Outcome, RunStatus, Trigger
from agent.plan_parser import describe_difference
from agent.scim.client import ScimClient
from connectors.base import Person, Source, Status, discard_progress
from connectors.http import Timer
from tests.factories import some_limits
from tests.memory_state import MemoryState
from tests.recorded_threads import record_threads
from tests.stepped_world import BASE, SteppedConnector, SteppedWorld

SOURCE = Source("okta", "app-okta")
WRITE_SECONDS, MAX_AGE_SECONDS = 4.0, 10.0
# The third change begins 8 s after the reads, the fourth would 12 s after them.
IN_ONE_PLAN = 3
POLICY = Policy(
    "latam",
    (SOURCE,),
    mode=Mode.ENFORCE,
    limits=some_limits(max_deactivations=3, max_deactivations_percent=100),
)


class SlowPigment(httpx.AsyncBaseTransport):
    """Each write takes 4 s; *after* is called with how many there were."""

    def __init__(self, world: SteppedWorld, after: Callable[[int], None]) -> None:
        self.pigment = world.transport()
        self.clock = world
        self.after = after
        self.writes = 0
        self.listings = 0
        self.refuses = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            self.listings += "filter" not in request.url.params and request.url.path.endswith("/Users")
            return await self.pigment.handle_async_request(request)
        if self.refuses:
            response = httpx.Response(400, content=b"{}", request=request)
        else:
            response = await self.pigment.handle_async_request(request)
        self.clock.pass_minutes(WRITE_SECONDS / 60)
        self.writes += 1
        self.after(self.writes)
        return response


@dataclass
class Harness:
    """A workspace in sync with its people, until a test changes them."""

    world: SteppedWorld = field(default_factory=SteppedWorld)
    policy: Policy = POLICY
    later: dict[int, Callable[[], None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = MemoryState(self.world.now)
        self.pigment = SlowPigment(self.world, lambda writes: self.later.get(writes, lambda: None)())

    def hire(self, *names: str) -> None:
        for name in names:
            person = Person("okta", name, f"{name}@acme.com", f"Person {name}", groups=("planners",))
            self.world.people["okta", name] = person

    def turn(self, name: str, status: Status) -> None:
        self.world.people["okta", name] = replace(self.world.people["okta", name], status=status)

    def parts(self) -> tuple[Sync, dict[str, ReadOnlyWorkspace]]:
        async def for_ever(_seconds: float) -> None:
            await asyncio.Event().wait()

        async def at_once(_seconds: float) -> None:
            await asyncio.sleep(0)

        http = httpx.AsyncClient(transport=self.pigment)
        client = ScimClient("latam", BASE, [lambda: self.world.token], http, timer=Timer(sleep=at_once))
        survey = Planner(
            {"okta": SteppedConnector(self.world, "okta")},
            self.state,
            self.world,
            FleetLimit(("latam",), 10),
            discard_progress,
        )
        sync = Sync(
            survey,
            {"latam": WorkspaceContext(self.policy, client)},
            "one",
            for_ever,
            describe_difference,
            max_plan_age_seconds=MAX_AGE_SECONDS,
        )
        return sync, {"latam": ReadOnlyWorkspace(self.policy, client)}

    async def sync(self, trigger: Trigger = Trigger.SYNC, *, approve: bool = False) -> RunResult:
        sync, sites = self.parts()
        digests: frozenset[str] = frozenset()
        if approve:
            (planned,) = await dry_run(sync.planner, sites, [], RunRequest(Trigger.PLAN))
            digests = frozenset({planned.digest})
        self.pigment.writes = self.pigment.listings = 0
        (result,) = await sync.run([], RunRequest(trigger, by="ops", reason="why", approved_digests=digests))
        return result

    async def in_step(self, *names: str) -> None:
        later, self.later = self.later, {}
        self.hire(*names)
        assert (await self.sync()).exit_code is ExitCode.DONE
        self.later = later
        self.world.pass_minutes(61)

    def active(self) -> set[str]:
        return {member.user_name.partition("@")[0] for member in self.world.space.members if member.active}


def outcomes(result: RunResult) -> dict[str, str]:
    return {record.change.email.partition("@")[0]: record.outcome for record in result.records}


async def test_young_plan_is_followed_to_its_end_with_one_read() -> None:
    harness = Harness()
    harness.hire("ann", "bea", "cat")

    with record_threads(plan_contents) as threads:
        result = await harness.sync()

    assert (result.exit_code, harness.active(), harness.pigment.listings) == (ExitCode.DONE, {"ann", "bea", "cat"}, 1)
    assert threads == {}


async def test_old_plan_is_made_again_with_what_has_changed_since() -> None:
    """A person who was to be created is suspended, and another one joins, while the first three are created."""
    harness = Harness()
    harness.hire("ann", "bea", "cat", "dan", "eve")

    def meanwhile() -> None:
        harness.turn("eve", Status.SUSPENDED)
        harness.hire("zoe")

    harness.later = {2: meanwhile}
    result = await harness.sync()

    assert result.exit_code is ExitCode.DONE
    assert harness.active() == {"ann", "bea", "cat", "dan", "zoe"}
    assert outcomes(result) == dict.fromkeys(["ann", "bea", "cat", "dan", "zoe"], Outcome.DONE)
    assert harness.pigment.listings == 2
    assert [record.seq for record in result.records] == sorted({record.seq for record in result.records})
    assert await harness.state.load_changes(result.run_id) == list(result.records)


async def test_contents_of_a_plan_are_collected_in_another_thread_once_it_is_too_old() -> None:
    harness = Harness()
    harness.hire("ann", "bea", "cat", "dan")

    with record_threads(plan_contents) as threads:
        result = await harness.sync()

    assert (result.exit_code, harness.pigment.listings) == (ExitCode.DONE, 2)
    assert threads == {"plan_contents": {False}}


async def test_long_plan_is_made_again_as_often_as_it_takes() -> None:
    harness = Harness()
    names = [f"p{number}" for number in range(4 * IN_ONE_PLAN)]
    harness.hire(*names)

    result = await harness.sync()

    assert (result.exit_code, harness.active()) == (ExitCode.DONE, set(names))
    assert harness.pigment.writes == len(names)
    assert harness.pigment.listings == 4


async def test_approval_releases_in_the_new_plan_only_what_it_released_before() -> None:
    """One of the approved leavers comes back, and one more person leaves, which no one has approved."""
    harness = Harness()
    await harness.in_step("ann", "bea", "cat", "dan", "eve", "fay")
    for name in ("ann", "bea", "cat", "dan", "eve"):
        harness.turn(name, Status.SUSPENDED)

    def meanwhile() -> None:
        harness.turn("eve", Status.ACTIVE)
        harness.turn("fay", Status.SUSPENDED)

    harness.later = {2: meanwhile}
    result = await harness.sync(approve=True)

    assert harness.active() == {"eve", "fay"}
    assert outcomes(result) == dict.fromkeys(["ann", "bea", "cat", "dan"], Outcome.DONE)
    assert result.exit_code is ExitCode.HELD
    run = await harness.state.load_run(result.run_id)
    assert run is not None
    assert (run.digest, run.approved_digest) == (result.digest, result.digest)


async def test_approved_change_that_became_another_is_held_and_the_report_has_it() -> None:
    harness = Harness()
    await harness.in_step("ann", "bea", "cat", "dan", "eve")
    for name in ("ann", "bea", "cat", "dan"):
        harness.turn(name, Status.SUSPENDED)
    harness.later = {2: lambda: harness.world.space.admin_rename("dan@acme.com", "Another Name")}

    result = await harness.sync(approve=True)

    assert harness.active() == {"dan", "eve"}
    last = result.records[-1]
    assert (last.change.email, last.outcome) == ("dan@acme.com", Outcome.HELD)
    assert "planned again" in last.detail
    assert result.exit_code is ExitCode.HELD


async def test_what_is_applied_already_counts_against_the_limits_of_the_new_plan() -> None:
    """Three deactivations are allowed, and made: the leaver who comes up meanwhile is one too many."""
    harness = Harness()
    await harness.in_step("ann", "bea", "cat", "dan", "eve", "fay", "gus")
    for name in ("ann", "bea", "cat"):
        harness.turn(name, Status.SUSPENDED)
    harness.hire("new1", "new2")
    harness.later = {2: lambda: harness.turn("dan", Status.SUSPENDED)}

    result = await harness.sync()

    assert harness.active() == {"dan", "eve", "fay", "gus", "new1", "new2"}
    assert result.exit_code is ExitCode.HELD


async def test_rest_is_not_tried_when_the_workspace_can_not_be_planned_again() -> None:
    harness = Harness()
    harness.hire("ann", "bea", "cat", "dan")
    harness.later = {2: lambda: harness.world.failing.add("okta")}

    result = await harness.sync()

    assert (result.exit_code, result.status) == (ExitCode.FAILED, RunStatus.FAILED)
    assert outcomes(result) == dict.fromkeys(["ann", "bea", "cat"], Outcome.DONE) | {"dan": Outcome.NOT_TRIED}
    assert "too old" in result.records[-1].detail
    assert "broke off" in result.records[-1].detail


async def test_workspace_that_refuses_everything_is_not_read_for_ever() -> None:
    harness = Harness()
    harness.hire(*(f"p{number}" for number in range(10)))
    harness.pigment.refuses = True

    result = await harness.sync()

    assert result.exit_code is ExitCode.FAILED
    assert harness.pigment.listings == 1
    assert set(outcomes(result).values()) == {Outcome.FAILED, Outcome.NOT_TRIED}


async def test_reads_of_one_run_count_once_towards_grace() -> None:
    harness = Harness()
    harness.policy = replace(harness.policy, grace_reads=2)
    await harness.in_step("ann")
    del harness.world.people["okta", "ann"]
    harness.hire("bea", "cat", "dan", "eve")

    first = await harness.sync()
    still_there = "ann" in harness.active()
    second = await harness.sync()

    assert (first.exit_code, still_there) == (ExitCode.DONE, True)
    assert second.exit_code is ExitCode.DONE
    assert "ann" not in harness.active()


async def test_plan_that_was_reviewed_is_applied_and_nothing_else() -> None:
    harness = Harness()
    harness.hire("ann", "bea", "cat", "dan")
    harness.later = {2: lambda: harness.hire("zoe")}

    result = await harness.sync(Trigger.APPLY, approve=True)

    assert harness.active() == {"ann", "bea", "cat", "dan"}
    assert {record.change.kind for record in result.records} == {Kind.CREATE}
