"""The run that a report is of: who asked for it, why, when, what came of it, who approved it, what made it.

It stands first in each rendering. The digests do not cover it: another run of the same plan has the same digest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import cast

from agent.model.approval import Approval
from agent.model.run import Run
from agent.report.escape import escape_control
from agent.report.hold_age import held_since
from agent.report.hold_guards import hold_guards
from agent.report.labels import held_counts
from agent.report.schema import ApprovalObject, RunObject, WorkspaceObject

__all__ = [
    "Fact",
    "approval_facts",
    "approver_names",
    "format_utc",
    "made_with_facts",
    "run_blocks",
    "run_object",
    "with_run",
]

NOT_RECORDED = "not recorded"
SHARED_LABELS = frozenset({"Started by", "Reason", "Approved by", "Version", "Configuration"})
"""What the runs of one command usually have in common."""
STATUS_MEANINGS = {
    "held": " (changes are left on hold)",
    "planned": " (nothing was written)",
    "stale": " (nothing was written: the approved plan was another one)",
}
Fact = tuple[str, str]
"""A label and its value."""


def run_object(run: Run, approvals: Sequence[Approval]) -> RunObject:
    """Return *run* as the document shows it, with the *approvals* that the journal has for it."""
    known = approvals or _earlier_approvals(run)
    made_with = run.provenance
    return {
        "id": run.id,
        "trigger": run.trigger.value,
        "by": run.by,
        "reason": run.reason,
        "started_at": format_utc(run.started_at),
        "finished_at": None if run.finished_at is None else format_utc(run.finished_at),
        "status": run.status.value,
        "approvals": [_approval_object(each) for each in known],
        "version": made_with.version if made_with else None,
        "commit": made_with.commit if made_with else None,
        "config_sha256": made_with.config_sha256 if made_with else None,
    }


def _earlier_approvals(run: Run) -> Sequence[Approval]:
    """Return the approval of a run of a release that kept only its digest: it was given with the command."""
    if run.approved_digest is None:
        return ()
    at, reason = run.started_at, run.reason
    return (Approval(workspace=run.workspace, digest=run.approved_digest, by=run.by, at=at, reason=reason),)


def _approval_object(approval: Approval) -> ApprovalObject:
    return {
        "by": approval.by,
        "at": format_utc(approval.at),
        "reason": approval.reason,
        "guards": list(approval.guards),
    }


def with_run(workspace: WorkspaceObject, run: Run, approvals: Sequence[Approval]) -> WorkspaceObject:
    """Return *workspace* as the plan of *run*. Its digest stays."""
    return cast("WorkspaceObject", {**workspace, "run": run_object(run, approvals)})


def format_utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def approver_names(workspace: WorkspaceObject, guards: Collection[str]) -> tuple[str, ...]:
    """Return who approved what *guards* hold, each person once."""
    approvals = workspace["run"]["approvals"] if "run" in workspace else []
    about = [each for each in approvals if not each["guards"] or set(each["guards"]).intersection(guards)]
    return tuple(dict.fromkeys(escape_control(each["by"] or NOT_RECORDED) for each in about))


def run_blocks(workspaces: Sequence[WorkspaceObject]) -> Sequence[Sequence[Fact]]:
    """Return the facts of the runs of *workspaces*: a block for each run, and a last one for what all of them share.

    One run is one block. A workspace without a run (a plan that was not recorded) has none, unless it was planned
    against an exported list: then that is what the report must begin with.
    """
    blocks = [
        *(_members_file_facts(workspace) for workspace in workspaces if "members_from" in workspace),
        *(_facts(workspace, workspace["run"]) for workspace in workspaces if "run" in workspace),
    ]
    if len(blocks) < 2:
        return blocks
    shared = [fact for fact in blocks[0] if fact[0] in SHARED_LABELS and all(fact in block for block in blocks)]
    own = [[fact for fact in block if fact not in shared] for block in blocks]
    return [*own, shared] if shared else own


def _members_file_facts(workspace: WorkspaceObject) -> list[Fact]:
    origin = workspace["members_from"]
    return [
        ("Members", escape_control(f"{origin['rows']:,} from the file {origin['file']}, not from {workspace['name']}")),
        ("File", escape_control(f"SHA-256 {origin['sha256']}")),
        ("Use", "A first look. Links and history are not used, and it can't be applied or approved."),
    ]


def _facts(workspace: WorkspaceObject, run: RunObject) -> list[Fact]:
    start, end = run["started_at"], run["finished_at"]
    facts = [
        ("Run", f"{run['id']} of {workspace['name']}"),
        ("Status", f"{run['status']}{STATUS_MEANINGS.get(run['status'], '')}, in mode {workspace['mode']}"),
        ("Started by", f"{run['by']} ({run['trigger']})" if run["by"] else run["trigger"]),
        *([("Reason", run["reason"])] if run["reason"] else []),
        ("Time", f"{start} to {end}" if end else f"{start}, not ended"),
    ]
    return [
        *((label, escape_control(value)) for label, value in facts),
        *approval_facts(run, workspace),
        *made_with_facts(run),
    ]


def approval_facts(run: RunObject, workspace: WorkspaceObject | None) -> list[Fact]:
    """Return who approved the plan of the run, when, for what, and why. *workspace* is that plan, if it is known."""
    return [("Approved by", escape_control(_approval_sentence(each, workspace))) for each in run["approvals"]]


def made_with_facts(run: RunObject) -> list[Fact]:
    """Return the release and the configuration that the run was made with."""
    digest = f"SHA-256 {run['config_sha256']}" if run["config_sha256"] else NOT_RECORDED
    return [("Version", escape_control(_version(run))), ("Configuration", escape_control(digest))]


def _approval_sentence(approval: ApprovalObject, workspace: WorkspaceObject | None) -> str:
    what = f"for what {', '.join(approval['guards'])} held" if approval["guards"] else "for what all guards held"
    about = _approved_holds(workspace, frozenset(approval["guards"])) if workspace is not None else ""
    why = f"Reason: {approval['reason']}" if approval["reason"] else "Without a reason."
    return f"{approval['by'] or NOT_RECORDED} at {approval['at']}, {what}{about}. {why}"


def _approved_holds(workspace: WorkspaceObject, guards: frozenset[str]) -> str:
    """Return ": 30 deactivations, on hold since …", what *guards* (empty: all) held of the plan."""
    if workspace["status"] != "planned":
        return ""
    rows = zip(workspace["holds"], held_since(workspace), hold_guards(workspace), strict=True)
    about = [(hold["kind"], since) for hold, since, codes in rows if codes and (not guards or codes & guards)]
    counts = held_counts(Counter(kind for kind, _ in about))
    first = min((since for _, since in about if since), default="")
    return (f": {counts}" if counts else "") + (f", on hold since {first}" if counts and first else "")


def _version(run: RunObject) -> str:
    if not run["version"]:
        return NOT_RECORDED
    return f"pigment-sync {run['version']}, commit {run['commit'] or 'not known'}"
