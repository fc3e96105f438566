"""`probe`: prove at a real workspace what the agent assumes of it, on a canary of its own.

refuse    the canary is not its own, protected, linked, wanted, in a foreign domain; a pause; another target
lease     the workspace's, as for a sync: no run writes at the same time
clean up  what an earlier probe left that did not come to its end
steps     each recorded before it is sent (`agent.engine.probe_steps`)
undo      every member that a probe created is inactive, proved by a read (`agent.engine.probe_session`)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import structlog

from agent.engine.lease import HeldLease, acquire_lease
from agent.engine.planner import PlannerProtocol, ReadOnlyWorkspace
from agent.engine.probe_session import ProbeSession
from agent.engine.probe_steps import ProbeSteps
from agent.engine.shutdown import GracefulShutdown
from agent.errors import ExitCode, LeaseLost, PigmentSyncError, StateError, UsageError, WrongTarget
from agent.guard.target import check_workspace_target
from agent.model import Inputs, Member, Policy, TargetCheck
from agent.model.email import is_allowed, is_valid, normalize
from agent.model.policy import protected_pattern
from agent.model.probe import CanaryRecord, Fact, FactVerdict, is_home, load_facts, load_record, probe_document
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.ports.probe import ProbeClient
from agent.ports.state import State
from connectors.base import ReadError

__all__ = ["ProbeResult", "ProbeUnread", "Prober", "find_newest_probe", "refuse_unsuitable"]

log = structlog.get_logger()


class ProbeUnread(PigmentSyncError):
    """The sources or the workspace could not be read, so that nothing was tried."""

    code = "incomplete"
    exit_code = ExitCode.INCOMPLETE


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How a probe ended. *problems* are why it did not come to its end, and what it could not undo."""

    verification: Verification
    problems: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        return {
            VerificationResult.PASSED: ExitCode.DONE,
            VerificationResult.DIFFERS: ExitCode.WOULD_CHANGE,
        }.get(self.verification.result, ExitCode.INCOMPLETE)


def refuse_unsuitable(canary: str, policy: Policy) -> None:
    """Raise `UsageError` for an address that can't be a canary, whatever is read."""
    record = CanaryRecord(canary=canary, nonce="0" * 8, target="")
    if not is_valid(canary) or not all(map(is_valid, record.addresses)):
        raise UsageError(
            f"{canary} can't be a canary: it is not an email address, or too long to add a word after a plus sign.",
            "Choose another address, such as canary@acme.com.",
        )
    if not is_allowed(canary, policy.allowed_domains):
        raise UsageError(
            f"{canary} is not in the allowed_domains of {policy.workspace}.",
            f"Choose a canary in one of: {', '.join(sorted(policy.allowed_domains))}.",
        )
    protected = protected_pattern(policy.protect)
    for address in record.addresses:
        if protected.match(normalize(address)):
            raise UsageError(
                f"{address} is protected in {policy.workspace}, and a probe with {canary} would write to it.",
                "Choose a canary that `protect` does not cover.",
            )


async def find_newest_probe(state: State, workspace: str) -> Verification | None:
    """Return the newest result of a probe."""
    return next(iter(await state.load_verifications(workspace, VerificationKind.PROBE)), None)


