"""Compute once what every rendering shows of a workspace: its headline, its changes by kind, their outcomes."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast, overload

from agent.model.codes import GuardCode
from agent.model.email import normalize
from agent.report.escape import escape_control
from agent.report.hold_age import age_phrase, held_since
from agent.report.hold_guards import hold_guards
from agent.report.labels import (
    DONE,
    KINDS,
    executed_sentence,
    held_counts,
    planned_sentence,
    summary_line,
    unplanned_sentence,
)
from agent.report.run_identity import approver_names
from agent.report.schema import (
    ChangeObject,
    Document,
    FieldsObject,
    HoldObject,
    OutcomeRow,
    Outcomes,
    PlannedObject,
    WorkspaceObject,
)

__all__ = [
    "ChangeRow",
    "HoldGroup",
    "ShownHold",
    "View",
    "approval_prerequisite",
    "approve_all_command",
    "approve_command",
    "changed_fields",
    "document_summary",
    "document_views",
    "hold_groups",
    "hold_reasons",
    "is_approvable",
    "released_summary",
    "workspace_view",
    "wrong_target_message",
]


REASON_OPTION = ' --reason "…"'
"""The dots are to be replaced: they are refused as a reason."""


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change as it is shown. *is_released*: it was held, and an approval let it through, of *approved_by*."""

    kind: str
    email: str
    display_name: str
    code: str
    reason: str
    groups: tuple[str, ...]
    before: FieldsObject
    after: FieldsObject
    scim_id: str
    person: tuple[str, str] | None
    outcome: OutcomeRow | None = None
    is_released: bool = False
    approved_by: tuple[str, ...] = ()

    @property
    def approval_phrase(self) -> str:
        """The words for how it was released; empty for a change that was not held."""
        if not self.is_released:
            return ""
        return f"approved by {' and '.join(self.approved_by)}" if self.approved_by else "approved"


class ChangeRows(Sequence[ChangeRow]):
    """The rows of one kind, each made where it is read: a report in text shows few of many.

    *released* are those that were held; they stand last.
    """

    def __init__(self, changes: Sequence[ChangeObject]) -> None:
        self._changes = changes
        self._numbers: list[int] = []
        self._outcomes: list[OutcomeRow | None] = []
        self.released: list[ChangeRow] = []

    def add(self, number: int, outcome: OutcomeRow | None) -> None:
        """Add the change with this *number*, and what came of it."""
        self._numbers.append(number)
        self._outcomes.append(outcome)

    def __len__(self) -> int:
        return len(self._numbers) + len(self.released)

    @overload
    def __getitem__(self, index: int, /) -> ChangeRow: ...

    @overload
    def __getitem__(self, index: slice, /) -> list[ChangeRow]: ...

    def __getitem__(self, index: int | slice, /) -> ChangeRow | list[ChangeRow]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        if place >= len(self._numbers):
            return self.released[place - len(self._numbers)]
        return _row_from_change(self._changes[self._numbers[place]], self._outcomes[place])


class ShownHold(HoldObject):
    """A hold with since when it waits (*held_since*), and the sentence for it (*age*); both empty if not recorded."""

    held_since: str
    age: str


@dataclass(frozen=True, slots=True)
class View:
    """One workspace, ready to be rendered.

    *changes_by_kind* has the kinds that occur, in reading order. *holds* are those still held. *unplanned_outcomes* are
    outcomes of changes that the plan did not have. *executed*: a run applied the plan. Then *applied_by_kind*
    counts the applied changes by kind, and *not_applied_by_outcome* the others by outcome (empty outcome: no record in
    the journal). *user* is the person that the plan is restricted to.
    """

    workspace: WorkspaceObject
    executed: bool
    changes_by_kind: Mapping[str, Sequence[ChangeRow]]
    holds: tuple[ShownHold, ...]
    unplanned_outcomes: tuple[OutcomeRow, ...]
    headline: str
    applied_by_kind: Mapping[str, int] = field(default_factory=dict)
    not_applied_by_outcome: Mapping[str, int] = field(default_factory=dict)
    user: str = ""

    @property
    def name(self) -> str:
        return escape_control(self.workspace["name"])


@dataclass(frozen=True, slots=True)
class HoldGroup:
    """The holds of one code. *reason*, *remedy* and *age* are set if all share them, to be shown once."""

    code: str
    holds: Sequence[ShownHold]
    reason: str
    remedy: str
    age: str


def document_views(document: Document, outcomes: Outcomes) -> list[View]:
    user = document.get("user", "")
    at = document["generated_at"]
    shown = [
        workspace_view(workspace, outcomes.get(workspace["name"]), user, at) for workspace in document["workspaces"]
    ]
    return [replace(each, user=user) for each in shown] if user else shown


