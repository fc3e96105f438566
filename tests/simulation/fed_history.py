"""A history in which daemons poll change feeds, between the other runs and while they go on.

The real poller, feed planner, daemon feeds and engine run over events that come late, twice, out of order or never, and
that lie. What is read of a person may lag, or be no answer at all.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

from agent.daemon.feeds import NO_FEED_OBSERVER, DaemonFeeds
from agent.daemon.runner import ActiveConfig
from agent.engine.feed_plan import FeedPlanner
from agent.engine.feed_poll import FeedPoller
from agent.engine.named_people import LEFT_OUT, Settled, settle_looks
from agent.engine.request import PendingDeactivations, RunRequest, RunResult
from agent.model import Kind, Link, Plan, Policy, Unplanned
from agent.model.run import ChangeRecord, Outcome, Run, RunStatus, Trigger
from agent.ports.state import State
from agent.settings.root import Settings
from connectors.base import Person, PersonKey, Status, discard_progress
from connectors.feed import Standing
from connectors.provider import FeedSettings
from sandbox.pigment.member import Member
from tests.simulation.feeds import SECOND_LOOK_SECONDS, CheckedState, ProviderFeeds, SimulatedFeed
from tests.simulation.history import (
    COUNTED,
    FLEET_LIMIT,
    HOUR,
    LIMIT,
    NAMES,
    Agent,
    History,
    Lived,
    Other,
    SimulatedClock,
)
from tests.simulation.invariants import (
    OLDEST_PLAN_SECONDS,
    Broken,
    Sender,
    Watch,
    deactivates,
    is_by_feed,
    is_entitled,
    may_not_lose,
    sets_active,
)
from tests.simulation.process import Fate, Process, draw_feed_fates, watched
from tests.simulation.world import GROUPS, SOURCES, START, Workspace, World

__all__ = ["FedHistory"]

TICK_SECONDS = 3.0
QUIET_SECONDS = 420.0
"""Longer than the pause between early runs over everyone, and the looks before one is wanted."""
STIRRED_SECONDS = 60.0
FED_STEPS = {
    "feed": 8.0,
    "leave": 4.0,
    "lie": 2.0,
    "group off": 0.4,
    "lose cursors": 0.4,
    "refuse the feed": 0.5,
    "hide the application": 0.5,
    "narrow the role": 0.5,
    "leave while read": 2.0,
    "time": 3.0,
}


class FedWatch(Watch):
    """Looks also at what a feed causes. *put_out* has when a feed deactivated a member: target and SCIM id."""

    def __init__(self, world: World, state: State, is_right: Callable[[str, str], bool], feeds: ProviderFeeds) -> None:
        super().__init__(world, state, is_right)
        self.feeds = feeds
        self.put_out: dict[tuple[str, str], float] = {}

    async def write(
        self, sender: Sender, workspace: Workspace, method: str, member: Member | None, body: Mapping[str, object]
    ) -> None:
        policy = sender.policies[workspace.url]
        links = {link.scim_id: link for link in (await self.state.load_memory(policy.workspace)).links}
        link = links.get(member.id) if member is not None else None
        is_by_feed = member is not None and await self._is_by_feed(policy.workspace, member.id)
        if (sender.is_feed or is_by_feed) and (link is None or not deactivates(method, body)):
            raise Broken("a feed run did something else than deactivate a linked member")
        await super().write(sender, workspace, method, member, body)
        if member is None or link is None:
            return
        if is_by_feed:
            self.put_out[workspace.url, member.id] = self.world.elapsed()
            self.feeds.happened[f"deactivations by {'a feed run' if sender.is_feed else 'a whole run'}"] += 1
        if sets_active(method, body) and not member.active and not sender.is_undo:
            await self._judge_return(sender, policy, workspace, link, member)

    async def planned_at(self, sender: Sender, workspace: Workspace, policy: Policy, member: Member | None) -> float:
        """Return when the person was looked at where a feed named them: that look does not rely on the listing."""
        if member is not None and await self._is_by_feed(policy.workspace, member.id):
            links = {link.scim_id: link for link in (await self.state.load_memory(policy.workspace)).links}
            looks = sender.looks[links[member.id].person] if member.id in links else []
            return looks[-1].at if looks else -OLDEST_PLAN_SECONDS
        return await super().planned_at(sender, workspace, policy, member)

    async def _is_by_feed(self, workspace: str, scim_id: str) -> bool:
        under_way = await self.state.load_in_flight(workspace)
        return any(is_by_feed(each.change) and each.change.scim_id == scim_id for each in under_way)

    async def _judge(
        self, sender: Sender, policy: Policy, link: Link, member: Member | None, linked: set[PersonKey]
    ) -> None:
        """Judge a deactivation by a feed by the looks that it relied on alone."""
        if not await self._is_by_feed(policy.workspace, link.scim_id):
            await super()._judge(sender, policy, link, member, linked)
            return
        if policy.grace_reads > 1 or {each.connector for each in policy.sources} != {link.person.connector}:
            raise Broken("a feed decided what is left to a run over everyone")
        looks = sender.looks[link.person][-2 if self.feeds.is_lagging else -1 :]
        if not looks:
            raise Broken("a feed deactivated a person who was not looked at")
        seconds = looks[-1].at - looks[0].at
        if all(each.is_untrue for each in looks) and seconds >= SECOND_LOOK_SECONDS:
            # Two untrue answers so far apart can't be known for what they are.
            return

        # A feed run reads the member by its id, whatever an old listing shows.
        members = self.world.workspaces[policy.target].space.members
        addresses = {each.user_name.lower() for each in members if each.id == link.scim_id}

        def is_theirs(person: Person) -> bool:
            if person.id == link.person.id:
                return may_not_lose(person, policy)
            return person.key not in linked and person.email in addresses and is_entitled(person, policy)

        if self.world.was_always(link.person, looks[0].at, is_theirs):
            raise Broken(f"{link.person} is deactivated and should not be")

    async def _judge_return(
        self, sender: Sender, policy: Policy, workspace: Workspace, link: Link, member: Member
    ) -> None:
        """A person who left is not brought back by a run that had read before, and that could know it."""
        reads = sender.read_at[link.person.connector]
        if not reads:
            return
        newest = max(reads)
        if self.put_out.get((workspace.url, member.id), -1.0) > newest:
            raise Broken("a leaver was brought back by a run that had read before")
        looks = sender.looks[link.person][-2 if self.feeds.is_lagging else -1 :]
        has_seen = bool(looks) and all(each.standing is Standing.LEFT and each.at > newest for each in looks)
        is_apart = not self.feeds.is_lagging or looks[-1].at - looks[0].at >= SECOND_LOOK_SECONDS if looks else False
        if has_seen and is_apart and self.is_gone(link.person, policy, looks[-1].at):
            raise Broken("a leaver was brought back by a run that had read before")
        if sender.looks[link.person] or not self._may_be_judged(policy, link.person.connector):
            return
        for each in await self.state.load_named_people(policy.workspace):
            named_at = _elapsed(each.named_at)
            is_in_time = each.person == link.person and max(named_at, _elapsed(each.due_at)) < sender.read_until
            if is_in_time and self.is_gone(link.person, policy, named_at):
                raise Broken("a leaver was brought back by a run that had read before")

    def _may_be_judged(self, policy: Policy, connector: str) -> bool:
        is_alone = policy.grace_reads == 1 and {each.connector for each in policy.sources} == {connector}
        is_readable = connector not in self.feeds.missing | self.world.failing | set(self.world.strangers)
        return is_alone and is_readable

    def is_gone(self, key: PersonKey, policy: Policy, since: float) -> bool:
        """Return whether a person was at no moment since *since* one who keeps their member."""
        known = self.world.past[key.connector, key.id.partition("~")[0]]
        before = [person for at, person in known if at <= since][-1:]
        after = [person for at, person in known if at > since]
        return not any(person is not None and may_not_lose(person, policy) for person in [*before, *after])


def _elapsed(moment: datetime) -> float:
    return (moment - START).total_seconds()


@dataclass(frozen=True)
class _Connector:
    change_feed: FeedSettings


@dataclass(frozen=True)
class _Settings:
    connectors: Mapping[str, _Connector]


@dataclass(frozen=True)
class _Config:
    """What the daemon's feeds need of `ActiveConfig`."""

    settings: _Settings
    policies: Mapping[str, Policy]
    loaded_at: datetime


