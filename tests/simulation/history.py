"""One random history: the world changes, runs start and end, meet faults or are killed, and invariants are checked.

Time is virtual, and every wait of a process is a point where something may happen to it (`process`). The real engine,
planner, guards, leases and SCIM client run over a pretend company and two pretend workspaces. The state is in memory
or, in some histories, a real SQLite file.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import httpx

from agent.diff.plan import compute_plan
from agent.engine.dryrun import dry_run
from agent.engine.planner import Planner, ReadOnlyWorkspace
from agent.engine.request import FleetLimit, RunRequest, RunResult, WorkspaceContext
from agent.engine.sync import Sync
from agent.engine.undo import UndoPlanner
from agent.errors import AlreadyApproved, PigmentSyncError, StalePlan
from agent.model import IndividualAction, Inputs, Kind, Mode, Plan, Policy, UnmanagedAction, Unplanned
from agent.model.approval import ApprovalPolicy
from agent.model.run import ChangeRecord, Outcome, Pause, Run, RunStatus, Trigger
from agent.plan_parser import describe_difference
from agent.ports.state import State
from agent.scim.client import ScimClient
from agent.scim.rate_limit import RateLimiters
from agent.store.state import SqlState
from connectors.base import PersonKey, discard_progress
from connectors.http import RequestLimits, Timer
from sandbox.pigment.write_log import Write
from tests.factories import plan_of, some_limits
from tests.memory_state import MemoryState
from tests.simulation.invariants import Broken, Sender, Undone, Watch, check_run, is_entitled
from tests.simulation.process import Died, Fate, Happening, Process, Reached, draw_fates, draw_write_fates, watched
from tests.simulation.transport import SimulatedPigment
from tests.simulation.world import GROUPS, SOURCES, START, SimulatedConnector, Workspace, World, human
from tests.simulation.writers import Shown, Writers, members_now

__all__ = ["LENGTH", "Broken", "Lived", "live_through"]

STEPS = {
    "hire": 3,
    "change": 4,
    "swap": 1,
    "exodus": 1,
    "hand": 2,
    "undo us": 1,
    "time": 1,
    "fail": 1,
    "empty group": 1,
    "tenant": 0.5,
    "remake": 0.5,
    "list the past": 0.5,
    "groups": 0.5,
    "rename key": 0.5,
    "swap targets": 0.3,
    "pause": 0.5,
    "undo": 0.7,
    "old approval": 0.5,
    "one person": 1,
    "two at once": 1,
    "fight": 0.5,
    "another agent": 2,
    "run": 10,
}
LENGTH = 14
LIMIT = 2
FLEET_LIMIT = 3
"""The floor: there are never so many people that 10 % are more."""
COUNTED = {Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED}
HOUR = timedelta(minutes=60)
BOUNDS = RequestLimits(retries=2, max_wait_seconds=60)
ROUNDS = 8
"""How many approved runs put everything right."""
NAMES = ("latam", "apac")
PROTECTED = ("hal@acme.com",)
SHORT_SECONDS = 3
OTHER = 0.3
"""The share of histories in which another agent, with a state of its own, works on the same workspaces."""
TWO_PEOPLE = 0.3
"""The share of histories in which two people must approve a plan."""
WRITE_FATES = 0.4
"""The share of the runs in trouble that meet something while changes are in flight, where several may be."""
IN_FLIGHT = (1, 4, 8)
"""How many changes of a workspace its agents send at once, of which each history draws one."""
REAL_STATE = 0.01
"""The share of histories over a real SQLite file: they take longer."""


def _policy(
    world: World, name: str, key: str, url: str, groups: tuple[str, ...], options: Mapping[str, object]
) -> Policy:
    """Return the policy of the workspace *name*, which the configuration calls *key*."""
    sources = tuple(replace(source, groups=groups) for source in (SOURCES if name == "latam" else SOURCES[:1]))
    return Policy(
        key,
        sources,
        mode=Mode.ENFORCE,
        protect=PROTECTED,
        limits=some_limits(max_deactivations=LIMIT, max_deactivations_percent=100),
        target=url,
        tenants=tuple((source.connector, world.tenant(source.connector)) for source in sources),
        **options,  # type: ignore[arg-type]  # a dictionary has no types of its own
    )


class Other:
    """Another agent: a state and a policy of its own, the same workspaces. *writes* are those that it made."""

    def __init__(
        self, world: World, targets: Mapping[str, str], options: Mapping[str, object], chance: random.Random
    ) -> None:
        self.world = world
        self.targets = targets
        self.state = MemoryState(world.now)
        self.watch = Watch(world, self.state, lambda name, url: targets[name] == url)
        self.groups: tuple[str, ...] = chance.choice([(), (), GROUPS[:1]])
        self.options = dict(options)
        if chance.random() < 0.3:
            self.options["individual_assignments"] = chance.choice(list(IndividualAction))
        self.writes: set[tuple[str, int]] = set()

    def policies(self) -> dict[str, Policy]:
        return {
            name: _policy(self.world, name, name, url, self.groups, self.options) for name, url in self.targets.items()
        }


@dataclass
class Lived:
    """What a history was: how many writes it had, which points its processes reached, and what a feed met."""

    writes: int = 0
    reached: Reached = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class SimulatedClock:
    """Implements `agent.ports.clock.Clock` in virtual time."""

    world: World
    process: Process

    def now(self) -> datetime:
        self.process.live()
        return self.world.now()

    def elapsed(self) -> float:
        return self.world.elapsed()


@dataclass(frozen=True)
class Agent:
    """What one process of the agent is made of."""

    sender: Sender
    survey: Planner
    sync: Sync
    read_sites: dict[str, ReadOnlyWorkspace]


class History:
    """The state, the policies and the invariants of one history."""

    def __init__(self, seed: int, state: State, world: World, lived: Lived) -> None:
        self.chance = world.chance
        self.world = world
        self.state = state
        self.lived = lived
        world.latency = self.chance.choice([0.05, 0.05, 2.0])
        is_lax = self.chance.random() < 0.15
        first = [world.add_workspace(name, is_lax=is_lax) for name in NAMES]
        self.targets = dict(zip(NAMES, (each.url for each in first), strict=True))
        self.right = dict(self.targets)
        self.groups: tuple[str, ...] = ()
        self.renamed: dict[str, str] = {}
        self.was_renamed = False
        self.options = {
            "unmanaged": self.chance.choice(
                [UnmanagedAction.REPORT, UnmanagedAction.REPORT, UnmanagedAction.DEACTIVATE]
            ),
            "individual_assignments": self.chance.choice(list(IndividualAction)),
            "grace_reads": self.chance.choice([1, 1, 2]),
        }
        self.numbers = count(1)
        self.others: set[asyncio.Task[object]] = set()
        self.approved_runs: set[str] = set()
        self.commands: list[set[str]] = []
        self.linked_ever: set[str] = set()
        self.former_digests: list[dict[str, str]] = []
        self.seed = seed
        self.watch = Watch(world, state, self.is_right)
        # A separate random stream, so that this draw does not change the rest of the history.
        chance = random.Random(f"another agent {seed}")
        self.other = Other(world, dict(self.targets), self.options, chance) if chance.random() < OTHER else None
        self.is_listed_past = False
        self.needs_two = random.Random(f"two people {seed}").random() < TWO_PEOPLE

    # What the configuration contains now.

    def is_right(self, name: str, url: str) -> bool:
        return self.right.get(self.home(name)) == url and name not in self.renamed.values()

    def home(self, name: str) -> str:
        """Return the key that the state knows a workspace by."""
        return next((old for old, new in self.renamed.items() if new == name), name)

    def policies(self) -> dict[str, Policy]:
        keys = {name: self.renamed.get(name, name) for name in self.targets}
        return {
            key: _policy(self.world, name, key, self.targets[name], self.groups, self.options)
            for name, key in keys.items()
        }

    # Processes

    def agent(self, fates: Sequence[Fate] = (), other: Other | None = None, process: Process | None = None) -> Agent:
        """Build what a new process would build, or *process* for one more run; of the *other* agent if it is given."""
        world = self.world
        process = process or Process(self.lived.reached, fates, self.conditions(), self.meanwhile)
        policies, watch = (other.policies(), other.watch) if other else (self.policies(), self.watch)
        read_at: dict[str, list[float]] = {source.connector: [] for source in SOURCES}
        by_url = {policy.target: policy for policy in policies.values()}
        sender = Sender(f"process {next(self.numbers)}", process, by_url, read_at)
        if other:
            sender.writes = other.writes

        async def wait(seconds: float) -> None:
            await process.sleep("wait", seconds)

        async def renewal(seconds: float) -> None:
            await process.sleep("renewal", seconds)

        timer = Timer(world.elapsed, wait, lambda: world.now().timestamp())
        client = httpx.AsyncClient(transport=SimulatedPigment(world, sender, watch.write), timeout=30)
        paces = RateLimiters(timer=timer)
        clients = {
            name: ScimClient(
                name,
                policy.target,
                [lambda url=policy.target: world.workspaces[url].token],  # type: ignore[misc]  # bound where it is made
                client,
                limits=BOUNDS,
                rate_limiter=paces.for_url(policy.target),
                timer=timer,
            )
            for name, policy in policies.items()
        }
        connectors = {
            name: SimulatedConnector(world, name, process, read_at[name], sender.end_read) for name in read_at
        }
        state, clock = watched(watch.state, process), SimulatedClock(world, process)
        survey = Planner(connectors, state, clock, FleetLimit(tuple(policies), 10), discard_progress)
        sites = {name: WorkspaceContext(policy, clients[name]) for name, policy in policies.items()}
        needed = ApprovalPolicy(needed=2 if self.needs_two else 1)
        sync = Sync(
            survey,
            sites,
            sender.holder,
            renewal,
            describe_difference,
            approval_policy=needed,
            in_flight=world.in_flight,
        )
        return Agent(
            sender, survey, sync, {name: ReadOnlyWorkspace(each.policy, each.client) for name, each in sites.items()}
        )

    def conditions(self) -> dict[str, Callable[[], bool]]:
        return {
            "moving": lambda: self.world.is_moving,
            "another process": lambda: bool(self.others),
            "faults": lambda: self.world.fault_rate > 0,
        }

    async def meanwhile(self, seconds: float) -> None:
        """While a process waits for so many seconds, the world changes: people move, and another process runs."""
        world, chance = self.world, self.chance
        world.is_moving = True
        ends = world.elapsed() + seconds
        if seconds > 1 and len(self.others) < 2 and chance.random() < 0.6:
            delay = chance.uniform(0, seconds)
            self.others.add(asyncio.create_task(self.run_later(delay)))
        while (left := ends - world.elapsed()) > 0:
            await asyncio.sleep(min(left, chance.uniform(1, max(2, seconds / 2))))
            if chance.random() < 0.5:
                world.move_on()
            if chance.random() < 0.05:
                await self.pause_or_resume()

    async def run_later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.run(self.agent())

    async def settle(self) -> None:
        """Wait for the other processes to end; an error in one of them fails the history."""
        while self.others:
            done, self.others = await asyncio.wait(self.others), set()
            for task in done[0]:
                task.result()
        self.world.is_moving = False

    async def alive(self, agent: Agent, work: Awaitable[list[RunResult]]) -> list[RunResult] | None:
        """Return the results of *work*, None when its process died, lost its lease or its state, or was refused."""

        async def main() -> list[RunResult]:
            return await work

        task = asyncio.create_task(main())
        process = agent.sender.process
        process.mains.add(task)
        try:
            return await task
        except (Died, PigmentSyncError):
            await self._count_left()
            return None
        except asyncio.CancelledError:
            if not process.is_dead:
                raise
            await self._count_left()
            return None
        finally:
            process.mains.discard(task)

    async def _count_left(self) -> None:
        """Count the ends of processes that left several changes without an outcome."""
        left = max([len(await self.state.load_in_flight(name)) for name in NAMES])
        if left > 1:
            self.lived.happened[f"ends with {left} changes in flight"] += 1

    async def run(
        self,
        agent: Agent,
        order: RunRequest | None = None,
        names: Sequence[str] = (),
        work: Awaitable[list[RunResult]] | None = None,
    ) -> list[RunResult] | None:
        """Run once, or do *work* that is a run; None when the process did not come to its end."""
        sites = [site for name, site in agent.read_sites.items() if not names or name in names]
        read = {source.connector for site in sites for source in site.policy.sources}
        by_hand, was_failing = self.world.by_hand, bool(self.world.failing & read)
        written = self.written()
        was_calm = not self.others and not self.world.is_moving
        results = await self.alive(agent, work or agent.sync.run(names, order or RunRequest(Trigger.SYNC)))
        if results is None:
            return None
        is_calm = was_calm and not self.world.is_moving and not self.others and self.world.by_hand == by_hand
        if was_failing and is_calm:
            # A run whose read failed may then be cut off from its state.
            failed = {result.workspace for result in results if isinstance(result.planned, Unplanned)}
            self.expect(bool(failed) or written == self.written(), "an incomplete read led to a write")
        self.commands.append({result.run_id for result in results if result.run_id})
        for result in results:
            self.check_own(result)
            error = str(result.planned) if isinstance(result.planned, Unplanned) else ""
            self.expect("unexpected error" not in error, f"a bug: {error}")
            if result.run_id and await self.is_own(result.run_id):
                url = agent.read_sites[result.workspace].policy.target
                await check_run(result, self.state, self.world.workspaces[url], is_calm=is_calm)
        return results

    def check_own(self, result: RunResult) -> None:
        """What our own runs did is never taken for another writer's, except by a run that was overtaken by another."""
        codes = {note.code for note in result.planned.notes} if isinstance(result.planned, Plan) else set()
        is_alone = not self.world.by_hand and self.other is None and not self.is_listed_past and not result.error
        self.expect(not is_alone or "another-writer" not in codes, "our own change was taken for another writer's")

    async def is_own(self, run_id: str) -> bool:
        """Return whether a run was closed by its own process, and not by one that took its lease."""
        run = await self.state.load_run(run_id)
        return run is not None and run.status is not RunStatus.INTERRUPTED

    def written(self) -> int:
        return sum(len(space.write_log.writes) for space in self.world.spaces)

    def own_writes(self, workspace: Workspace) -> list[Write]:
        """Return the writes to a workspace that the other agent did not make."""
        writes = workspace.space.write_log.writes
        if self.other is None:
            return writes
        return [write for at, write in enumerate(writes) if (workspace.url, at) not in self.other.writes]

    async def digests(self, names: Sequence[str] = ()) -> dict[str, str]:
        """Read the plans, as an operator would, and return their digests by workspace."""
        agent, written = self.agent(), self.written()
        planned = await dry_run(agent.survey, agent.read_sites, names, RunRequest(Trigger.PLAN))
        self.expect(self.written() == written or bool(self.others), "a dry run wrote")
        return {each.workspace: each.digest for each in planned if isinstance(each.planned, Plan)}

    async def run_approved(self, digests: dict[str, str], agent: Agent, names: Sequence[str] = ()) -> bool:
        """Run with approvals of plans by workspace; return whether it was not refused and came to its end.

        Where two people must approve, one of them does so before, in a run without faults.
        """
        if self.needs_two:
            results = await self.run_approved_by("bea@acme.com", digests, self.agent(), names)
            if results is None or (results and not any(result.waiting for result in results)):
                return results is not None
        return await self.run_approved_by("ana@acme.com", digests, agent, names) is not None

    async def run_approved_by(
        self, by: str, digests: dict[str, str], agent: Agent, names: Sequence[str]
    ) -> list[RunResult] | None:
        """Run with the approval of one person; return None if it was stale or died, nothing if it was repeated."""
        agent.sender.is_approved = True
        written = self.written()
        order = RunRequest(Trigger.SYNC, by=by, reason="reviewed", approved_digests=frozenset(digests.values()))
        task = agent.sync.run(names, order)
        is_alone = not self.others
        try:
            results = await self.run_raising(agent, task)
        except StalePlan:
            self.expect(not is_alone or self.written() == written or bool(self.others), "a stale approval wrote")
            return None
        except AlreadyApproved:
            self.expect(not is_alone or self.written() == written or bool(self.others), "a repeated approval wrote")
            return []
        is_waiting = any(result.waiting for result in results or ())
        is_idle = not is_alone or self.written() == written or bool(self.others)
        self.expect(is_idle or not is_waiting, "an approval that waits for a second person wrote")
        for result in results or ():
            self.expect(self.needs_two or not result.waiting, "one person was not enough")
            if result.workspace in digests:
                self.approved_runs.add(result.run_id)
                is_meant = result.digest == digests[result.workspace]
                self.expect(is_meant or not result.records, "another plan than the approved one was applied")
        return results

    async def run_raising(self, agent: Agent, work: Awaitable[list[RunResult]]) -> list[RunResult] | None:
        refused: list[StalePlan | AlreadyApproved] = []

        async def caught() -> list[RunResult]:
            try:
                return await work
            except (StalePlan, AlreadyApproved) as error:
                refused.append(error)
                return []

        results = await self.alive(agent, caught())
        if refused:
            raise refused[0]
        return results

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise Broken(what)

    # What must hold at any time, the middle of a dead process's run included.

    async def records(self) -> list[tuple[Run, ChangeRecord]]:
        return await _records(self.state)

    async def check(self) -> None:
        if self.world.found:
            raise self.world.found[0]
        found = await self.records()
        await self.check_limits(found)
        if self.other is not None:
            await self.check_limits(await _records(self.other.state))
        for name in NAMES:
            space = self.world.workspaces[self.right[name]].space
            patched = space.write_log.patched_paths()
            self.expect(patched <= {"active", "displayname", "name.formatted"}, f"PATCHed {patched}")
            await self.watch.links(name)
            records = [record for run, record in found if run.workspace == name]
            await self.check_workspace(name, self.world.workspaces[self.right[name]], records)

    async def check_workspace(self, name: str, workspace: Workspace, records: list[ChangeRecord]) -> None:
        links = (await self.state.load_memory(name)).links
        self.linked_ever.update(link.scim_id for link in links)
        given = {Kind.ADOPT, Kind.CREATE}
        self.linked_ever.update(each.scim_id for each in records if each.scim_id and each.change.kind in given)
        self.expect(len({link.scim_id for link in links}) == len(links), "one member has two people")
        made: Counter[str] = Counter()
        touched = {record.change.scim_id for record in records}
        created = {record.scim_id for record in records if record.change.kind is Kind.CREATE}
        wanted = {record.change.email for record in records if record.change.kind is Kind.CREATE}
        for write in self.own_writes(workspace):
            body = write.body if isinstance(write.body, dict) else {}
            if write.method == "POST":
                person = str(body["displayName"]).split()[1]
                made[person] += self._is_theirs(name, person, write.scim_id or "")
                self.expect(body["userName"] in wanted, "a create is not in the journal")
            else:
                is_wanted = self.options["unmanaged"] is UnmanagedAction.DEACTIVATE or write.scim_id in self.linked_ever
                # A create that met an inactive member of the same name reactivates it: the record names it afterwards.
                adopted_by_conflict = body.get("userName") in wanted or write.scim_id in created
                self.expect(is_wanted or adopted_by_conflict, "an unlinked member was touched unasked")
                self.expect(write.scim_id in touched or adopted_by_conflict, "a write is not in the journal")
        if not workspace.is_lax:
            for human_name, members in made.items():
                self.expect(members <= 1, f"{human_name} got {members} members")

    def _is_theirs(self, workspace: str, name: str, scim_id: str) -> bool:
        """Return whether a member that was made for a person must still be known as theirs.

        A human of two sources may leave their account to their other identity. And its owner can't be known if an
        administrator renames it, or gives it another address, between a run that lost the answer to its creation and
        the next one. A human who is created again at the source may rightly be created again here. The same holds
        if an operator undid their creation.
        """
        owner = self.watch.owners.get((workspace, scim_id))
        is_remade = any(human_id == name and _ids(known) > 1 for (_, human_id), known in self.world.past.items())
        if is_remade or name in self.watch.let_go:
            return False
        return owner.id == name if owner else scim_id not in self.world.edited

    async def check_limits(self, found: list[tuple[Run, ChangeRecord]]) -> None:
        deactivations = [
            (run, each) for run, each in found if each.change.kind is Kind.DEACTIVATE and each.outcome in COUNTED
        ]
        by_run = {run.id: run for run, _ in deactivations}
        for run in by_run.values():
            if run.id in self.approved_runs or run.approved_digest or run.trigger is Trigger.UNDO:
                continue
            own = {(each.workspace, record.scim_id) for each, record in deactivations if each.id == run.id}
            recent = {
                (each.workspace, record.scim_id)
                for each, record in deactivations
                if each.started_at < run.started_at
                and record.sent_at >= run.started_at - HOUR
                and each.workspace == run.workspace
            }
            self.expect(len(own | recent) <= LIMIT, "more deactivations than the guard allows")
            self.check_fleet(run, deactivations)

    def check_fleet(self, run: Run, deactivations: list[tuple[Run, ChangeRecord]]) -> None:
        """All workspaces together lose no more within an hour than the guard of the fleet allows.

        Of another command that runs at the same moment, a plan can count only what is on record by then.
        """
        last = max(record.sent_at for each, record in deactivations if each.id == run.id)
        recent = [
            (each, record)
            for each, record in deactivations
            if run.started_at - HOUR <= record.sent_at <= last
            and (record.sent_at < run.started_at or self.are_of_one_command(run, each))
        ]
        if self.was_renamed or any(each.id in self.approved_runs or each.approved_digest for each, _ in recent):
            return
        together = {(each.workspace, record.scim_id) for each, record in recent}
        self.expect(len(together) <= FLEET_LIMIT, "more deactivations than the guard of all workspaces allows")

    def are_of_one_command(self, run: Run, other: Run) -> bool:
        return run.id == other.id or any({run.id, other.id} <= ids for ids in self.commands)

    # Steps

    async def found(self) -> None:
        """Begin with a company of some size, half of the time in sync."""
        for _ in range(self.chance.randrange(10)):
            self.world.hire()
        if self.chance.random() < 0.5:
            await self.run(self.agent())
            await asyncio.sleep(60)

    async def step(self) -> None:
        likely, steps = self.likely_steps(), self.steps()
        waiting = steps[self.chance.choices(list(likely), list(likely.values()))[0]]()
        if waiting is not None:
            await waiting
        await self.settle()

    def likely_steps(self) -> dict[str, float]:
        return {name: weight for name, weight in STEPS.items() if self.other or name != "another agent"}

    def steps(self) -> dict[str, Callable[[], Awaitable[object] | None]]:
        return {
            "hire": self.world.hire,
            "change": self.world.change_other_person,
            "exodus": self.world.lose_many,
            "swap": self.world.swap_emails,
            "hand": self.world.edit_by_hand,
            "undo us": lambda: self.world.undo_us(self.chance.choice(self.world.spaces)),
            "time": self.pass_time,
            "fail": self.fail_source,
            "empty group": self.world.empty_group,
            "tenant": self.world.swap_tenant,
            "remake": self.world.remake_all,
            "list the past": self.list_past,
            "groups": self.choose_groups,
            "rename key": self.rename_key,
            "swap targets": self.swap_targets,
            "pause": self.pause_or_resume,
            "undo": self.undo_last,
            "old approval": self.approve_old,
            "one person": self.run_for_one,
            "two at once": self.run_two,
            "fight": self.fight,
            "another agent": self.run_other,
            "run": self.run_in_trouble,
        }

    async def pass_time(self) -> None:
        await asyncio.sleep(60 * self.chance.choice([5, 30, 61, 60 * 25]))

    def fail_source(self) -> None:
        self.world.failing = {self.chance.choice(SOURCES).connector}

    def list_past(self) -> None:
        self.is_listed_past = True
        workspace = self.world.workspaces[self.chance.choice(list(self.world.workspaces))]
        workspace.list_past(self.world.elapsed() + self.chance.choice([2, 4, 90]))

    def choose_groups(self) -> None:
        self.groups = self.chance.choice([(), (), GROUPS[:1]])

    async def rename_key(self) -> None:
        name = self.chance.choice(NAMES)
        if await self.is_known() and self.renamed.pop(name, None) is None:
            self.renamed[name], self.was_renamed = f"{name}-new", True

    async def swap_targets(self) -> None:
        if await self.is_known():
            self.targets = dict(zip(NAMES, reversed(self.targets.values()), strict=True))

    async def run_for_one(self) -> None:
        if self.world.people:
            person = self.chance.choice(list(self.world.people.values()))
            await self.run(self.agent(), RunRequest(Trigger.SYNC, user=person.email or ""))

    async def run_other(self) -> None:
        """Let the other agent run, and require that our next plan names what it changed."""
        other, world = self.other, self.world
        if other is None or world.strangers or world.lies or world.failing or self.is_misconfigured:
            return
        before = {name: members_now(world.workspaces[url]) for name, url in self.right.items()}
        agent = self.agent(other=other)
        for result in await self.alive(agent, agent.sync.run((), RunRequest(Trigger.SYNC))) or ():
            error = str(result.planned) if isinstance(result.planned, Unplanned) else ""
            self.expect("unexpected error" not in error, "a bug in the other agent's run")
            if result.run_id:
                await check_run(result, other.state, world.workspaces[self.right[result.workspace]], is_calm=True)
        for name, url in self.right.items():
            links = (await other.state.load_memory(name)).links
            self.expect(len({link.scim_id for link in links}) == len(links), "one member has two people")
            await other.watch.links(name)
            workspace = world.workspaces[url]
            now = members_now(workspace)
            for scim_id, shown in now.items():
                if before[name].get(scim_id, shown)[:2] != shown[:2] or scim_id not in before[name]:
                    world.edited.add(scim_id)
            if workspace.lists_past_until <= world.elapsed():
                await self.check_named(name, before[name], now)

    async def check_named(self, name: str, before: Shown, now: Shown) -> None:
        """Check that a plan of ours names the other agent's changes that undo ours or match the sources."""
        taken = await self.state.load_last_seen(name, self.world.now())
        fault_rate, self.world.fault_rate = self.world.fault_rate, 0
        plan = await self.plan(name)
        self.world.fault_rate = fault_rate
        noted = {note.email for note in plan.notes if note.code == "another-writer"}
        if taken is None:
            return
        links = {link.scim_id: link.person for link in (await self.state.load_memory(name)).links}
        ours = [record for run, record in await self.records() if run.workspace == name]
        judge = Writers(self.world, self.policies()[name], taken, links, ours)
        for scim_id, shown in now.items():
            if judge.is_anothers(scim_id, before.get(scim_id), shown):
                self.expect(shown[0] in noted, "another writer's change was not named")

    async def fight(self) -> None:
        """Another tool activates the leavers again, after each run."""
        if self.world.people:
            self.world.put(replace(self.world.people[self.chance.choice(sorted(self.world.people))], groups=()))
        for _ in range(3):
            await self.run(self.agent())
            for space in self.world.spaces:
                self.world.undo_us(space)
            await asyncio.sleep(60)

    async def run_two(self) -> None:
        await asyncio.gather(self.run(self.agent()), self.run(self.agent(draw_fates(self.chance))))

    async def is_known(self) -> bool:
        """Return whether the state knows every workspace: until then a key stands for what it is first run with."""
        return {known.workspace for known in await self.state.load_targets() if not known.connector} >= set(NAMES)

    async def pause_or_resume(self) -> None:
        name = self.chance.choice(NAMES)
        if await self.state.load_pause(name) is None:
            await self.state.set_pause(name, Pause(self.world.now(), "ana@acme.com", "wait"))
        else:
            await self.state.set_pause(name, None)

    async def pause_soon(self) -> None:
        """Pause a workspace in the middle of what is going on there."""
        await asyncio.sleep(self.chance.uniform(0, 20))
        await self.pause_or_resume()

    async def undo_last(self) -> None:
        """Put back what the last run of a workspace did, as an operator who approves it."""
        runs = await self.state.load_runs([self.chance.choice(NAMES)], limit=5)
        run = next((each for each in runs if each.trigger is Trigger.SYNC and each.status is RunStatus.DONE), None)
        if run is None or self.is_misconfigured:
            return
        agent = self.agent()
        undoing = UndoPlanner(run.id, agent.survey.state, agent.survey.clock, discard_progress)
        order = RunRequest(Trigger.UNDO, by="ana@acme.com", reason="a mistake")
        agent.sender.is_approved = agent.sender.is_undo = True
        undone_at = self.world.now()
        for result in await self.alive(agent, replace(agent.sync, planner=undoing).run([run.workspace], order)) or ():
            self.approved_runs.add(result.run_id)
            for record in result.records:
                active = record.change.after.active
                if record.change.person is not None and record.change.code == "undo-create":
                    self.watch.let_go.add(human(record.change.person.id))
                if record.outcome is Outcome.DONE and record.scim_id and active is not None:
                    url = self.right[result.workspace]
                    # The facts that the undo keeps are those of the run that it puts back.
                    since = (run.started_at - START).total_seconds()
                    undone = record.change.undone_change
                    groups = frozenset(undone.groups if undone else ())
                    self.watch.undone[url, record.scim_id] = Undone(undone_at, since, not active, groups)
        await asyncio.sleep(60)

    async def approve_old(self) -> None:
        """Approve what was read some time ago: nothing is written unless the plan is still the same."""
        if self.is_misconfigured:
            return
        now = await self.digests()
        if self.former_digests:
            await self.run_approved(self.chance.choice(self.former_digests), self.agent())
        self.former_digests.append(now)

    @property
    def is_misconfigured(self) -> bool:
        """Return whether an operator who reads a plan would not approve it."""
        return bool(self.renamed or self.world.strangers or self.world.lies or self.targets != self.right)

    async def run_in_trouble(self) -> None:
        """Run while answers are lost, the process dies or hangs, people and administrators act; or without faults."""
        world, chance = self.world, self.chance
        world.fault_rate = chance.choice([0, 0, 0.1, 0.4])
        fates = self._draw_fates()
        is_away_shortly = chance.random() < 0.05
        if is_away_shortly:
            # The database is away while the lease is renewed, and back long before it ends; the run takes longer.
            happening = chance.choice([Happening.CUT, Happening.SILENCE])
            fates = (Fate("state renew_lease", 1, happening, SHORT_SECONDS), Fate("read", 1, Happening.DELAY, 30))
        world.unrest = 0.5 if not fates and world.fault_rate == 0 and chance.random() < 0.4 else 0
        world.short_rate = chance.choice([0, 0, 0.3])
        world.is_blind = world.short_rate == 0 and chance.random() < 0.5
        for _ in range(chance.randrange(3)):
            world.move_on()
        if chance.random() < 0.05:
            self.others.add(asyncio.create_task(self.pause_soon()))
        agent = self.agent(fates)
        if not self.is_misconfigured and chance.random() < 0.2:
            digests = await self.digests()
            if chance.random() < 0.3:
                world.change_other_person()
            await self.run_approved(digests, agent)
        else:
            results = await self.run(agent)
            is_excused = bool(self.others) or not is_away_shortly
            is_ended = results is None or any(each.status is RunStatus.INTERRUPTED for each in results)
            self.expect(not is_ended or is_excused, "a run ended for a database that was away shortly")
            if results is not None and not fates:
                await self.check_leavers(results)
        await self.settle()
        if chance.random() < 0.5:
            await self.readdress_unanswered()
        world.failing, world.unrest, world.short_rate, world.is_blind = set(), 0, 0, False
        await asyncio.sleep(60)

    def _draw_fates(self) -> tuple[Fate, ...]:
        fates = draw_fates(self.chance) if self.chance.random() < 0.6 else ()
        if self.world.in_flight > 1 and self.world.order.random() < WRITE_FATES:
            return draw_write_fates(self.world.order)
        return fates

    async def check_leavers(self, results: Sequence[RunResult]) -> None:
        """After a run without trouble each leaver is out, or the run named who stays and why."""
        world = self.world
        if world.fault_rate or world.unrest or world.short_rate or world.failing or self.is_misconfigured:
            return
        if any(each.lists_past_until > world.elapsed() - 60 for each in world.workspaces.values()):
            return
        for result in results:
            if result.status not in {RunStatus.DONE, RunStatus.HELD}:
                continue
            made = plan_of(result)
            held = {hold.email for hold in made.holds} | {note.email for note in made.notes}
            for change in (await self.plan(result.workspace)).changes:
                is_named = change.kind is not Kind.DEACTIVATE or change.email in held
                self.expect(is_named or result.pause is not None, "a leaver is neither out nor held by name")

    async def readdress_unanswered(self) -> None:
        """Change the email of each person after a create without an answer; some lists do not show it yet."""
        if self.chance.random() < 0.5:
            self.list_past()
        for _, record in await self.records():
            change = record.change
            if record.outcome is Outcome.UNKNOWN and change.kind is Kind.CREATE and change.person in self.world.people:
                self.world.readdress(change.person)

    # The end

    async def put_right(self) -> None:
        """An operator corrects the configuration and its environment."""
        world = self.world
        world.fault_rate, world.failing, world.short_rate = 0, set(), 0
        world.strangers.clear()
        world.lies.clear()
        self.targets, self.renamed, self.groups = dict(self.right), {}, ()
        for name in NAMES:
            await self.state.set_pause(name, None)

    async def converge(self) -> None:
        """Without further faults and with every plan approved, all people are in sync or held by the table."""
        await self.put_right()
        quiet = 0
        for _ in range(ROUNDS):
            await asyncio.sleep(61 * 60)
            before = self.written()
            is_done = await self.run_approved(await self.digests(), self.agent())
            self.expect(is_done, "a run died or was stale by itself")
            await self.check()
            is_quiet = self.written() == before and not await self.awaits_members()
            quiet = quiet + 1 if is_quiet else 0
            # An account that was matched meanwhile may be in grace for as many reads, and then be deactivated.
            if quiet == 1 + int(str(self.options["grace_reads"])):
                break
        await asyncio.sleep(61 * 60)
        for name in NAMES:
            plan = await self.plan(name)
            changes = [change for change in plan.changes if change.kind is not Kind.ADOPT]
            self.expect(not changes, f"after eight runs there is still to do: {changes}")
            await self.check_everyone(name, plan)
        await self.lose_doubled()
        written = self.written()
        await self.run(self.agent())
        self.expect(self.written() == written, "a workspace in sync was written to")

    async def awaits_members(self) -> bool:
        """Return whether the member of a create may still appear, so that another create for its person is held."""
        memories = [await self.state.load_memory(name) for name in NAMES]
        return any(each.may_appear and not each.scim_id for memory in memories for each in memory.unconfirmed_creates)

    async def lose_doubled(self) -> None:
        """Let those leave who may have a second member, because a create had no answer, and check that both went."""
        lost = {
            record.change.person
            for _, record in await self.records()
            if record.outcome is Outcome.UNKNOWN and record.change.kind is Kind.CREATE
        }
        going = [self.world.people[key] for key in sorted(self.world.people) if key in lost]
        for person in going:
            self.world.put(replace(person, groups=(), individual=False))
        for _ in range(3 if going else 0):
            await asyncio.sleep(61 * 60)
            await self.run_approved(await self.digests(), self.agent())
        for name in NAMES:
            await self.check_made(name, await self.plan(name))

    async def check_made(self, name: str, plan: Plan) -> None:
        """Check that a member made for a person is not forgotten when they leave, whatever link they have."""
        await self.watch.links(name)
        policy, workspace = self.policies()[name], self.world.workspaces[self.right[name]]
        waiting = {hold.scim_id for hold in plan.holds}
        noted = {note.email.lower() for note in plan.notes if note.code != "unmanaged"}
        entitled = {human(person.id) for person in self.world.people.values() if is_entitled(person, policy)}
        members = {member.id: member for member in workspace.space.members}
        known = {record.scim_id for _, record in await self.records()}
        # Where several members may share one address, a create that was checked against an old listing is sent again.
        is_sent_twice = workspace.is_lax and self.is_listed_past
        for write in self.own_writes(workspace):
            if is_sent_twice and write.scim_id not in known:
                continue
            body = write.body if isinstance(write.body, dict) else {}
            member = members.get(write.scim_id or "")
            if write.method != "POST" or member is None:
                continue
            # The same human may have it by another source now.
            owner = self.watch.owners.get((name, member.id))
            owners = {human(owner.id) if owner else "", str(body["displayName"]).split()[1]}
            is_known = member.id in waiting or member.user_name.lower() in noted or member.id in self.world.edited
            is_let_go = bool(owners & (entitled | self.watch.let_go))
            self.expect(is_known or is_let_go or not member.active, "a member was made for a person who is gone")

    async def plan(self, name: str) -> Plan:
        agent = self.agent()
        policy = agent.read_sites[name].policy
        connectors = agent.survey.connectors
        snapshots = [await connectors[source.connector].read(source) for source in policy.sources]
        listing = await agent.read_sites[name].reader.list_members()
        return compute_plan(Inputs(tuple(snapshots), listing, await self.state.load_memory(name)), policy)

    async def check_everyone(self, name: str, plan: Plan) -> None:
        policy = self.policies()[name]
        workspace = self.world.workspaces[self.right[name]]
        links = {link.person: link.scim_id for link in (await self.state.load_memory(name)).links}
        members = {member.id: member for member in workspace.space.members}
        # A protected member that a lost create made gets no link: it is its person's by that create alone.
        made = {lost.person: members[lost.scim_id] for lost in plan.checked_creates if lost.scim_id in members}
        unlinked = {key: member for key, member in made.items() if member.user_name.lower() in policy.protect}
        held = {hold.person for hold in plan.holds}
        waiting = {hold.scim_id for hold in plan.holds}
        noted = {note.email.lower() for note in plan.notes}
        for person in self.world.people.values():
            key = PersonKey(person.connector, person.id)
            if key in held or (person.email or "").lower() in noted:
                continue
            member = members.get(links[key]) if key in links else unlinked.get(key)
            if member is not None and (member.id in waiting or member.user_name.lower() in noted):
                continue
            if is_entitled(person, policy):
                self.expect(member is not None and member.active, f"{key} has no active member")
                is_same = member is not None and member.user_name.lower() == (person.email or "").lower()
                self.expect(is_same, f"{key} has another email")
            elif member is not None:
                self.expect(not member.active, f"{key} is not entitled and active")


