"""Compare the digests that a human approved with the plans that were just made."""

from __future__ import annotations

from collections.abc import Sequence

from agent.engine.order import Order
from agent.errors import StalePlan
from agent.ports import State
from agent.report.difference import difference
from agent.report.document import document_digest
from agent.report.saved import parse_workspace
from agent.report.shape import WorkspaceObject

__all__ = ["approved"]


async def approved(fresh: Sequence[WorkspaceObject], order: Order, state: State) -> dict[str, str]:
    """Map each workspace whose plan was approved to the digest that did: its own, or that of the whole document.

    Raises `StalePlan` if one of the order's approvals is neither, naming what has changed where that plan is known.
    """
    digests = order.approvals
    whole = document_digest(fresh)
    known = {each["digest"] for each in fresh if each["status"] == "planned"}
    is_complete = all(each["status"] == "planned" for each in fresh)
    unknown = sorted(set(digests) - known - ({whole} if is_complete else set()))
    if unknown:
        raise StalePlan(
            await _stale(unknown, fresh, order, state), "Read the new plan, and approve its digest if it is right."
        )
    named = {each["name"]: each["digest"] for each in fresh if each["digest"] in digests}
    return {each["name"]: whole for each in fresh} | named if whole in digests else named


async def _stale(digests: Sequence[str], fresh: Sequence[WorkspaceObject], order: Order, state: State) -> str:
    lines = []
    for digest in digests:
        lines.append(f"The approved plan {digest} is not the plan any more; nothing was written.")
        former = await _reviewed(digest, order, state)
        now = next((each for each in fresh if former is not None and each["name"] == former["name"]), None)
        if former is not None and now is not None:
            lines.append(f"What has changed in {former['name']}:")
            lines.extend(f"  {line}" for line in difference(former, now))
    return "\n".join(lines)


async def _reviewed(digest: str, order: Order, state: State) -> WorkspaceObject | None:
    for each in order.reviewed:
        if each["digest"] == digest:
            return each
    run = await state.run_by_digest(digest)
    return parse_workspace(run.document) if run is not None and run.document is not None else None