@dataclass
class Daemon:
    """A process that polls the feeds and makes the runs which they ask for, as `serve` does."""

    history: FedHistory
    process: Process
    results: list[RunResult] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    active: set[str] = field(default_factory=set)
    stir: float = 0.0

    def __post_init__(self) -> None:
        history, world = self.history, self.history.world
        self.agent = history.agent(process=self.process)
        # What the feed runs of one process do at once is counted together.
        self.feed_runs: set[str] = set()
        history.commands.append(self.feed_runs)
        policies = history.policies()
        self.checked = CheckedState(history.state, history.feeds, policies, history.settings.max_people)
        self.state = watched(cast(State, self.checked), self.process)
        self.clock = SimulatedClock(world, self.process)
        settings = _Settings({source.connector: _Connector(history.settings) for source in SOURCES})
        self.feeds = DaemonFeeds(
            cast(ActiveConfig, _Config(settings, policies, world.now())),
            self.state,
            self.clock,
            self._open_pollers,
            self._start,
            self.active.__contains__,
            NO_FEED_OBSERVER,
        )

    @asynccontextmanager
    async def _open_pollers(self, _settings: Settings) -> AsyncIterator[list[FeedPoller]]:
        history, sender = self.history, self.agent.sender
        yield [
            FeedPoller(
                connector=source.connector,
                account=history.world.tenant(source.connector),
                feed=SimulatedFeed(history.feeds, source.connector, sender),
                every=history.settings.every,
                max_people=history.settings.max_people,
                state=self.state,
                clock=self.clock,
                holder=sender.holder,
            )
            for source in SOURCES
        ]

    async def serve(self, stirred: float, quiet: float = 0.0) -> None:
        """Poll for so many seconds in which people move, and for as many in which nothing does."""
        world = self.history.world

        async def loop() -> list[RunResult]:
            stirs_until = world.elapsed() + stirred
            ends = stirs_until + quiet
            while (now := world.elapsed()) < ends:
                if now < stirs_until:
                    self.history.stir(self.stir)
                await self.feeds.run_due()
                self._require_no_bug()
                await self.process.sleep("tick", TICK_SECONDS if now < stirs_until else 5 * TICK_SECONDS)
            return []

        await self.history.alive(self.agent, loop())
        for task in self.tasks:
            await task

    def _require_no_bug(self) -> None:
        if self.checked.broken is not None:
            raise self.checked.broken
        for status in self.feeds.statuses.values():
            if status.problem.startswith("Unexpected error"):
                raise Broken(f"a bug in a poll: {status.problem}")

    def _start(self, workspace: str, trigger: Trigger, reason: str, /) -> None:
        self.active.add(workspace)
        self.history.feeds.happened[f"runs started: {trigger}"] += 1
        self.tasks.append(asyncio.create_task(self._run(workspace, trigger, reason)))

    async def _run(self, workspace: str, trigger: Trigger, reason: str) -> None:
        history, request = self.history, RunRequest(trigger, reason=reason)
        agent = history.agent(process=self.process)
        work = None
        if trigger is Trigger.FEED:
            agent.sender.is_feed = True
            work = self._run_feed(agent, workspace, request)
        try:
            self.results += await history.run(agent, request, [workspace], work) or ()
        finally:
            self.active.discard(workspace)

    async def _run_feed(self, agent: Agent, workspace: str, request: RunRequest) -> list[RunResult]:
        """Do what the daemon's runner does for a feed run."""
        planner = agent.sync.feed_planner
        if planner is None:
            raise AssertionError("each process of such a history has feeds")
        results = await replace(agent.sync, planner=planner).run([workspace], request)
        self.feed_runs.update(result.run_id for result in results if result.run_id)
        for result in results:
            self.history.feeds.happened[f"feed runs: {'paused' if result.pause else result.status}"] += 1
            if result.pause is None and isinstance(result.planned, Plan):
                held = {hold.person for hold in result.planned.holds if hold.person is not None}
                looks, now = planner.looks.get(workspace, []), self.clock.now()
                settled = await settle_looks(planner.state, looks, result.records, now, held)
                await planner.state.record_lags(settled.lags)
                self.history.feeds.happened["people left to a whole run"] += len(settled.left_to_run)
                self.feeds.on_settled(workspace, settled)
            elif result.status is RunStatus.BUSY:
                self.feeds.on_settled(workspace, Settled(is_busy=True))
            elif isinstance(result.planned, Unplanned):
                self.feeds.on_settled(workspace, Settled(failure=result.planned.message))
        return results


