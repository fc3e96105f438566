"""Check the state before a plan is trusted: report that it is new, or has no links for a workspace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from agent.guard.target import check_workspace_target
from agent.model import Inputs, KnownTarget, Note, Plan, Policy, Unplanned
from agent.model.codes import NoteCode
from agent.model.run import WorkspaceRecord
from connectors.base import Finding

__all__ = [
    "STATE_REMEDY",
    "check_links",
    "check_state",
    "empty_state_warning",
    "new_state_warning",
    "with_state_note",
]

STATE_REMEDY = "Check that the place is right. If a state exists elsewhere, set state.url to it, or restore a backup."


def new_state_warning(place: str) -> str:
    """Return the warning of a command that found no state at *place* and created one."""
    return f"there was no state at {place}: a new, empty one was created"


def with_state_note(plan: Plan, inputs: Inputs) -> Plan:
    """Return *plan* with a note if the workspace has members and the state has no links to them."""
    members = len(inputs.listing.members)
    if inputs.memory.links or not members:
        return plan
    reason = (
        f"The state has no links for {plan.workspace}, which has {members} members. They are matched by email, and "
        "earlier leavers are not known. This is expected before the first sync; otherwise check state.url."
    )
    return replace(plan, notes=(*plan.notes, Note(NoteCode.STATE_EMPTY, "", reason)))


def empty_state_warning(planned: Plan | Unplanned) -> str:
    """Return the sentence of the note on an empty state; empty if the plan has no such note."""
    notes = planned.notes if isinstance(planned, Plan) else ()
    return next((note.reason for note in notes if note.code == NoteCode.STATE_EMPTY), "")


def check_state(place: str, *, is_new: bool) -> list[Finding]:
    if is_new:
        return [Finding("warning", "state", new_state_warning(place), STATE_REMEDY)]
    return [Finding("ok", "state", f"the state is {place}")]


def check_links(
    place: str, policies: Sequence[Policy], known: Sequence[WorkspaceRecord], targets: Sequence[KnownTarget]
) -> list[Finding]:
    """Return findings on what the state knows of the workspaces of *policies*."""
    links = {each.name: each.link_count for each in known}
    return [finding for policy in policies for finding in _check_workspace_links(place, policy, links, targets)]


def _check_workspace_links(
    place: str, policy: Policy, links: dict[str, int], targets: Sequence[KnownTarget]
) -> Iterator[Finding]:
    name, subject = policy.workspace, f"workspace {policy.workspace}"
    found = check_workspace_target(policy, targets)
    if found.mismatch:
        yield Finding("error", subject, f"{found.mismatch} A run would hold everything.", found.remedy)
    elif not links.get(name):
        yield Finding(
            "warning",
            subject,
            f"the state {place} has no links for it yet",
            "This is expected before its first sync, which matches members by email. Otherwise check state.url.",
        )
