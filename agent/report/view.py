"""What every rendering of a workspace shows, worked out once: its sentence, its changes by kind, their outcomes."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from agent.address import folded
from agent.report.escape import harmless
from agent.report.shape import (
    ChangeObject,
    Document,
    FieldsObject,
    HoldObject,
    OutcomeLine,
    Outcomes,
    WorkspaceObject,
)
from agent.report.wording import DONE, KINDS, WORDS, executed_sentence, planned_sentence, unplanned_sentence

__all__ = [
    "HoldGroup",
    "Line",
    "View",
    "approvable",
    "approval",
    "approval_of_all",
    "before_approval",
    "hold_groups",
    "moves",
    "reasons",
    "releases",
    "view",
    "views",
    "wrong_target",
]


@dataclass(frozen=True, slots=True)
class Line:
    """One change as it is shown. *released*: it was held, and an approval let it through."""

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
    outcome: OutcomeLine | None = None
    released: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """One workspace, ready to be written down.

    *lines* has the kinds that occur, in reading order. *holds* are those still held. *others* are outcomes of changes
    that the plan did not have. *executed* tells a run that applied from a plan; then *done* counts by kind what was
    made and *undone* by outcome what was not (empty: the journal has none). *user* is whom alone the plan is for.
    """

    workspace: WorkspaceObject
    executed: bool
    lines: Mapping[str, tuple[Line, ...]]
    holds: tuple[HoldObject, ...]
    others: tuple[OutcomeLine, ...]
    headline: str
    done: Mapping[str, int] = field(default_factory=dict)
    undone: Mapping[str, int] = field(default_factory=dict)
    user: str = ""

    @property
    def name(self) -> str:
        return harmless(self.workspace["name"])


@dataclass(frozen=True, slots=True)
class HoldGroup:
    """The holds of one code. *reason* and *remedy* are those that several share and are said once, else empty."""

    code: str
    holds: Sequence[HoldObject]
    reason: str
    remedy: str


def views(document: Document, outcomes: Outcomes) -> list[View]:
    user = document.get("user", "")
    shown = [view(workspace, outcomes.get(workspace["name"]), user) for workspace in document["workspaces"]]
    return [replace(each, user=user) for each in shown] if user else shown


def view(workspace: WorkspaceObject, outcomes: Sequence[OutcomeLine] | None, user: str = "") -> View:
    """Return what to show of *workspace*; *outcomes* None: it was planned only. *user*: for that person alone."""
    if workspace["status"] != "planned":
        return View(workspace, False, {}, (), (), unplanned_sentence(workspace["status"], workspace["error"]["code"]))
    waiting: dict[tuple[str, str], list[OutcomeLine]] = defaultdict(list)
    for outcome in outcomes or ():
        waiting[outcome.kind, folded(outcome.email)].append(outcome)
    lines = [_line_of_change(change, waiting) for change in workspace["changes"]]
    holds = []
    for hold in workspace["holds"]:
        answer = _taken(waiting, hold["kind"], _addresses(hold)) if waiting else None
        if answer is None:
            holds.append(hold)
        else:
            lines.append(_line_of_hold(hold, answer))
    others = tuple(sorted((one for left in waiting.values() for one in left), key=lambda one: one.seq))
    by_kind = {kind: tuple(line for line in lines if line.kind == kind) for kind in KINDS}
    shown = {kind: some for kind, some in by_kind.items() if some}
    if outcomes is None:
        return View(workspace, False, shown, tuple(holds), others, planned_sentence(workspace, user))
    done, undone = _tallies(lines, others)
    headline = executed_sentence(done, undone, len(holds), workspace["counts"]["in-sync"], user)
    return View(workspace, True, shown, tuple(holds), others, headline, done, undone)


def hold_groups(holds: Sequence[HoldObject]) -> list[HoldGroup]:
    """Return the holds by code, the fewest first: what needs a look of its own before what one decision clears."""
    by_code: dict[str, list[HoldObject]] = defaultdict(list)
    for hold in holds:
        by_code[hold["code"]].append(hold)
    groups = [
        HoldGroup(
            harmless(code),
            some,
            _common([reasons(hold)[1] for hold in some]),
            _common([hold["remedy"] for hold in some]),
        )
        for code, some in by_code.items()
    ]
    return sorted(groups, key=lambda group: len(group.holds))


def reasons(hold: HoldObject) -> tuple[str, str]:
    """Return why the change would be made, empty where that is not known apart, and why it is not."""
    why = hold.get("change_reason", "")
    return why, hold["reason"].removeprefix(why).strip()


def moves(line: Line) -> list[tuple[str, str, str]]:
    """Return (field, before, after) for what an existing member would have changed; nothing for a create."""
    fields = (("email", "email"), ("display_name", "name"), ("active", "status"))
    before, after = cast("Mapping[str, object]", line.before), cast("Mapping[str, object]", line.after)
    return [(word, _said(before[key]), _said(after[key])) for key, word in fields if key in before and key in after]


def approvable(workspace: WorkspaceObject) -> bool:
    """Tell whether an approval would release any hold of this plan."""
    return any("after" in hold for hold in workspace["holds"])


def before_approval(workspace: WorkspaceObject) -> str:
    """Return what has to be done before an approval could release anything; empty where it would now."""
    if workspace["mode"] == "dry-run":
        return "This workspace is in dry-run mode: set its mode to enforce, then approve the new plan."
    if workspace["status"] == "planned" and "paused" in workspace:
        name = shlex.quote(harmless(workspace["name"]))
        return f"This workspace is paused: resume it first, with pigment-sync resume {name}."
    return ""


def wrong_target(workspace: WorkspaceObject) -> str:
    """Return what the guard of targets found, with the command that settles it; empty: it did not trip."""
    if workspace["status"] != "planned":
        return ""
    return next((guard["message"] for guard in workspace["guards"] if guard["code"] == "wrong-target"), "")


def releases(workspace: WorkspaceObject) -> str:
    """Return what an approval would let through of what is held, as "30 deactivated, 1 created"."""
    kinds: Counter[str] = Counter(hold["kind"] for hold in workspace["holds"] if "after" in hold)
    return ", ".join(f"{kinds[kind]:,} {WORDS[kind].done}" for kind in KINDS if kinds[kind])


def approval(view: View) -> str:
    """Return the command that approves the workspace's plan."""
    return f"pigment-sync sync -w {shlex.quote(view.name)}{_only(view.user)} --approve {_digest(view.workspace)}"


