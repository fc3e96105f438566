"""A comparison of two readers as text, as JSON, and in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.model.comparison import Comparison, Subject
from agent.model.verification import Verification, VerificationResult
from agent.report.escape import escape_control
from agent.report.table import format_table

__all__ = ["KEPT_ROWS", "compare_document", "compare_summary", "compare_text", "difference_count", "kept_document"]

VERSION = 1
KEPT_ROWS = 100
"""How many rows of each list the state keeps: `/metrics` reads the newest documents at each scrape."""
SHOWN_ROWS = 20
SINGULAR = {"people": "person", "members": "member"}
LISTS = ("only_ours", "only_theirs", "different")


def compare_document(comparison: Comparison) -> dict[str, object]:
    """Return the document of `compare --format json`, its keys sorted."""
    return {
        "at": comparison.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "different": [
            {"email": each.email, "field": each.field, "id": each.id, "ours": each.ours, "theirs": each.theirs}
            for each in comparison.different
        ],
        "only_ours": [{"email": each.email, "id": each.id} for each in comparison.only_ours],
        "only_theirs": [{"email": each.email, "id": each.id} for each in comparison.only_theirs],
        "ours": comparison.ours,
        "theirs": comparison.theirs,
        "version": VERSION,
        "with": comparison.other,
        "workspace": comparison.workspace,
    }


def kept_document(comparison: Comparison) -> dict[str, object]:
    """Return the document that the state keeps: the first rows of each list, and how many there were."""
    document = compare_document(comparison)
    lists = {name: list(_rows(document, name)) for name in LISTS}
    counts = {name: len(rows) for name, rows in lists.items()}
    return {
        **document,
        **{name: rows[:KEPT_ROWS] for name, rows in lists.items()},
        "counts": counts,
        "noun": comparison.noun,
    }


def difference_count(document: Mapping[str, object]) -> int:
    """Return how many differences a kept document has."""
    counts = document.get("counts")
    if isinstance(counts, dict):
        return sum(value for value in counts.values() if isinstance(value, int))
    return sum(len(_rows(document, name)) for name in LISTS)


def compare_summary(verification: Verification) -> str:
    """Return one sentence about a kept comparison, for `check` and the page."""
    at = verification.started_at.strftime("%Y-%m-%d %H:%M UTC")
    start = f"Compared with {escape_control(verification.subject)} at {at}: "
    document = verification.document
    match verification.result:
        case VerificationResult.PASSED:
            return f"{start}the same {_number(document, 'ours')}."
        case VerificationResult.DIFFERS:
            count = difference_count(document)
            return (
                f"{start}{count:,} {'difference' if count == 1 else 'differences'} "
                f"({_number(document, 'ours')} and {_number(document, 'theirs')})."
            )
        case _:
            return f"{start}not completed. {escape_control(str(document.get('error', '')))}".rstrip()


def compare_text(comparison: Comparison, width: int | None) -> str:
    """Return the comparison for people: the numbers, then at most some rows of each list."""
    other = comparison.other
    title = f"{comparison.workspace}: its {comparison.noun} as pigment-sync and {other} read them"
    numbers = [
        ("pigment-sync", comparison.ours),
        (other, comparison.theirs),
        ("only pigment-sync", len(comparison.only_ours)),
        (f"only {other}", len(comparison.only_theirs)),
        ("different", len(comparison.different)),
    ]
    label_width = max(len(label) for label, _ in numbers)
    lines = [title, "", *(f"  {label:<{label_width}}  {value:>9,}" for label, value in numbers), ""]
    text = "\n".join(map(escape_control, lines)) + "\n"
    text += _section(f"Only pigment-sync has these {comparison.noun}", _subjects(comparison.only_ours), width)
    text += _section(f"Only {other} has these {comparison.noun}", _subjects(comparison.only_theirs), width)
    headings = ("ID", "EMAIL", "FIELD", "PIGMENT-SYNC", other.upper())
    rows = [
        (each.id, each.email, each.field, each.ours or "(none)", each.theirs or "(none)")
        for each in comparison.different
    ]
    text += _section("Both have these, with different values", (headings, rows), width)
    for sentence in (*comparison.notes, _settled_sentence(comparison), _verdict(comparison)):
        text += f"{escape_control(sentence)}\n" if sentence else ""
    return text


def _subjects(subjects: Sequence[Subject]) -> tuple[Sequence[str], list[tuple[str, str]]]:
    return ("ID", "EMAIL"), [(each.id, each.email) for each in subjects]


def _section(title: str, table: tuple[Sequence[str], Sequence[Sequence[str]]], width: int | None) -> str:
    headings, rows = table
    if not rows:
        return ""
    more = len(rows) - SHOWN_ROWS
    rest = f"… and {more:,} more, see --format json\n" if more > 0 else ""
    return f"{escape_control(title)}:\n{format_table(headings, rows[:SHOWN_ROWS], width)}{rest}\n"


def _settled_sentence(comparison: Comparison) -> str:
    if not comparison.settled:
        return ""
    return (
        f"{comparison.settled:,} further differences were gone when pigment-sync read again: people changed meanwhile."
    )


def _verdict(comparison: Comparison) -> str:
    fields = ", ".join(comparison.fields)
    compared = f" Compared: id, {fields}." if fields else ""
    if not comparison.count:
        return f"Equal: both have the same {_counted(comparison.ours, comparison.noun)}.{compared}"
    noun = "difference" if comparison.count == 1 else "differences"
    return f"{comparison.count:,} {noun}.{compared}"


def _rows(document: Mapping[str, object], name: str) -> Sequence[object]:
    found = document.get(name)
    return found if isinstance(found, list) else ()


def _number(document: Mapping[str, object], name: str) -> str:
    found, noun = document.get(name), document.get("noun")
    return _counted(found, str(noun)) if isinstance(found, int) and noun in SINGULAR else "an unknown number"


def _counted(count: int, noun: str) -> str:
    return f"1 {SINGULAR[noun]}" if count == 1 else f"{count:,} {noun}"