@dataclass(frozen=True, slots=True)
class Prober:
    """Probes one workspace. *new_nonce* returns eight letters or digits that no name has.

    *sleep* waits between renewals of the lease, *wait* between two reads of a member.
    """

    planner: PlannerProtocol
    policy: Policy
    client: ProbeClient
    holder: str
    sleep: Callable[[float], Awaitable[None]]
    wait: Callable[[float], Awaitable[None]]
    shutdown: GracefulShutdown
    new_nonce: Callable[[], str]

    async def probe(self, canary: str, by: str) -> ProbeResult:
        """Probe as *canary*, and leave it inactive. Refusals are raised before anything is written.

        Raises `UsageError`, `WrongTarget`, `WorkspaceBusy`, `ProbeUnread`, `StateError` and `LeaseLost`.
        """
        policy, state, clock = self.policy, self.planner.state, self.planner.clock
        refuse_unsuitable(canary, policy)
        await self._refuse_paused()
        _refuse_other_target(check_workspace_target(policy, await state.load_targets()))
        name = (policy.workspace, policy.target)
        async with acquire_lease(state, clock, self.sleep, name, self.holder) as lease:
            inputs = await self._read()
            await self._refuse_paused()
            probes = await state.load_verifications(policy.workspace, VerificationKind.PROBE)
            record = self._take_up_record(canary, probes)
            _refuse_taken(record, inputs, policy.workspace)
            session = self._open_session(record, by, lease)
            return await self._run(session, inputs, probes)

    async def _refuse_paused(self) -> None:
        name = self.policy.workspace
        pause = await self.planner.state.load_pause(name)
        if pause is not None:
            raise UsageError(
                f"{name} is paused by {pause.by} since {pause.since:%Y-%m-%d %H:%M} UTC, and a probe writes.",
                f"Resume it first: pigment-sync resume {name}",
            )

    async def _read(self) -> Inputs:
        """Read the sources and the workspace, as a dry run does: who is wanted, listed and linked."""
        (decision,) = await self.planner.plan([ReadOnlyWorkspace(self.policy, self.client)])
        if decision.unplanned is not None or decision.inputs is None:
            unplanned = decision.unplanned
            raise ProbeUnread(*((unplanned.message, unplanned.remedy) if unplanned else ("Nothing was read.", "")))
        _refuse_other_target(decision.target_check)
        return decision.inputs

    def _take_up_record(self, canary: str, probes: Sequence[Verification]) -> CanaryRecord:
        """Return the record of *canary*: that of its newest probe, else an empty one."""
        for each in probes:
            record = load_record(each)
            if record is not None and normalize(each.subject) == normalize(canary):
                # In the spelling in which it was created: its other addresses are made of it.
                return replace(record, target=self.policy.target)
        return CanaryRecord(canary=canary, nonce=self.new_nonce(), target=self.policy.target)

    def _open_session(self, record: CanaryRecord, by: str, lease: HeldLease) -> ProbeSession:
        verification = Verification(
            workspace=self.policy.workspace,
            kind=VerificationKind.PROBE,
            started_at=self.planner.clock.now(),
            result=VerificationResult.RUNNING,
            subject=record.canary,
            by=by,
            version=self.policy.provenance.version,
        )
        return ProbeSession(
            verification=verification,
            record=record,
            requests=self.client.probe_requests_for(lease),
            writer=self.client.writer_for(lease),
            state=self.planner.state,
            lease=lease,
            shutdown=self.shutdown,
            sleep=self.wait,
        )

    async def _run(self, session: ProbeSession, inputs: Inputs, probes: Sequence[Verification]) -> ProbeResult:
        self.shutdown.mark_writing()
        log.info("probe.started", workspace=self.policy.workspace, canary=session.record.canary)
        problems: list[str] = []
        try:
            await session.save(VerificationResult.RUNNING)
            canary = await self._clean_up(session, inputs, probes)
            await ProbeSteps(session, _carried_facts(probes, self.policy.target)).run(canary)
        except LeaseLost:
            raise
        except (ReadError, PigmentSyncError) as error:
            problems.append(f"{error.message} {error.hint}".strip())
        except Exception:
            # A bug: the canary must not stay active because of it.
            await session.undo()
            raise
        problems += await session.undo()
        differs = any(fact.verdict is FactVerdict.DIFFERS for fact in session.facts.values())
        result = VerificationResult.DIFFERS if differs else VerificationResult.PASSED
        try:
            await session.save(VerificationResult.FAILED if problems else result)
        except StateError as error:
            problems.append(error.message)
            session.verification = replace(session.verification, result=VerificationResult.FAILED)
        log.info("probe.ended", workspace=self.policy.workspace, result=session.verification.result)
        return ProbeResult(session.verification, tuple(problems))

    async def _clean_up(self, session: ProbeSession, inputs: Inputs, probes: Sequence[Verification]) -> Member | None:
        """Undo what earlier probes left, and return the canary if one exists.

        A member that belongs to a person by now, or that one is assigned with, is left alone.
        """
        taken = {link.scim_id for link in inputs.memory.links}
        wanted = _wanted_addresses(inputs)
        free = [each for each in inputs.listing.members if each.scim_id not in taken]
        session.record = session.record.with_only(await _existing_ids(session))
        saved = set()
        for earlier in _newest_by_canary(probes):
            record = load_record(earlier)
            if record is None:
                continue
            is_same = normalize(record.canary) == normalize(session.record.canary)
            other = replace(session, record=record, verification=earlier, facts=load_facts(earlier))
            own = session if is_same else other
            left = [each for each in free if own.record.owns(each) and normalize(each.email) not in wanted]
            if not _are_home(own.record, left):
                await _restore_earlier(own, left)
            if not is_same and own.verification is not earlier:
                await own.save(_ended(earlier.result))
                saved.add(earlier.started_at)
        for killed in probes:
            if killed.result is VerificationResult.RUNNING and killed.started_at not in saved:
                await _close_killed(session.state, killed)
        return await _find_canary(session)


