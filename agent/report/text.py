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

from agent.report.escape import escape_control
from agent.report.group_sizes import group_sizes_by_source, recorded_sizes
from agent.report.labels import APPROVE_PROMPT, DONE, KIND_LABELS, no_write_reason
from agent.report.layout import (
    BAD,
    BOLD,
    DIM,
    KIND_STYLES,
    PLAIN,
    WARN,
    Row,
    StyledLine,
    paragraph_lines,
    rows_in_columns,
    wrap_text,
)
from agent.report.run_identity import Fact, run_blocks
from agent.report.schema import Document, GuardObject, Outcomes, PlannedObject, WorkspaceObject
from agent.report.view import (
    ChangeRow,
    ShownHold,
    View,
    approval_prerequisite,
    approve_all_command,
    approve_command,
    changed_fields,
    document_summary,
    document_views,
    hold_groups,
    hold_reasons,
    is_approvable,
    released_summary,
)

__all__ = ["render_text"]

MAX_ROWS = 200
LABEL_WIDTH = 15
SHORT_DIGEST_DIGITS = 12
"""Enough to recognise a plan, and accepted by `--approve`."""
COLLAPSED_ROWS = 3
"""How many rows of matched accounts are shown without `--verbose`."""


def render_text(  # noqa: PLR0913  (the options of the rendering, each by name)
    document: Document,
    outcomes: Outcomes,
    *,
    width: int,
    colour: bool,
    verbose: bool,
    shows_approval: bool = True,
    shows_digest: bool = False,
) -> str:
    """Return the report in lines of at most *width* cells (commands and digests are not broken).

    Without *colour* it has no escape sequences. *verbose* shows all rows of all sections, *shows_approval* the command
    that approves what is on hold, *shows_digest* the digest of the whole plan. The last line sums up all workspaces.
    """
    page = _TextReport(max(width, 40), None if verbose else MAX_ROWS, shows_approval, shows_digest)
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
    for line in page.document(document, document_views(document, outcomes)):
        segments += [Segment(words, style) for words, style in line]
        segments.append(Segment.line())
    with console.capture() as captured:
        console.print(Segments(segments), end="", crop=False, no_wrap=True, overflow="ignore", soft_wrap=True)
    return captured.get()


