"""One random history: the world goes on, runs come and go or die, and after each step the invariants hold."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import httpx

from agent.diff.plan import compute_plan
from agent.engine.dryrun import dry_run
from agent.engine.order import FleetLimit, Order, Result
from agent.engine.survey import ReadSite, Survey
from agent.engine.sync import Site, Sync
from agent.errors import LeaseLost, StalePlan
from agent.model import Individual, Kind, Limits, Listing, Mode, Plan, Policy, Reads, Unmanaged
from agent.ports import ChangeRecord, Outcome, RunStatus, Trigger
from agent.scim.client import ScimClient
from connectors.base import PersonKey, silent
from connectors.rest import Bounds, Timer
from tests.simulation.invariants import Broken, Watch, check_run, is_entitled
from tests.simulation.transport import BASE, SimulatedPigment
from tests.simulation.world import SOURCES, Died, MortalState, SimulatedConnector, World

__all__ = ["Broken", "live_through"]

STEPS = {"hire": 3, "change": 4, "swap": 1, "exodus": 1, "hand": 2, "time": 1, "fail": 1, "run": 7}
LENGTH = 14
LIMIT = 3
COUNTED = {Outcome.DONE, Outcome.UNKNOWN, Outcome.NOT_PERSISTED}
HOUR = timedelta(minutes=60)
BOUNDS = Bounds(retries=2, max_wait_seconds=60)


class History:
    """The state, the policy and the invariants of one history."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = World(self.chance)
        self.state = MortalState(self.world.now, world=self.world)
        self.policy = Policy(
            "latam",
            SOURCES,
            mode=Mode.ENFORCE,
            protect=("hal@acme.com",),
            unmanaged=self.chance.choice([Unmanaged.REPORT, Unmanaged.REPORT, Unmanaged.DEACTIVATE]),
            individual_assignments=self.chance.choice(list(Individual)),
            grace_reads=self.chance.choice([1, 1, 2]),
            limits=Limits(LIMIT, 100, None, 25),
        )
        self.approved_runs: set[str] = set()
        self.linked_ever: set[str] = set()
        self.outlived: set[str] = set()
        self.watch = Watch(self.world, self.policy, self.state)

    def parts(self) -> tuple[Survey, Sync, dict[str, ReadSite]]:
        """Build what a new process would build."""
        elapsed = [0.0]

        async def sleep(seconds: float) -> None:
            elapsed[0] += seconds
            await asyncio.sleep(0)

        async def for_ever(_seconds: float) -> None:
            await asyncio.Event().wait()

        timer = Timer(lambda: elapsed[0], sleep, self.world.moment.timestamp)
        client = httpx.AsyncClient(transport=SimulatedPigment(self.world, self.watch.write, self.meanwhile))
        workspace = ScimClient("latam", BASE, [lambda: self.world.token], client, bounds=BOUNDS, timer=timer)
        connectors = {each.connector: SimulatedConnector(self.world, each.connector) for each in SOURCES}
        survey = Survey(connectors, self.state, self.world, FleetLimit(("latam",)), silent)
        sync = Sync(survey, {"latam": Site(self.policy, workspace)}, "process", for_ever)
        return survey, sync, {"latam": ReadSite(self.policy, workspace)}

    async def run(self, *, approve: bool = False, is_calm: bool = False) -> Result | None:
        """Run once; None when the process died. *approve* first reads the plan and then approves its digest.

        Unless it is calm the world may move between the two.
        """
        self.world.is_dead = False
        survey, sync, sites = self.parts()
        before = len(self.world.space.journal.writes)
        failing = set(self.world.failing)
        try:
            digests: frozenset[str] = frozenset()
            if approve:
                (planned,) = await dry_run(survey, sites, [], Order(Trigger.PLAN))
                self.expect(len(self.world.space.journal.writes) == before, "a dry run wrote")
                digests = frozenset({planned.object["digest"]} if planned.object["status"] == "planned" else ())
                if not is_calm and self.chance.random() < 0.3:
                    self.world.change_somebody()
            (result,) = await sync.run([], Order(Trigger.SYNC, approvals=digests))
        except StalePlan:
            # The world moved between reading and approving: then nothing may have been written.
            self.expect(len(self.world.space.journal.writes) == before, "a stale approval wrote")
            return None
        except LeaseLost:
            # It hung while it read, and another run went by.
            return None
        except Died:
            self.world.is_dead, self.world.dies_in = False, None
            self.world.pass_minutes(1)
            return None
        finally:
            self.world.dies_in = None
        self.judge(result, digests, wrote=len(self.world.space.journal.writes) > before, failing=failing)
        return result

    def judge(self, result: Result, digests: frozenset[str], *, wrote: bool, failing: set[str]) -> None:
        """Check a run that neither died nor was refused."""
        self.expect(not (failing and wrote), "an incomplete read led to a write")
        if digests:
            self.approved_runs.add(result.run_id)
            is_approved = result.object["digest"] in digests
            self.expect(is_approved or not wrote, "another plan than the approved one was applied")
        if result.run_id and result.run_id not in self.outlived:
            check_run(result, self.state, self.world)

    async def meanwhile(self) -> None:
        """A process hangs for a minute, longer than its lease lasts, and another runs; then it goes on."""
        self.world.pass_minutes(1)
        self.outlived.update(run.id for run in self.state.journal.values() if run.status is RunStatus.RUNNING)
        if self.chance.random() < 0.5:
            # What was about to be created for them is then created beside another member, and late.
            self.readdress_unanswered()
        await self.run()

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise Broken(what)

    def records(self) -> list[ChangeRecord]:
        return [record for records in self.state.records.values() for record in records.values()]

    def check(self) -> None:
        """Check what must hold at any time, the middle of a dead process's run included."""
        space, records = self.world.space, self.records()
        patched = space.journal.patched_paths()
        self.expect(patched <= {"active", "displayname", "name.formatted"}, f"PATCHed {patched}")
        links = self.state.links.get("latam", {}).values()
        self.watch.links()
        self.linked_ever.update(link.scim_id for link in links)
        given = {Kind.ADOPT, Kind.CREATE}
        self.linked_ever.update(each.scim_id for each in records if each.scim_id and each.change.kind in given)
        self.expect(len({link.scim_id for link in links}) == len(links), "one member has two people")
        made: Counter[str] = Counter()
        intended = {(record.change.scim_id, record.change.kind) for record in records}
        wanted = {record.change.email for record in records if record.change.kind is Kind.CREATE}
        touched = {scim_id for scim_id, _ in intended}
        for write in space.journal.writes:
            body = write.body if isinstance(write.body, dict) else {}
            if write.method == "POST":
                name = str(body["displayName"]).split()[1]
                made[name] += self._is_theirs(name, write.scim_id or "")
                self.expect(body["userName"] in wanted, "a create is not in the journal")
            else:
                asked = self.policy.unmanaged is Unmanaged.DEACTIVATE or write.scim_id in self.linked_ever
                adopted_by_conflict = body.get("userName") in wanted or self._is_from_conflict(write.scim_id)
                self.expect(asked or adopted_by_conflict, "somebody unlinked was touched unasked")
                self.expect(write.scim_id in touched or adopted_by_conflict, "a write is not in the journal")
        late = Counter(key.id for key in self.created_late(records))
        for person, count in made.items():
            self.expect(count <= 1 + late[person], f"{person} got {count} members")
        self.check_limits(records)

    def _is_theirs(self, name: str, scim_id: str) -> bool:
        """Tell whether a member that was made for somebody is still to be known as theirs.

        A human of two sources may leave their account to whom they are in the other. And nobody can tell whose it is
        if an administrator renames it, or gives it another address, before a run that lost the answer to its creation
        is followed by another.
        """
        owner = self.watch.owners.get(scim_id)
        return owner.id == name if owner else scim_id not in self.world.edited

    def _is_from_conflict(self, scim_id: str | None) -> bool:
        """A create that met an inactive member of the same name reactivates it: the record names it afterwards."""
        return any(record.scim_id == scim_id and record.change.kind is Kind.CREATE for record in self.records())

    def check_limits(self, records: list[ChangeRecord]) -> None:
        gone = [each for each in records if each.change.kind is Kind.DEACTIVATE and each.outcome in COUNTED]
        for run_id in {record.run_id for record in gone} - self.approved_runs:
            run = self.state.journal[run_id]
            if run.approved:
                continue
            here = {record.scim_id for record in gone if record.run_id == run_id}
            recent = {
                record.scim_id
                for record in gone
                if self.state.journal[record.run_id].started_at < run.started_at
                and record.sent_at >= run.started_at - HOUR
            }
            self.expect(len(here | recent) <= LIMIT, "more deactivations than the guard allows")

    async def found(self) -> None:
        """Begin with a company of some size, half of the time in step."""
        for _ in range(self.chance.randrange(10)):
            self.world.hire()
        if self.chance.random() < 0.5:
            await self.run()
            self.world.pass_minutes(1)

    async def step(self) -> None:
        world, chance = self.world, self.chance
        match chance.choices(list(STEPS), list(STEPS.values()))[0]:
            case "hire":
                world.hire()
            case "change":
                world.change_somebody()
            case "exodus":
                world.lose_many()
            case "swap":
                world.swap_emails()
            case "hand":
                world.edit_by_hand()
            case "time":
                world.pass_minutes(chance.choice([5, 30, 61]))
            case "fail":
                world.failing = {chance.choice(SOURCES).connector}
            case _:
                await self.run_in_trouble()

    async def run_in_trouble(self) -> None:
        """Run while answers are lost, the process dies or hangs, or an administrator edits; or nothing of that."""
        world, chance = self.world, self.chance
        world.fault_rate = chance.choice([0, 0, 0.1, 0.4])
        approves = chance.random() < 0.2
        world.dies_in = chance.randrange(60) if chance.random() < 0.4 else None
        world.hangs_in = chance.randrange(8) if not approves and chance.random() < 0.2 else None
        is_well = world.fault_rate == 0 and world.dies_in is None and world.hangs_in is None
        world.unrest = 0.5 if is_well and chance.random() < 0.5 else 0
        world.short_rate = chance.choice([0, 0, 0.3])
        await self.run(approve=approves)
        if chance.random() < 0.5:
            self.readdress_unanswered()
        world.failing, world.hangs_in, world.unrest, world.short_rate = set(), None, 0, 0
        world.pass_minutes(1)

    def readdress_unanswered(self) -> None:
        """Those whose creation nobody saw the answer to get another address, by which they can't be found."""
        for record in self.records():
            change = record.change
            if record.outcome is Outcome.UNKNOWN and change.kind is Kind.CREATE and change.person in self.world.people:
                self.world.readdress(change.person)

    async def converge(self) -> None:
        """Once nothing goes wrong any more and every plan is approved, everybody is in step or held by the table."""
        self.world.fault_rate, self.world.failing = 0, set()
        for _ in range(8):
            self.world.pass_minutes(61)
            self.expect(await self.run(approve=True, is_calm=True) is not None, "a run died or was stale by itself")
            self.check()
        self.world.pass_minutes(61)
        plan = await self.plan()
        changes = [change for change in plan.changes if change.kind is not Kind.ADOPT]
        self.expect(not changes, f"after eight runs there is still to do: {changes}")
        await self.check_everybody(plan)
        await self.lose_doubled()
        written = len(self.world.space.journal.writes)
        await self.run()
        self.expect(len(self.world.space.journal.writes) == written, "a workspace in step was written to")

    async def lose_doubled(self) -> None:
        """Let those go who may have a second member, and look whether both went."""
        going = [key for key in self.created_late(self.records()) if key in self.world.people]
        for key in going:
            self.world.people[key] = replace(self.world.people[key], groups=(), individual=False)
        for _ in range(3 if going else 0):
            self.world.pass_minutes(61)
            await self.run(approve=True, is_calm=True)
        self.check_made(await self.plan())

    async def plan(self) -> Plan:
        connectors = [SimulatedConnector(self.world, each.connector) for each in SOURCES]
        snapshots = [await each.read(source) for each, source in zip(connectors, SOURCES, strict=True)]
        _, sync, _ = self.parts()
        listing: Listing = await sync.sites["latam"].workspace.listing()
        return compute_plan(Reads(tuple(snapshots), listing, await self.state.memory("latam")), self.policy)

    async def check_everybody(self, plan: Plan) -> None:
        links = self.state.links.get("latam", {})
        members = {member.id: member for member in self.world.space.members}
        held = {hold.person for hold in plan.holds}
        waiting = {hold.scim_id for hold in plan.holds}
        noted = {note.email.lower() for note in plan.notes}
        for person in self.world.people.values():
            key = PersonKey(person.connector, person.id)
            if key in held or (person.email or "").lower() in noted:
                continue
            member = members.get(links[key].scim_id) if key in links else None
            if member is not None and (member.id in waiting or member.user_name.lower() in noted):
                continue
            if is_entitled(person, self.policy):
                self.expect(member is not None and member.active, f"{key} has no active member")
                is_same = member is not None and member.user_name.lower() == (person.email or "").lower()
                self.expect(is_same, f"{key} has another email")
            elif member is not None:
                self.expect(not member.active, f"{key} is not entitled and active")

    def created_late(self, records: list[ChangeRecord]) -> list[PersonKey]:
        """Return for whom a run that another one had overtaken sent a create, and nobody saw the answer."""
        return [
            record.change.person
            for record in records
            if record.run_id in self.outlived
            and record.outcome is Outcome.UNKNOWN
            and record.change.kind is Kind.CREATE
            and record.change.person
        ]

    def check_made(self, plan: Plan) -> None:
        """Check that what was made for somebody is not forgotten when they go, whoever has their link."""
        self.watch.links()
        waiting = {hold.scim_id for hold in plan.holds}
        noted = {note.email.lower() for note in plan.notes if note.code != "unmanaged"}
        entitled = {person.id for person in self.world.people.values() if is_entitled(person, self.policy)}
        members = {member.id: member for member in self.world.space.members}
        for write in self.world.space.journal.writes:
            body = write.body if isinstance(write.body, dict) else {}
            member = members.get(write.scim_id or "")
            if write.method != "POST" or member is None:
                continue
            # The same human may have it by another source now.
            owner = self.watch.owners.get(member.id)
            if {owner.id if owner else "", str(body["displayName"]).split()[1]} & entitled:
                continue
            is_known = member.id in waiting or member.user_name.lower() in noted or member.id in self.world.edited
            self.expect(is_known or not member.active, f"{member.user_name} was made for somebody who is gone")


async def live_through(seed: int) -> int:
    """Live through the history of *seed*; raises `Broken` with what does not hold. Returns how many writes it had."""
    history = History(seed)
    await history.found()
    for _ in range(LENGTH):
        await history.step()
        history.check()
    await history.converge()
    return len(history.world.space.journal.writes)
