"""The labels of a report: the words for each kind of change, and the sentence that sums up a workspace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from agent.report.escape import escape_control
from agent.report.schema import PlannedObject

__all__ = [
    "APPROVE_PROMPT",
    "DONE",
    "KINDS",
    "KIND_LABELS",
    "NOT_APPLIED",
    "KindLabels",
    "executed_sentence",
    "held_counts",
    "no_write_reason",
    "planned_sentence",
    "summary_line",
    "unplanned_sentence",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindLabels:
    """The words for one kind of change.

    *title* heads a section, *planned* and *past_tense* follow a number in a headline, and *held* a number of holds.
    *planned* and *held* are singular and plural. *symbol* marks a line of the text report.
    """

    title: str
    planned: tuple[str, str]
    past_tense: str
    held: tuple[str, str]
    symbol: str
    meaning: str


KIND_LABELS: Mapping[str, KindLabels] = {
    "create": KindLabels(
        title="Create",
        planned=("to create", "to create"),
        past_tense="created",
        held=("create", "creates"),
        symbol="+",
        meaning="people who get an account",
    ),
    "deactivate": KindLabels(
        title="Deactivate",
        planned=("to deactivate", "to deactivate"),
        past_tense="deactivated",
        held=("deactivation", "deactivations"),
        symbol="-",
        meaning="people who lose access; the account stays and can be reactivated",
    ),
    "reactivate": KindLabels(
        title="Reactivate",
        planned=("to reactivate", "to reactivate"),
        past_tense="reactivated",
        held=("reactivation", "reactivations"),
        symbol="^",
        meaning="people who get their previous account back",
    ),
    "update-email": KindLabels(
        title="Change email",
        planned=("email change", "email changes"),
        past_tense="email changed",
        held=("email change", "email changes"),
        symbol="@",
        meaning="people who keep their account under a new address",
    ),
    "update-name": KindLabels(
        title="Rename",
        planned=("name change", "name changes"),
        past_tense="renamed",
        held=("name change", "name changes"),
        symbol="~",
        meaning="people who get a new display name",
    ),
    "adopt": KindLabels(
        title="Match",
        planned=("matched to an existing account", "matched to existing accounts"),
        past_tense="matched",
        held=("match", "matches"),
        symbol="=",
        meaning="existing accounts linked to their person, no request sent",
    ),
}
"""The kinds in the order in which a reader meets them."""

KINDS = tuple(KIND_LABELS)

APPROVE_PROMPT = "Approving also applies what is on hold:"
DONE = "done"
NOT_APPLIED = {
    "failed": "failed",
    "not-persisted": "accepted but not made",
    "held": "held by the workspace's answer",
    "not-tried": "not tried",
    "unknown": "without an answer",
    "": "without a record",
}
"""Outcomes that are not a success, in the words of a sentence."""

READ_FAILURES: Mapping[str, str] = {
    "credentials": "credentials were refused",
    "permission-missing": "a permission is missing",
    "secret-not-set": "a secret is not set",
    "secret-unreadable": "a secret could not be read",
    "secret-invalid": "a secret is not usable",
    "unexpected": "an unexpected error ended the read",
}
"""Why a workspace could not be planned, by the code of its error."""


def unplanned_sentence(status: str, code: str) -> str:
    """Return why there is no plan: by the error's *code*, else by the workspace's *status*."""
    if status == "busy":
        return "another run is working on it; nothing was planned"
    why = READ_FAILURES.get(code) or READ_FAILURES.get(status) or "could not be read completely"
    return f"{why}; nothing was planned and nothing was changed"


def no_write_reason(workspace: PlannedObject) -> str:
    """Return why a sync would write nothing to the workspace at all; empty where it would."""
    if workspace["mode"] == "dry-run":
        return "mode: dry-run, nothing is written"
    paused = workspace.get("paused")
    if paused is None:
        return ""
    why = f": {paused['reason']}" if paused["reason"] else ""
    return f"paused by {paused['by']} since {paused['since']}{why}; nothing is written until it is resumed"


def planned_sentence(workspace: PlannedObject, user: str = "") -> str:
    """Return "4 to create, 2 to deactivate; 3 on hold (3 deactivations); 398 in sync".

    The sentence of a plan for *user* only names that person, and not how many others are in sync.
    """
    counts = workspace["counts"]
    parts = [_count(counts[kind], KIND_LABELS[kind].planned) for kind in KINDS if counts[kind] and kind != "adopt"]
    groups = [", ".join(parts)] if parts else []
    if counts["adopt"]:
        groups.append(_count(counts["adopt"], KIND_LABELS["adopt"].planned))
    held = Counter[str](hold["kind"] for hold in workspace["holds"])
    return _summary_sentence(groups or ["0 to apply"], held, counts["in-sync"], user)


def executed_sentence(
    done: Mapping[str, int], undone: Mapping[str, int], held: Mapping[str, int], in_sync: int, user: str = ""
) -> str:
    """Return "4 created, 1 renamed; 1 failed; 3 on hold (3 deactivations); 398 in sync".

    *done* and *held* count by kind, *undone* by outcome.
    """
    parts = ", ".join(f"{done[kind]:,} {KIND_LABELS[kind].past_tense}" for kind in KINDS if done.get(kind))
    outcomes = [*NOT_APPLIED, *(word for word in undone if word not in NOT_APPLIED)]
    rest = ", ".join(f"{undone[word]:,} {NOT_APPLIED.get(word, word)}" for word in outcomes if undone.get(word))
    return _summary_sentence([part for part in (parts, rest) if part] or ["0 applied"], held, in_sync, user)


def summary_line(
    to_do: Mapping[str, int], done: Mapping[str, int], undone: Mapping[str, int], held: int, *, unplanned: int
) -> str:
    """Return "3 to create, 1 to deactivate, 2 on hold": the numbers of all workspaces, in one line.

    *to_do* and *done* count by kind, *undone* by outcome, *unplanned* the workspaces without a plan.
    """
    parts = [f"{done[kind]:,} {KIND_LABELS[kind].past_tense}" for kind in KINDS if done.get(kind)]
    parts += [_count(to_do[kind], KIND_LABELS[kind].planned) for kind in KINDS if to_do.get(kind)]
    parts += [f"{count:,} {NOT_APPLIED.get(word, word)}" for word, count in undone.items() if count]
    parts = parts or ["no changes"]
    parts += [f"{held:,} on hold"] if held else []
    parts += [f"{_count(unplanned, ('workspace', 'workspaces'))} not planned"] if unplanned else []
    return ", ".join(parts)


def held_counts(held: Mapping[str, int]) -> str:
    """Return "30 deactivations, 1 create", the largest number first; *held* counts changes on hold by kind."""
    kinds = sorted((kind for kind in KINDS if held.get(kind)), key=lambda kind: -held[kind])
    return ", ".join(_count(held[kind], KIND_LABELS[kind].held) for kind in kinds)


def _summary_sentence(groups: list[str], held: Mapping[str, int], in_sync: int, user: str) -> str:
    if by_kind := held_counts(held):
        groups = [*groups, f"{sum(held.values()):,} on hold ({by_kind})"]
    if user:
        return f"only {escape_control(user)}: {'; '.join(groups)}"
    return "; ".join([*groups, f"{in_sync:,} in sync"])


def _count(number: int, words: tuple[str, str]) -> str:
    return f"{number:,} {words[0] if number == 1 else words[1]}"
