"""The daemon's feeds with a clock that only the test moves: what goes wrong with one is shown, and stays with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import yaml
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from structlog.typing import EventDict

from agent.daemon.feeds import DaemonFeeds
from agent.daemon.interface import FeedState
from agent.daemon.runner import ActiveConfig
from agent.engine.feed_plan import Look
from agent.engine.feed_poll import FeedPoller, FeedScope, PollResult
from agent.engine.named_people import Settled, settle_looks
from agent.errors import StateError
from agent.metrics import Metrics
from agent.model import Link
from agent.model.run import Pause, RunOutcome, RunStatus, Trigger
from agent.ports.state import State
from agent.settings.load import load
from agent.settings.root import Settings
from agent.store.state import SqlState
from connectors.base import CredentialsRefused, IncompleteRead, PersonKey
from connectors.feed import CursorLost, FeedEvent, Standing
from tests.fake_feed import CANARY, FakeFeed
from tests.memory_state import MemoryState
from tests.state_samples import a_run

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE, OTHER = "okta-one", "okta-two"
EVERY = timedelta(seconds=15)
SUSPENDED = FeedEvent("e1", "user.lifecycle.suspend", NOW, people=("ann",))


def load_settings(folder: Path) -> Settings:
    def connector(name: str) -> dict[str, object]:
        return {
            "type": "okta",
            "org_url": f"https://{name}.example.com",
            "api_token": {"env": "TOKEN"},
            "feed": {"every": "15s", "max_people": 3},
        }

    def workspace(connector: str) -> dict[str, object]:
        return {
            "scim_url": f"https://{connector}.pigment.example.com/scim/v2",
            "tokens": [{"env": f"TOKEN_{connector[-3:].upper()}"}],
            "allowed_domains": ["acme.com"],
            "mode": "enforce",
            "sources": [{"connector": connector, "app": "0oa1"}],
        }

    off = {key: each for key, each in connector("okta-off").items() if key != "feed"}
    config = folder / "pigment-sync.yaml"
    document = {
        "state": {"url": "sqlite:///state.db"},
        "connectors": {ONE: connector(ONE), OTHER: connector(OTHER), "okta-off": off},
        "workspaces": {"latam": workspace(ONE), "apac": workspace(OTHER)},
    }
    config.write_text(yaml.safe_dump(document), "utf-8")
    return load(config, {"TOKEN": "a-token-of-the-tests", "TOKEN_ONE": "a-token-of-one", "TOKEN_TWO": "a-token-of-two"})


@dataclass
class SteppedClock:
    """A clock on the wall that can be set, and one that never goes back."""

    moment: datetime = NOW
    seconds: float = 1000.0

    def now(self) -> datetime:
        return self.moment

    def elapsed(self) -> float:
        return self.seconds

    def pass_time(self, span: timedelta) -> None:
        self.moment += span
        self.seconds += span.total_seconds()

    def set_by(self, span: timedelta) -> None:
        self.moment += span


@dataclass
class Observer:
    """Counts as `/metrics` does, and keeps what it got."""

    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))
    polls: list[tuple[str, str]] = field(default_factory=list)

    def record_poll(self, connector: str, result: PollResult) -> None:
        self.polls.append((connector, "elsewhere" if result.is_elsewhere else "done"))
        self.metrics.record_poll(connector, result)

    def record_failed_poll(self, connector: str) -> None:
        self.polls.append((connector, "failed"))
        self.metrics.record_failed_poll(connector)

    def set_feeds(self, workspaces: Mapping[str, Collection[str]]) -> None:
        self.metrics.set_feeds(workspaces)

    def value(self, sample: str) -> float | None:
        """Return the value of a series such as `name{connector="okta-one"}`."""
        lines = self.metrics.render().decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} ")), None)


class World:
    def __init__(self, folder: Path) -> None:
        self.clock = SteppedClock()
        self.state = MemoryState(self.clock.now)
        self.one, self.other = FakeFeed(), FakeFeed()
        self.observer = Observer()
        self.started: list[tuple[str, Trigger, str]] = []
        self.config = ActiveConfig(load_settings(folder), NOW)
        self.feeds = DaemonFeeds(
            self.config,
            self.state,
            self.clock,
            self.open_pollers,
            lambda name, trigger, reason: self.started.append((name, trigger, reason)),
            lambda _name: False,
            self.observer,
        )

    @asynccontextmanager
    async def open_pollers(self, settings: Settings) -> AsyncIterator[list[FeedPoller]]:
        yield [
            FeedPoller(
                connector=name,
                account=settings.connectors[name].base_url,
                feed=feed,
                every=EVERY,
                max_people=3,
                state=self.state,
                clock=self.clock,
                holder="one",
            )
            for name, feed in ((ONE, self.one), (OTHER, self.other))
        ]

    async def tick(self, after: timedelta = EVERY) -> list[EventDict]:
        """Let the time pass and the feeds run once. Return what was logged."""
        self.clock.pass_time(after)
        with capture_logs() as logged:
            await self.feeds.run_due()
        return logged

    def link(self, *people: str) -> None:
        self.state.links["latam"] = {PersonKey(ONE, each): Link(PersonKey(ONE, each), f"m-{each}") for each in people}

    async def state_of(self, connector: str = ONE) -> FeedState:
        return self.feeds.statuses[connector].state_at(self.clock.now())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.tick()
    yield made
    await made.feeds.stop()


async def test_bug_in_one_feed_ends_its_poll_only_and_is_logged_without_the_cursor(world: World) -> None:
    world.one.failure = ZeroDivisionError(f"a bug at {CANARY}")

    logged = await world.tick()

    assert world.observer.polls[-2:] == [(ONE, "failed"), (OTHER, "done")]
    (crash,) = [line for line in logged if line["event"] == "feed.crashed"]
    assert (crash["log_level"], crash["connector"], crash["error"]) == ("error", ONE, "ZeroDivisionError")
    assert "fake_feed.py" in crash["traceback"]
    assert "CANARY" not in str(logged)
    assert "ZeroDivisionError" in world.feeds.statuses[ONE].problem
    assert await world.state_of() is FeedState.FAILING

    world.one.failure = None
    await world.tick()
    assert await world.state_of() is FeedState.WORKING
    assert world.observer.value(f'pigment_sync_feed_polls_total{{connector="{ONE}",outcome="failed"}}') == 1


@pytest.mark.parametrize(
    "failure",
    [IncompleteRead("It gave no answer.", "Try again later."), StateError("The state is away.", "Start it.")],
)
async def test_failure_outside_is_a_warning_with_its_next_step(world: World, failure: Exception) -> None:
    world.one.failure = failure

    logged = await world.tick()

    assert world.observer.polls[-2:] == [(ONE, "failed"), (OTHER, "done")]
    assert [line["log_level"] for line in logged if line["event"] == "feed.not_polled"] == ["warning"]
    assert world.feeds.statuses[ONE].problem.endswith((" Try again later.", " Start it."))


async def test_run_over_everyone_is_not_put_off_for_as_long_as_people_leave(world: World) -> None:
    """There is always one more to look at: after one feed run the run over everyone is next."""
    active: set[str] = set()

    def start(name: str, trigger: Trigger, reason: str) -> None:
        world.started.append((name, trigger, reason))
        active.add(name)

    world.feeds.start_run, world.feeds.is_active = start, active.__contains__
    world.link("ann", "bob")
    for number in range(4):
        world.one.events = [FeedEvent(f"e{number}", "application.lifecycle.update", NOW, people=("ann",), is_wide=True)]
        await world.tick()
        active.clear()

    assert [trigger for _, trigger, _ in world.started][:2] == [Trigger.FEED, Trigger.SCHEDULE]


async def test_refused_permission_is_tried_again_after_an_hour(world: World) -> None:
    world.one.failure = CredentialsRefused("okta.logs.read is not granted.", "Grant it.")
    await world.tick()
    polled = world.one.polled

    for _ in range(59):
        await world.tick(timedelta(minutes=1))
    assert world.one.polled == polled
    assert await world.state_of() is FeedState.REFUSED
    assert world.feeds.statuses[ONE].until == NOW + 2 * EVERY + timedelta(hours=1)

    world.one.failure = None
    await world.tick(timedelta(minutes=1))
    assert world.one.polled == polled + 1
    assert await world.state_of() is FeedState.WORKING


async def test_refused_permission_is_tried_again_after_a_reload(world: World) -> None:
    world.one.failure = CredentialsRefused("okta.logs.read is not granted.", "Grant it.")
    await world.tick()
    polled, world.one.failure = world.one.polled, None

    world.config.replace(world.config.settings, world.clock.now())
    await world.tick()

    assert world.one.polled == polled + 1
    assert await world.state_of() is FeedState.WORKING


async def test_feed_without_configuration_is_off_and_has_no_series(world: World) -> None:
    assert await world.state_of("okta-off") is FeedState.OFF
    assert world.observer.value('pigment_sync_feed_polls_total{connector="okta-off",outcome="done"}') is None
    assert world.observer.value(f'pigment_sync_feed_polls_total{{connector="{ONE}",outcome="failed"}}') == 0
    missed = f'pigment_sync_feed_missed_leavers_total{{connector="{ONE}",workspace="latam"}}'
    assert world.observer.value(missed) == 0


async def test_feed_that_a_reload_takes_away_loses_its_series(world: World) -> None:
    world.observer.set_feeds({OTHER: ["apac"]})

    rendered = world.observer.metrics.render().decode()
    assert f'connector="{ONE}"' not in rendered
    assert f'pigment_sync_feed_last_poll_timestamp_seconds{{connector="{OTHER}"}}' in rendered


async def test_silent_feed_is_shown_although_no_poll_failed(world: World) -> None:
    world.clock.pass_time(timedelta(minutes=6))

    assert await world.state_of() is FeedState.SILENT


async def test_lost_cursor_starts_runs_over_everyone_and_is_shown_for_an_hour(world: World) -> None:
    begun = world.one.begun
    world.one.failure = CursorLost("It no longer accepts the place.", "A whole run follows.")
    await world.tick()
    world.one.failure = None

    assert (world.one.begun, world.started) == (
        begun + 1,
        [("latam", Trigger.SCHEDULE, "Started early: the feed lost its place.")],
    )
    assert await world.state_of() is FeedState.LOST
    await world.tick(timedelta(hours=1))
    assert await world.state_of() is FeedState.WORKING


async def test_cursor_that_stands_still_is_replaced_once_runs_have_read_everyone(world: World) -> None:
    begun = world.one.begun
    await world.tick(timedelta(days=1))
    assert world.one.begun == begun, "no run has read everyone"

    run = replace(a_run("r1", "latam"), trigger=Trigger.SCHEDULE, status=RunStatus.DONE, dry_run=False)
    world.state.journal[run.id] = replace(run, started_at=world.clock.now(), finished_at=world.clock.now())
    await world.tick()
    await world.tick()

    assert (world.one.begun, world.other.begun) == (begun + 1, 1), "the other connector's workspace was not read"
    cursor = await world.state.load_feed_cursor(ONE)
    assert cursor is not None
    assert cursor.cursor == world.one.cursor


async def test_busy_cursor_is_not_replaced(world: World) -> None:
    begun = world.one.begun
    world.link("ann")
    run = replace(a_run("r1", "latam"), trigger=Trigger.SCHEDULE, status=RunStatus.DONE, dry_run=False)
    world.state.journal[run.id] = replace(run, started_at=NOW + timedelta(days=2), finished_at=NOW)
    world.one.events = [replace(SUSPENDED, at=NOW + timedelta(hours=23))]
    await world.tick(timedelta(days=1))
    await world.tick()

    assert world.one.begun == begun


@pytest.mark.parametrize("hours", [-1, 1])
async def test_clock_that_is_set_by_an_hour_silences_no_feed_and_delays_no_leaver(world: World, hours: int) -> None:
    world.link("ann", "bea")
    world.one.events = [SUSPENDED]
    await world.tick()
    polled, world.started = world.one.polled, []

    world.clock.set_by(timedelta(hours=hours))
    await world.tick()

    assert world.one.polled == polled + 1
    assert ("latam", Trigger.FEED, "") in world.started


@pytest.mark.parametrize("hours", [-1, 1])
async def test_difference_of_the_clocks_is_shown_once_and_changes_nothing(world: World, hours: int) -> None:
    world.link("ann")
    world.one.server_time = NOW - timedelta(hours=hours)
    world.one.events = [replace(SUSPENDED, at=world.one.server_time)]

    logged = await world.tick()
    again = await world.tick()

    (line,) = [each for each in logged if each["event"] == "feed.clock_skew"]
    assert (line["connector"], abs(line["ahead_seconds"] - hours * 3600) < 60) == (ONE, True)
    assert [each for each in again if each["event"] == "feed.clock_skew"] == []
    assert world.feeds.statuses[ONE].skew is not None
    assert [each.person.id for each in await world.state.load_named_people("latam")] == ["ann"]


async def test_feed_that_names_everybody_names_no_one_and_starts_a_run_over_everyone(world: World) -> None:
    people = ["ann", "bea", "cal", "dan"]
    world.link(*people)
    world.one.events = [replace(SUSPENDED, id=f"e-{each}", people=(each,)) for each in people]

    await world.tick()

    assert await world.state.load_named_people("latam") == ()
    ((name, trigger, reason),) = world.started
    assert (name, trigger) == ("latam", Trigger.SCHEDULE)
    assert "names 4 of its people at once" in reason


async def find_leavers(world: World, *people: str) -> None:
    lease = await world.state.take_lease("latam", "run")
    since = {ONE: world.clock.now() - timedelta(minutes=5)}
    await world.state.record_found_leavers(
        lease, "latam", world.clock.now(), since, [PersonKey(ONE, each) for each in people]
    )
    await world.state.release_lease(lease)


async def test_leaver_whom_no_event_announces_within_15_minutes_is_counted(world: World) -> None:
    world.link("ann", "bea", "cal")
    world.one.events = [SUSPENDED]
    await world.tick()
    await find_leavers(world, "ann", "bea", "cal")
    world.one.events = [replace(SUSPENDED, id="e2", people=("cal",))]
    await world.tick(timedelta(minutes=10))
    missed = f'pigment_sync_feed_missed_leavers_total{{connector="{ONE}",workspace="latam"}}'
    assert world.observer.value(missed) == 0

    logged = await world.tick(timedelta(minutes=5))
    await world.tick()

    assert world.observer.value(missed) == 1
    (line,) = [each for each in logged if each["event"] == "feed.missed_leavers"]
    assert (line["workspace"], line["leavers"], line["log_level"]) == ("latam", 1, "warning")
    assert world.feeds.statuses[ONE].missed == 1


@pytest.mark.parametrize("failure", [CursorLost("It is lost.", "Wait."), IncompleteRead("No answer.", "Wait.")])
async def test_nothing_is_counted_while_the_feed_may_not_have_shown_everything(
    world: World, failure: Exception
) -> None:
    await find_leavers(world, "ann")
    world.one.failure = failure
    await world.tick(timedelta(minutes=20))
    assert world.feeds.statuses[ONE].missed == 0

    world.one.failure, world.one.events = None, [SUSPENDED]
    world.link("ann")
    await world.tick()
    assert world.feeds.statuses[ONE].missed == 0


async def test_nothing_is_counted_while_pages_are_left_to_the_next_poll(world: World) -> None:
    await find_leavers(world, "ann")
    world.one.has_more = True
    await world.tick(timedelta(minutes=20))
    assert world.feeds.statuses[ONE].missed == 0

    world.one.has_more = False
    await world.tick()
    assert world.feeds.statuses[ONE].missed == 1


async def test_people_who_can_not_be_judged_are_shown_until_they_can(world: World) -> None:
    with capture_logs() as logged:
        world.feeds.on_settled("latam", Settled(unproven=3))
    (line,) = logged
    assert (line["event"], line["people"], line["log_level"]) == ("feed.not_proven", 3, "warning")
    assert world.feeds.statuses[ONE].unlooked["latam"].startswith("3 people can be proven neither")

    world.feeds.on_settled("latam", Settled(failure="The application is not ACTIVE. Activate it."))
    assert world.feeds.statuses[ONE].unlooked == {"latam": "The application is not ACTIVE. Activate it."}
    assert world.feeds.statuses[OTHER].unlooked == {}

    world.feeds.on_settled("latam", Settled())
    assert world.feeds.statuses[ONE].unlooked == {}

    world.feeds.on_settled("latam", Settled(unproven=1))
    await world.tick()
    assert world.feeds.statuses[ONE].unlooked != {}
    await world.tick(timedelta(hours=1))
    assert world.feeds.statuses[ONE].unlooked == {}


WIDE = FeedEvent("w1", "group.application_assignment.remove", NOW, apps=("0oa1",), is_wide=True)
WHOLE_RUN_EVERY = timedelta(minutes=5)


async def end_run(world: World, number: int, status: RunStatus, trigger: Trigger = Trigger.SCHEDULE) -> None:
    """Write the run that was just started into the journal."""
    lease = await world.state.take_lease("latam", "run")
    run = replace(a_run(f"r{number}", "latam"), trigger=trigger, dry_run=False, started_at=world.clock.now())
    await world.state.begin_run(run, lease)
    await world.state.end_run(lease, run.id, RunOutcome(status))
    await world.state.release_lease(lease)


def whole_runs(world: World) -> int:
    return sum(trigger is Trigger.SCHEDULE for _, trigger, _ in world.started)


@pytest.mark.parametrize(("status", "runs"), [(RunStatus.INCOMPLETE, 3), (RunStatus.BUSY, 3), (RunStatus.DONE, 1)])
async def test_run_that_a_feed_wants_is_started_again_until_it_has_read_everything(
    world: World, status: RunStatus, runs: int
) -> None:
    world.one.events = [WIDE]
    for number in range(6):
        started = whole_runs(world)
        await world.tick()
        if whole_runs(world) > started:
            await end_run(world, number, status)
        await world.tick()
        world.clock.pass_time(WHOLE_RUN_EVERY)

    assert whole_runs(world) == runs


async def test_run_that_a_feed_wants_waits_while_its_workspace_is_paused(world: World) -> None:
    await world.state.set_pause("latam", Pause(NOW, "ana@acme.com", "wait"))
    world.one.events = [WIDE]
    await world.tick()
    assert world.started == []

    await world.state.set_pause("latam", None)
    await world.tick()
    assert whole_runs(world) == 1


async def poll_and_die(world: World) -> None:
    """Poll as a daemon that is killed once the cursor has moved on."""
    async with world.open_pollers(world.config.settings) as (poller, _):
        world.clock.pass_time(EVERY)

        async def load_scope() -> FeedScope:
            return FeedScope(("latam",), {"0oa1": ("latam",)}, {})

        await poller.poll(load_scope)


def beside(world: World, folder: Path) -> World:
    """Return another daemon on the state of *world*."""
    other = World(folder)
    other.clock, other.state = world.clock, world.state
    other.feeds.clock, other.feeds.state = world.clock, world.state
    return other


NEWCOMER = FeedEvent("n1", "application.user_membership.add", NOW, people=("new",), may_add=True)


@pytest.mark.parametrize("event", [WIDE, NEWCOMER])
async def test_run_that_a_killed_daemon_would_have_started_is_started_once_by_the_others(
    tmp_path: Path, event: FeedEvent
) -> None:
    """They run already: nothing begins again. Each has its own connection to one database."""
    worlds = [World(tmp_path) for _ in range(3)]
    dying, *others = worlds
    opened = []
    for each in worlds:
        each.clock = each.feeds.clock = dying.clock
        state = await SqlState.open(f"sqlite:///{tmp_path}/state.db", dying.clock.now)
        each.state = each.feeds.state = cast(MemoryState, state)
        opened.append(state)
        await each.tick()
    dying.one.events = [event]
    await poll_and_die(dying)
    for _ in range(2):
        for other in others:
            await other.tick(timedelta(seconds=1))

    assert [other.one.given for other in others] == [0, 0]
    assert [whole_runs(each) for each in worlds] == [0, 1, 0]
    for each, state in zip(worlds, opened, strict=True):
        await each.feeds.stop()
        await state.close()


async def test_people_left_by_a_daemon_that_is_killed_then_are_left_to_a_run_over_everyone(
    world: World, tmp_path: Path
) -> None:
    world.link("ann")
    world.one.events = [SUSPENDED]
    await poll_and_die(world)
    named = await world.state.load_named_people("latam")
    look = Look(named[0], Standing.ENTITLED, is_conclusive=True)
    await settle_looks(cast(State, world.state), [look], [], world.clock.now())
    other = beside(world, tmp_path)
    await other.tick()
    await other.feeds.stop()

    assert other.started == [
        ("latam", Trigger.SCHEDULE, "Started early: a person whom the feed named (user.lifecycle.suspend).")
    ]


async def test_run_that_began_since_the_daemon_was_killed_is_enough(world: World, tmp_path: Path) -> None:
    world.one.events = [WIDE]
    await poll_and_die(world)
    await end_run(world, 1, RunStatus.DONE)
    other = beside(world, tmp_path)
    await other.tick(2 * WHOLE_RUN_EVERY)
    await other.feeds.stop()

    assert whole_runs(other) == 0
    assert await world.state.load_wanted_runs() == []


async def test_run_waits_until_the_process_that_holds_the_workspace_has_ended(world: World) -> None:
    world.one.events = [WIDE]
    world.clock.pass_time(EVERY)
    lease = await world.state.take_lease("latam", "a command")
    await world.tick(timedelta(0))
    assert world.started == []

    await world.state.release_lease(lease)
    await world.tick()
    assert whole_runs(world) == 1


@pytest.mark.parametrize(
    ("settled", "least", "most"),
    [
        (Settled(failure="The application can't be read."), 6, 8),
        # It crashed, or lost its state.
        (None, 6, 8),
        # Soon after the other run has ended, a leaver must be out.
        (Settled(is_busy=True), 20, 23),
    ],
)
async def test_feed_runs_that_can_look_at_no_one_become_rare(
    world: World, settled: Settled | None, least: int, most: int
) -> None:
    world.link("ann")
    world.one.events = [SUSPENDED]
    for _ in range(120):
        started = len(world.started)
        await world.tick(timedelta(seconds=5))
        if len(world.started) > started and settled is not None:
            world.feeds.on_settled("latam", settled)
    failed = len(world.started)
    assert least <= failed <= most, "within 10 minutes"

    await world.tick(timedelta(minutes=5))
    world.feeds.on_settled("latam", Settled())
    await world.tick(timedelta(seconds=10))
    assert len(world.started) == failed + 2


async def test_pollers_that_can_not_be_opened_are_logged_once_for_each_reason(world: World) -> None:
    reason = "The CA bundle can't be read."

    @asynccontextmanager
    async def refuse(_settings: Settings) -> AsyncIterator[list[FeedPoller]]:
        if reason:
            raise IncompleteRead(reason, "Check it.")
        yield []

    world.feeds.open_pollers = refuse
    world.config.replace(world.config.settings, world.clock.now())
    lines: list[str] = []
    for number in range(180):
        reason = "The CA bundle is empty." if number == 150 else reason
        lines += [each["error"] for each in await world.tick(timedelta(seconds=2)) if each["event"] == "feed.failed"]

    assert lines == ["The CA bundle can't be read.", "The CA bundle is empty."]


async def test_run_over_everyone_counts_however_many_feed_runs_followed_it(world: World) -> None:
    await end_run(world, 0, RunStatus.DONE)
    for number in range(1, 25):
        await end_run(world, number, RunStatus.DONE, Trigger.FEED)
    world.one.events = [WIDE]

    await world.tick()

    assert whole_runs(world) == 0