class FedHistory(History):
    """A history whose processes have change feeds."""

    def __init__(self, seed: int, state: State, world: World, lived: Lived) -> None:
        super().__init__(seed, state, world, lived)
        chance = random.Random(f"change feed {seed}")
        self.feeds = ProviderFeeds(world, chance.random() < 0.5, lived.happened)
        self.watch = self.fed_watch = FedWatch(world, state, self.is_right, self.feeds)
        self.settings = FeedSettings.model_construct(
            every=timedelta(seconds=chance.choice([10, 15])), max_people=chance.choice([2, 4, 25])
        )
        self.connectors = chance.choice([("okta", "entra"), ("okta",), ("entra",), ("entra",)])
        """The sources of the first workspace; the other one has Okta alone."""
        self.options["grace_reads"] = chance.choice([1, 1, 1, 1, 2])
        if len(self.connectors) == 1:
            # The other agent has the sources of a history without a feed.
            self.other = None
        world.read_seconds = chance.choice([0.0, 0.0, 20.0])
        world.addresses = [*world.addresses, *(f"{name.partition('@')[0]}2@acme.com" for name in world.addresses)]
        world.on_move = self.feeds.record_move
        self.has_company = False
        self.pending: defaultdict[Process, PendingDeactivations] = defaultdict(PendingDeactivations)

    def policies(self) -> dict[str, Policy]:
        found = super().policies()
        return {key: self._fed(policy) if self.home(key) == NAMES[0] else policy for key, policy in found.items()}

    def _fed(self, policy: Policy) -> Policy:
        sources = tuple(each for each in policy.sources if each.connector in self.connectors)
        return replace(
            policy, sources=sources, tenants=tuple(each for each in policy.tenants if each[0] in self.connectors)
        )

    def agent(self, fates: Sequence[Fate] = (), other: Other | None = None, process: Process | None = None) -> Agent:
        agent = super().agent(fates, other, process)
        if other is not None:
            return agent
        survey, sender = agent.survey, agent.sender

        async def wait(seconds: float) -> None:
            await sender.process.sleep("wait", seconds)

        feeds = {source.connector: SimulatedFeed(self.feeds, source.connector, sender) for source in SOURCES}
        pending, fleet = self.pending[sender.process], survey.fleet_limit
        planner = FeedPlanner(feeds, survey.state, survey.clock, fleet, discard_progress, wait, pending)
        return replace(agent, sync=replace(agent.sync, feed_planner=planner))

    # Steps

    def likely_steps(self) -> dict[str, float]:
        return {**super().likely_steps(), **FED_STEPS}

    def steps(self) -> dict[str, Callable[[], Awaitable[object] | None]]:
        return {
            **super().steps(),
            "feed": self.serve_alone,
            "leave": self.leave,
            "lie": self.feeds.lie,
            "group off": self.switch_group_off,
            "lose cursors": self.feeds.lose_cursors,
            "refuse the feed": lambda: self.feeds.refused.add(self.chance.choice(SOURCES).connector),
            "hide the application": lambda: self.feeds.missing.add(self.chance.choice(SOURCES).connector),
            "narrow the role": lambda: self.feeds.narrowed.add(self.chance.choice(SOURCES).connector),
            "leave while read": self.leave_while_read,
            "run": self.run_in_company,
        }

    def fail_source(self) -> None:
        self.world.failing = {self.chance.choice([*self.connectors, "okta"])}

    def stir(self, rate: float) -> None:
        """Let something happen to people or the feed, sometimes."""
        draw = self.chance.random()
        if draw >= rate:
            return
        self.world.is_moving = True
        self.chance.choice([self.leave, self.leave, self.feeds.lie, self.world.move_on])()

    def leave(self) -> None:
        """Let someone leave in one of the ways there are, perhaps only for some seconds."""
        world, chance = self.world, self.chance
        entitled = sorted(key for key, person in world.people.items() if person.status is Status.ACTIVE)
        if not entitled:
            return
        key = chance.choice(entitled)
        person = world.people[key]
        match chance.choice(["suspended", "left", "deleted", "moved", "moved", "back", "back"]):
            case "suspended":
                world.put(replace(person, status=Status.SUSPENDED))
            case "left":
                world.put(replace(person, groups=(), individual=False))
            case "deleted":
                world.remove(key)
            case "moved":
                world.put(replace(person, groups=tuple(each for each in GROUPS if each not in person.groups) or GROUPS))
            case _:
                is_suspended = chance.random() < 0.5
                left = replace(person, groups=(), individual=False)
                world.put(replace(person, status=Status.SUSPENDED) if is_suspended else left)
                asyncio.get_running_loop().call_later(chance.choice([0, 2, 8, 15, 30]), self._put_back, person)

    def _put_back(self, person: Person) -> None:
        if person.key in self.world.people:
            self.feeds.happened["people put back"] += 1
            self.world.put(person)

    def switch_group_off(self) -> None:
        """Take a group off an application: its people lose it, and one event reports all of that."""
        world, connector, group = self.world, self.chance.choice(SOURCES).connector, self.chance.choice(GROUPS)
        with self.feeds.silence():
            for key, person in list(world.people.items()):
                if key.connector == connector and group in person.groups:
                    world.put(replace(person, groups=tuple(each for each in person.groups if each != group)))
        self.feeds.deliver(connector, "app.group-removed", (), (group,))

    async def serve(self, stirred: float, quiet: float = 0.0, fates: Sequence[Fate] = (), stir: float = 0.0) -> Daemon:
        """Let a daemon live for some time."""
        process = Process(self.lived.reached, fates, self.conditions(), self.meanwhile)
        daemon = Daemon(self, process, stir=stir)
        await daemon.serve(stirred, quiet)
        return daemon

    async def serve_alone(self) -> None:
        """Let a daemon live, and things happen to it, or nothing but that people leave."""
        world, chance = self.world, self.chance
        if chance.random() < 0.4:
            await self.serve_calmly()
            return
        world.fault_rate = chance.choice([0, 0, 0.1, 0.4])
        self.feeds.unreadable_rate = chance.choice([0, 0, 0.3])
        fates = draw_feed_fates(chance) if chance.random() < 0.7 else ()
        beside = []
        if chance.random() < 0.3:
            # Another daemon on the same state.
            beside.append(asyncio.create_task(self.serve(60, stir=0.0)))
            self.others.update(cast(list[asyncio.Task[object]], beside))
        await self.serve(chance.uniform(20, 150), fates=fates, stir=chance.choice([0.1, 0.3]))
        await self.settle()
        world.fault_rate, world.failing = 0, set()
        self.feeds.put_right()

    async def serve_calmly(self) -> None:
        """Let a daemon live in peace: each leaver whom a delivered event named is out afterwards, or held by name."""
        world, chance = self.world, self.chance
        self.feeds.put_right()
        world.failing, world.fault_rate = set(), 0
        began = world.elapsed()
        before = {name: {link.person for link in (await self.state.load_memory(name)).links} for name in NAMES}
        cursors = [await self.state.load_feed_cursor(source.connector) for source in SOURCES]
        is_lost = chance.random() < 0.15
        if is_lost:
            self.feeds.lose_cursors()
        by_hand, read_seconds = world.by_hand, world.read_seconds
        if chance.random() < 0.5:
            # People leave while a run over everyone goes on, which a wide event asked for.
            world.read_seconds = 20.0
            self.feeds.deliver(chance.choice(SOURCES).connector, "group.deleted", (), (chance.choice(GROUPS),))
        daemon = await self.serve(STIRRED_SECONDS, QUIET_SECONDS, stir=0.15)
        world.read_seconds = read_seconds
        is_listed_past = any(each.lists_past_until > began for each in world.workspaces.values())
        is_calm = not self.is_misconfigured and not is_listed_past and world.by_hand == by_hand
        self.feeds.happened["daemons in peace"] += is_calm
        for status in daemon.feeds.statuses.values():
            self.expect(not status.problem, "a feed without trouble could not be polled")
        known = {each.connector for each in cursors if each and each.account == world.tenant(each.connector)}
        for name in NAMES if is_calm else ():
            if await self.state.load_pause(name) is None:
                await self.check_named_leavers(name, daemon, before[name], began, known if is_lost else set())
        world.is_moving = False

    async def check_named_leavers(
        self, name: str, daemon: Daemon, linked: set[PersonKey], began: float, lost: set[str]
    ) -> None:
        """Check that no leaver stays unseen whom an event named. *lost* are feeds that lost their place before."""
        own = [each.planned for each in daemon.results if each.workspace == name and isinstance(each.planned, Plan)]
        held = {hold.email.lower() for plan in own for hold in plan.holds}
        held |= {note.email.lower() for plan in own for note in plan.notes}
        policy, is_gone = self.policies()[name], self.fed_watch.is_gone
        until = self.world.elapsed() - QUIET_SECONDS + TICK_SECONDS
        for change in (await self.plan(name)).changes:
            key = change.person
            if change.kind is not Kind.DEACTIVATE or key is None or key not in linked:
                continue
            naming = [
                each
                for each in self.feeds.deliveries[key.connector]
                if each.moved == key and began < each.visible_at <= until and is_gone(key, policy, each.at)
            ]
            is_named = bool(naming) or (key.connector in lost and is_gone(key, policy, began))
            is_held = change.email.lower() in held
            self.expect(not is_named or is_held, "a leaver whom the feed named is neither out nor held by name")

    async def leave_while_read(self) -> None:
        """Let someone come back, and leave again while a whole run has read them and not yet written."""
        world, chance = self.world, self.chance
        if self.is_misconfigured:
            return
        self.feeds.put_right()
        fed = [name for name in NAMES if len(self.policies()[name].sources) == 1]
        memory = await self.state.load_memory(chance.choice(fed))
        known = [world.people[link.person] for link in memory.links if link.person in world.people]
        found = [person for person in known if person.groups and person.status is Status.ACTIVE]
        if not found:
            return
        person = chance.choice(found)
        away = replace(person, status=Status.SUSPENDED) if chance.random() < 0.5 else replace(person, groups=())
        if chance.random() < 0.7:
            world.put(away)
            await self.run(self.agent())
            await asyncio.sleep(60)
            world.put(person)
        seconds, world.read_seconds = world.read_seconds, 30.0
        run = asyncio.create_task(self.run(self.agent()))
        self.others.add(run)
        self.others.add(asyncio.create_task(self.serve(chance.choice([25, 60]))))
        await asyncio.sleep(chance.uniform(0.5, 10))
        if person.key in world.people:
            world.is_moving = True
            world.put(away)
        await self.settle()
        world.read_seconds = seconds
        self.feeds.happened["people who left while a run read"] += 1

    async def run_in_company(self) -> None:
        """Run in trouble, perhaps while a daemon polls."""
        self.has_company = self.chance.random() < 0.5
        if self.has_company:
            stir = self.chance.choice([0, 0.2])
            self.others.add(asyncio.create_task(self.serve(self.chance.uniform(10, 90), stir=stir)))
        await self.run_in_trouble()
        self.has_company = False

    async def check_leavers(self, results: Sequence[RunResult]) -> None:
        if not self.has_company:
            await super().check_leavers(results)

    async def put_right(self) -> None:
        await super().put_right()
        self.feeds.put_right()
        self.world.read_seconds = 0

    # What must hold at any time.

    async def check_limits(self, found: list[tuple[Run, ChangeRecord]]) -> None:
        """No change is made beyond a guard, counted within the hour before it: a run plans more than once."""
        deactivations = [
            (run, each) for run, each in found if each.change.kind is Kind.DEACTIVATE and each.outcome in COUNTED
        ]
        for run, record in deactivations:
            if run.id in self.approved_runs or run.approved_digest or run.trigger is Trigger.UNDO:
                continue
            hour = [each for each in deactivations if record.sent_at - HOUR < each[1].sent_at <= record.sent_at]
            own = {each.scim_id for of, each in hour if of.workspace == run.workspace}
            self.expect(len(own) <= LIMIT, "more deactivations than the guard allows")
            known = [
                (of, each) for of, each in hour if each.sent_at < run.started_at or self.are_of_one_command(run, of)
            ]
            if self.was_renamed or any(of.id in self.approved_runs or of.approved_digest for of, _ in known):
                continue
            together = {(of.workspace, each.scim_id) for of, each in known}
            self.expect(len(together) <= FLEET_LIMIT, "more deactivations than the guard of all workspaces allows")

    async def check(self) -> None:
        await super().check()
        for run, record in await self.records():
            is_feed = run.trigger is Trigger.FEED
            self.expect(not is_feed or record.change.kind is Kind.DEACTIVATE, "a feed run planned another change")

    async def count_overtaken(self) -> None:
        for _, record in await self.records():
            if record.detail in LEFT_OUT and record.outcome is Outcome.HELD:
                self.feeds.happened["changes dropped for who left since the read"] += 1
