"""Check the state before a plan is trusted: report that it is new, or has no links for a workspace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from agent.errors import StateError
from agent.guard.target import check_workspace_target
from agent.model import Inputs, KnownTarget, Note, Plan, Policy, Unplanned
from agent.model.codes import NoteCode
from agent.model.run import Pause, WorkspaceRecord
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.ports.state import State
from connectors.base import Area, CheckName, Finding

__all__ = [
    "STATE_REMEDY",
    "check_links",
    "check_state",
    "check_workspace_state",
    "empty_state_warning",
    "new_state_warning",
    "verification_findings",
    "with_state_note",
]

RESULT_WORDS = {
    VerificationResult.PASSED: "found everything as expected",
    VerificationResult.DIFFERS: "found differences",
    VerificationResult.FAILED: "failed",
    VerificationResult.RUNNING: "has not ended, or was killed",
}
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


async def check_state(state: State, place: str, schema: str, *, is_new: bool) -> list[Finding]:
    """Return findings on the place of *state*, its *schema*, and whether it can be written."""
    located = _state_finding(
        "warning" if is_new else "ok",
        new_state_warning(place) if is_new else f"the state is {place}",
        STATE_REMEDY if is_new else "",
    )
    current = _state_finding("ok", f"its schema is {schema}, which this release needs", name=CheckName.STATE_SCHEMA)
    try:
        await state.prove_writable()
    except StateError as error:
        written = _state_finding("error", error.message, error.hint, CheckName.STATE_WRITABLE)
    else:
        written = _state_finding("ok", "it can be written", name=CheckName.STATE_WRITABLE)
    return [located, current, written]


def _state_finding(
    level: Literal["ok", "warning", "error"],
    message: str,
    remedy: str = "",
    name: CheckName = CheckName.STATE_LOCATION,
) -> Finding:
    return Finding(level, "state", message, remedy, name=name, area=Area.STATE)


async def check_workspace_state(state: State, place: str, policy: Policy) -> list[Finding]:
    """Return findings on what *state* knows of the workspace of *policy*."""
    name = policy.workspace
    try:
        pause = await state.load_pause(name)
        return [
            *check_links(place, policy, await state.load_workspaces(), await state.load_targets()),
            *([] if pause is None else [_pause_finding(name, pause)]),
            *verification_findings(await state.load_verifications(name)),
        ]
    except StateError as error:
        return [
            Finding(
                "error",
                f"workspace {name}",
                error.message,
                error.hint,
                name=CheckName.LINKS,
                area=Area.WORKSPACE,
            )
        ]


def _pause_finding(name: str, pause: Pause) -> Finding:
    why = f": {pause.reason}" if pause.reason else ""
    return Finding(
        "warning",
        f"workspace {name}",
        f"is paused by {pause.by} since {pause.since:%Y-%m-%d %H:%M} UTC{why}. Nothing is written to it.",
        f"To resume: pigment-sync resume {name}",
        name=CheckName.PAUSE,
        area=Area.WORKSPACE,
    )


def verification_findings(verifications: Sequence[Verification]) -> Iterator[Finding]:
    """Yield the newest probe and the newest comparison of a workspace, each with its date. *verifications*: newest
    first."""
    for kind, name in ((VerificationKind.PROBE, CheckName.PROBE), (VerificationKind.COMPARE, CheckName.COMPARISON)):
        newest = next((each for each in verifications if each.kind is kind), None)
        if newest is not None:
            yield _verification_finding(newest, name)


def _verification_finding(newest: Verification, name: CheckName) -> Finding:
    subject = f"workspace {newest.workspace}"
    what = f"the newest {name}" + (f", with {newest.subject}," if newest.subject else "")
    message = f"{what} {RESULT_WORDS[newest.result]} ({newest.started_at:%Y-%m-%d %H:%M} UTC)"
    # Only `check` shows it, and every command imports the checks of the state.
    from agent.report.probe import probe_counts

    counts = probe_counts(newest) if newest.kind is VerificationKind.PROBE else ""
    message = f"{message}: {counts}" if counts else message
    if newest.result is VerificationResult.PASSED:
        return Finding("ok", subject, message, name=name, area=Area.WORKSPACE)
    shows = " --show" if newest.kind is VerificationKind.PROBE else ""
    remedy = f"See what differs, and make it again: `pigment-sync {newest.kind} --workspace {newest.workspace}{shows}`"
    return Finding("warning", subject, f"{message}.", remedy, name=name, area=Area.WORKSPACE)


def check_links(
    place: str, policy: Policy, known: Sequence[WorkspaceRecord], targets: Sequence[KnownTarget]
) -> Iterator[Finding]:
    """Yield findings on what the state knows of the workspace of *policy*."""
    links = {each.name: each.link_count for each in known}
    name, subject = policy.workspace, f"workspace {policy.workspace}"
    found = check_workspace_target(policy, targets)
    if found.mismatch:
        yield Finding(
            "error",
            subject,
            f"{found.mismatch} A run would hold everything.",
            found.remedy,
            name=CheckName.TARGET,
            area=Area.WORKSPACE,
        )
    elif not links.get(name):
        yield Finding(
            "warning",
            subject,
            f"the state {place} has no links for it yet",
            "This is expected before its first sync, which matches members by email. Otherwise check state.url.",
            name=CheckName.LINKS,
            area=Area.WORKSPACE,
        )
