"""One probe under way: what it records before each write, and how it leaves every member that it created.

The state is written before each request that writes, so that the next probe finds and undoes what a killed one left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from agent.engine.lease import HeldLease
from agent.engine.shutdown import GracefulShutdown
from agent.errors import (
    LeaseLost,
    PigmentSyncError,
    StateError,
    WorkspaceUnavailable,
    WriteError,
    WriteLost,
    WriteStopped,
)
from agent.model import Fields, Member
from agent.model.email import is_same_name
from agent.model.probe import CanaryRecord, Fact, FactVerdict, is_home, probe_document
from agent.model.verification import Verification, VerificationResult
from agent.ports.probe import ProbeRequests
from agent.ports.state import State
from agent.ports.workspace import WorkspaceWriter
from connectors.base import ReadError

__all__ = ["ProbeSession", "ProbeStopped"]

log = structlog.get_logger()
MISSING_DELAYS_SECONDS = (1.0, 4.0)
"""Seconds between the reads of a member that is not shown: reads may lag behind writes."""


class ProbeStopped(PigmentSyncError):
    """The probe was asked to stop, or the workspace was paused meanwhile."""

    code = "stopped"


@dataclass(slots=True)
class ProbeSession:
    """The canary of one probe. *verification* is its row in the state, written before each write and at the end.

    *is_unsettled*: a create was sent whose member is not on record yet. *created* are the members that this probe
    created, as they were answered.
    """

    verification: Verification
    record: CanaryRecord
    requests: ProbeRequests
    writer: WorkspaceWriter
    state: State
    lease: HeldLease
    shutdown: GracefulShutdown
    sleep: Callable[[float], Awaitable[None]]
    facts: dict[str, Fact] = field(default_factory=dict)
    is_unsettled: bool = False
    created: dict[str, Member] = field(default_factory=dict)

    @property
    def workspace(self) -> str:
        return self.verification.workspace

    @property
    def _distrusts_reads(self) -> bool:
        """Whether a member may be active although it is shown inactive, so that it is written again in any case."""
        lag = self.facts.get("read-lag")
        return lag is not None and lag.verdict is FactVerdict.DIFFERS

    async def begin(self, step: str, *, creates: bool = False) -> None:
        """Record *step* before it is sent. Raises `ProbeStopped`, `LeaseLost` or `StateError`: then nothing is sent."""
        if self.shutdown.is_requested:
            raise ProbeStopped("The probe was stopped.", "Run it again.")
        pause = await self.state.load_pause(self.workspace)
        if pause is not None:
            raise ProbeStopped(
                f"{self.workspace} was paused by {pause.by} during the probe.",
                f"Resume it, then run the probe again: pigment-sync resume {self.workspace}",
            )
        await self._begin_write(step)
        self.is_unsettled = creates

    async def settle(self, member: Member, home: str, *, is_canary: bool = False) -> None:
        """Record the id of a member that this probe created, or that has another id by now."""
        self.record = self.record.with_member(member.scim_id, home, is_canary=is_canary)
        self.created[member.scim_id] = member
        self.is_unsettled = False
        await self.save(VerificationResult.RUNNING)

    async def save(self, result: VerificationResult) -> None:
        at = self.verification.started_at.isoformat()
        document = probe_document(self.workspace, self.record, at, self.facts, keeps_record=True)
        self.verification = replace(self.verification, result=result, document=document)
        await self.state.record_verification(self.verification)

    async def restore_member(self, member: Member, home: str, display_name: str = "") -> Member:
        """Make *member* inactive, at the address *home*, and with *display_name* unless that is empty; prove it.

        The access goes first. Raises `WriteError` or `LeaseLost`.
        """
        if member.active is not False or self._distrusts_reads:
            await self._begin_restoring(f"deactivate {member.email}")
            member = await self._set_active(member, active=False)
        has_name = not display_name or is_same_name(member.display_name, display_name)
        if not is_home(member, home) or not has_name or self._distrusts_reads:
            await self._begin_restoring(f"restore {home}")
            member = await self.writer.replace(member, Fields(home, display_name or None, False))
        log.info("probe.restored", workspace=self.workspace, scim_id=member.scim_id)
        return member

    async def activate(self, member: Member) -> Member:
        return member if member.active is True else await self._set_active(member, active=True)

    async def restore_all(self, found: Sequence[Member]) -> list[str]:
        """Restore those members of *found* that a probe created; return why each of the others could not be.

        Raises `LeaseLost` or `WriteStopped`: then this process may not write any more.
        """
        problems = []
        owned = [member for member in found if self.record.owns(member)]
        homes = {member.scim_id: self.record.home_of(member, owned) for member in owned}
        # Duplicates first: one of them may have the address that the canary returns to.
        for member in sorted(owned, key=lambda each: homes[each.scim_id] == self.record.canary):
            home = homes[member.scim_id]
            is_canary = home == self.record.canary
            try:
                restored = await self.restore_member(member, home, self.record.display_name if is_canary else "")
            except (WriteStopped, LeaseLost):
                raise
            except PigmentSyncError as error:
                problems.append(f"{member.email} could not be restored: {error.message}")
                if isinstance(error, WorkspaceUnavailable):
                    break
            else:
                self.record = self.record.with_member(restored.scim_id, home, is_canary=is_canary)
        return problems

    async def find_own(self) -> list[Member]:
        """Return all members of this record as they are now. Raises `ReadError`, or `WriteLost` if one is not shown."""
        for seconds in (0.0, *MISSING_DELAYS_SECONDS):
            if seconds:
                await self.sleep(seconds)
            found = await self._read_own()
            missing = self.record.members.keys() - {member.scim_id for member in found}
            if not missing:
                return found
        unseen = [self.created[scim_id] for scim_id in sorted(missing) if scim_id in self.created]
        if len(unseen) == len(missing):
            # As they were answered: the answer to the next write shows whether they are inactive.
            return [*found, *unseen]
        raise WriteLost(
            f"{self.workspace} does not show {len(missing)} of the probe's {len(self.record.members)} members.",
            "Check in Pigment that they are inactive.",
        )

    async def _read_own(self) -> list[Member]:
        answers = [await self.requests.get(scim_id) for scim_id in self.record.members]
        found = [answer.member for answer in answers if answer.member is not None and self.record.owns(answer.member)]
        if len(found) == len(answers) and not self.is_unsettled:
            return found
        listing = await self.writer.list_members()
        return [member for member in listing.members if self.record.owns(member)]

    async def undo(self) -> list[str]:
        """Leave every member of this probe inactive; return what could not be done."""
        try:
            problems = await self.restore_all(await self.find_own())
        except ReadError as error:
            return [f"The members of the probe could not be read: {error.message}"]
        except WriteError as error:
            return [f"{error.message} {error.hint}"]
        self.record = replace(self.record, is_restored=not problems)
        return problems

    async def _begin_write(self, step: str) -> None:
        await self.lease.ensure_lease()
        self.record = replace(self.record, step=step, is_restored=False)
        await self.save(VerificationResult.RUNNING)

    async def _begin_restoring(self, step: str) -> None:
        """Record *step*. Access is taken away even while the state is out of reach, as long as the lease lasts."""
        try:
            await self._begin_write(step)
        except StateError as error:
            log.warning("probe.not_recorded", workspace=self.workspace, step=step, error=error.message)

    async def _set_active(self, member: Member, *, active: bool) -> Member:
        """PATCH `active`, or PUT the whole member where that has no effect. Raises `WriteError`."""
        wanted = Fields(active=active)
        try:
            return await self.writer.patch(member, wanted)
        except (WorkspaceUnavailable, WriteStopped):
            raise
        except WriteError:
            return await self.writer.replace(member, wanted)