async def _existing_ids(session: ProbeSession) -> set[str]:
    """Return the recorded ids that still exist: a member may have been removed in Pigment."""
    answers = {scim_id: await session.requests.get(scim_id) for scim_id in session.record.members}
    return {scim_id for scim_id, answer in answers.items() if answer.member is not None}


async def _restore_earlier(session: ProbeSession, left: Sequence[Member]) -> None:
    problems = await session.restore_all(left)
    if problems:
        raise ProbeUnread(
            f"What an earlier probe left could not be undone. {' '.join(problems)}",
            "Correct it in Pigment, then run the probe again.",
        )
    log.info("probe.cleaned_up", workspace=session.workspace, canary=session.record.canary)


def _ended(result: VerificationResult) -> VerificationResult:
    return VerificationResult.FAILED if result is VerificationResult.RUNNING else result


async def _close_killed(state: State, killed: Verification) -> None:
    """Record that a probe which was killed did not come to its end, and that what it left is undone."""
    record = load_record(killed)
    if record is not None:
        restored = replace(record, is_restored=True)
        at = killed.started_at.isoformat()
        document = probe_document(killed.workspace, restored, at, load_facts(killed), keeps_record=True)
        killed = replace(killed, document=document)
    await state.record_verification(replace(killed, result=VerificationResult.FAILED))


async def _find_canary(session: ProbeSession) -> Member | None:
    scim_id = session.record.canary_id
    if not scim_id:
        return None
    answer = await session.requests.get(scim_id)
    if answer.member is not None and session.record.owns(answer.member):
        return answer.member
    # It was removed in Pigment: this probe creates it again.
    session.record = replace(session.record, canary_id="")
    return None


def _are_home(record: CanaryRecord, members: Sequence[Member]) -> bool:
    return all(is_home(member, record.home_of(member, members)) for member in members)


def _newest_by_canary(probes: Iterable[Verification]) -> list[Verification]:
    """Return the newest probe of each canary: its record has all that those before it knew."""
    newest: dict[str, Verification] = {}
    for each in probes:
        newest.setdefault(normalize(each.subject), each)
    return list(newest.values())


def _carried_facts(probes: Sequence[Verification], target: str) -> dict[str, Fact]:
    """Return what earlier probes of the same server saw, the newest of each fact."""
    found: dict[str, Fact] = {}
    for each in probes:
        record = load_record(each)
        if record is not None and record.target == target:
            found = {**load_facts(each), **found}
    return found


def _wanted_addresses(inputs: Inputs) -> set[str]:
    people = [person for snapshot in inputs.snapshots for person in snapshot.people]
    return {normalize(address) for person in people for address in (person.email or "", *person.aliases) if address}


def _refuse_taken(record: CanaryRecord, inputs: Inputs, workspace: str) -> None:
    """Raise `UsageError` where an address of the probe is a person's, or a member's that no probe created."""
    wanted = _wanted_addresses(inputs)
    linked = {link.scim_id for link in inputs.memory.links}
    another = "Choose another address for the canary, which no person and no member has."
    for address in map(normalize, record.addresses):
        if address in wanted:
            raise UsageError(f"A person with {address} is assigned to {workspace} at a source.", another)
        members = [each for each in inputs.listing.members if normalize(each.email) == address]
        for member in members:
            if member.scim_id in linked:
                raise UsageError(f"{member.email} is a member of {workspace} that is linked to a person.", another)
            if not record.owns(member):
                raise UsageError(f"{member.email} is a member of {workspace} that no probe created.", another)
        if len(members) > 1 and record.canary_id not in {each.scim_id for each in members}:
            raise UsageError(f"{workspace} has {len(members)} members with {address}.", another)


def _refuse_other_target(found: TargetCheck) -> None:
    if not found.holds_everything:
        return
    if found.mismatch:
        raise WrongTarget(found.mismatch, found.remedy)
    raise WrongTarget(
        f"{found.missing} of {found.linked} linked members are not in the listing: it may be another workspace.",
        "Check the scim_url; then review the plan: pigment-sync plan",
    )
