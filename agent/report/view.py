"""What every rendering of a workspace shows, worked out once: its sentence, its changes by kind, their outcomes."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from agent.report.escape import harmless
from agent.report.shape import (
    ChangeObject,
    Document,
    FieldsObject,
    HoldObject,
    OutcomeLine,
    Outcomes,
    PlannedObject,
    WorkspaceObject,
)

__all__ = [
    "DONE",
    "KINDS",
    "WORDS",
    "Line",
    "View",
    "Words",
    "approvable",
    "approval",
    "moves",
    "tallied",
    "view",
    "views",
]


@dataclass(frozen=True, slots=True)
class Words:
    """How a kind of change is called: as a heading, as what has been done to somebody, as a sign, and in a sentence."""

    title: str
    done: str
    sign: str
    meaning: str


WORDS: Mapping[str, Words] = {
    "create": Words("Create", "created", "+", "people who get an account"),
    "deactivate": Words(
        "Deactivate", "deactivated", "-", "people who lose access; the account stays and can be reactivated"
    ),
    "reactivate": Words("Reactivate", "reactivated", "^", "people who get their old account back"),
    "update-email": Words(
        "Change email", "given a new email", "@", "people who keep their account under a new address"
    ),
    "update-name": Words("Rename", "renamed", "~", "people who are shown under a new name"),
    "adopt": Words("Adopt", "adopted", "=", "accounts that are recognised as a person's; nothing is sent"),
}
"""The kinds in the order in which a reader meets them."""

KINDS = tuple(WORDS)

DONE = "done"
_TALLY = {
    "failed": "failed",
    "not-persisted": "accepted but not made",
    "held": "held by the workspace's answer",
    "not-tried": "not tried",
    "unknown": "without an answer",
    "": "without a record",
}


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
    that the plan did not have. *executed* tells a run that applied from a plan.
    """

    workspace: WorkspaceObject
    executed: bool
    lines: Mapping[str, tuple[Line, ...]]
    holds: tuple[HoldObject, ...]
    others: tuple[OutcomeLine, ...]
    headline: str

    @property
    def name(self) -> str:
        return harmless(self.workspace["name"])


def views(document: Document, outcomes: Outcomes) -> list[View]:
    return [view(workspace, outcomes.get(workspace["name"])) for workspace in document["workspaces"]]


def view(workspace: WorkspaceObject, outcomes: Sequence[OutcomeLine] | None) -> View:
    """Return what to show of *workspace*; *outcomes* None: it was planned only."""
    if workspace["status"] != "planned":
        return View(workspace, False, {}, (), (), _unplanned_headline(workspace["status"]))
    waiting: dict[tuple[str, str], list[OutcomeLine]] = defaultdict(list)
    for outcome in outcomes or ():
        waiting[outcome.kind, outcome.email.casefold()].append(outcome)
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
    executed = outcomes is not None
    headline = _executed_headline(workspace, shown, others, len(holds)) if executed else _headline(workspace)
    return View(workspace, executed, shown, tuple(holds), others, headline)


def moves(line: Line) -> list[tuple[str, str, str]]:
    """Return (field, before, after) for what an existing member would have changed; nothing for a create."""
    fields = (("email", "email"), ("display_name", "name"), ("active", "status"))
    before, after = cast("Mapping[str, object]", line.before), cast("Mapping[str, object]", line.after)
    return [(word, _said(before[key]), _said(after[key])) for key, word in fields if key in before and key in after]


def approvable(workspace: WorkspaceObject) -> bool:
    """Tell whether an approval would release any hold of this plan."""
    return any("after" in hold for hold in workspace["holds"])


def approval(workspace: WorkspaceObject) -> str:
    """Return the command that approves the workspace's plan."""
    return f"pigment-sync sync -w {shlex.quote(harmless(workspace['name']))} --approve {harmless(workspace['digest'])}"


def tallied(lines: Sequence[Line]) -> Counter[str]:
    """Count outcomes by their word, empty for a change of which the journal has none."""
    return Counter(line.outcome.outcome if line.outcome else "" for line in lines)


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
        found = waiting.get((kind, address.casefold()))
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


def _unplanned_headline(status: str) -> str:
    return {
        "busy": "another run is working on it; nothing was planned",
        "credentials": "credentials were refused; nothing was planned and nothing was changed",
    }.get(status, "could not be read completely; nothing was planned and nothing was changed")


def _headline(workspace: PlannedObject) -> str:
    counts = workspace["counts"]
    verb = "will be" if workspace["mode"] == "enforce" else "would be"
    parts = [f"{counts[kind]:,} {WORDS[kind].done}" for kind in KINDS if counts[kind]]
    if parts:
        number, _, word = parts[0].partition(" ")
        parts[0] = f"{number} {verb} {word}"
    return _sentence(", ".join(parts) or "nothing to change", counts["hold"], counts["in-sync"])


def _executed_headline(
    workspace: PlannedObject, lines: Mapping[str, Sequence[Line]], others: Sequence[OutcomeLine], held: int
) -> str:
    done = Counter(
        line.kind for some in lines.values() for line in some if line.outcome and line.outcome.outcome == DONE
    )
    done.update(one.kind for one in others if one.outcome == DONE)
    rest = Counter(one.outcome for one in others)
    for some in lines.values():
        rest.update(tallied(some))
    parts = [f"{done[kind]:,} {WORDS[kind].done}" for kind in KINDS if done[kind]]
    failed = [f"{rest[word]:,} {said}" for word, said in _TALLY.items() if rest[word]]
    what = "; ".join(filter(None, [", ".join(parts), ", ".join(failed)])) or "nothing was changed"
    return _sentence(what, held, workspace["counts"]["in-sync"])


def _sentence(what: str, held: int, in_step: int) -> str:
    needs = [f"{held:,} held and {'needs' if held == 1 else 'need'} you"] if held else []
    return "; ".join([what, *needs, f"{in_step:,} in step"])
