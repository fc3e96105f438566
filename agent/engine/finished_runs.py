"""What finished runs of a tick would deactivate: the fleet guard counts it when another process takes up the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from agent.guard.guards import INDIVIDUALLY_HELD_CODES
from agent.model import Kind
from agent.ports.state import State

__all__ = ["load_planned_deactivations"]


async def load_planned_deactivations(state: State, run_ids: Sequence[str]) -> Mapping[str, frozenset[str]]:
    """Return the members that the plans of these runs deactivate, by workspace; also those that a guard holds."""
    runs = [await state.load_run(run_id) for run_id in run_ids]
    return {run.workspace: _planned_deactivations(run.document) for run in runs if run and run.document}


def _planned_deactivations(document: bytes) -> frozenset[str]:
    planned = orjson.loads(document)
    # A hold without `before` is of the planning table: no approval releases it.
    held = [
        hold for hold in planned.get("holds", []) if "before" in hold and hold["code"] not in INDIVIDUALLY_HELD_CODES
    ]
    entries = [*planned.get("changes", []), *held]
    return frozenset(each["scim_id"] for each in entries if each["kind"] == Kind.DEACTIVATE and each.get("scim_id"))
