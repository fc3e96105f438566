"""Adoptions are written in parts: what the journal has of them is what the run reports, wherever it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from agent.apply.changes import ADOPTIONS_AT_ONCE, Applier
from agent.errors import lease_lost_error
from agent.model import Change, Kind, Link
from agent.model.run import Lease, Outcome
from connectors.base import PersonKey
from tests.memory_state import MemoryState
from tests.state_samples import NOW, a_change, begun


class LostAfterOnePart(MemoryState):
    """A state in which the lease is lost after the first part."""

    parts = 0

    async def record_adoptions(self, lease: Lease, run_id: str, adoptions: Sequence[tuple[int, Change, Link]]) -> None:
        if self.parts:
            raise lease_lost_error(lease.workspace)
        self.parts += 1
        await super().record_adoptions(lease, run_id, adoptions)


class Noon:
    """Implements `agent.ports.clock.Clock`."""

    def now(self) -> datetime:
        return NOW

    def elapsed(self) -> float:
        return 0


async def test_adoptions_before_a_lost_lease_are_done_and_the_rest_is_not_tried() -> None:
    state = LostAfterOnePart(lambda: NOW)
    lease = await begun(state)
    adopt = a_change(Kind.ADOPT)
    changes = [
        replace(adopt, person=PersonKey("okta-main", f"p{number}"), scim_id=f"m{number}")
        for number in range(ADOPTIONS_AT_ONCE + 2)
    ]
    nothing = cast(Any, None)
    applier = Applier(nothing, state, Noon(), lease, "r1", nothing, bool, True, nothing, nothing)

    applied = await applier.apply(changes, {}, frozenset())

    outcomes = [record.outcome for record in applied.records]
    assert outcomes == [Outcome.DONE] * ADOPTIONS_AT_ONCE + [Outcome.NOT_TRIED] * 2
    assert [record.scim_id for record in applied.records] == [change.scim_id for change in changes]
    assert [record.seq for record in applied.unrecorded] == [ADOPTIONS_AT_ONCE, ADOPTIONS_AT_ONCE + 1]
    links = (await state.load_memory("latam")).links
    assert {link.scim_id for link in links} == {change.scim_id for change in changes[:ADOPTIONS_AT_ONCE]}
