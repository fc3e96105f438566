"""Edit links by hand, under the lease, and journal each edit with who and why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from agent.diff.link_edits import RebindPlan, assignment_edits, rebind_plan
from agent.engine.lease import acquire_lease
from agent.engine.planner import Planner, ReadOnlyWorkspace
from agent.engine.records import new_run
from agent.engine.request import RunRequest
from agent.errors import UsageError, WrongTarget
from agent.guard.target import check_workspace_target
from agent.model import Link, Member
from agent.model.codes import HoldCode
from agent.model.email import normalize
from agent.model.run import Lease, LinkEdit, Run, RunStatus
from connectors.base import IncompleteRead, PersonKey

__all__ = ["LinkCorrection", "LinkEditor", "parse_person_key"]


@dataclass(frozen=True, slots=True)
class LinkCorrection:
    """What an admin asks for: link the member with *email* to *person*, or without an email remove that link."""

    person: PersonKey
    email: str = ""


def parse_person_key(text: str) -> PersonKey:
    """Return the person of `CONNECTOR:ID`. Raises `UsageError`."""
    connector, colon, name = text.partition(":")
    if not (connector and colon and name):
        raise UsageError(f"{text} is not a person.", "Write CONNECTOR:ID, as plans and `links list` show it.")
    return PersonKey(connector, name)


@dataclass(frozen=True, slots=True)
class LinkEditor:
    """The links of one workspace, and the edits that an admin may make. Nothing is sent to the workspace."""

    planner: Planner
    workspace: ReadOnlyWorkspace
    holder: str
    sleep: Callable[[float], Awaitable[None]]

    async def list_links(self) -> list[tuple[Link, Member | None]]:
        """Return every link with its member; None if the listing no longer has it."""
        listing = await self.workspace.reader.list_members(self.planner.progress)
        members = listing.by_id
        memory = await self.planner.state.load_memory(self.workspace.policy.workspace)
        return [(link, members.get(link.scim_id)) for link in sorted(memory.links, key=lambda link: link.person)]

    async def plan_rebind(self, old: str, new: str) -> RebindPlan:
        """Return what re-binding the links of connector *old* to people of *new* by email would do."""
        sources = [source for source in self.workspace.policy.sources if source.connector == new]
        if not sources:
            raise UsageError(
                f"{new} is not a source of {self.workspace.policy.workspace}.",
                f"Its sources are: {', '.join(source.connector for source in self.workspace.policy.sources)}.",
            )
        source_reads = asyncio.gather(*(self.planner.connectors[new].read(source) for source in sources))
        listing, snapshots = await asyncio.gather(
            self.workspace.reader.list_members(self.planner.progress), source_reads
        )
        memory = await self.planner.state.load_memory(self.workspace.policy.workspace)
        return rebind_plan(memory, listing, snapshots, old, new)

    async def plan_correction(self, correction: LinkCorrection) -> Sequence[LinkEdit]:
        """Return the edits of *correction*, none if it is so already. Raises `UsageError` if it can't be made."""
        if correction.email:
            return await self.plan_assign(correction.email, correction.person)
        return await self.plan_forget(correction.person)

    async def plan_assign(self, email: str, person: PersonKey) -> Sequence[LinkEdit]:
        """Return the edits that link the member with *email* to *person*.

        Raises `UsageError` if there is no such member or source.
        """
        if person.connector not in {source.connector for source in self.workspace.policy.sources}:
            raise UsageError(
                f"{person.connector} is not a source of {self.workspace.policy.workspace}.",
                "Write the person as CONNECTOR:ID, with a connector of that workspace.",
            )
        listing = await self.workspace.reader.list_members(self.planner.progress)
        found = [member for member in listing.members if normalize(member.email) == normalize(email)]
        if len(found) != 1:
            raise UsageError(
                f"{self.workspace.policy.workspace} has {len(found) or 'no'} members with the email {email}.",
                f"See: pigment-sync members --workspace {self.workspace.policy.workspace}",
            )
        return assignment_edits(await self.planner.state.load_memory(self.workspace.policy.workspace), found[0], person)

    async def plan_forget(self, person: PersonKey) -> Sequence[LinkEdit]:
        """Return the edit that removes the link of *person*. Raises `UsageError` if there is no link."""
        memory = await self.planner.state.load_memory(self.workspace.policy.workspace)
        edits = [LinkEdit(None, link) for link in memory.links if link.person == person]
        if not edits:
            raise UsageError(
                f"{self.workspace.policy.workspace} has no link for {person.connector}:{person.id}.",
                f"See: pigment-sync links list --workspace {self.workspace.policy.workspace}",
            )
        return edits

    async def plan_new(self, email: str, person: PersonKey) -> tuple[PersonKey, str]:
        """Return the pair to record, so that *person* gets a member of their own next to the one with *email*.

        Raises `UsageError` unless the present plan holds that pair as `possible-rename`, `ReadError` without a plan.
        """
        name = self.workspace.policy.workspace
        (decision,) = await self.planner.plan([self.workspace])
        if decision.plan is None:
            unplanned = decision.unplanned
            raise IncompleteRead(unplanned.message if unplanned else "", unplanned.remedy if unplanned else "")
        ids = [each.scim_id for each in decision.members.values() if normalize(each.email) == normalize(email)]
        pair = next(((person, each) for each in ids if (person, each) in decision.plan.possible_renames), None)
        if pair is None:
            raise UsageError(
                f"No possible-rename of {name} holds {person.connector}:{person.id} because of {email}.",
                f"See the holds: pigment-sync plan --workspace {name}",
            )
        return pair

    async def find_held_rename(self, person: PersonKey, shown_reason: str) -> Member:
        """Return the member that the present plan holds *person* for as `possible-rename`.

        *shown_reason* is the reason of the hold that a person has decided on. Raises `UsageError` if the plan no longer
        has that hold, or several members are possible; `ReadError` without a plan.
        """
        name = self.workspace.policy.workspace
        (decision,) = await self.planner.plan([self.workspace])
        if decision.plan is None:
            unplanned = decision.unplanned
            raise IncompleteRead(unplanned.message if unplanned else "", unplanned.remedy if unplanned else "")
        holds = [each for each in decision.plan.holds if each.code == HoldCode.POSSIBLE_RENAME]
        hold = next((each for each in holds if each.person == person and each.reason == shown_reason), None)
        if hold is None:
            raise UsageError(
                f"{name} no longer holds {person.connector}:{person.id} for this reason. Nothing was linked.",
                f"Review the newest plan of {name}.",
            )
        ids = [scim_id for key, scim_id in decision.plan.possible_renames if key == person]
        if len(ids) != 1:
            raise UsageError(f"{len(ids)} members of {name} have this name. Nothing was linked.", hold.remedy)
        return decision.members[ids[0]]

    async def write_new(self, pair: tuple[PersonKey, str], request: RunRequest) -> None:
        """Record that the member is not the person's, as a run of the journal."""

        async def record(lease: Lease, run: Run) -> None:
            await self.planner.state.record_different_people(lease, run, [pair])

        await self._record(record, request)

    async def write(self, edits: Sequence[LinkEdit], request: RunRequest) -> None:
        """Write *edits* as one run of the journal. Raises `WorkspaceBusy` while another run holds the workspace."""

        async def record(lease: Lease, run: Run) -> None:
            await self.planner.state.record_link_edits(lease, run, edits)

        await self._record(record, request)

    async def _record(self, record: Callable[[Lease, Run], Awaitable[None]], request: RunRequest) -> None:
        state, clock = self.planner.state, self.planner.clock
        found = check_workspace_target(self.workspace.policy, await state.load_targets())
        if found.mismatch:
            raise WrongTarget(f"No link was written. {found.mismatch}", found.remedy)
        workspace = self.workspace.policy.workspace, self.workspace.policy.target
        async with acquire_lease(state, clock, self.sleep, workspace, self.holder, request.wait_seconds) as held_lease:
            now = clock.now()
            run = replace(
                new_run(self.workspace.policy, request, now), dry_run=False, status=RunStatus.DONE, finished_at=now
            )
            await record(held_lease.lease, run)
