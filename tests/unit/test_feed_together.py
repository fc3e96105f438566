"""What the feed runs of one daemon share: the limit over all workspaces, and a pause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.daemon.feeds import NO_FEED_OBSERVER, DaemonFeeds
from agent.daemon.runner import ActiveConfig
from agent.engine.feed_plan import FeedPlanner
from agent.engine.feed_poll import FeedPoller
from agent.engine.planner import ReadOnlyWorkspace
from agent.engine.request import FleetLimit
from agent.model import GroupRef, Link, Member, Policy
from agent.model.feed import NamedPerson
from agent.model.run import Pause, Trigger
from connectors.base import LookupResult, Source, Status, discard_progress
from connectors.feed import FeedPage, Standing, StandingFound
from tests.factories import OKTA, a_policy, key, member
from tests.memory_state import MemoryState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ("latam", "apac")
PLANNERS = GroupRef("planners", "Planners")


class _Clock:
    def now(self) -> datetime:
        return NOW

    def elapsed(self) -> float:
        return 0.0


class _FeedOfLeavers:
    """A feed without events, that shows everyone as suspended."""

    second_look_seconds = 0.0

    def needs_second_look(self, _first: StandingFound, /) -> bool:
        return False

    async def begin(self) -> FeedPage:
        return FeedPage((), "start")

    async def poll(self, cursor: str) -> FeedPage:
        return FeedPage((), cursor)

    async def look_at(self, people: Mapping[str, str], _source: Source) -> Mapping[str, StandingFound]:
        await asyncio.sleep(0)
        return {person: StandingFound(Standing.LEFT, LookupResult(Status.SUSPENDED)) for person in people}


@dataclass
class _Members:
    """Shows an active member for each id."""

    requests: int = 0

    async def get(self, scim_id: str) -> Member:
        return member(scim_id.removeprefix("m-"))


def _named_in(*workspaces: str) -> MemoryState:
    """Return a state in which two people of each workspace are named."""
    state = MemoryState(lambda: NOW)
    for name in workspaces:
        for person in ("ann", "bea"):
            state.links.setdefault(name, {})[key(person)] = Link(key(person), f"m-{person}")
            named = NamedPerson(name, key(person), "e1", "user.suspended", NOW, NOW, NOW)
            state.named[name, key(person)] = named
    return state


async def test_limit_over_all_workspaces_counts_what_feed_runs_are_about_to_do_at_once() -> None:
    state = _named_in(*NAMES)
    planner = FeedPlanner(
        {OKTA.connector: _FeedOfLeavers()},
        cast(Any, state),
        _Clock(),
        FleetLimit(NAMES, 1),
        discard_progress,
        asyncio.sleep,
    )
    contexts = [ReadOnlyWorkspace(_policy(name), cast(Any, _Members())) for name in NAMES]

    decisions = await asyncio.gather(*(planner.plan_named(context) for context in contexts))

    plans = [decision.plan for decision in decisions]
    assert [plan is not None and len(plan.changes) for plan in plans] == [2, 0]
    assert plans[1] is not None
    assert {hold.code for hold in plans[1].holds} == {"fleet"}


async def test_no_feed_run_starts_while_its_workspace_is_paused() -> None:
    state = _named_in(*NAMES)
    await state.set_pause("latam", Pause(NOW, "ana@acme.com", "wait"))
    started: list[tuple[str, Trigger]] = []

    @asynccontextmanager
    async def open_pollers(_settings: object) -> AsyncIterator[list[FeedPoller]]:
        yield [
            FeedPoller(
                connector=OKTA.connector,
                account="acme",
                feed=_FeedOfLeavers(),
                every=timedelta(seconds=10),
                max_people=25,
                state=cast(Any, state),
                clock=_Clock(),
                holder="daemon",
            )
        ]

    feeds = DaemonFeeds(
        cast(
            ActiveConfig,
            SimpleNamespace(
                settings=SimpleNamespace(connectors={OKTA.connector: SimpleNamespace(change_feed=None)}),
                policies={name: _policy(name) for name in NAMES},
                loaded_at=NOW,
            ),
        ),
        cast(Any, state),
        _Clock(),
        open_pollers,
        lambda workspace, trigger, _reason: started.append((workspace, trigger)),
        lambda _workspace: False,
        NO_FEED_OBSERVER,
    )

    await feeds.run_due()

    assert started == [("apac", Trigger.FEED)]


class _FeedOfAbsent(_FeedOfLeavers):
    """Shows everyone as active and without a group."""

    async def look_at(self, people: Mapping[str, str], _source: Source) -> Mapping[str, StandingFound]:
        found = LookupResult(Status.ACTIVE, groups=frozenset())
        return {person: StandingFound(Standing.LEFT, found, frozenset({PLANNERS.id})) for person in people}


@pytest.mark.parametrize(
    ("feed", "earlier", "named", "left"),
    [
        (_FeedOfAbsent(), 0, 6, 0),
        (_FeedOfAbsent(), 0, 7, 7),
        (_FeedOfAbsent(), 4, 2, 0),
        (_FeedOfAbsent(), 4, 3, 3),
        (_FeedOfLeavers(), 4, 3, 0),
    ],
)
async def test_group_that_loses_more_than_half_is_left_to_its_guard_in_however_many_steps(
    feed: _FeedOfLeavers, earlier: int, named: int, left: int
) -> None:
    state = MemoryState(lambda: NOW)
    people = [f"p{number}" for number in range(12)]
    state.links["latam"] = {key(each): Link(key(each), f"m-{each}", (PLANNERS,)) for each in people}
    state.sizes["latam"] = [(NOW, {(OKTA.connector, PLANNERS.id): (PLANNERS.name, len(people))})]
    for each in people[earlier : earlier + named]:
        state.named["latam", key(each)] = NamedPerson("latam", key(each), "e1", "group.left", NOW, NOW, NOW)
    limit = FleetLimit(("latam",), 100)
    planner = FeedPlanner({OKTA.connector: feed}, cast(Any, state), _Clock(), limit, discard_progress, asyncio.sleep)

    going = frozenset(f"m-{each}" for each in people[:earlier])
    decision = await planner.plan_named(ReadOnlyWorkspace(_policy("latam"), cast(Any, _Members())), going)

    assert decision.plan is not None
    assert len(decision.plan.changes) + len(decision.plan.holds) == named - left
    looks = planner.looks["latam"]
    assert [look.standing for look in looks].count(Standing.UNKNOWN) == left
    assert all(look.is_conclusive for look in looks)


def _policy(name: str) -> Policy:
    return a_policy(workspace=name)
