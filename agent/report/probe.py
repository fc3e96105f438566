"""The facts of a probe as lines and JSON, and its result in one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from agent.model.probe import FactVerdict
from agent.model.verification import Verification, VerificationResult
from agent.report.escape import escape_control

__all__ = ["probe_counts", "probe_json", "probe_summary", "probe_text"]

SIGNS = {FactVerdict.AS_ASSUMED: "ok", FactVerdict.DIFFERS: "!", FactVerdict.UNKNOWN: "?"}


def probe_json(verification: Verification) -> dict[str, object]:
    """Return the document of a probe, without what the state alone needs."""
    return {key: value for key, value in verification.document.items() if key != "record"}


def probe_text(verification: Verification) -> str:
    """Return a line for each fact, and the summary."""
    lines = []
    for row in _rows(verification):
        verdict = FactVerdict(str(row["verdict"]))
        expected = "" if verdict is FactVerdict.AS_ASSUMED else f" (assumed: {row['expected']})"
        lines.append(f"{SIGNS[verdict]:<3}{row['code']}: {row['seen']}{expected}")
    return "".join(f"{escape_control(line)}\n" for line in (*lines, probe_summary(verification)))


def probe_summary(verification: Verification) -> str:
    """Return the result of a probe in one sentence, with its date."""
    when = f"{verification.started_at:%Y-%m-%d %H:%M} UTC"
    who = f"The probe of {verification.workspace} with {verification.subject} on {when}"
    if verification.result is VerificationResult.RUNNING:
        return f"{who} has not ended, or its process was killed."
    ended = "did not come to its end" if verification.result is VerificationResult.FAILED else "ended"
    return f"{who} {ended}: {probe_counts(verification)}."


def probe_counts(verification: Verification) -> str:
    """Return how many facts are as assumed, differ and are unknown; empty for a result without facts."""
    if not _rows(verification):
        return ""
    verdicts = Counter(str(row["verdict"]) for row in _rows(verification))
    differing = [str(row["code"]) for row in _rows(verification) if row["verdict"] == FactVerdict.DIFFERS]
    parts = [f"{verdicts[FactVerdict.AS_ASSUMED]} as assumed"]
    if differing:
        parts.append(f"{len(differing)} {'differs' if len(differing) == 1 else 'differ'} ({', '.join(differing)})")
    parts.append(f"{verdicts[FactVerdict.UNKNOWN]} unknown")
    return ", ".join(parts)


def _rows(verification: Verification) -> Sequence[Mapping[str, object]]:
    rows = verification.document.get("facts")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, Sequence) else []