async def _records(state: State) -> list[tuple[Run, ChangeRecord]]:
    runs = await state.load_runs(limit=10_000)
    return [(run, record) for run in runs for record in await state.load_changes(run.id)]


def _ids(known: Sequence[tuple[float, object]]) -> int:
    return len({getattr(person, "id", None) for _, person in known} - {None})


@asynccontextmanager
async def _state(world: World) -> AsyncIterator[State]:
    """Open the state of one history: mostly in memory, sometimes a real database."""
    if world.chance.random() >= REAL_STATE:
        yield MemoryState(world.now)
        return
    with tempfile.TemporaryDirectory() as folder:
        state = await SqlState.open(f"sqlite:///{Path(folder) / 'state.db'}", world.now)
        try:
            yield state
        finally:
            await state.close()


async def live_through(
    seed: int, length: int = LENGTH, kind: type[History] = History, in_flight: int | None = None
) -> Lived:
    """Live through the first *length* steps of the history of *seed*; raises `Broken` with what does not hold.

    Its agents send as many changes at once as the history draws, or *in_flight*: then it is another history.
    """
    # Waits with jitter draw from the interpreter's global random generator.
    random.seed(seed)
    # Streams of their own, so that a history with one change at a time is what it was before there could be several.
    drawn = random.Random(f"in flight {seed}").choice(IN_FLIGHT)
    world = World(random.Random(seed), in_flight=in_flight or drawn, order=random.Random(f"order {seed}"))
    lived = Lived()
    async with _state(world) as state:
        history = kind(seed, state, world, lived)
        await history.found()
        for _ in range(length):
            await history.step()
            await history.check()
        await history.converge()
        lived.writes = history.written()
    return lived
