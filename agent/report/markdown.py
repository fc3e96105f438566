"""The report as Markdown for a pull request or a chat: tables, folded details, and a limited size.

Nothing in a name becomes markup, a link or a mention. What did not fit is counted in place.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from agent.report.escape import escape_control
from agent.report.group_sizes import group_sizes_by_source, recorded_sizes
from agent.report.labels import APPROVE_PROMPT, KIND_LABELS, KINDS, no_write_reason
from agent.report.run_identity import run_blocks
from agent.report.schema import Document, GuardObject, NoteObject, OutcomeRow, Outcomes, PlannedObject
from agent.report.view import (
    ChangeRow,
    ShownHold,
    View,
    approval_prerequisite,
    approve_command,
    changed_fields,
    document_views,
    hold_reasons,
    is_approvable,
    released_summary,
)

__all__ = ["render_markdown"]

_special = re.compile(r"[\\`*_\[\]|~$<>&]")
_entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_mention = re.compile(r"(?<![\w.+-])@(?=\w)")
_autolink = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)

COUNTED_KEYS = (*KINDS, "hold", "in-sync")
HEADINGS = (*(KIND_LABELS[kind].title for kind in KINDS), "On hold", "In sync")


@dataclass(frozen=True, slots=True)
class _Table:
    """A folded table of one workspace: its summary line, its heading row, and its rows."""

    summary: str
    columns: Sequence[str]
    rows: Sequence[str]

    def lines(self, shown: int) -> list[str]:
        left_out = len(self.rows) - shown
        remark = [f"_{left_out:,} of {len(self.rows):,} left out here: the JSON, CSV and HTML have all._"]
        return [
            f"<details><summary>{self.summary}</summary>",
            "",
            _table_row(self.columns),
            _table_row(["---"] * len(self.columns)),
            *self.rows[:shown],
            "",
            *((*remark, "") if left_out else ()),
            "</details>",
            "",
        ]


@dataclass(frozen=True, slots=True)
class _WorkspacePart:
    """One workspace: the lines that are always shown, and the tables that share the remaining room."""

    head: Sequence[str]
    tables: Sequence[_Table]


def render_markdown(document: Document, outcomes: Outcomes, *, max_chars: int, shows_approval: bool = True) -> str:
    """Return the report in at most *max_chars* characters (at least 4,000), with remarks on what was left out.

    With *shows_approval* it has the commands that approve what is on hold.
    """
    max_chars = max(max_chars, 4_000)
    shown = document_views(document, outcomes)
    top = _header_lines(document, shown, max_chars // 4)
    parts, missing = _parts_that_fit(
        [_workspace_part(view, approves=shows_approval) for view in shown], max_chars // 2 - _length(top)
    )
    remark = [f"_{missing:,} workspaces are left out here: the JSON, CSV and HTML have all._", ""] if missing else []
    fixed = _length(top) + _length(remark) + sum(map(_min_length, parts))
    if fixed > max_chars:
        return "\n".join([*top, "_The rest is too long for here: the JSON, CSV and HTML have all._", ""])
    room = _row_counts([table for part in parts for table in part.tables], max_chars - fixed)
    lines = list(top)
    for part in parts:
        lines += part.head
        for table in part.tables:
            lines += table.lines(room[id(table)])
    return "\n".join([*lines, *remark])


def escape_markdown(text: str) -> str:
    """Return *text* so that Markdown shows it as it is: no markup, no link, no mention."""
    shown = _special.sub(lambda match: _entities.get(match.group(), "\\" + match.group()), escape_control(text))
    return _escape_mentions(shown)


def _escape_mentions(text: str) -> str:
    """Escape what would become a mention or an automatic link in *text*."""
    return _autolink.sub(lambda match: f"&#{ord(match.group())};", _mention.sub("@&#8203;", text))


def _format_code(text: str) -> str:
    shown = escape_control(text)
    return f"`{shown}`" if shown and not set("`|\\") & set(shown) else escape_markdown(text)


def _table_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _length(lines: Sequence[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _min_length(part: _WorkspacePart) -> int:
    return _length(part.head) + sum(_length(table.lines(0)) for table in part.tables)


def _parts_that_fit(parts: Sequence[_WorkspacePart], room: int) -> tuple[list[_WorkspacePart], int]:
    """Return the first parts whose fixed lines fit, at least one, and the number of the others."""
    fitting: list[_WorkspacePart] = []
    for part in parts:
        room -= _min_length(part)
        if room < 0 and fitting:
            break
        fitting.append(part)
    return fitting, len(parts) - len(fitting)


def _row_counts(tables: Sequence[_Table], room: int) -> dict[int, int]:
    """Share *room* among tables, in rows: small tables are shown whole before large ones divide the rest."""
    shown: dict[int, int] = {}
    for place, table in enumerate(sorted(tables, key=lambda table: len(table.rows))):
        share = room // (len(tables) - place)
        count = used = 0
        for row in table.rows:
            if used + len(row) + 1 > share:
                break
            used += len(row) + 1
            count += 1
        shown[id(table)] = count
        room -= used
    return shown


def _header_lines(document: Document, shown: Sequence[View], room: int) -> list[str]:
    executed = any(view.executed for view in shown)
    lines = [
        "# Pigment: what was done" if executed else "# Pigment: what a sync would do",
        "",
        *_run_lines(document, room),
        f"{'' if executed else 'Nothing was written. '}Plan of {escape_markdown(document['generated_at'])}, "
        f"digest `{escape_control(document['digest'])}`.",
        "",
    ]
    rows = [_overview_row(view) for view in shown]
    fitting = list(rows)
    while len(fitting) > 1 and _length(fitting) > room:
        fitting.pop()
    if len(shown) > 1:
        lines += [_table_row(["Workspace", *HEADINGS]), _table_row(["---", *["---:"] * len(HEADINGS)]), *fitting, ""]
    if len(fitting) < len(rows):
        lines += [f"_{len(rows) - len(fitting):,} more workspaces._", ""]
    return lines


def _run_lines(document: Document, room: int) -> list[str]:
    """Return one run as a list of facts, or each of several in a line, as many as fit in *room*."""
    blocks = run_blocks(document["workspaces"])
    facts = [[f"**{label}** {escape_markdown(value)}" for label, value in block] for block in blocks]
    lines = [f"- {' · '.join(block)}" for block in _lines_of_facts(facts)]
    fitting = list(lines)
    while len(fitting) > 1 and _length(fitting) > room:
        fitting.pop()
    remark = [f"- _{len(lines) - len(fitting):,} more lines about runs: the JSON, CSV and HTML have all._"]
    return [*fitting, *(remark if len(fitting) < len(lines) else ()), ""] if lines else []


def _lines_of_facts(blocks: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    return [[fact] for fact in blocks[0]] if len(blocks) == 1 else blocks


def _overview_row(view: View) -> str:
    workspace = view.workspace
    if workspace["status"] != "planned":
        return _table_row([_format_code(workspace["name"]), *["?"] * len(COUNTED_KEYS)])
    return _table_row([_format_code(workspace["name"]), *(f"{workspace['counts'][key]:,}" for key in COUNTED_KEYS)])


def _workspace_part(view: View, *, approves: bool) -> _WorkspacePart:
    workspace = view.workspace
    head = [f"## {escape_markdown(workspace['name'])}", "", f"**{escape_markdown(view.headline)}**", ""]
    if workspace["status"] != "planned":
        error = workspace["error"]
        text = f"{_format_code(error['code'])}: {escape_markdown(error['message'])} {escape_markdown(error['remedy'])}"
        return _WorkspacePart([*head, text, ""], ())
    head += [*_facts(workspace), *_guard_lines(view, workspace, approves=approves)]
    return _WorkspacePart(head, _tables(view, workspace))


def _facts(workspace: PlannedObject) -> list[str]:
    members = workspace["members"]
    why = no_write_reason(workspace)
    mode = f" · {escape_markdown(why)}" if why else ""
    lines = [f"- {members['total']:,} members, {members['active']:,} active, {members['linked']:,} linked{mode}"]
    sizes_by_source = group_sizes_by_source(workspace, recorded_sizes(workspace))
    for source, sizes in zip(workspace["sources"], sizes_by_source, strict=True):
        groups = ", ".join(f"{escape_markdown(size.name)} {size.phrase}" for size in sizes[:8])
        rest = len(sizes) - 8
        lines.append(
            f"- {_format_code(source['connector'])} {_format_code(source['app'])}: {source['people']:,} assigned, "
            f"{source['entitled']:,} eligible, {source['individual']:,} assigned directly"
            + (f"; {groups}" if groups else "")
            + (f" and {rest:,} more groups" if rest > 0 else "")
        )
    return [*lines, f"- digest `{escape_control(workspace['digest'])}`", ""]


def _guard_lines(view: View, workspace: PlannedObject, *, approves: bool) -> list[str]:
    lines = [_guard_line(guard) for guard in workspace["guards"]]
    if lines:
        lines = ["**Guards**", "", *lines, ""]
    if approves and is_approvable(workspace) and not view.executed and (first := approval_prerequisite(workspace)):
        lines += [escape_markdown(first), ""]
    elif approves and is_approvable(workspace) and not view.executed:
        lines += [f"{APPROVE_PROMPT} {released_summary(workspace)}.", "", "```sh", approve_command(view), "```", ""]
    return lines


def _guard_line(guard: GuardObject) -> str:
    rest = guard["affected"] - len(guard["first"])
    names = ", ".join(map(_format_code, guard["first"])) + (f" and {rest:,} more" if rest > 0 else "")
    return (
        f"- {_format_code(guard['code'])}: {guard['count']:,} in this plan, {guard['recent']:,} in "
        "the last 60 minutes; "
        f"limit {escape_markdown(guard['limit'])}. {escape_markdown(guard['message'])} Affects "
        f"{guard['affected']:,}: {names}"
    )


def _tables(view: View, workspace: PlannedObject) -> list[_Table]:
    tables = []
    if view.holds:
        rows = [_hold_row(hold) for hold in view.holds]
        heading = ("Email", "Change", "Hold", "Why", "What to do")
        tables.append(_Table(f"<b>On hold ({len(rows):,})</b>", heading, rows))
    for kind, lines in view.changes_by_kind.items():
        columns = ("Email", "Name", "Before → after", "Why", *(["Outcome"] if view.executed else []))
        rows = [_change_row(line, view.executed) for line in lines]
        tables.append(
            _Table(f"<b>{KIND_LABELS[kind].title} ({len(rows):,})</b> {KIND_LABELS[kind].meaning}", columns, rows)
        )
    if view.unplanned_outcomes:
        rows = [_unplanned_row(one) for one in view.unplanned_outcomes]
        tables.append(_Table(f"<b>Also done ({len(rows):,})</b>", ("Email", "Change", "Outcome"), rows))
    notes = workspace["notes"]
    if notes:
        codes = Counter(note["code"] for note in notes).most_common()
        folded = ", ".join(f"{count:,} {_escape_mentions(escape(escape_control(code)))}" for code, count in codes)
        tables.append(_Table(f"Notes ({len(notes):,}): {folded}", ("Email", "Note", "Why"), [*map(_note_row, notes)]))
    return tables


def _change_row(line: ChangeRow, executed: bool) -> str:
    moved = "<br>".join(
        f"{escape_markdown(before)} → {escape_markdown(after)}" for _, before, after in changed_fields(line)
    )
    cells = [_format_code(line.email), escape_markdown(line.display_name), moved, escape_markdown(line.reason)]
    if executed:
        outcome = line.outcome
        text = f"{outcome.outcome}: {outcome.detail}" if outcome and outcome.detail else outcome and outcome.outcome
        how = f" ({escape_markdown(line.approval_phrase)})" if line.is_released else ""
        cells.append(escape_markdown(text or "no record") + how)
    return _table_row(cells)


def _unplanned_row(one: OutcomeRow) -> str:
    return _table_row(
        [
            _format_code(one.email),
            escape_markdown(one.kind),
            escape_markdown(f"{one.outcome}: {one.detail}" if one.detail else one.outcome),
        ]
    )


def _capitalize(sentence: str) -> str:
    """Return *sentence* as one that stands after another."""
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def _hold_row(hold: ShownHold) -> str:
    wanted = f" → {_format_code(hold['wanted'])}" if hold.get("wanted", hold["email"]) != hold["email"] else ""
    why = " ".join(filter(None, hold_reasons(hold)))
    kind = KIND_LABELS[hold["kind"]].title + wanted
    return _table_row(
        [
            _format_code(hold["email"]),
            kind,
            _format_code(hold["code"]),
            escape_markdown(why),
            escape_markdown(" ".join(filter(None, [hold["remedy"], _capitalize(hold["age"])]))),
        ]
    )


def _note_row(note: NoteObject) -> str:
    return _table_row([_format_code(note["email"]), escape_markdown(note["code"]), escape_markdown(note["reason"])])
