"""Judge the approvals of a command against the plans that were just made, before anything is written.

the approval                                                result
──────────────────────────────────────────────────────────  ──────────────────────────────────────────────
names a guard that holds nothing in any approved plan        `UsageError`, exit 2
has no reason or no person, where that is required           `UsageError`, exit 2
is of a person who approved the same before                  `AlreadyApproved`, exit 4
is the first of two                                          recorded; the command writes nothing, exit 4
completes a guard                                            recorded; the run releases what no other guard holds
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agent.engine.request import Decision, RunRequest
from agent.errors import AlreadyApproved, UsageError
from agent.guard.release import Release, is_expired, is_same_person, usable_approvals
from agent.model import Mode, Plan
from agent.model.approval import Approval, ApprovalPolicy
from agent.model.codes import APPROVABLE_GUARDS, GuardCode
from agent.model.run import Trigger
from agent.ports.journal import Journal
from agent.report.labels import held_counts

__all__ = [
    "ApprovalJudge",
    "CommandApprovals",
    "PlanApproval",
    "approved_message",
    "parse_guards",
    "refuse_incomplete",
    "released_counts",
    "require_reason",
    "waiting_message",
]


@dataclass(frozen=True, slots=True)
class PlanApproval:
    """What a command's approval does to one plan.

    *given_digest* is the digest as it was given: the plan's own or that of the whole document. *named* are the guards
    of the plan that the approval is for. Without any, *approval* is None and nothing needs a release.
    *release* has the approvals that count, this one included, *expired* those of the plan that no longer do.
    """

    given_digest: str
    release: Release
    named: tuple[str, ...] = ()
    approval: Approval | None = None
    expired: tuple[Approval, ...] = ()

    @property
    def takes_effect(self) -> bool:
        """Whether anything may be written: the approval completes a guard, or nothing needs one."""
        return not self.named or any(each.is_released for each in self.release.statuses(self.named))

    @property
    def missing_guards(self) -> tuple[str, ...]:
        """The guards that other people must approve too."""
        return tuple(each.guard for each in self.release.statuses(self.named) if not each.is_released)


def parse_guards(codes: Iterable[str]) -> frozenset[str]:
    """Return *codes* as guards that an approval can release. Raises `UsageError` for any other."""
    given = [code.strip().lower() for code in codes]
    for code in given:
        if code == GuardCode.TOGGLE_OFF:
            raise UsageError(
                "The guard toggle-off is not released by an approval.",
                "Set toggles of the workspace in the configuration, then plan again.",
            )
        if code not in APPROVABLE_GUARDS:
            raise UsageError(f"{code!r} is not a guard.", f"The guards are: {', '.join(APPROVABLE_GUARDS)}.")
    return frozenset(given)


def require_reason(reason: str, policy: ApprovalPolicy) -> None:
    """Raise `UsageError` for an approval without a reason, where one is required. Dots alone are not a reason."""
    if policy.requires_reason and not any(map(str.isalnum, reason)):
        raise UsageError(
            "An approval needs a reason. Nothing was approved and nothing was written.",
            'Repeat the command with --reason "…", such as --reason "March reorganisation".',
        )


def refuse_incomplete(request: RunRequest, policy: ApprovalPolicy) -> None:
    """Raise `UsageError` for an approval without its person or reason, before anything is read.

    A plan file is not judged here: it may hold nothing that needs an approval.
    """
    if request.approved_digests and request.trigger is not Trigger.APPLY:
        _require_person(request.by)
        require_reason(request.reason, policy)


def _require_person(by: str) -> None:
    if not by.strip():
        raise UsageError("An approval needs the name of its person, and --by is empty.", "Give it with --by NAME.")


@dataclass(frozen=True, slots=True)
class CommandApprovals:
    """The approvals that one command gives, by workspace."""

    by_workspace: Mapping[str, PlanApproval] = field(default_factory=dict)

    @property
    def is_waiting(self) -> bool:
        """Whether one of them waits for a second person: then the command writes nothing, to any workspace."""
        return not all(each.takes_effect for each in self.by_workspace.values())

    def release_of(self, workspace: str) -> Release:
        found = self.by_workspace.get(workspace)
        return Release((), 1) if found is None else found.release


@dataclass(frozen=True, slots=True)
class ApprovalJudge:
    """Judges approvals by *policy* and by those that *journal* has."""

    policy: ApprovalPolicy
    journal: Journal
    now: Callable[[], datetime]

    async def judge(
        self,
        decisions: Sequence[Decision],
        approved_digests: Mapping[str, str],
        request: RunRequest,
        run_ids: Mapping[str, str],
    ) -> CommandApprovals:
        """Return what the approvals of *request* do.

        *approved_digests* are those that `match_approvals` found. Raises `UsageError` or `AlreadyApproved` for all of
        them if one can't be given: then none is recorded.
        """
        approved = [each for each in decisions if each.planned.workspace in approved_digests]
        guards = {each.planned.workspace: _guards_to_approve(each, request) for each in approved}
        _refuse_idle_guards(request.approved_guards, guards)
        if any(guards.values()):
            _require_person(request.by)
            require_reason(request.reason, self.policy)
        found = {}
        for decision in approved:
            name = decision.planned.workspace
            named = guards[name] & request.approved_guards if request.approved_guards else guards[name]
            if named:
                approval = self._approval(decision, request, run_ids[name])
                found[name] = await self.judge_one(approval, approved_digests[name], tuple(sorted(named)))
            else:
                found[name] = PlanApproval(approved_digests[name], Release((), self.policy.needed))
        return CommandApprovals(found)

    def _approval(self, decision: Decision, request: RunRequest, run_id: str) -> Approval:
        return Approval(
            workspace=decision.planned.workspace,
            digest=decision.digest,
            by=request.by.strip(),
            at=self.now(),
            reason=request.reason,
            guards=tuple(sorted(request.approved_guards)),
            run_id=run_id,
        )

    async def judge_one(self, approval: Approval, given_digest: str, named: tuple[str, ...]) -> PlanApproval:
        """Return what *approval* does to the guards *named* of its plan. Raises `AlreadyApproved`."""
        known = await self.journal.load_approvals(approval.workspace, approval.digest)
        usable = usable_approvals(known, approval.at, self.policy.valid_for)
        expired = tuple(
            each for each in known if not each.applied_in and is_expired(each, approval.at, self.policy.valid_for)
        )
        release = Release((*usable, approval), self.policy.needed)
        found = PlanApproval(given_digest, release, named, approval, expired)
        if not found.takes_effect:
            _refuse_repeated(found, usable, approval, self.policy)
        return found


def _guards_to_approve(decision: Decision, request: RunRequest) -> frozenset[str]:
    """Return the guards of the plan that an approval can release now: none if nothing would be written anyway."""
    plan = decision.planned
    if not isinstance(plan, Plan) or plan.mode is Mode.DRY_RUN or (plan.pause is not None and not request.is_undo):
        return frozenset()
    guards = _guards_of(plan)
    tripped = {guard.code for guard in plan.guards}
    if GuardCode.WRONG_TARGET in tripped and not decision.target_check.mismatch:
        # It trips with nothing to hold too: a person must confirm the target.
        guards.add(GuardCode.WRONG_TARGET)
    return frozenset(guards)


def _refuse_idle_guards(wanted: frozenset[str], guards: Mapping[str, frozenset[str]]) -> None:
    held = frozenset[str]().union(*guards.values())
    idle = sorted(wanted - held)
    if idle:
        names = ", ".join(guards)
        holding = f"The guards that do are: {', '.join(sorted(held))}." if held else "No guard does."
        raise UsageError(
            f"{', '.join(idle)}: holds nothing in this plan of {names}. Nothing was approved and nothing was written.",
            f"{holding} Review the plan: pigment-sync plan",
        )


def _refuse_repeated(
    verdict: PlanApproval, usable: Sequence[Approval], approval: Approval, policy: ApprovalPolicy
) -> None:
    """Raise `AlreadyApproved` if the person has approved all of it before."""
    own = [each for each in usable if is_same_person(each.by, approval.by)]
    before = Release(tuple(own), policy.needed)
    if own and all(before.status(guard).approved_by for guard in verdict.named):
        raise AlreadyApproved(
            f"{approval.workspace}: {approval.by} approved this plan before, at {_format_time(own[0].at)}. "
            "Nothing was approved again and nothing was written.",
            f"A second person must approve it until {_format_time(own[0].at + policy.valid_for)}, "
            "with --by and --reason of their own.",
        )


def approved_message(plan: Plan, verdict: PlanApproval) -> str:
    """Return who approved what of the reviewed *plan*, by kind; empty where no guard held anything."""
    if verdict.approval is None:
        return ""
    released = [each for each in verdict.release.statuses(_guards_of(plan)) if each.is_released]
    people = dict.fromkeys(name for each in released for name in each.approved_by)
    counts = released_counts(plan, [each.guard for each in released])
    return f"Approved by {' and '.join(people)}{_narrowing(verdict.approval)}: {counts}."


def _guards_of(plan: Plan) -> set[str]:
    return {code for hold in plan.holds if hold.change is not None for code in hold.guards}


def _narrowing(approval: Approval) -> str:
    return f" (only {', '.join(approval.guards)})" if approval.guards else ""


def waiting_message(plan: Plan, verdict: PlanApproval, policy: ApprovalPolicy) -> str:
    """Return who approved what, why nothing is written yet, and who must approve too."""
    approval = verdict.approval
    if approval is None:
        raise AssertionError("only an approval can wait for another")
    missing = verdict.missing_guards
    expired = "".join(f" The approval of {each.by} of {_format_time(each.at)} has expired." for each in verdict.expired)
    need = "needs" if len(missing) == 1 else "need"
    counts = released_counts(plan, verdict.named)
    return (
        f"Approved by {approval.by}{_narrowing(approval)}: {counts}. Nothing was written:{expired} "
        f"{', '.join(missing)} {need} the approval of a second person until "
        f"{_format_time(approval.at + policy.valid_for)}."
    )


def released_counts(plan: Plan, guards: Iterable[str]) -> str:
    """Return what approving *guards* releases, such as "30 deactivations, 1 create", and what other guards hold too."""
    named = set(guards)
    free, others = Counter[str](), Counter[str]()
    for hold in plan.holds:
        if hold.change is not None and named.issuperset(hold.guards):
            free[hold.kind] += 1
        elif hold.change is not None and named.intersection(hold.guards):
            others.update(set(hold.guards) - named)
    also = "; ".join(f"{code} also holds {count:,} of these changes" for code, count in sorted(others.items()))
    counts = held_counts(free) or "no change"
    return f"{counts} ({also})" if also else counts


def _format_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