def document_summary(views: Sequence[View]) -> str:
    """Return "3 to create, 1 to deactivate, 2 on hold" for all workspaces together."""
    planned = [view for view in views if view.workspace["status"] == "planned"]
    done, undone = Counter[str](), Counter[str]()
    to_do: Counter[str] = Counter()
    for view in planned:
        done.update(view.applied_by_kind)
        undone.update(view.not_applied_by_outcome)
        if not view.executed:
            to_do.update({kind: len(rows) for kind, rows in view.changes_by_kind.items()})
    return summary_line(
        to_do, done, undone, sum(len(view.holds) for view in planned), unplanned=len(views) - len(planned)
    )


def workspace_view(
    workspace: WorkspaceObject, outcomes: Sequence[OutcomeRow] | None, user: str = "", at: str = ""
) -> View:
    """Return what to show of *workspace*; *outcomes* is None for a plan. *user* restricts it to one person.

    *at* is the time for which the ages of holds are computed.
    """
    if workspace["status"] != "planned":
        return View(workspace, False, {}, (), (), unplanned_sentence(workspace["status"], workspace["error"]["code"]))
    waiting: dict[tuple[str, str], list[OutcomeRow]] = defaultdict(list)
    for outcome in outcomes or ():
        waiting[outcome.kind, normalize(outcome.email)].append(outcome)
    shown: dict[str, ChangeRows] = {kind: ChangeRows(workspace["changes"]) for kind in KINDS}
    outcome_counts = Counter[tuple[str, str]]()
    for number, change in enumerate(workspace["changes"]):
        answer = _take_outcome(waiting, change["kind"], [change["email"]]) if waiting else None
        shown[change["kind"]].add(number, answer)
        outcome_counts[change["kind"], answer.outcome if answer else ""] += 1
    holds = []
    for hold, guards in zip(_shown_holds(workspace, at), hold_guards(workspace), strict=True):
        answer = _take_outcome(waiting, hold["kind"], _hold_addresses(hold)) if waiting else None
        if answer is None:
            holds.append(hold)
        else:
            shown[hold["kind"]].released.append(_row_from_hold(hold, answer, approver_names(workspace, guards)))
            outcome_counts[hold["kind"], answer.outcome] += 1
    others = tuple(sorted((one for left in waiting.values() for one in left), key=lambda one: one.seq))
    by_kind = {kind: some for kind, some in shown.items() if some}
    if outcomes is None:
        return View(workspace, False, by_kind, tuple(holds), others, planned_sentence(workspace, user))
    outcome_counts.update((one.kind, one.outcome) for one in others)
    done, undone = _split_counts(outcome_counts)
    headline = executed_sentence(
        done, undone, Counter(hold["kind"] for hold in holds), workspace["counts"]["in-sync"], user
    )
    return View(workspace, True, by_kind, tuple(holds), others, headline, done, undone)


def _shown_holds(workspace: PlannedObject, at: str) -> list[ShownHold]:
    started_at = workspace["run"]["started_at"] if "run" in workspace else ""
    return [
        cast("ShownHold", {**hold, "held_since": since, "age": age_phrase(since, at, started_at)})
        for hold, since in zip(workspace["holds"], held_since(workspace), strict=True)
    ]


def hold_groups(holds: Sequence[ShownHold]) -> list[HoldGroup]:
    """Return the holds by code, the smallest group first: individual cases before what one decision clears."""
    by_code: dict[str, list[ShownHold]] = defaultdict(list)
    for hold in holds:
        by_code[hold["code"]].append(hold)
    groups = [
        HoldGroup(
            escape_control(code),
            some,
            _shared_sentence([hold_reasons(hold)[1] for hold in some]),
            _shared_sentence([hold["remedy"] for hold in some]),
            _shared_sentence([hold["age"] for hold in some]),
        )
        for code, some in by_code.items()
    ]
    return sorted(groups, key=lambda group: len(group.holds))


def hold_reasons(hold: HoldObject) -> tuple[str, str]:
    """Return why the change would be made (empty if not recorded separately), and why it is held."""
    why = hold.get("change_reason", "")
    return why, hold["reason"].removeprefix(why).strip()


def changed_fields(line: ChangeRow) -> list[tuple[str, str, str]]:
    """Return (field, before, after) for each changed field of an existing member; nothing for a create."""
    fields = (("email", "email"), ("display_name", "name"), ("active", "status"))
    before, after = cast("Mapping[str, object]", line.before), cast("Mapping[str, object]", line.after)
    return [
        (word, _format_value(before[key]), _format_value(after[key]))
        for key, word in fields
        if key in before and key in after
    ]