def approval_of_all(document: Document) -> str:
    """Return the command that approves the plans of all workspaces of *document*."""
    return f"pigment-sync sync{_only(document.get('user', ''))} --approve {harmless(document['digest'])}"


def _digest(workspace: WorkspaceObject) -> str:
    return harmless(workspace["digest"])


def _only(user: str) -> str:
    # A plan for one person is another plan than that for everybody, with a digest of its own.
    return f" --user {shlex.quote(harmless(user))}" if user else ""


def _tallies(lines: Sequence[Line], others: Sequence[OutcomeLine]) -> tuple[Counter[str], Counter[str]]:
    told = [(line.kind, harmless(line.outcome.outcome) if line.outcome else "") for line in lines]
    told += [(one.kind, harmless(one.outcome)) for one in others]
    done = Counter(kind for kind, outcome in told if outcome == DONE)
    return done, Counter(outcome for _, outcome in told if outcome != DONE)


def _common(sentences: Sequence[str]) -> str:
    several = len(sentences) > 1 and len(set(sentences)) == 1
    return harmless(sentences[0]) if several else ""


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "active" if value else "inactive"
    return harmless(str(value))


def _addresses(hold: HoldObject) -> list[str]:
    after = hold.get("after", {})
    return [after.get("email", ""), hold.get("wanted", ""), hold["email"]]


def _taken(
    waiting: dict[tuple[str, str], list[OutcomeLine]], kind: str, addresses: Sequence[str]
) -> OutcomeLine | None:
    """Take the outcome of one change out of those that wait for theirs."""
    for address in addresses:
        found = waiting.get((kind, folded(address)))
        if address and found:
            return found.pop(0)
    return None


def _line_of_change(change: ChangeObject, waiting: dict[tuple[str, str], list[OutcomeLine]]) -> Line:
    person = change["person"]
    return Line(
        change["kind"],
        harmless(change["email"]),
        harmless(change["display_name"]),
        harmless(change["code"]),
        harmless(change["reason"]),
        tuple(map(harmless, change["groups"])),
        change["before"],
        change["after"],
        harmless(change["scim_id"] or ""),
        (harmless(person["connector"]), harmless(person["id"])) if person else None,
        _taken(waiting, change["kind"], [change["email"]]) if waiting else None,
    )


def _line_of_hold(hold: HoldObject, outcome: OutcomeLine) -> Line:
    person = hold.get("person")
    after = hold.get("after", {})
    return Line(
        hold["kind"],
        harmless(after.get("email", hold["email"])),
        harmless(hold.get("display_name", "")),
        harmless(hold.get("change_code", hold["code"])),
        harmless(hold.get("change_reason", hold["reason"])),
        tuple(map(harmless, hold.get("groups", ()))),
        hold.get("before", {}),
        after,
        harmless(hold.get("scim_id", "")),
        (harmless(person["connector"]), harmless(person["id"])) if person else None,
        outcome,
        released=True,
    )
