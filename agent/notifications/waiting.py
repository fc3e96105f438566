"""Which holds of a run are new and wait for a person, and the lines about them in a notice. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from agent.engine.request import RunResult
from agent.model import Hold
from agent.model.codes import waits_for_person
from agent.notifications.notice import Notice, Severity, approval_instructions, run_line
from agent.report.document import MAX_NAMED
from agent.report.escape import escape_control, escape_surrogates
from agent.report.hold_age import age_phrase, hold_key

__all__ = ["encode_holds", "new_holds", "waiting_holds", "waiting_notice", "with_new_holds"]

FINGERPRINT_DIGITS = 16


def waiting_holds(result: RunResult) -> tuple[Hold, ...] | None:
    """Return the holds that the run leaves for a person; None if it could write nothing and so shows nothing."""
    if result.holds is None:
        return None
    return tuple(hold for hold in result.holds if waits_for_person(hold.code))


def encode_holds(holds: Sequence[Hold]) -> str:
    """Return *holds* as the state keeps them: no person can be read from it, and it stays short."""
    return " ".join(sorted(map(_fingerprint, holds)))


def new_holds(holds: Sequence[Hold], before: str | None) -> tuple[Hold, ...]:
    """Return those of *holds* that were not among the ones encoded as *before*."""
    known = frozenset((before or "").split())
    return tuple(hold for hold in holds if _fingerprint(hold) not in known)


def _fingerprint(hold: Hold) -> str:
    return hashlib.sha256("\0".join(hold_key(hold)).encode("utf-8", "surrogatepass")).hexdigest()[:FINGERPRINT_DIGITS]


def waiting_notice(result: RunResult, new: Sequence[Hold], waiting: int, digest: str) -> Notice:
    """Return the notice of the *new* holds among all that are *waiting*. *digest* approves them; empty: not known."""
    name, count = result.workspace, len(new)
    title = (
        f"{count:,} {'change' if count == 1 else 'changes'} of {name} {'waits' if count == 1 else 'wait'} for a person"
    )
    parts = [
        f"Workspace: {name}\n{run_line(result)}",
        f"On hold: {_change_count(waiting)}. New: {count:,}.",
        *_groups(result, new),
        _next_step(result, new, digest),
    ]
    return Notice(f"pigment-sync: {title}", escape_surrogates("\n\n".join(parts)), Severity.WARNING)


def with_new_holds(notice: Notice, result: RunResult, new: Sequence[Hold]) -> Notice:
    """Return *notice*, that changes are on hold, with the *new* holds: one notice instead of two."""
    body = "\n\n".join([notice.body, f"New on hold: {_change_count(len(new))}.", *_groups(result, new)])
    return Notice(notice.title, escape_surrogates(body), notice.severity)


def _change_count(count: int) -> str:
    return "1 change" if count == 1 else f"{count:,} changes"


def _next_step(result: RunResult, new: Sequence[Hold], digest: str) -> str:
    review = f"pigment-sync plan -w {result.workspace}"
    if all(hold.change is None for hold in new):
        return f"See all of them, and what clears each:\n  {review}"
    return approval_instructions(result, digest)


def _groups(result: RunResult, holds: Sequence[Hold]) -> Iterator[str]:
    """Yield a paragraph for each code: who is on hold, since when, and what clears it."""
    for code in sorted({hold.code for hold in holds}):
        found = [hold for hold in holds if hold.code == code]
        remedies = {hold.remedy for hold in found if hold.change is None}
        lines = [f"{code}:"]
        for hold in found[:MAX_NAMED]:
            lines.append(f"- {hold.kind} {escape_control(hold.email)}{_age(result, hold)}")
            if hold.change is None and len(remedies) > 1:
                lines.append(f"  {escape_control(hold.remedy)}")
        if len(found) > MAX_NAMED:
            lines.append(f"- and {len(found) - MAX_NAMED:,} more")
        if len(remedies) == 1:
            lines.extend(map(escape_control, remedies))
        yield "\n".join(lines)


def _age(result: RunResult, hold: Hold) -> str:
    run = result.run
    if run is None or hold.since is None:
        return ""
    at = run.finished_at or run.started_at
    return f", {age_phrase(hold.since.isoformat(), at.isoformat(), run.started_at.isoformat())}"
