"""The words of a report: how each kind of change is called, and the sentence that says it all to a non-engineer."""

from __future__ import annotations

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
    "no_write_reason",
    "planned_sentence",
    "unplanned_sentence",
]


@dataclass(frozen=True, slots=True)
class KindLabels:
    """How a kind of change is called: as a heading, as what has been done to somebody, as a sign, and in a sentence."""

    title: str
    past_tense: str
    symbol: str
    meaning: str


KIND_LABELS: Mapping[str, KindLabels] = {
    "create": KindLabels("Create", "created", "+", "people who get an account"),
    "deactivate": KindLabels(
        "Deactivate", "deactivated", "-", "people who lose access; the account stays and can be reactivated"
    ),
    "reactivate": KindLabels("Reactivate", "reactivated", "^", "people who get their old account back"),
    "update-email": KindLabels(
        "Change email", "given a new email", "@", "people who keep their account under a new address"
    ),
    "update-name": KindLabels("Rename", "renamed", "~", "people who are shown under a new name"),
    "adopt": KindLabels("Adopt", "adopted", "=", "accounts that are recognised as a person's; nothing is sent"),
}
"""The kinds in the order in which a reader meets them."""

KINDS = tuple(KIND_LABELS)

APPROVE_PROMPT = "Approve this plan as it is. Of the held changes this releases:"
DONE = "done"
NOT_APPLIED = {
    "failed": "failed",
    "not-persisted": "accepted but not made",
    "held": "held by the workspace's answer",
    "not-tried": "not tried",
    "unknown": "without an answer",
    "": "without a record",
}
"""Outcomes that are no success, in the words of a sentence."""

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
        return "dry-run mode: nothing is ever written"
    paused = workspace.get("paused")
    if paused is None:
        return ""
    why = f": {paused['reason']}" if paused["reason"] else ""
    return f"paused by {paused['by']} since {paused['since']}{why}: nothing is written until it is resumed"


def planned_sentence(workspace: PlannedObject, user: str = "") -> str:
    """Return "4 will be created, 2 deactivated; 3 held and need you; 398 in step".

    Of a plan for *user* alone it names them, and not how many others are in step.
    """
    counts = workspace["counts"]
    verb = "would be" if no_write_reason(workspace) else "will be"
    parts = [f"{counts[kind]:,} {KIND_LABELS[kind].past_tense}" for kind in KINDS if counts[kind]]
    if parts:
        number, _, word = parts[0].partition(" ")
        parts[0] = f"{number} {verb} {word}"
    return _summary_sentence([", ".join(parts) or "nothing to change"], counts["hold"], counts["in-sync"], user)


def executed_sentence(
    done: Mapping[str, int], undone: Mapping[str, int], held: int, in_step: int, user: str = ""
) -> str:
    """Return "4 created, 1 renamed; 1 failed; 3 held and need you; 398 in step"; *undone* counts by outcome."""
    parts = ", ".join(f"{done[kind]:,} {KIND_LABELS[kind].past_tense}" for kind in KINDS if done.get(kind))
    outcomes = [*NOT_APPLIED, *(word for word in undone if word not in NOT_APPLIED)]
    rest = ", ".join(f"{undone[word]:,} {NOT_APPLIED.get(word, word)}" for word in outcomes if undone.get(word))
    return _summary_sentence([part for part in (parts, rest) if part] or ["nothing was changed"], held, in_step, user)


def _summary_sentence(what: list[str], held: int, in_step: int, user: str) -> str:
    needs = [f"{held:,} held and {'needs' if held == 1 else 'need'} you"] if held else []
    if user:
        return f"for {escape_control(user)} alone: {'; '.join([*what, *needs])}"
    return "; ".join([*what, *needs, f"{in_step:,} in step"])
