"""Compare the decisions of an access review with who has access now. Pure, and nothing here can change access.

A row counts only for the account, and the person, that the reviewer saw. Anything else is reported, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.model.access import Access
from agent.model.certification import (
    Certification,
    Decision,
    Removal,
    ReviewedRow,
    SheetProblem,
    row_id,
    workspace_id,
)

__all__ = ["compare_decisions", "removal_steps"]

STEPS = (
    ({"protected"}, "The member is protected, so no sync deactivates it: also remove it from `protect`."),
    ({"unmanaged"}, "No source gives it: deactivate the member in Pigment, or set `unmanaged: deactivate`."),
    ({"not-linked"}, "No sync has linked the member yet: also deactivate it in Pigment."),
    (
        {"source-changed"},
        "The linked person is of no source of this workspace: correct the link, or deactivate the member in Pigment.",
    ),
    (
        {"not-assigned", "inactive"},
        "The source does not permit it any more: the next sync deactivates the member. `explain` shows what holds it.",
    ),
)
"""What else must be done, by exception."""
NEW_SHEET = "Write a new sheet: pigment-sync access --format xlsx --out FILE"


def compare_decisions(
    rows: Sequence[ReviewedRow],
    problems: Sequence[SheetProblem],
    current: Mapping[str, Sequence[Access]],
    targets: Mapping[str, str],
    unread: Sequence[tuple[str, str]],
) -> Certification:
    """Return what *rows* mean for *current*, the access of each workspace that was read.

    *targets* are the fingerprints of the configured workspaces. *problems* are those that the parser found.
    """
    usable, wrong = _rows_of_known_workspaces(rows, targets)
    decided, contradictory = _one_row_for_each_member(usable)
    accesses = {_member_id(access): access for each in current.values() for access in each}
    seen = {row.id.member for row in rows}
    removals: list[Removal] = []
    kept: list[tuple[Access, ReviewedRow]] = []
    undecided: list[tuple[Access, ReviewedRow]] = []
    changed: list[tuple[Access, ReviewedRow, str]] = []
    gone: list[ReviewedRow] = []
    for row in decided:
        access = accesses.get(row.id.member)
        if access is None:
            if row.workspace in current:
                gone.append(row)
        elif reason := _difference(access, row):
            changed.append((access, row, reason))
        elif row.decision is Decision.REMOVE:
            removals.append(Removal(access, row, removal_steps(access)))
        else:
            (kept if row.decision is Decision.KEEP else undecided).append((access, row))
    return Certification(
        removals=tuple(removals),
        kept=tuple(kept),
        undecided=tuple(undecided),
        changed=tuple(changed),
        gone=tuple(gone),
        missing=tuple(access for key, access in accesses.items() if key not in seen),
        problems=(*problems, *wrong, *contradictory),
        unread=tuple(unread),
    )


def _member_id(access: Access) -> str:
    return row_id(access, ()).member


def _rows_of_known_workspaces(
    rows: Sequence[ReviewedRow], targets: Mapping[str, str]
) -> tuple[list[ReviewedRow], list[SheetProblem]]:
    """Return the rows of the configured workspaces, and one problem for each workspace that is not one of them."""
    usable: list[ReviewedRow] = []
    wrong: dict[tuple[str, bool], list[ReviewedRow]] = {}
    for row in rows:
        if row.workspace in targets and workspace_id(targets[row.workspace]) == row.workspace_id:
            usable.append(row)
        else:
            wrong.setdefault((row.workspace, row.workspace in targets), []).append(row)
    return usable, [_workspace_problem(name, is_known, found) for (name, is_known), found in wrong.items()]


def _workspace_problem(name: str, is_known: bool, rows: Sequence[ReviewedRow]) -> SheetProblem:
    count = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
    if is_known:
        message = f"The sheet was written for another workspace that was also called {name}: {count}."
        return SheetProblem(rows[0].place, message, f"Use the configuration of then. {NEW_SHEET}")
    message = f"There is no workspace {name} in this configuration: {count}."
    return SheetProblem(rows[0].place, message, f"Use the configuration that the sheet was written with. {NEW_SHEET}")


def _one_row_for_each_member(rows: Sequence[ReviewedRow]) -> tuple[list[ReviewedRow], list[SheetProblem]]:
    """Return one row for each member. Doubled rows must agree where they have a decision, and on what they show."""
    doubled: dict[str, list[ReviewedRow]] = {}
    for row in rows:
        doubled.setdefault(row.id.member, []).append(row)
    agreed: list[ReviewedRow] = []
    problems: list[SheetProblem] = []
    for same in doubled.values():
        decisions = {row.decision for row in same} - {None}
        if len(decisions) > 1 or len({row.id for row in same}) > 1:
            what = "different decisions" if len(decisions) > 1 else "rows of different readings"
            others = ", ".join(row.place for row in same[1:])
            problems.append(
                SheetProblem(
                    same[0].place, f"{same[0].email} has {what}: see {others}.", "Leave one row and import again."
                )
            )
        else:
            agreed.append(next((row for row in same if row.decision is not None), same[0]))
    return agreed, problems


def _difference(access: Access, row: ReviewedRow) -> str:
    """Return why the decision can't count for the access of today; empty if it does.

    Fewer or other groups do not save a person from removal: the steps name the groups of today.
    """
    now = row_id(access, ())
    if now.person != row.id.person:
        return "The account belongs to another person now, or to one for the first time."
    if now.groups != row.id.groups and row.decision is not Decision.REMOVE:
        return f"The groups changed; now: {', '.join(access.groups) or 'no group'}."
    return ""


def removal_steps(access: Access) -> tuple[str, ...]:
    """Return what a person must do so that *access* ends. Pigment follows at the next sync where a source decides."""
    steps: list[str] = []
    for grant in access.grants:
        person = f"{grant.person.id} in {grant.person.connector}"
        if grant.groups:
            steps.append(f"Remove {person} from: {', '.join(grant.groups)}.")
        if grant.is_individual:
            steps.append(f"Remove the individual assignment of {person} to the application.")
    steps += [step for words, step in STEPS if words.intersection(access.exceptions)]
    return tuple(steps or ["No source shows what gives the access: deactivate the member in Pigment."])
