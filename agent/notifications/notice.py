"""The text of a notice: workspace, event, reason and next step. Pure; nothing is sent here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from agent.engine.request import RunResult, has_approvable_holds, wrong_target_message
from agent.model import Mode, Plan, Unplanned
from agent.model.run import Outcome, RunStatus
from agent.report.document import MAX_NAMED
from agent.report.escape import escape_surrogates

__all__ = [
    "EXPIRY_STAGES_DAYS",
    "Condition",
    "Notice",
    "Severity",
    "approval_instructions",
    "condition_notice",
    "expiry_notice",
    "expiry_stage",
    "run_condition",
    "run_line",
]

EXPIRY_STAGES_DAYS = (1, 7, 30)
"""Days before a token expires at which a notice is sent."""
BAD_OUTCOMES = frozenset({Outcome.FAILED, Outcome.NOT_PERSISTED, Outcome.NOT_TRIED, Outcome.UNKNOWN})


class Condition(StrEnum):
    """The condition of a workspace, as notices have it."""

    FINE = "fine"
    FAILURE = "failure"
    HELD = "held"
    CREDENTIALS = "credentials"


class Severity(StrEnum):
    """Severities, with the names of Apprise."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


CONDITION_BY_STATUS = {
    RunStatus.DONE: Condition.FINE,
    RunStatus.HELD: Condition.HELD,
    RunStatus.FAILED: Condition.FAILURE,
    RunStatus.INCOMPLETE: Condition.FAILURE,
    RunStatus.INTERRUPTED: Condition.FAILURE,
    RunStatus.CREDENTIALS: Condition.CREDENTIALS,
}


@dataclass(frozen=True, slots=True)
class Notice:
    title: str
    body: str
    severity: Severity


def run_condition(result: RunResult) -> Condition | None:
    """Return the condition in which the run leaves its workspace; None when the run does not show it.

    Another run reports on a busy workspace. In mode enforce a dry run only proves that the workspace can be read; in
    mode dry-run there is nothing else.
    """
    if result.status is RunStatus.PLANNED:
        return Condition.FINE if result.planned.mode is Mode.DRY_RUN else None
    return CONDITION_BY_STATUS.get(result.status)


def condition_notice(result: RunResult, now: Condition, before: Condition, digest: str) -> Notice:
    """Return the notice for a workspace that changes from condition *before* to *now*.

    *digest* approves what is on hold now; empty: not known.
    """
    name = result.workspace
    match now:
        case Condition.FINE:
            was = {Condition.HELD: "on hold", Condition.CREDENTIALS: "credentials refused"}.get(before, "failed")
            title, why, todo = f"{name} recovered", f"Before: {was}.", "Nothing needs to be done."
            severity = Severity.SUCCESS
        case Condition.HELD:
            title, why, severity = f"changes of {name} are on hold", _held_reason(result), Severity.WARNING
            todo = approval_instructions(result, digest)
        case Condition.CREDENTIALS:
            title, why, severity = _credentials_title(name, result.planned), _failure_reason(result), Severity.FAILURE
            todo = f"Find out which are refused:\n  pigment-sync check -w {name}"
        case _:
            title, why, severity = f"a run of {name} failed", _failure_reason(result), Severity.FAILURE
            todo = (
                f"See what happened, and check the connections:\n  {_report_command(result)}\n  "
                f"pigment-sync check -w {name}"
            )
    body = f"Workspace: {name}\n{run_line(result)}\n\n{why}\n\n{todo}"
    return Notice(f"pigment-sync: {title}", escape_surrogates(body), severity)


def run_line(result: RunResult) -> str:
    """Return the line that names the run and how it ended."""
    return f"Run: {result.run_id}, ended as {result.status}." if result.run_id else f"The run ended as {result.status}."


def _credentials_title(name: str, planned: Plan | Unplanned) -> str:
    code = planned.code if isinstance(planned, Unplanned) else ""
    titles = {
        "permission-missing": f"a permission for {name} is missing",
        "secret-not-set": f"a secret for {name} is not set",
        "secret-unreadable": f"a secret for {name} can't be read",
        "secret-invalid": f"a secret for {name} is not usable",
    }
    return titles.get(code, f"credentials for {name} are refused")


def _held_reason(result: RunResult) -> str:
    planned = result.planned
    if isinstance(planned, Unplanned):
        return ""
    guards = [
        f"- {guard.message} ({', '.join(guard.affected[:MAX_NAMED])})" if guard.affected else f"- {guard.message}"
        for guard in planned.guards
    ]
    count = len(planned.holds if result.holds is None else result.holds)
    return "\n".join([f"{count:,} {'change is' if count == 1 else 'changes are'} on hold.", *guards])


def approval_instructions(result: RunResult, digest: str) -> str:
    """Return what releases the holds of guards, with the commands. *digest* approves them; empty: not known."""
    name = result.workspace
    if wrong_target_message(result.planned) and not has_approvable_holds(result.planned):
        return f"An approval does not release this. Follow the remedy in the plan:\n  pigment-sync plan -w {name}"
    if not digest:
        return f"Review the plan, and approve it by the digest that it prints:\n  pigment-sync plan -w {name}"
    return (
        f"Review the plan, and approve it if it is right:\n  pigment-sync plan -w {name}\n"
        f'  pigment-sync sync -w {name} --approve {digest} --reason "…"'
    )


def _report_command(result: RunResult) -> str:
    return f"pigment-sync report {result.run_id}" if result.run_id else f"pigment-sync history -w {result.workspace}"


def _failure_reason(result: RunResult) -> str:
    if result.error:
        return result.error
    if isinstance(result.planned, Unplanned):
        return f"{result.planned.message} {result.planned.remedy}"
    bad = [record for record in result.records if record.outcome in BAD_OUTCOMES]
    detail = next((record.detail for record in bad if record.detail), "")
    return f"{len(bad)} of {len(result.records)} changes were not made. {detail}".strip()


def expiry_stage(expires: date, today: date) -> int | None:
    """Return the notice stage reached, in days before the token expires: 30, 7 or 1; None before the first."""
    left = (expires - today).days
    return next((each for each in EXPIRY_STAGES_DAYS if left <= each), None)


def expiry_notice(workspace: str, expires: date, today: date) -> Notice:
    left = (expires - today).days
    when = "has expired" if left <= 0 else "expires tomorrow" if left == 1 else f"expires in {left} days"
    body = (
        f"Workspace: {workspace}\n\nIts first Pigment token expires on {expires.isoformat()}. "
        "Without a valid token no one is added or deactivated.\n\nCreate a new token in Pigment, put it first in "
        f"workspaces.{workspace}.tokens, set token_expires, and check it:\n  pigment-sync check -w {workspace}"
    )
    severity = Severity.FAILURE if left <= 1 else Severity.WARNING
    return Notice(f"pigment-sync: the Pigment token of {workspace} {when}", body, severity)
