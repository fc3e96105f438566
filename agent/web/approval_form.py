"""Compute what the form of an approval shows: the evidence, each guard with what it holds, and what the button does.

    ticked guards          approvals before    the button
    ─────────────────────  ──────────────────  ──────────────────────────────────────────────────────
    all, one is needed     none                "Deactivate 30 accounts, create 1 account"
    all, two are needed    none                "Approve as first of 2: deactivate 30 accounts, …"
    G of G and H           none                what G alone holds; what H also holds waits for H
    G, two are needed      G by another        what G alone holds

An undo is approved as a whole, with all its guards. What no guard holds is written with it, never before.

The button names exactly what the approval releases: a form with other ticks than those that it was rendered
for is shown again with the new numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.guard.release import GuardApproval, Release, is_expired, is_same_person, usable_approvals
from agent.model.approval import Approval, ApprovalPolicy
from agent.model.codes import APPROVABLE_GUARDS, HoldCode
from agent.report.group_sizes import Baselines, GroupSize, group_sizes
from agent.report.hold_age import age_phrase, held_since
from agent.report.hold_guards import hold_guards
from agent.report.labels import KINDS, held_counts
from agent.report.schema import HoldObject, PlannedObject

__all__ = [
    "ApprovalForm",
    "ApprovalRecord",
    "GuardBox",
    "PossibleRename",
    "action_phrase",
    "approval_form",
    "guards_in_fields",
    "possible_renames",
    "wrong_number",
]

GUARD_FIELD = "guard."
"""A tick box is named by this and the code of its guard."""
MAX_PEOPLE_SHOWN = 10
ACTIONS: Mapping[str, tuple[str, str]] = {
    "deactivate": ("deactivate {} account", "deactivate {} accounts"),
    "create": ("create {} account", "create {} accounts"),
    "reactivate": ("reactivate {} account", "reactivate {} accounts"),
    "update-email": ("change {} email", "change {} emails"),
    "update-name": ("change {} name", "change {} names"),
    "adopt": ("match {} account", "match {} accounts"),
}


@dataclass(frozen=True, slots=True)
class GuardBox:
    """A guard that holds *counts*, by kind. *approval* shows who approved it and how many people are missing."""

    code: str
    message: str
    counts: Mapping[str, int]
    approval: GuardApproval
    is_ticked: bool

    @property
    def holds(self) -> str:
        return held_counts(Counter(self.counts))

    @property
    def field_name(self) -> str:
        return GUARD_FIELD + self.code


@dataclass(frozen=True, slots=True)
class PossibleRename:
    """A create that waits because the person may be the owner of a member under another address.

    *person* is `CONNECTOR:ID`, *reason* names the person and the member.
    """

    email: str
    person: str
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """What the form is judged by at *now*: the *approvals* of its plan, and the sizes of groups before."""

    approvals: Sequence[Approval]
    policy: ApprovalPolicy
    baselines: Baselines
    now: datetime


@dataclass(frozen=True, slots=True)
class ApprovalForm:
    """The form for one person.

    *counts* is what the button does, by kind, *action* the same in words. *confirm* asks to type the number of
    deactivations. *waits*: this approval writes nothing yet. *recorded* is what it is for and does not release yet.
    *given* are the approvals that count, *expired* those that no longer do. *repeated*: the person approved all of it
    before. *is_undo*: the plan puts back what a run did.
    """

    groups: Sequence[GroupSize]
    people: Sequence[str]
    more_people: int
    since: str
    boxes: Sequence[GuardBox]
    counts: Mapping[str, int]
    confirm: bool
    waits: bool
    recorded: Mapping[str, int]
    repeated: bool
    needed: int
    requires_reason: bool
    given: Sequence[tuple[Approval, datetime]]
    expired: Sequence[Approval]
    valid_for: timedelta
    is_undo: bool = False

    @property
    def action(self) -> str:
        return action_phrase(self.counts)

    @property
    def recorded_action(self) -> str:
        return action_phrase(self.recorded)

    @property
    def deactivations(self) -> int:
        return self.counts.get("deactivate", 0)

    @property
    def shown_guards(self) -> str:
        """The guards that the button was rendered for; the form sends them back."""
        return ",".join(box.code for box in self.boxes if box.is_ticked)

    @property
    def button(self) -> str:
        if not self.action:
            return "Approve these guards"
        action = f"undo: {self.action}, and pause" if self.is_undo else self.action
        return f"Approve as first of {self.needed}: {action}" if self.waits else _capitalize(action)

    @property
    def heading(self) -> str:
        return f"{_capitalize(self.action)}?" if self.action else "Approval needed"


def approval_form(
    workspace: PlannedObject,
    by: str,
    record: ApprovalRecord,
    ticked: Collection[str] | None = None,
    *,
    is_undo: bool = False,
) -> ApprovalForm:
    """Return the form of the plan *workspace* for the person *by*. *ticked* are the guards to approve; None: all.

    With *is_undo* the approval is for the whole plan: for what no guard holds too.
    """
    approvals, policy, now = record.approvals, record.policy, record.now
    per_hold = _approvable_guards(workspace)
    held = sorted(frozenset[str]().union(*per_hold))
    chosen = [code for code in held if ticked is None or code in ticked]
    usable = usable_approvals(approvals, now, policy.valid_for)
    own = Approval(
        workspace=workspace["name"], digest=workspace["digest"], by=by, at=now, reason="", guards=tuple(chosen)
    )
    before = Release(usable, policy.needed)
    after = Release((*usable, own), policy.needed) if chosen else before
    waits = not any(each.is_released for each in after.statuses(chosen)) and not (is_undo and not held)
    released = _kinds(workspace, per_hold, after.releases)
    named = _kinds(workspace, per_hold, frozenset(chosen).issuperset)
    kinds = named if waits else released
    if is_undo:
        kinds += Counter(change["kind"] for change in workspace["changes"])
    rows = list(zip(workspace["holds"], held_since(workspace), per_hold, strict=True))
    about = [hold for hold, _, guards in rows if guards]
    matches = frozenset(chosen).issuperset if waits else after.releases
    shown = [(hold, since) for hold, since, guards in rows if guards and matches(guards)]
    shown = shown or [(hold, since) for hold, since, guards in rows if guards]
    order = list(ACTIONS)
    people = [hold["email"] for hold, _ in sorted(shown, key=lambda each: order.index(each[0]["kind"]))]
    times = [since for _, since in shown if since]
    messages = {guard["code"]: guard["message"] for guard in workspace["guards"]}
    return ApprovalForm(
        groups=_evidence_groups(workspace, about, record.baselines),
        people=people[:MAX_PEOPLE_SHOWN],
        more_people=max(0, len(people) - MAX_PEOPLE_SHOWN),
        since=age_phrase(min(times), now.isoformat()) if times else "",
        boxes=[
            GuardBox(
                code,
                messages.get(code, ""),
                _kinds(workspace, per_hold, frozenset({code}).issubset),
                before.status(code),
                code in chosen,
            )
            for code in held
        ],
        counts=kinds,
        confirm=kinds["deactivate"] > policy.confirm_over,
        waits=waits,
        recorded=Counter() if waits else named - released,
        repeated=waits and _has_approved(usable, by, chosen),
        needed=policy.needed,
        requires_reason=policy.requires_reason,
        given=[(each, each.at + policy.valid_for) for each in usable],
        expired=[each for each in approvals if not each.applied_in and is_expired(each, now, policy.valid_for)],
        valid_for=policy.valid_for,
        is_undo=is_undo,
    )


def _approvable_guards(workspace: PlannedObject) -> list[frozenset[str]]:
    """Return the guards of each hold; empty for a hold that an approval does not release."""
    return [guards if guards.issubset(APPROVABLE_GUARDS) else frozenset[str]() for guards in hold_guards(workspace)]


def _kinds(
    workspace: PlannedObject, per_hold: Sequence[frozenset[str]], matches: Callable[[frozenset[str]], bool]
) -> Counter[str]:
    """Count by kind the holds whose guards *matches* accepts."""
    pairs = zip(workspace["holds"], per_hold, strict=True)
    return Counter(hold["kind"] for hold, guards in pairs if guards and matches(guards))


def _has_approved(usable: Sequence[Approval], by: str, guards: Iterable[str]) -> bool:
    own = Release(tuple(each for each in usable if is_same_person(each.by, by)), 1)
    return all(each.is_released for each in own.statuses(guards))


def wrong_number(form: ApprovalForm) -> str:
    return (
        f"The typed number is not the number of deactivations, {form.deactivations:,}. Nothing was approved and "
        "nothing was written."
    )


def action_phrase(kinds: Mapping[str, int]) -> str:
    """Return "deactivate 30 accounts, create 1 account", what people lose first; *kinds* counts changes by kind."""
    order = sorted((kind for kind in KINDS if kinds.get(kind)), key=list(ACTIONS).index)
    return ", ".join(ACTIONS[kind][kinds[kind] != 1].format(f"{kinds[kind]:,}") for kind in order)


def _capitalize(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]


def _evidence_groups(workspace: PlannedObject, about: Sequence[HoldObject], baselines: Baselines) -> list[GroupSize]:
    """Return the groups that shrank and that people with a deactivation on hold were in."""
    left = {name for hold in about if hold["kind"] == "deactivate" for name in hold.get("groups", ())}
    return [each for each in group_sizes(workspace, baselines) if each.has_shrunk and each.name in left]


def guards_in_fields(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return the codes of the ticked boxes of a form."""
    return tuple(sorted(name.removeprefix(GUARD_FIELD) for name in fields if name.startswith(GUARD_FIELD)))


def possible_renames(workspace: PlannedObject) -> list[PossibleRename]:
    return [
        PossibleRename(hold["email"], f"{person['connector']}:{person['id']}", hold["reason"])
        for hold in workspace["holds"]
        if hold["code"] == HoldCode.POSSIBLE_RENAME and (person := hold.get("person")) is not None
    ]
