"""What must hold of every write while it is made: it has its lease, a true reason, and the right target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent.engine.named_people import LEFT_OUT
from agent.engine.request import RunResult
from agent.model import Change, IndividualAction, Kind, Link, Policy
from agent.model.email import normalize
from agent.model.run import ChangeRecord, Outcome, Run
from agent.plan_parser import parse_workspace
from agent.ports.state import State
from connectors.base import Person, PersonKey, Status
from connectors.feed import Standing
from sandbox.pigment.member import Member
from tests.simulation.process import Process
from tests.simulation.world import START, Workspace, World, human

__all__ = [
    "OLDEST_PLAN_SECONDS",
    "Broken",
    "LookTaken",
    "Sender",
    "Undone",
    "Watch",
    "check_run",
    "counted_groups",
    "deactivates",
    "is_by_feed",
    "is_entitled",
    "may_not_lose",
    "sets_active",
]

PHASES = {Kind.DEACTIVATE: 0, Kind.REACTIVATE: 2, Kind.UPDATE_NAME: 3, Kind.CREATE: 4}
EMAIL_PHASE = 1
ATTEMPTS_SECONDS = 150.0
"""What one change may take with all its attempts."""
OLDEST_PLAN_SECONDS = 15 * 60 + ATTEMPTS_SECONDS
"""`apply.max_plan_age`, and the change that was begun before it was reached."""
DAY_SECONDS = 24 * 3600.0
MAX_RUNS = 10_000
"""More than one history has."""


class Broken(AssertionError):
    """An invariant does not hold."""


def counted_groups(person: Person, policy: Policy) -> tuple[str, ...]:
    """Return those of a person's groups that the policy's source counts."""
    for source in policy.sources:
        if source.connector == person.connector:
            return tuple(each for each in person.groups if not source.groups or each in source.groups)
    return ()


def is_entitled(person: Person, policy: Policy) -> bool:
    counts_alone = policy.individual_assignments is IndividualAction.INCLUDE and _has_source(person, policy)
    groups = counted_groups(person, policy)
    return person.status is Status.ACTIVE and bool(groups or (person.individual and counts_alone))


def _has_source(person: Person, policy: Policy) -> bool:
    return any(source.connector == person.connector for source in policy.sources)


def may_not_lose(person: Person, policy: Policy) -> bool:
    """Return whether a member of this person must stay active, be it only until a human decides."""
    waits = policy.individual_assignments is IndividualAction.HOLD and person.individual and _has_source(person, policy)
    return is_entitled(person, policy) or (person.status is Status.ACTIVE and waits)


def _is_shown(person: Person, policy: Policy) -> bool:
    """Return whether the source shows a person as assigned, active or not."""
    is_alone = person.individual and policy.individual_assignments is not IndividualAction.IGNORE
    return bool(counted_groups(person, policy) or is_alone)


@dataclass(frozen=True)
class LookTaken:
    """A verification read of a person at *at*, and what it showed. *is_untrue*: it was not so at that moment."""

    at: float
    standing: Standing
    is_untrue: bool


@dataclass(eq=False)
class Sender:
    """A process that may write. *policies* are by target, *read_at* has when it read each connector, *listed_at* when
    it last listed each target. *holder* is its name in leases. *is_approved*: whether an operator approved its run.
    *writes* are those that arrived: target, and place in its journal. *read_until* is when its last read of a source
    ended. *is_feed*: it makes a feed run. *looks* are the verification reads of people.
    """

    holder: str
    process: Process
    policies: Mapping[str, Policy]
    read_at: dict[str, list[float]] = field(default_factory=dict)
    listed_at: dict[str, float] = field(default_factory=dict)
    is_approved: bool = False
    is_undo: bool = False
    writes: set[tuple[str, int]] = field(default_factory=set)
    read_until: float = -1.0
    is_feed: bool = False
    looks: dict[PersonKey, list[LookTaken]] = field(default_factory=lambda: defaultdict(list))

    def end_read(self, at: float) -> None:
        self.read_until = at

    def began_reading(self, connector: str, now: float) -> float:
        """Return from when on it may have known what is the reason of a write now."""
        return min((at for at in self.read_at[connector] if now - at <= OLDEST_PLAN_SECONDS), default=now)


@dataclass(frozen=True)
class Undone:
    """A write that an undo at *at* put back: it set `active` to *active*, in a run that began at *read_at*.

    *groups* are those that the undo remembers.
    """

    at: datetime
    read_at: float
    active: bool
    groups: frozenset[str]


@dataclass
class Watch:
    """Looks at each write before the workspace makes it. *is_right* returns whether a key may write to a target now.

    *let_go* are humans with a creation that an operator undid: their link ended.
    """

    world: World
    state: State
    is_right: Callable[[str, str], bool]
    owners: dict[tuple[str, str], PersonKey] = field(default_factory=dict)
    let_go: set[str] = field(default_factory=set)
    undone: dict[tuple[str, str], Undone] = field(default_factory=dict)
    deactivated: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    async def write(
        self, sender: Sender, workspace: Workspace, method: str, member: Member | None, body: Mapping[str, object]
    ) -> None:
        """Raise `Broken` for a write that must never be made. *member* is as it was before it, None for a create."""
        policy = sender.policies[workspace.url]
        await self._permit(sender, workspace, policy, member)
        _check_together([each.change for each in await self.state.load_in_flight(policy.workspace)], member)
        if member is None:
            return
        address = normalize(member.user_name)
        # No plan can know of an address that a member got since it was listed, or since the time that was listed.
        was_listed_past = workspace.lists_past_until > sender.listed_at.get(workspace.url, 0)
        is_calm = not self.world.unrest and not self.world.is_moving and not was_listed_past
        if is_calm and address in policy.protect and normalize(str(body.get("userName", ""))) != address:
            raise Broken(f"{method} to the protected {address}")
        links = {link.scim_id: link for link in (await self.state.load_memory(policy.workspace)).links}
        if member.id not in links:
            return
        await self._remake(sender, policy, workspace, links[member.id], member, sets_active(method, body))
        if sets_active(method, body) and not member.active and self.deactivated[workspace.url, member.id]:
            # What we took back ourselves was not reverted by another tool.
            self.deactivated[workspace.url, member.id].pop()
        if deactivates(method, body):
            linked = {link.person for link in links.values()}
            await self._judge(sender, policy, links[member.id], member if not was_listed_past else None, linked)
            self._contest(sender, workspace, member)

    async def planned_at(self, sender: Sender, workspace: Workspace, _policy: Policy, _member: Member | None) -> float:
        """Return when what a write relies on was read."""
        return sender.listed_at.get(workspace.url, self.world.elapsed())

    async def _permit(self, sender: Sender, workspace: Workspace, policy: Policy, member: Member | None) -> None:
        """Check what every write needs: the lease, a known target, a plan that is not too old, no pause."""
        now = self.world.elapsed()
        lease = await self.state.load_lease(policy.workspace)
        if lease is None or lease.holder != sender.holder:
            raise Broken("a process without its lease wrote")
        if not self.is_right(policy.workspace, workspace.url):
            raise Broken("a workspace was written to under a key that is not known to be its own")
        if now - await self.planned_at(sender, workspace, policy, member) > OLDEST_PLAN_SECONDS:
            raise Broken("a plan was applied that is too old")
        pause = await self.state.load_pause(policy.workspace)
        if pause is not None and not sender.is_undo:
            under_way = await self.state.load_in_flight(policy.workspace)
            if any(record.sent_at > pause.since for record in under_way):
                raise Broken("a paused workspace was written to")

    def _contest(self, sender: Sender, workspace: Workspace, member: Member) -> None:
        """A member that others activate again and again is not deactivated a third time within a day, unapproved."""
        now = self.world.elapsed()
        times = self.deactivated[workspace.url, member.id]
        recent = [at for at in times if now - at < DAY_SECONDS]
        if member.active and len(recent) >= 2 and not sender.is_approved:
            raise Broken("a member that another tool activates was deactivated a third time")
        # Only a deactivation that was proved counts.
        if member.active and not self.world.fault_rate and not sender.process.fates:
            times.append(now)

    async def _remake(
        self, sender: Sender, policy: Policy, workspace: Workspace, link: Link, member: Member, active: bool | None
    ) -> None:
        """What an undo put back is not done again while nothing changed at the source and no approval released it."""
        undone = self.undone.get((workspace.url, member.id))
        if undone is None or sender.is_undo or active is not undone.active or active is member.active:
            return
        known = self.world.past[link.person.connector, human(link.person.id)]
        # An answer since then that left a person out of a group looked as if the source had changed, and so does a
        # configuration that counts more of their groups.
        counts_more = known[-1][1] is not None and not undone.groups.issuperset(counted_groups(known[-1][1], policy))
        is_true = self.world.last_omission < undone.read_at and not (active and counts_more)
        is_unchanged = is_true and all(when <= undone.read_at for when, _ in known)
        if is_unchanged and not await self._was_released(policy.workspace, link, undone):
            raise Broken("an undone change was made again")

    async def _was_released(self, workspace: str, link: Link, undone: Undone) -> bool:
        """Return whether an approval since the undo released the change that it put back.

        The journal decides, not whether the approved process came to its end. The approval was the decision: where that
        process died or was stopped before it made the change, a later run makes it without another approval.
        """
        for listed in await self.state.load_runs([workspace], limit=MAX_RUNS):
            given = await self.state.load_run_approvals(listed.id)
            # Until a second person has approved too, where two must, an approval releases nothing.
            if any(each.applied_in == listed.id and each.at > undone.at for each in given):
                run = await self.state.load_run(listed.id)
                if run is not None and _held_change(run, link, active=undone.active):
                    return True
        return False

    async def _judge(
        self, sender: Sender, policy: Policy, link: Link, member: Member | None, linked: set[PersonKey]
    ) -> None:
        """Judge a deactivation by what was true since its source was read. *linked* are people with a member.

        *member* is None where an old listing showed it, perhaps with another address.
        """
        connector = link.person.connector
        if sender.is_approved or not _reads(policy, connector):
            return
        now = self.world.elapsed()
        shown_empty = {group for (name, group), until in self.world.lies.items() if name == connector and until > now}
        # Then no read has ever shown the person in the group that is shown empty, and the others alone speak for them.
        unseen = shown_empty if shown_empty.isdisjoint(group.id for group in link.groups) else set()
        since = sender.began_reading(connector, now)

        # Who has another id now is known by the address alone, and not at all where an answer left them out.
        has_omitted = self.world.last_omission >= since
        is_sure = not self.world.lies and not self.world.short_rate and not has_omitted

        # A lookup shows groups alone. If an answer omitted a person with a group, and the lookup shows none, it is
        # not known whether they have been assigned individually since.
        is_alone = self.world.was_always(link.person, since, lambda person: not counted_groups(person, policy))
        is_shown_alone = is_alone or not self.world.short_rate

        def is_theirs(person: Person) -> bool:
            person = replace(person, groups=tuple(each for each in person.groups if each not in unseen))
            if person.id == link.person.id:
                return may_not_lose(person, policy) and (is_shown_alone or bool(counted_groups(person, policy)))
            # A person with an own member does not need this one, whatever address they have got since.
            is_newcomer = PersonKey(person.connector, person.id) not in linked
            has_address = member is not None and normalize(person.email or "") == normalize(member.user_name)
            return is_sure and is_newcomer and has_address and is_entitled(person, policy)

        if self.world.was_always(link.person, since, is_theirs):
            raise Broken(f"{link.person} is deactivated and should not be")
        is_missed = self.world.was_always(link.person, since, lambda person: not _is_shown(person, policy))
        is_missed = is_missed or not any(self._exists(link.person, at) for at in (since, now))
        if is_missed and link.missed_reads < policy.grace_reads != 1:
            raise Broken(f"{link.person} is deactivated within the grace")

    def _exists(self, key: PersonKey, at: float) -> bool:
        known = [person for when, person in self.world.past[key.connector, human(key.id)] if when <= at]
        return bool(known) and known[-1] is not None and known[-1].id == key.id

    async def links(self, workspace: str) -> None:
        """A member never goes from one person to another of the same connector, but to the same human."""
        for link in (await self.state.load_memory(workspace)).links:
            owner = self.owners.setdefault((workspace, link.scim_id), link.person)
            is_other = owner.connector == link.person.connector and human(owner.id) != human(link.person.id)
            if is_other and human(owner.id) not in self.let_go:
                raise Broken(f"the member of {owner} was given to {link.person}")
            self.owners[workspace, link.scim_id] = link.person


def _held_change(run: Run, link: Link, *, active: bool) -> bool:
    """Return whether the plan of *run* held a change, which an approval releases, that makes a member active or not."""
    kinds = {Kind.CREATE, Kind.ADOPT, Kind.REACTIVATE} if active else {Kind.DEACTIVATE}
    held = parse_workspace(run.document).get("holds", ()) if run.document else ()
    for hold in held:
        person = hold.get("person")
        is_theirs = person is not None and human(person["id"]) == human(link.person.id)
        if hold["kind"] in kinds and "after" in hold and (is_theirs or hold.get("scim_id") == link.scim_id):
            return True
    return False


def _reads(policy: Policy, connector: str) -> bool:
    return any(source.connector == connector for source in policy.sources)


def deactivates(method: str, body: Mapping[str, object]) -> bool:
    return sets_active(method, body) is False


def sets_active(method: str, body: Mapping[str, object]) -> bool | None:
    """Return what a write sets `active` to, None when it leaves it."""
    if method == "PUT":
        return body.get("active") is True
    operations = body.get("Operations")
    operation_list = operations if isinstance(operations, list) else []
    values = [each.get("value") for each in operation_list if str(each.get("path", "")).lower() == "active"]
    return bool(values[0]) if values else None


async def check_run(result: RunResult, state: State, workspace: Workspace, *, is_calm: bool) -> None:
    """Check a run that ended by itself: its journal, its order, and that what it calls done is done."""
    recorded = sorted(map(_timeless, await state.load_changes(result.run_id)), key=lambda record: record.seq)
    if not is_calm:
        # Another process may have run since, and then it has settled the creates that this one knew nothing of.
        recorded = [_without_settlement(each, result.records) for each in recorded]
    # A run that lost its state could not record its end; what it did record must still be what it reports.
    # Whether a commit was made of which no answer came, only the state knows; an adoption sends nothing.
    known = {each.seq for each in recorded if each.answered_at is not None and each.change.kind is not Kind.ADOPT}
    reported_records = map(_timeless, result.records)
    reported = tuple(record for record in reported_records if not result.error or record.seq in known)
    if tuple(record for record in recorded if not result.error or record.seq in known) != reported:
        raise Broken("the journal differs from the run")
    sent = [each for each in result.records if each.change.kind is not Kind.ADOPT]
    # What a feed asks for comes before the plan's changes and after them, and what it drops is not made.
    in_plan = [each.change for each in sent if not is_by_feed(each.change) and each.detail not in LEFT_OUT]
    phases = [_phase(change) for change in in_plan]
    if phases != sorted(phases):
        raise Broken(f"the changes were made in the order {phases}")
    members = {member.id: member for member in workspace.space.members}
    links = {link.person: link.scim_id for link in (await state.load_memory(result.workspace)).links}
    for each in sent:
        if each.outcome is Outcome.DONE:
            if is_calm:
                _check_done(each, members.get(each.scim_id or ""))
            person = each.change.person
            is_create = each.change.kind is Kind.CREATE and not result.error
            if is_create and person and links.get(person) != each.scim_id:
                raise Broken(f"{person} was created and is not linked")


def _phase(change: Change) -> int:
    return EMAIL_PHASE if change.changes_email else PHASES[change.kind]


def _check_together(under_way: Sequence[Change], member: Member | None) -> None:
    """Check the changes without an outcome when a write arrives, to *member* or as a create: it is one of them.

    They are of one phase, and no two of one member or of one address.
    """
    is_create = any(change.kind is Kind.CREATE for change in under_way)
    # A create that meets a member may reactivate it.
    if not is_create and all(member is None or change.scim_id != member.id for change in under_way):
        raise Broken("a write was sent before it was in the journal")
    if len({_phase(change) for change in under_way}) > 1:
        raise Broken("a phase began before the one before it had ended")
    ids = [change.scim_id for change in under_way if change.scim_id]
    if len(set(ids)) < len(ids):
        raise Broken("two changes of one member were under way at once")
    touched = [_addresses(change) for change in under_way]
    if len(set().union(*touched)) < sum(map(len, touched)):
        raise Broken("two changes of one address were under way at once")


def _addresses(change: Change) -> set[str]:
    return {normalize(each) for each in (change.email, change.before.email, change.after.email) if each}


def is_by_feed(change: Change) -> bool:
    """Return whether a change feed asked for *change*."""
    return change.kind is Kind.DEACTIVATE and change.reason.endswith(" named them.")


def _without_settlement(record: ChangeRecord, reported: Sequence[ChangeRecord]) -> ChangeRecord:
    is_settled = record.outcome is Outcome.UNKNOWN and any(
        each.seq == record.seq and each.outcome is Outcome.UNKNOWN and each.scim_id is None for each in reported
    )
    return replace(record, scim_id=None) if is_settled else record


def _timeless(record: ChangeRecord) -> ChangeRecord:
    """Return an adoption without its times: the state gives its own, which a slow transaction makes later."""
    if record.change.kind is not Kind.ADOPT or record.answered_at is None:
        return record
    return replace(record, sent_at=START, answered_at=START)


def _check_done(record: ChangeRecord, member: Member | None) -> None:
    after = record.change.after
    if member is None:
        raise Broken(f"{record.change} is called done, and there is no member")
    is_shown = (
        (after.email is None or normalize(member.user_name) == normalize(after.email))
        and (after.active is None or member.active is after.active)
        # A create that met a member leaves its name to the next run.
        and (after.display_name is None or record.detail or member.display_name == after.display_name)
    )
    if not is_shown:
        raise Broken(f"{record.change} is called done and is not")
