"""Plan a feed run: look at the people that a feed named, and at their members by id. The same guards as any run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from agent.diff.feed_plan import FeedLeaver, compute_feed_plan
from agent.engine.planner import (
    BASELINE_WINDOW,
    RECENT_WINDOW,
    ReadOnlyWorkspace,
    apply_fleet_limit,
    failed_read_decision,
    unexpected_read_error,
)
from agent.engine.request import Decision, FleetLimit, PendingDeactivations, planned_deactivations
from agent.errors import PigmentSyncError
from agent.guard.hold import apply_guards
from agent.guard.results import GuardHistory
from agent.guard.source_guards import groups_shrunk_by
from agent.guard.target import check_workspace_target
from agent.model import KnownTarget, Link, Member, Policy
from agent.model.codes import GuardCode
from agent.model.feed import NamedPerson
from agent.ports.clock import Clock
from agent.ports.state import State
from agent.report.document import plan_digest
from connectors.base import PersonKey, Progress, ReadError, Status
from connectors.feed import Feed, Standing, StandingFound

__all__ = ["FeedPlanner", "Look"]

log = structlog.get_logger()
MAX_MEMBER_READS = 8


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a named person showed. *is_conclusive*: a later look will show nothing more."""

    named: NamedPerson
    standing: Standing
    is_conclusive: bool