@dataclass(frozen=True, slots=True)
class _TextReport:
    width: int
    max_rows: int | None
    shows_approval: bool
    shows_digest: bool

    def document(self, document: Document, shown: Sequence[View]) -> Iterator[StyledLine]:
        for block in run_blocks(document["workspaces"]):
            yield from self.facts(block)
            yield []
        for view in shown:
            yield from self.headline(view)
        for view in shown:
            yield []
            yield from self.workspace(view)
        yield []
        yield from self.footer(document, shown)

    def facts(self, block: Sequence[Fact]) -> Iterator[StyledLine]:
        for label, value in block:
            first, *others = wrap_text(value, self.width - LABEL_WIDTH)
            yield [(label.ljust(LABEL_WIDTH), DIM), (first, PLAIN)]
            yield from ([(" " * LABEL_WIDTH + line, PLAIN)] for line in others)

    def headline(self, view: View) -> Iterator[StyledLine]:
        planned = view.workspace["status"] == "planned"
        lines = wrap_text(f"{view.name}: {view.headline}", self.width - 4)
        first = lines[0]
        yield [(first[: len(view.name)], BOLD), (first[len(view.name) :], PLAIN if planned else BAD)]
        yield from ([("    " + line, PLAIN)] for line in lines[1:])

    def footer(self, document: Document, shown: Sequence[View]) -> Iterator[StyledLine]:
        executed = any(view.executed for view in shown)
        ending = "" if executed else " Nothing was written."
        yield from self.paragraph(f"Plan of {escape_control(document['generated_at'])}.{ending}", DIM, 0)
        if self.shows_digest:
            yield [(f"Digest {escape_control(document['digest'])}", DIM)]
        if self.shows_approval and not executed and sum(_is_ready_for_approval(view.workspace) for view in shown) > 1:
            yield [("Approve all workspaces:", PLAIN)]
            yield [("    " + approve_all_command(document), BOLD)]
        yield from self.paragraph(document_summary(shown), BOLD, 0)

    def workspace(self, view: View) -> Iterator[StyledLine]:
        workspace = view.workspace
        yield [("── ", DIM), (view.name, BOLD), (" " + "─" * max(0, self.width - cell_len(view.name) - 4), DIM)]
        if workspace["status"] != "planned":
            error = workspace["error"]
            yield from self.paragraph(f"{escape_control(error['code'])}: {escape_control(error['message'])}", BAD, 2)
            yield from self.paragraph(f"→ {escape_control(error['remedy'])}", PLAIN, 2)
            return
        for fact in _facts(workspace, executed=view.executed):
            yield from self.paragraph(fact, DIM, 2)
        yield [(f"  digest {_short_digest(workspace)}", DIM)]
        for kind, lines in view.changes_by_kind.items():
            # A first run matches everyone; what it sends must not be buried among those lines.
            is_folded = kind == "adopt" and self.max_rows is not None and len(lines) > COLLAPSED_ROWS
            rows = [_change_row(line) for line in lines[: COLLAPSED_ROWS if is_folded else self.max_rows]]
            left_out = 0 if is_folded else len(lines) - len(rows)
            yield from self.section(KIND_LABELS[kind].title, len(lines), KIND_LABELS[kind].meaning, rows, left_out)
            if is_folded:
                yield [(f"    … and {len(lines) - COLLAPSED_ROWS:,} more; --verbose shows them", DIM)]
        yield from self.unplanned_outcomes(view)
        yield from self.holds(view)
        yield from self.guards(view, workspace)
        yield from self.notes(workspace)

    def section(
        self, title: str, count: int, meaning: str, rows: Sequence[Row], left_out: int = 0
    ) -> Iterator[StyledLine]:
        yield []
        yield self.heading(f"  {title} ({count:,})", meaning)
        yield from self.table(rows, left_out)

    def heading(self, title: str, meaning: str) -> StyledLine:
        fits = cell_len(title) + 2 + cell_len(meaning) <= self.width
        return [(title, BOLD), (f"  {meaning}" if fits else "", DIM)]

    def table(self, rows: Sequence[Row], left_out: int = 0) -> Iterator[StyledLine]:
        """Yield the lines of the first *rows*. *left_out* more were left out already."""
        shown = rows if self.max_rows is None else rows[: self.max_rows]
        yield from rows_in_columns(shown, self.width)
        left_out += len(rows) - len(shown)
        if left_out:
            yield [(f"    … and {left_out:,} more; all are in --format csv, html and json", WARN)]

    def paragraph(self, words: str, style: Style, indent: int) -> Iterator[StyledLine]:
        return paragraph_lines(words, style, indent, self.width)

    def unplanned_outcomes(self, view: View) -> Iterator[StyledLine]:
        if view.unplanned_outcomes:
            rows = [
                Row(
                    "*", PLAIN, escape_control(one.email), [(_outcome_phrase(one.kind, one.outcome, one.detail), PLAIN)]
                )
                for one in view.unplanned_outcomes
            ]
            yield from self.section("Also done", len(rows), "what the workspace's answers called for", rows)

    def holds(self, view: View) -> Iterator[StyledLine]:
        if not view.holds:
            return
        yield []
        yield self.heading(f"  On hold ({len(view.holds):,})", "not applied until the reason is cleared")
        for group in hold_groups(view.holds):
            yield [("  ! ", WARN), (f"{group.code} ({len(group.holds):,})", WARN)]
            shared_lines = [words for words in (group.reason, _remedy_line(group.remedy), group.age) if words]
            for words in shared_lines:
                yield from self.paragraph(words, PLAIN, 4)
            yield from self.table([_hold_row(hold, shared_lines) for hold in group.holds])

    def guards(self, view: View, workspace: PlannedObject) -> Iterator[StyledLine]:
        if workspace["guards"]:
            yield []
            yield [(f"  Guards ({len(workspace['guards']):,})", BOLD)]
            for guard in workspace["guards"]:
                yield from self.guard(guard)
        if self.shows_approval and is_approvable(workspace) and not view.executed:
            yield []
            yield from self.approval(view)

    def guard(self, guard: GuardObject) -> Iterator[StyledLine]:
        code, limit, message = (escape_control(text) for text in (guard["code"], guard["limit"], guard["message"]))
        if limit in message:
            # The message has all the numbers; twice is not clearer.
            yield from self.paragraph(f"{code}: {message}", WARN, 4)
        else:
            numbers = f"{guard['count']:,} in this plan, {guard['recent']:,} in the last 60 minutes; limit {limit}"
            yield from self.paragraph(f"{code}: {numbers}", WARN, 4)
            yield from self.paragraph(message, PLAIN, 4)
        yield from self.paragraph(f"Affects {guard['affected']:,}, listed above.", PLAIN, 4)

    def approval(self, view: View) -> Iterator[StyledLine]:
        if first := approval_prerequisite(view.workspace):
            yield from self.paragraph(first, DIM, 2)
            return
        yield from self.paragraph(f"{APPROVE_PROMPT} {released_summary(view.workspace)}.", PLAIN, 2)
        yield [("    " + approve_command(view), BOLD)]

    def notes(self, workspace: PlannedObject) -> Iterator[StyledLine]:
        notes = workspace["notes"]
        if not notes:
            return
        by_code = Counter(note["code"] for note in notes)
        folded = ", ".join(f"{count:,} {escape_control(code)}" for code, count in by_code.most_common())
        yield []
        if self.max_rows is None:
            rows = [
                Row(
                    "·",
                    DIM,
                    escape_control(note["email"]),
                    [(f"{escape_control(note['code'])}: {escape_control(note['reason'])}", DIM)],
                )
                for note in notes
            ]
            yield self.heading(f"  Notes ({len(notes):,})", folded)
            yield from self.table(rows)
        else:
            yield from self.paragraph(f"Notes ({len(notes):,}): {folded}", DIM, 2)


