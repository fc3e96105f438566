"""The report on a terminal or in a pipe: one sentence for each workspace, then every change, hold, guard and note."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from agent.report.escape import harmless
from agent.report.layout import BAD, BOLD, DIM, PLAIN, TINTS, WARN, Row, Words, paragraph, rows_in_columns, wrapped
from agent.report.shape import Document, GuardObject, HoldObject, Outcomes, PlannedObject, WorkspaceObject
from agent.report.view import (
    Line,
    View,
    approvable,
    approval,
    approval_of_all,
    before_approval,
    hold_groups,
    moves,
    reasons,
    releases,
    views,
)
from agent.report.wording import APPROVE, DONE, WORDS, unwritten

__all__ = ["text"]

ROWS = 200
FEW = 3
"""How many rows of a section are shown unless all are asked for."""


def text(
    document: Document, outcomes: Outcomes, *, width: int, colour: bool, verbose: bool, approves: bool = True
) -> str:
    """Return the report in lines of at most *width* cells (commands and digests are not broken).

    Without *colour* there is no escape sequence in it. *verbose* shows all rows of everything, *approves* the command
    that approves a held plan.
    """
    page = _Page(max(width, 40), None if verbose else ROWS, approves)
    console = Console(
        file=io.StringIO(),
        width=page.width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        legacy_windows=False,
        _environ={},
    )
    segments: list[Segment] = []
    for line in page.document(document, views(document, outcomes)):
        segments += [Segment(words, style) for words, style in line]
        segments.append(Segment.line())
    with console.capture() as captured:
        console.print(Segments(segments), end="", crop=False, no_wrap=True, overflow="ignore", soft_wrap=True)
    return captured.get()


@dataclass(frozen=True, slots=True)
class _Page:
    width: int
    rows: int | None
    approves: bool

    def document(self, document: Document, shown: Sequence[View]) -> Iterator[Words]:
        for view in shown:
            yield from self.headline(view)
        for view in shown:
            yield []
            yield from self.workspace(view)
        yield []
        yield from self.footer(document, shown)

    def headline(self, view: View) -> Iterator[Words]:
        planned = view.workspace["status"] == "planned"
        lines = wrapped(f"{view.name}: {view.headline}", self.width - 4)
        first = lines[0]
        yield [(first[: len(view.name)], BOLD), (first[len(view.name) :], PLAIN if planned else BAD)]
        yield from ([("    " + line, PLAIN)] for line in lines[1:])

    def footer(self, document: Document, shown: Sequence[View]) -> Iterator[Words]:
        executed = any(view.executed for view in shown)
        ending = "" if executed else " Nothing was written."
        yield from self.paragraph(f"Plan of {harmless(document['generated_at'])}.{ending}", DIM, 0)
        yield [(f"Digest {harmless(document['digest'])}", DIM)]
        if self.approves and not executed and sum(_is_approvable(view.workspace) for view in shown) > 1:
            yield [("Approve all of it as it stands:", PLAIN)]
            yield [("    " + approval_of_all(document), BOLD)]

    def workspace(self, view: View) -> Iterator[Words]:
        workspace = view.workspace
        yield [("── ", DIM), (view.name, BOLD), (" " + "─" * max(0, self.width - cell_len(view.name) - 4), DIM)]
        if workspace["status"] != "planned":
            error = workspace["error"]
            yield from self.paragraph(f"{harmless(error['code'])}: {harmless(error['message'])}", BAD, 2)
            yield from self.paragraph(f"→ {harmless(error['remedy'])}", PLAIN, 2)
            return
        for fact in _facts(workspace, executed=view.executed):
            yield from self.paragraph(fact, DIM, 2)
        yield [(f"  digest {harmless(workspace['digest'])}", DIM)]
        for kind, lines in view.lines.items():
            # A first run adopts everybody: what it sends should not have to be looked for among them.
            is_folded = kind == "adopt" and self.rows is not None and len(lines) > FEW
            rows = [_change_row(line) for line in (lines[:FEW] if is_folded else lines)]
            yield from self.section(WORDS[kind].title, len(lines), WORDS[kind].meaning, rows)
            if is_folded:
                yield [(f"    … and {len(lines) - FEW:,} more; --verbose shows them", DIM)]
        yield from self.others(view)
        yield from self.holds(view)
        yield from self.guards(view, workspace)
        yield from self.notes(workspace)

    def section(self, title: str, count: int, meaning: str, rows: Sequence[Row]) -> Iterator[Words]:
        yield []
        yield self.heading(f"  {title} ({count:,})", meaning)
        yield from self.table(rows)

    def heading(self, title: str, meaning: str) -> Words:
        fits = cell_len(title) + 2 + cell_len(meaning) <= self.width
        return [(title, BOLD), (f"  {meaning}" if fits else "", DIM)]

    def table(self, rows: Sequence[Row]) -> Iterator[Words]:
        shown = rows if self.rows is None else rows[: self.rows]
        yield from rows_in_columns(shown, self.width)
        if len(shown) < len(rows):
            yield [(f"    … and {len(rows) - len(shown):,} more; all are in --format csv, html and json", WARN)]

    def paragraph(self, words: str, style: Style, indent: int) -> Iterator[Words]:
        return paragraph(words, style, indent, self.width)

    def others(self, view: View) -> Iterator[Words]:
        if view.others:
            rows = [
                Row("*", PLAIN, harmless(one.email), [(_outcome(one.kind, one.outcome, one.detail), PLAIN)])
                for one in view.others
            ]
            yield from self.section("Also done", len(rows), "what the workspace's answers called for", rows)

    def holds(self, view: View) -> Iterator[Words]:
        if not view.holds:
            return
        yield []
        yield self.heading(f"  Held ({len(view.holds):,})", "not made until the reason is cleared")
        for group in hold_groups(view.holds):
            yield [("  ! ", WARN), (f"{group.code} ({len(group.holds):,})", WARN)]
            said_once = [words for words in (group.reason, _to_do(group.remedy)) if words]
            for words in said_once:
                yield from self.paragraph(words, PLAIN, 4)
            yield from self.table([_hold_row(hold, said_once) for hold in group.holds])

    def guards(self, view: View, workspace: PlannedObject) -> Iterator[Words]:
        if workspace["guards"]:
            yield []
            yield [(f"  Guards ({len(workspace['guards']):,})", BOLD)]
            for guard in workspace["guards"]:
                yield from self.guard(guard)
        if self.approves and approvable(workspace) and not view.executed:
            yield []
            yield from self.approval(view)

    def guard(self, guard: GuardObject) -> Iterator[Words]:
        numbers = (
            f": {guard['count']:,} in this plan, {guard['recent']:,} in the last 60 minutes; "
            f"limit {harmless(guard['limit'])}"
        )
        yield from self.paragraph(harmless(guard["code"]) + numbers, WARN, 4)
        yield from self.paragraph(harmless(guard["message"]), PLAIN, 4)
        rest = guard["affected"] - len(guard["first"])
        more = f" and {rest:,} more" if rest > 0 else ""
        names = ", ".join(map(harmless, guard["first"]))
        yield from self.paragraph(f"Affects {guard['affected']:,}: {names}{more}", PLAIN, 4)

    def approval(self, view: View) -> Iterator[Words]:
        if first := before_approval(view.workspace):
            yield from self.paragraph(first, DIM, 2)
            return
        yield from self.paragraph(f"{APPROVE} {releases(view.workspace)}.", PLAIN, 2)
        yield [("    " + approval(view), BOLD)]

    def notes(self, workspace: PlannedObject) -> Iterator[Words]:
        notes = workspace["notes"]
        if not notes:
            return
        by_code = Counter(note["code"] for note in notes)
        folded = ", ".join(f"{count:,} {harmless(code)}" for code, count in by_code.most_common())
        yield []
        if self.rows is None:
            rows = [
                Row("·", DIM, harmless(note["email"]), [(f"{harmless(note['code'])}: {harmless(note['reason'])}", DIM)])
                for note in notes
            ]
            yield self.heading(f"  Notes ({len(notes):,})", folded)
            yield from self.table(rows)
        else:
            yield from self.paragraph(f"Notes ({len(notes):,}): {folded}", DIM, 2)


def _is_approvable(workspace: WorkspaceObject) -> bool:
    return approvable(workspace) and not before_approval(workspace)


def _facts(workspace: PlannedObject, *, executed: bool) -> Iterator[str]:
    members = workspace["members"]
    before = "before the run: " if executed else ""
    mode = harmless(unwritten(workspace)) or "writes when synced"
    yield (
        f"{before}{members['total']:,} members, {members['active']:,} active, {members['linked']:,} linked "
        f"· {workspace['counts']['in-sync']:,} in step" + (f" · {mode}" if unwritten(workspace) or not executed else "")
    )
    for source in workspace["sources"]:
        groups = ", ".join(f"{harmless(group['name'])} {group['people']:,}" for group in source["groups"][:8])
        rest = len(source["groups"]) - 8
        yield (
            f"{harmless(source['connector'])} {harmless(source['app'])}: {source['people']:,} assigned, "
            f"{source['entitled']:,} entitled, {source['individual']:,} individually"
            + (f" · {groups}" if groups else " · no groups")
            + (f" and {rest:,} more groups" if rest > 0 else "")
        )


def _change_row(line: Line) -> Row:
    moved = " · ".join(f"{word}: {before} → {after}" for word, before, after in moves(line) if word != "status")
    said = [(line.display_name, PLAIN)] if line.kind == "create" and line.display_name not in line.reason else []
    said += [(moved, PLAIN)] if moved else []
    if line.outcome:
        outcome = line.outcome.outcome
        said.insert(0, (_outcome("approved" if line.released else "", outcome, line.outcome.detail), _tint(outcome)))
    return Row(WORDS[line.kind].sign, TINTS[line.kind], line.email, [*said, (line.reason, DIM)])


def _hold_row(hold: HoldObject, said_once: Iterable[str]) -> Row:
    wanted = f" → {harmless(hold['wanted'])}" if hold.get("wanted", hold["email"]) != hold["email"] else ""
    kind = WORDS[hold["kind"]].title.lower() + wanted
    said = [words for words in _sayings(hold) if words not in said_once]
    first = f"{kind}: {said.pop(0)}" if said else kind
    return Row(" ", PLAIN, harmless(hold["email"]), [(words, PLAIN) for words in (first, *said)])


def _sayings(hold: HoldObject) -> list[str]:
    """Why it would be done, why it is not, and what clears it."""
    said = [harmless(words) for words in reasons(hold) if words]
    return [*said, _to_do(harmless(hold["remedy"]))]


def _to_do(remedy: str) -> str:
    return f"→ {remedy}" if remedy else ""


def _outcome(what: str, outcome: str, detail: str) -> str:
    words = ", ".join(filter(None, [harmless(what), harmless(outcome)]))
    return f"{words}: {harmless(detail)}" if detail else words


def _tint(outcome: str) -> Style:
    return Style(color="green") if outcome == DONE else BAD