@dataclass(frozen=True, slots=True)
class FeedPlanner:
    """Plans the deactivations of people who provably left. Implements `PlannerProtocol`, and can't write.

    *looks* gets what the looks of the newest plan showed, by workspace. *pending* is what other runs are about to do.
    """

    feeds: Mapping[str, Feed]
    state: State
    clock: Clock
    fleet_limit: FleetLimit
    progress: Progress
    sleep: Callable[[float], Awaitable[None]]
    pending: PendingDeactivations = field(default_factory=PendingDeactivations)
    looks: dict[str, list[Look]] = field(default_factory=dict)

    async def plan(self, workspaces: Sequence[ReadOnlyWorkspace], _user: str = "", /) -> list[Decision]:
        """Return one decision for each of *workspaces*; those who are not due to be looked at have no part in it."""
        return [await self.plan_named(workspace) for workspace in workspaces]

    async def plan_named(self, workspace: ReadOnlyWorkspace, going: frozenset[str] = frozenset()) -> Decision:
        """Return the deactivations of people of *workspace* who provably left. *looks* gets what each look showed.

        *going* are members (SCIM ids) that a run in progress is about to deactivate: the guards count them.
        """
        looks = self.looks[workspace.policy.workspace] = []
        try:
            decision = await self._plan(workspace, going, looks)
        except PigmentSyncError:
            raise
        except ReadError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  (a bug triggered by one system's answer must not stop whole runs)
            failure = unexpected_read_error(workspace.policy.workspace, error)
        else:
            return await self._apply_fleet_limit(decision, going)
        looks.clear()
        log.warning("feed.not_looked", workspace=workspace.policy.workspace, code=failure.code, error=failure.message)
        return replace(failed_read_decision(workspace.policy, failure, workspace.reader.requests), is_partial=True)

    async def _apply_fleet_limit(self, decision: Decision, going: frozenset[str]) -> Decision:
        """Return *decision* with the limit over all workspaces applied, and what is left of it among the pending."""
        name = decision.policy.workspace
        async with self.pending.lock:
            pending = {**self.pending.members, name: going}
            (limited,) = await apply_fleet_limit(self.state, self.clock, self.fleet_limit, [decision], pending)
            self.pending.members[name] = going | planned_deactivations(limited)
        return limited

    async def _plan(self, workspace: ReadOnlyWorkspace, going: frozenset[str], looks: list[Look]) -> Decision:
        policy = workspace.policy
        memory = await self.state.load_memory(policy.workspace)
        known = await self.state.load_targets()
        named = await self.state.load_named_people(policy.workspace, self.clock.now())
        links = {link.person: link for link in memory.links}
        # An unconfirmed create may have made a second member of the same person.
        known_people = links.keys() - {each.person for each in memory.unconfirmed_creates}
        judged = [each for each in named if each.person in known_people and self._may_judge(each, policy, known)]
        looks.extend(Look(each, Standing.UNKNOWN, is_conclusive=True) for each in named if each not in judged)
        members = await self._read_members(workspace, [links[each.person] for each in judged])
        leavers = await self._find_leavers(policy, judged, links, members, looks)
        history = await self._load_history(policy, known, going)
        leavers = _leave_shrinking_groups(leavers, memory.links, history, looks)
        guarded = await self.state.count_guarded(policy.workspace)
        unguarded = compute_feed_plan(leavers, memory, policy, guarded)
        plan = apply_guards(unguarded, policy, history)
        plan = replace(plan, pause=await self.state.load_pause(policy.workspace))
        return Decision(
            policy,
            plan,
            plan_digest(plan),
            unguarded,
            members={member.scim_id: member for member in members.values()},
            linked_ids=frozenset(link.scim_id for link in memory.links),
            requests=workspace.reader.requests,
            target_check=history.target_check,
            is_partial=True,
        )

    async def _load_history(self, policy: Policy, known: Sequence[KnownTarget], going: frozenset[str]) -> GuardHistory:
        name, now = policy.workspace, self.clock.now()
        recent = dict(await self.state.load_recent_changes(name, now - RECENT_WINDOW))
        recent[GuardCode.MAX_DEACTIVATIONS] |= going
        return GuardHistory(
            recent_changes=recent,
            baselines=await self.state.load_baselines(name, now - BASELINE_WINDOW),
            contested_members=await self.state.load_contested_members(name, now - BASELINE_WINDOW),
            target_check=replace(check_workspace_target(policy, known), accepted_targets=()),
        )

    async def _read_members(self, workspace: ReadOnlyWorkspace, links: Sequence[Link]) -> dict[str, Member]:
        """Return the members of *links* by id; one that the workspace no longer knows is left out."""
        at_once = asyncio.Semaphore(MAX_MEMBER_READS)

        async def one(link: Link) -> Member | None:
            async with at_once:
                return await workspace.reader.get(link.scim_id)

        found = await asyncio.gather(*(one(link) for link in links))
        return {link.scim_id: member for link, member in zip(links, found, strict=True) if member is not None}

    async def _find_leavers(
        self,
        policy: Policy,
        judged: Sequence[NamedPerson],
        links: Mapping[PersonKey, Link],
        members: Mapping[str, Member],
        looks: list[Look],
    ) -> list[FeedLeaver]:
        emails = {
            each.person.id: members[links[each.person].scim_id].email
            for each in judged
            if links[each.person].scim_id in members
        }
        present = [each for each in judged if each.person.id in emails]
        looks.extend(Look(each, Standing.UNKNOWN, is_conclusive=True) for each in judged if each not in present)
        leavers = []
        for connector in {each.person.connector for each in present}:
            people = [each for each in present if each.person.connector == connector]
            found = await self._look_twice(
                policy, connector, {each.person.id: emails[each.person.id] for each in people}
            )
            for each in people:
                look = found[each.person.id]
                if look.standing is Standing.LEFT and _lost_by_group(links[each.person], look):
                    looks.append(Look(each, Standing.UNKNOWN, is_conclusive=True))
                    continue
                is_left = look.standing is Standing.LEFT
                looks.append(Look(each, look.standing, is_conclusive=_is_conclusive(self.feeds[connector], each, look)))
                if is_left:
                    link = links[each.person]
                    leavers.append(FeedLeaver(each, link, members[link.scim_id], look.found))
        return leavers

    def _may_judge(self, named: NamedPerson, policy: Policy, known: Sequence[KnownTarget]) -> bool:
        """Return whether a look at the person can decide anything; else it is left to a run over everyone.

        With a grace, absence must be read several times. Another source may show the same human. A connector that
        reads another tenant than before does not show the people of the one before.
        """
        connector = named.person.connector
        if policy.grace_reads > 1 or {source.connector for source in policy.sources} != {connector}:
            return False
        records = {each.connector: each.fingerprint for each in known if each.workspace == policy.workspace}
        is_same_tenant = all(records.get(each) == now for each, now in policy.tenants if each == connector)
        return connector in self.feeds and is_same_tenant

    async def _look_twice(
        self, policy: Policy, connector: str, people: Mapping[str, str]
    ) -> Mapping[str, StandingFound]:
        """Return how *people* (ids and addresses) stand. Those who seem to have left by absence are looked at again."""
        feed = self.feeds[connector]
        first = await self._look_at(policy, connector, people)
        doubted = {
            person: email
            for person, email in people.items()
            if first[person].standing is Standing.LEFT and feed.needs_second_look(first[person])
        }
        if not doubted:
            return first
        await self.sleep(feed.second_look_seconds)
        return {**first, **await self._look_at(policy, connector, doubted)}

    async def _look_at(self, policy: Policy, connector: str, people: Mapping[str, str]) -> dict[str, StandingFound]:
        """Return the standing of each person over all applications of *connector*: they left if they left each."""
        merged: dict[str, StandingFound] = {}
        for source in policy.sources:
            if source.connector != connector:
                continue
            for person, each in (await self.feeds[connector].look_at(people, source)).items():
                merged[person] = each if person not in merged else _nearer(merged[person], each)
        return merged


def _is_conclusive(feed: Feed, named: NamedPerson, look: StandingFound) -> bool:
    """Return whether a later look will show nothing more.

    Where replicas lag, a first look may still show what was before the event.
    """
    if look.standing is Standing.ENTITLED:
        return named.looks > 0 or not feed.needs_second_look(look)
    return look.standing is Standing.LEFT


def _nearer(one: StandingFound, other: StandingFound) -> StandingFound:
    """Return which of two looks at one person counts: assigned by one application is assigned."""
    order = (Standing.ENTITLED, Standing.UNKNOWN, Standing.LEFT)
    nearer = min(one, other, key=lambda each: order.index(each.standing))
    is_known = one.counted is not None and other.counted is not None
    return replace(nearer, counted=(one.counted or frozenset()) | (other.counted or frozenset()) if is_known else None)


def _leave_shrinking_groups(
    leavers: Sequence[FeedLeaver], links: Sequence[Link], history: GuardHistory, looks: list[Look]
) -> list[FeedLeaver]:
    """Return *leavers* without the active ones of groups that lost too many within the hour.

    Their looks then leave them to a run over everyone, whose guard sees the groups as they are.
    """
    absent = {each.link.scim_id for each in leavers if each.found.status is Status.ACTIVE}
    gone = absent.union(history.recent_changes[GuardCode.MAX_DEACTIVATIONS])
    shrunk = groups_shrunk_by(gone, links, history.baselines)
    left = {
        each.named
        for each in leavers
        if each.link.scim_id in absent
        and any((each.link.person.connector, group.id) in shrunk for group in each.link.groups)
    }
    looks[:] = [replace(look, standing=Standing.UNKNOWN) if look.named in left else look for look in looks]
    return [each for each in leavers if each.named not in left]


def _lost_by_group(link: Link, look: StandingFound) -> bool:
    """Return whether an active person lost the assignment because a group of theirs no longer counts.

    That concerns everyone in the group, so the guards of a run over everyone decide: the feed can't see them all.
    """
    if look.found.status is not Status.ACTIVE or look.counted is None:
        return False
    return not look.counted.issuperset(group.id for group in link.groups)