def _short_digest(workspace: PlannedObject) -> str:
    algorithm, _, digits = escape_control(workspace["digest"]).partition(":")
    return f"{algorithm}:{digits[:SHORT_DIGEST_DIGITS]}"


def _is_ready_for_approval(workspace: WorkspaceObject) -> bool:
    return is_approvable(workspace) and not approval_prerequisite(workspace)


def _facts(workspace: PlannedObject, *, executed: bool) -> Iterator[str]:
    members = workspace["members"]
    before = "before the run: " if executed else ""
    mode = escape_control(no_write_reason(workspace)) or "mode: enforce"
    yield (
        f"{before}{members['total']:,} members, {members['active']:,} active, {members['linked']:,} linked "
        f"· {workspace['counts']['in-sync']:,} in sync"
        + (f" · {mode}" if no_write_reason(workspace) or not executed else "")
    )
    sizes_by_source = group_sizes_by_source(workspace, recorded_sizes(workspace))
    for source, sizes in zip(workspace["sources"], sizes_by_source, strict=True):
        groups = ", ".join(f"{size.safe_name} {size.phrase}" for size in sizes[:8])
        rest = len(sizes) - 8
        yield (
            f"{escape_control(source['connector'])} {escape_control(source['app'])}: {source['people']:,} assigned, "
            f"{source['entitled']:,} eligible, {source['individual']:,} assigned directly"
            + (f" · {groups}" if groups else " · no groups")
            + (f" and {rest:,} more groups" if rest > 0 else "")
        )


def _change_row(line: ChangeRow) -> Row:
    moved = " · ".join(
        f"{word}: {before} → {after}" for word, before, after in changed_fields(line) if word != "status"
    )
    details = [(line.display_name, PLAIN)] if line.kind == "create" and line.display_name not in line.reason else []
    details += [(moved, PLAIN)] if moved else []
    if line.outcome:
        outcome = line.outcome.outcome
        details.insert(
            0,
            (
                _outcome_phrase(line.approval_phrase, outcome, line.outcome.detail),
                _outcome_style(outcome),
            ),
        )
    return Row(KIND_LABELS[line.kind].symbol, KIND_STYLES[line.kind], line.email, [*details, (line.reason, DIM)])


def _hold_row(hold: ShownHold, shared_lines: Iterable[str]) -> Row:
    wanted = f" → {escape_control(hold['wanted'])}" if hold.get("wanted", hold["email"]) != hold["email"] else ""
    kind = KIND_LABELS[hold["kind"]].title.lower() + wanted
    details = [words for words in _hold_sentences(hold) if words not in shared_lines]
    first = f"{kind}: {details.pop(0)}" if details else kind
    return Row(" ", PLAIN, escape_control(hold["email"]), [(words, PLAIN) for words in (first, *details)])


def _hold_sentences(hold: ShownHold) -> list[str]:
    """Return why the change would be made, why it is not, what clears the hold, and since when it waits."""
    details = [escape_control(words) for words in hold_reasons(hold) if words]
    return [*details, _remedy_line(escape_control(hold["remedy"])), *([hold["age"]] if hold["age"] else [])]


def _remedy_line(remedy: str) -> str:
    return f"→ {remedy}" if remedy else ""


def _outcome_phrase(what: str, outcome: str, detail: str) -> str:
    words = ", ".join(filter(None, [escape_control(what), escape_control(outcome)]))
    return f"{words}: {escape_control(detail)}" if detail else words


def _outcome_style(outcome: str) -> Style:
    return Style(color="green") if outcome == DONE else BAD
