"""Change which workspace a key of the file refers to, under the leases, and journal who and why. Nothing is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from agent.engine.lease import acquire_lease
from agent.engine.records import admin_run
from agent.engine.request import RunRequest
from agent.errors import UsageError
from agent.guard.target import check_workspace_target
from agent.model import Policy
from agent.model.provenance import Provenance
from agent.model.run import Lease, Run, WorkspaceRecord
from agent.ports.clock import Clock
from agent.ports.state import State

__all__ = ["WorkspaceKeys"]

LIST_HINT = "See: pigment-sync workspaces list"


@dataclass(frozen=True, slots=True)
class WorkspaceKeys:
    """The keys that the state and the file know. *policies* are those of the file, *provenance* is of its runs."""

    state: State
    clock: Clock
    policies: Mapping[str, Policy]
    holder: str
    sleep: Callable[[float], Awaitable[None]]
    provenance: Provenance

    async def list_keys(self) -> list[tuple[WorkspaceRecord, str]]:
        """Return each key with the fingerprint that the file gives it; empty if the key is not in the file."""
        known = {each.name: each for each in await self.state.load_workspaces()}
        own = {name: WorkspaceRecord(name, "", 0, None) for name in self.policies}
        return [
            (each, self._configured_target(each.name))
            for each in sorted((own | known).values(), key=lambda each: each.name)
        ]

    def _configured_target(self, name: str) -> str:
        return self.policies[name].target if name in self.policies else ""

    async def _find_record(self, name: str) -> WorkspaceRecord | None:
        return next((each for each in await self.state.load_workspaces() if each.name == name), None)

    async def _check_remaining(self, name: str) -> str:
        """Return what still holds everything under *name*; empty if nothing does."""
        if name not in self.policies:
            return f"{name} is not in this configuration."
        found = check_workspace_target(self.policies[name], await self.state.load_targets())
        return f"{found.mismatch} {found.remedy}" if found.mismatch else ""

    def _admin_run(self, name: str, request: RunRequest, what: str) -> Run:
        return admin_run(
            name,
            replace(request, reason=f"{what}: {request.reason}" if request.reason else what),
            self.clock.now(),
            self.provenance,
        )

    async def _acquire_lease(self, stack: AsyncExitStack, workspace: tuple[str, str], request: RunRequest) -> Lease:
        ours = acquire_lease(self.state, self.clock, self.sleep, workspace, self.holder, request.wait_seconds)
        return (await stack.enter_async_context(ours)).lease

    async def rename(self, old: str, new: str, request: RunRequest) -> list[str]:
        """Move what the state knows under *old* to *new*, and return sentences that report what was done.

        The same name twice means that the workspace has a new `scim_url`. Raises `UsageError` where a rename is not
        possible, and `WorkspaceBusy` while a run holds either.
        """
        if old == new:
            return await self._retarget(new, request)
        async with AsyncExitStack() as stack:
            record = await self._require_record(old)
            leases = [await self._acquire_lease(stack, (old, record.target), request)]
            # If both keys refer to the same workspace, this process already holds its lease.
            target = self._configured_target(new) if self._configured_target(new) != record.target else ""
            leases.append(await self._acquire_lease(stack, (new, target), request))
            record, taken = await self._require_record(old), await self._find_record(new)
            if taken is not None and (taken.link_count or taken.target not in {"", record.target}):
                place = f" and stands for {taken.target}" if taken.target else ""
                raise UsageError(
                    f"The state already knows {new}: it has {taken.link_count} links{place}.",
                    f"If you don't need them: pigment-sync workspaces reset {new}, then rename {old}.",
                )
            await self.state.rename_workspace(
                leases[0], leases[1], self._admin_run(new, request, f"renamed from {old}")
            )
        done = (
            f"{old} is {new} now, with {_count_phrase(record.link_count)}, counts, sizes of groups, pause and history."
        )
        return [done, *filter(None, [await self._check_remaining(new)])]

    async def _require_record(self, name: str) -> WorkspaceRecord:
        found = await self._find_record(name)
        if found is None:
            known = ", ".join(each.name for each in await self.state.load_workspaces())
            raise UsageError(f"The state knows no workspace {name}.", f"It knows: {known or 'none'}. {LIST_HINT}")
        return found

    async def _retarget(self, name: str, request: RunRequest) -> list[str]:
        if name not in self.policies:
            raise UsageError(f"There is no workspace {name}.", f"The config has: {', '.join(self.policies)}.")
        record, now = await self._require_record(name), self._configured_target(name)
        if record.target in {"", now}:
            raise UsageError(
                f"Nothing needs to change: the state has no other scim_url for {name} than {now}.", LIST_HINT
            )
        async with AsyncExitStack() as stack:
            lease = await self._acquire_lease(stack, (name, now), request)
            for each in await self.state.load_workspaces():
                if each.target == now:
                    raise UsageError(
                        f"The state knows {now} as {each.name}, so it is not {name} at a new address.",
                        f"If {name} is that workspace now: pigment-sync workspaces reset {name}",
                    )
            what = f"moved from {record.target} to {now}"
            await self.state.retarget_workspace(lease, self._admin_run(name, request, what), now)
        return [
            f"{name} is now at {now}, with {_count_phrase(record.link_count)} and everything else that "
            "was known about it."
        ]

    async def reset(self, name: str, request: RunRequest) -> list[str]:
        """Drop what the state remembers under *name*, which starts again at its `scim_url`; the journal stays.

        Raises `UsageError` when neither state nor file know it, and `WorkspaceBusy` while a run holds it.
        """
        if name not in self.policies:
            await self._require_record(name)
        now = self._configured_target(name)
        async with AsyncExitStack() as stack:
            lease = await self._acquire_lease(stack, (name, now), request)
            run = self._admin_run(name, request, f"reset to {now}" if now else "reset")
            dropped = await self.state.reset_workspace(lease, run, now)
        place = f" at {now}" if now else ""
        begins = f"{name} starts without any{place}" if name in self.policies else f"{name} is forgotten"
        done = (
            f"{_count_phrase(len(dropped))} of {name} dropped, and {begins}. Its history stays. "
            "Nothing was sent to Pigment."
        )
        return [done, *filter(None, [await self._check_remaining(name) if name in self.policies else ""])]


def _count_phrase(links: int) -> str:
    return "1 link" if links == 1 else f"{links} links"
