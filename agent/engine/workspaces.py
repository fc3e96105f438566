"""Settle what a key of the file stands for: under the leases, journalled with who and why. Nothing is sent anywhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from agent.engine.lease import held
from agent.engine.order import Order
from agent.engine.run import noted
from agent.errors import UsageError
from agent.guard.target import moved_target
from agent.model import Policy
from agent.ports import Clock, Lease, Run, State, WorkspaceRecord

__all__ = ["Workspaces"]

LIST = "See: pigment-sync workspaces list"


@dataclass(frozen=True, slots=True)
class Workspaces:
    """The keys that the state and the file know. *policies* are those of the file."""

    state: State
    clock: Clock
    policies: Mapping[str, Policy]
    holder: str
    sleep: Callable[[float], Awaitable[None]]

    async def listed(self) -> list[tuple[WorkspaceRecord, str]]:
        """Return each key with the fingerprint that the file gives it, empty: it is not in the file."""
        known = {each.name: each for each in await self.state.workspaces()}
        own = {name: WorkspaceRecord(name, "", 0, None) for name in self.policies}
        return [(each, self._target(each.name)) for each in sorted((own | known).values(), key=lambda each: each.name)]

    def _target(self, name: str) -> str:
        return self.policies[name].target if name in self.policies else ""

    async def _known(self, name: str) -> WorkspaceRecord | None:
        return next((each for each in await self.state.workspaces() if each.name == name), None)

    async def _remaining(self, name: str) -> str:
        """Return what still holds everything under *name*, empty: nothing."""
        if name not in self.policies:
            return f"{name} is not in this configuration."
        found = moved_target(self.policies[name], await self.state.targets())
        return f"{found.moved} {found.remedy}" if found.moved else ""

    def _run(self, name: str, order: Order, what: str) -> Run:
        return noted(name, replace(order, reason=f"{what}: {order.reason}" if order.reason else what), self.clock.now())

    async def _lease(self, stack: AsyncExitStack, workspace: tuple[str, str], order: Order) -> Lease:
        ours = held(self.state, self.clock, self.sleep, workspace, self.holder, order.wait_seconds)
        return (await stack.enter_async_context(ours)).lease

    async def rename(self, old: str, new: str, order: Order) -> list[str]:
        """Move what the state knows under *old* to *new*, and return sentences that report what was done.

        The same name twice means that the workspace has a new `scim_url`. Raises `UsageError` where a rename is not
        possible, and `Busy` while a run holds either.
        """
        if old == new:
            return await self._moved(new, order)
        async with AsyncExitStack() as stack:
            there = await self._expected(old)
            leases = [await self._lease(stack, (old, there.target), order)]
            # The lease of the workspace itself is ours already where both keys are for the same one.
            target = self._target(new) if self._target(new) != there.target else ""
            leases.append(await self._lease(stack, (new, target), order))
            there, taken = await self._expected(old), await self._known(new)
            if taken is not None and (taken.links or taken.target not in {"", there.target}):
                place = f" and stands for {taken.target}" if taken.target else ""
                raise UsageError(
                    f"The state already knows {new}: it has {taken.links} links{place}.",
                    f"If you don't need them: pigment-sync workspaces reset {new}, then rename {old}.",
                )
            await self.state.rename_workspace(leases[0], leases[1], self._run(new, order, f"renamed from {old}"))
        done = f"{old} is {new} now, with {_counted(there.links)}, counts, sizes of groups, pause and history."
        return [done, *filter(None, [await self._remaining(new)])]

    async def _expected(self, name: str) -> WorkspaceRecord:
        found = await self._known(name)
        if found is None:
            known = ", ".join(each.name for each in await self.state.workspaces())
            raise UsageError(f"The state knows no workspace {name}.", f"It knows: {known or 'none'}. {LIST}")
        return found

    async def _moved(self, name: str, order: Order) -> list[str]:
        if name not in self.policies:
            raise UsageError(f"There is no workspace {name}.", f"The config has: {', '.join(self.policies)}.")
        there, now = await self._expected(name), self._target(name)
        if there.target in {"", now}:
            raise UsageError(f"Nothing needs to change: the state has no other scim_url for {name} than {now}.", LIST)
        async with AsyncExitStack() as stack:
            lease = await self._lease(stack, (name, now), order)
            for each in await self.state.workspaces():
                if each.target == now:
                    raise UsageError(
                        f"The state knows {now} as {each.name}, so it is not {name} at a new address.",
                        f"If {name} is that workspace now: pigment-sync workspaces reset {name}",
                    )
            what = f"moved from {there.target} to {now}"
            await self.state.retarget_workspace(lease, self._run(name, order, what), now)
        return [f"{name} is now at {now}, with {_counted(there.links)} and everything else that was known about it."]

    async def reset(self, name: str, order: Order) -> list[str]:
        """Drop what the state remembers under *name*, which starts again at its `scim_url`; the journal stays.

        Raises `UsageError` when neither state nor file know it, and `Busy` while a run holds it.
        """
        if name not in self.policies:
            await self._expected(name)
        now = self._target(name)
        async with AsyncExitStack() as stack:
            lease = await self._lease(stack, (name, now), order)
            run = self._run(name, order, f"reset to {now}" if now else "reset")
            dropped = await self.state.reset_workspace(lease, run, now)
        place = f" at {now}" if now else ""
        begins = f"{name} starts without any{place}" if name in self.policies else f"{name} is forgotten"
        done = (
            f"{_counted(len(dropped))} of {name} dropped, and {begins}. Its history stays. Nothing was sent to Pigment."
        )
        return [done, *filter(None, [await self._remaining(name) if name in self.policies else ""])]


def _counted(links: int) -> str:
    return "1 link" if links == 1 else f"{links} links"
