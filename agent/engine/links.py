"""Mend links by hand, under the lease, and journal each mend with who and why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from agent.address import folded
from agent.diff.mend import Moves, assignment, moves
from agent.engine.lease import held
from agent.engine.order import Order
from agent.engine.run import begun
from agent.engine.survey import ReadSite, Survey
from agent.errors import UsageError, WrongTarget
from agent.guard.target import moved_target
from agent.model import Link, Member
from agent.ports import Mend, RunStatus
from connectors.base import PersonKey

__all__ = ["Links"]


@dataclass(frozen=True, slots=True)
class Links:
    """The links of one workspace, and the mends that a human may make. Nothing is sent to the workspace."""

    survey: Survey
    site: ReadSite
    holder: str
    sleep: Callable[[float], Awaitable[None]]

    async def listed(self) -> list[tuple[Link, Member | None]]:
        """Return every link with its member, None where the listing has it no more."""
        listing = await self.site.workspace.listing(self.survey.progress)
        members = {member.scim_id: member for member in listing.members}
        memory = await self.survey.state.memory(self.site.policy.workspace)
        return [(link, members.get(link.scim_id)) for link in sorted(memory.links, key=lambda link: link.person)]

    async def moved(self, old: str, new: str) -> Moves:
        """Return what re-binding the links of connector *old* to people of *new* by email would do."""
        sources = [source for source in self.site.policy.sources if source.connector == new]
        if not sources:
            raise UsageError(
                f"{new} is no source of {self.site.policy.workspace}.",
                f"Its sources are: {', '.join(source.connector for source in self.site.policy.sources)}.",
            )
        reads = asyncio.gather(*(self.survey.connectors[new].read(source) for source in sources))
        listing, snapshots = await asyncio.gather(self.site.workspace.listing(self.survey.progress), reads)
        memory = await self.survey.state.memory(self.site.policy.workspace)
        return moves(memory, listing, snapshots, old, new)

    async def assigned(self, email: str, person: PersonKey) -> Sequence[Mend]:
        """Return the mends that make the member with *email* belong to *person*.

        Raises `UsageError` when no such member, or no such source is there.
        """
        if person.connector not in {source.connector for source in self.site.policy.sources}:
            raise UsageError(
                f"{person.connector} is no source of {self.site.policy.workspace}.",
                "Write the person as CONNECTOR:ID, with a connector of that workspace.",
            )
        listing = await self.site.workspace.listing(self.survey.progress)
        found = [member for member in listing.members if folded(member.email) == folded(email)]
        if len(found) != 1:
            raise UsageError(
                f"{self.site.policy.workspace} has {len(found) or 'no'} members with the email {email}.",
                f"See: pigment-sync members --workspace {self.site.policy.workspace}",
            )
        return assignment(await self.survey.state.memory(self.site.policy.workspace), found[0], person)

    async def forgotten(self, person: PersonKey) -> Sequence[Mend]:
        """Return the mend that forgets the link of *person*; raises `UsageError` when there is none."""
        memory = await self.survey.state.memory(self.site.policy.workspace)
        mends = [Mend(None, link) for link in memory.links if link.person == person]
        if not mends:
            raise UsageError(
                f"{self.site.policy.workspace} has no link for {person.connector}:{person.id}.",
                f"See: pigment-sync links list --workspace {self.site.policy.workspace}",
            )
        return mends

    async def write(self, mends: Sequence[Mend], order: Order) -> None:
        """Write *mends* as one run of the journal. Raises `Busy` while another run holds the workspace."""
        state, clock = self.survey.state, self.survey.clock
        found = moved_target(self.site.policy, await state.targets())
        if found.moved:
            raise WrongTarget(f"No link was written. {found.moved}", found.remedy)
        workspace = self.site.policy.workspace, self.site.policy.target
        async with held(state, clock, self.sleep, workspace, self.holder, order.wait_seconds) as ours:
            now = clock.now()
            run = replace(begun(self.site.policy, order, now), dry_run=False, status=RunStatus.DONE, finished_at=now)
            await state.mend(ours.lease, run, mends)