def is_approvable(workspace: WorkspaceObject) -> bool:
    """Return whether an approval would release any hold of this plan."""
    return any("after" in hold for hold in workspace["holds"])


def approval_prerequisite(workspace: WorkspaceObject) -> str:
    """Return what must be done before an approval can release anything; empty if it can now."""
    if workspace["mode"] == "dry-run":
        return "This workspace is in dry-run mode: set its mode to enforce, then approve the new plan."
    if workspace["status"] == "planned" and "paused" in workspace:
        name = shlex.quote(escape_control(workspace["name"]))
        return f"This workspace is paused: resume it first, with pigment-sync resume {name}."
    return ""


def wrong_target_message(workspace: WorkspaceObject) -> str:
    """Return the message of the target guard, with the command that settles it; empty if it did not trip."""
    if workspace["status"] != "planned":
        return ""
    return next((guard["message"] for guard in workspace["guards"] if guard["code"] == GuardCode.WRONG_TARGET), "")


def released_summary(workspace: WorkspaceObject, guards: Collection[str] = ()) -> str:
    """Return what an approval of *guards* (empty: all) would apply: "30 deactivations, 1 create"."""
    kinds: Counter[str] = Counter(
        hold["kind"]
        for hold, codes in zip(workspace["holds"], hold_guards(workspace), strict=True)
        if codes and (not guards or codes.issubset(guards))
    )
    return held_counts(kinds)


def approve_command(view: View) -> str:
    """Return the command that approves the workspace's plan."""
    return (
        f"pigment-sync sync -w {shlex.quote(view.name)}{_user_option(view.user)} --approve "
        f"{_safe_digest(view.workspace)}{REASON_OPTION}"
    )


def approve_all_command(document: Document) -> str:
    """Return the command that approves the plans of all workspaces of *document*."""
    user = _user_option(document.get("user", ""))
    return f"pigment-sync sync{user} --approve {escape_control(document['digest'])}{REASON_OPTION}"


def _safe_digest(workspace: WorkspaceObject) -> str:
    return escape_control(workspace["digest"])


def _user_option(user: str) -> str:
    # A plan for one person is a different plan, with a different digest.
    return f" --user {shlex.quote(escape_control(user))}" if user else ""


def _split_counts(outcomes: Mapping[tuple[str, str], int]) -> tuple[Counter[str], Counter[str]]:
    """Return how many were done by kind, and how many were not by outcome, in the order in which they occur."""
    done, undone = Counter[str](), Counter[str]()
    for (kind, outcome), count in outcomes.items():
        if outcome == DONE:
            done[kind] += count
        else:
            undone[escape_control(outcome)] += count
    return done, undone


def _shared_sentence(sentences: Sequence[str]) -> str:
    several = len(sentences) > 1 and len(set(sentences)) == 1
    return escape_control(sentences[0]) if several else ""


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return "active" if value else "inactive"
    return escape_control(str(value))


def _hold_addresses(hold: HoldObject) -> list[str]:
    after = hold.get("after", {})
    return [after.get("email", ""), hold.get("wanted", ""), hold["email"]]


def _take_outcome(
    waiting: dict[tuple[str, str], list[OutcomeRow]], kind: str, addresses: Sequence[str]
) -> OutcomeRow | None:
    """Remove and return the outcome of one change."""
    for address in addresses:
        found = waiting.get((kind, normalize(address)))
        if address and found:
            return found.pop(0)
    return None


def _row_from_change(change: ChangeObject, outcome: OutcomeRow | None) -> ChangeRow:
    person = change["person"]
    return ChangeRow(
        change["kind"],
        escape_control(change["email"]),
        escape_control(change["display_name"]),
        escape_control(change["code"]),
        escape_control(change["reason"]),
        tuple(map(escape_control, change["groups"])),
        change["before"],
        change["after"],
        escape_control(change["scim_id"] or ""),
        (escape_control(person["connector"]), escape_control(person["id"])) if person else None,
        outcome,
    )


def _row_from_hold(hold: HoldObject, outcome: OutcomeRow, approved_by: tuple[str, ...]) -> ChangeRow:
    person = hold.get("person")
    after = hold.get("after", {})
    return ChangeRow(
        hold["kind"],
        escape_control(after.get("email", hold["email"])),
        escape_control(hold.get("display_name", "")),
        escape_control(hold.get("change_code", hold["code"])),
        escape_control(hold.get("change_reason", hold["reason"])),
        tuple(map(escape_control, hold.get("groups", ()))),
        hold.get("before", {}),
        after,
        escape_control(hold.get("scim_id", "")),
        (escape_control(person["connector"]), escape_control(person["id"])) if person else None,
        outcome,
        is_released=True,
        approved_by=approved_by,
    )
