"""The report as Markdown for a pull request or a chat: tables, folded details, and never more than will be taken.

Nothing in a name becomes markup, a link or a mention. What did not fit is counted where it is missing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from agent.report.escape import harmless
from agent.report.shape import Document, GuardObject, HoldObject, NoteObject, OutcomeLine, Outcomes, PlannedObject
from agent.report.view import Line, View, approvable, approval, before_approval, moves, reasons, releases, views
from agent.report.wording import APPROVE, KINDS, WORDS, unwritten

__all__ = ["markdown"]

_special = re.compile(r"[\\`*_\[\]|~$<>&]")
_entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_mention = re.compile(r"(?<![\w.+-])@(?=\w)")
_link = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)

COUNTED = (*KINDS, "hold", "in-sync")
HEADINGS = (*(WORDS[kind].title for kind in KINDS), "Held", "In step")


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
            _row(self.columns),
            _row(["---"] * len(self.columns)),
            *self.rows[:shown],
            "",
            *((*remark, "") if left_out else ()),
            "</details>",
            "",
        ]


@dataclass(frozen=True, slots=True)
class _Part:
    """One workspace: what is always shown, and the tables that share the rest of the room."""

    head: Sequence[str]
    tables: Sequence[_Table]


def markdown(document: Document, outcomes: Outcomes, *, most: int, approves: bool = True) -> str:
    """Return the report in at most *most* characters (not less than 4,000), and say what was left out.

    *approves*: with the commands that approve what is held.
    """
    most = max(most, 4_000)
    shown = views(document, outcomes)
    top = _top(document, shown, most // 4)
    parts, missing = _fitting([_part(view, approves=approves) for view in shown], most // 2 - _size(top))
    remark = [f"_{missing:,} workspaces are left out here: the JSON, CSV and HTML have all._", ""] if missing else []
    fixed = _size(top) + _size(remark) + sum(map(_least, parts))
    if fixed > most:
        return "\n".join([*top, "_The rest is too long for here: the JSON, CSV and HTML have all._", ""])
    room = _shares([table for part in parts for table in part.tables], most - fixed)
    lines = list(top)
    for part in parts:
        lines += part.head
        for table in part.tables:
            lines += table.lines(room[id(table)])
    return "\n".join([*lines, *remark])


def escaped(text: str) -> str:
    """Return *text* so that Markdown shows it as it is: no markup, no link, nobody called."""
    shown = _special.sub(lambda match: _entities.get(match.group(), "\\" + match.group()), harmless(text))
    return _called(shown)


def _called(text: str) -> str:
    """Take from *text* what would call somebody or make a link by itself."""
    return _link.sub(lambda match: f"&#{ord(match.group())};", _mention.sub("@&#8203;", text))


def _code(text: str) -> str:
    shown = harmless(text)
    return f"`{shown}`" if shown and not set("`|\\") & set(shown) else escaped(text)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _size(lines: Sequence[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _least(part: _Part) -> int:
    return _size(part.head) + sum(_size(table.lines(0)) for table in part.tables)


def _fitting(parts: Sequence[_Part], room: int) -> tuple[list[_Part], int]:
    """Return the first parts whose fixed lines fit, at least one, and the number of the others."""
    fitting: list[_Part] = []
    for part in parts:
        room -= _least(part)
        if room < 0 and fitting:
            break
        fitting.append(part)
    return fitting, len(parts) - len(fitting)


def _shares(tables: Sequence[_Table], room: int) -> dict[int, int]:
    """Share *room* out in rows: small tables are shown whole before big ones divide what is left."""
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


def _top(document: Document, shown: Sequence[View], room: int) -> list[str]:
    executed = any(view.executed for view in shown)
    lines = [
        "# Pigment: what was done" if executed else "# Pigment: what a sync would do",
        "",
        f"{'' if executed else 'Nothing was written. '}Plan of {escaped(document['generated_at'])}, "
        f"digest `{harmless(document['digest'])}`.",
        "",
    ]
    rows = [_overview(view) for view in shown]
    kept = list(rows)
    while len(kept) > 1 and _size(kept) > room:
        kept.pop()
    if len(shown) > 1:
        lines += [_row(["Workspace", *HEADINGS]), _row(["---", *["---:"] * len(HEADINGS)]), *kept, ""]
    if len(kept) < len(rows):
        lines += [f"_{len(rows) - len(kept):,} more workspaces._", ""]
    return lines


def _overview(view: View) -> str:
    workspace = view.workspace
    if workspace["status"] != "planned":
        return _row([_code(workspace["name"]), *["?"] * len(COUNTED)])
    return _row([_code(workspace["name"]), *(f"{workspace['counts'][key]:,}" for key in COUNTED)])


def _part(view: View, *, approves: bool) -> _Part:
    workspace = view.workspace
    head = [f"## {escaped(workspace['name'])}", "", f"**{escaped(view.headline)}**", ""]
    if workspace["status"] != "planned":
        error = workspace["error"]
        said = f"{_code(error['code'])}: {escaped(error['message'])} {escaped(error['remedy'])}"
        return _Part([*head, said, ""], ())
    head += [*_facts(workspace), *_guards(view, workspace, approves=approves)]
    return _Part(head, _tables(view, workspace))


def _facts(workspace: PlannedObject) -> list[str]:
    members = workspace["members"]
    why = unwritten(workspace)
    mode = f" · {escaped(why)}" if why else ""
    lines = [f"- {members['total']:,} members, {members['active']:,} active, {members['linked']:,} linked{mode}"]
    for source in workspace["sources"]:
        groups = ", ".join(f"{escaped(group['name'])} {group['people']:,}" for group in source["groups"][:8])
        rest = len(source["groups"]) - 8
        lines.append(
            f"- {_code(source['connector'])} {_code(source['app'])}: {source['people']:,} assigned, "
            f"{source['entitled']:,} entitled, {source['individual']:,} individually"
            + (f"; {groups}" if groups else "")
            + (f" and {rest:,} more groups" if rest > 0 else "")
        )
    return [*lines, f"- digest `{harmless(workspace['digest'])}`", ""]


def _guards(view: View, workspace: PlannedObject, *, approves: bool) -> list[str]:
    lines = [_guard(guard) for guard in workspace["guards"]]
    if lines:
        lines = ["**Guards**", "", *lines, ""]
    if approves and approvable(workspace) and not view.executed and (first := before_approval(workspace)):
        lines += [escaped(first), ""]
    elif approves and approvable(workspace) and not view.executed:
        lines += [f"{APPROVE} {releases(workspace)}.", "", "```sh", approval(view), "```", ""]
    return lines


def _guard(guard: GuardObject) -> str:
    rest = guard["affected"] - len(guard["first"])
    names = ", ".join(map(_code, guard["first"])) + (f" and {rest:,} more" if rest > 0 else "")
    return (
        f"- {_code(guard['code'])}: {guard['count']:,} in this plan, {guard['recent']:,} in the last 60 minutes; "
        f"limit {escaped(guard['limit'])}. {escaped(guard['message'])} Affects {guard['affected']:,}: {names}"
    )


def _tables(view: View, workspace: PlannedObject) -> list[_Table]:
    tables = []
    if view.holds:
        rows = [_hold(hold) for hold in view.holds]
        heading = ("Email", "Change", "Held by", "Why", "What to do")
        tables.append(_Table(f"<b>Held ({len(rows):,})</b>", heading, rows))
    for kind, lines in view.lines.items():
        columns = ("Email", "Name", "Before → after", "Why", *(["Outcome"] if view.executed else []))
        rows = [_change(line, view.executed) for line in lines]
        tables.append(_Table(f"<b>{WORDS[kind].title} ({len(rows):,})</b> {WORDS[kind].meaning}", columns, rows))
    if view.others:
        rows = [_other(one) for one in view.others]
        tables.append(_Table(f"<b>Also done ({len(rows):,})</b>", ("Email", "Change", "Outcome"), rows))
    notes = workspace["notes"]
    if notes:
        codes = Counter(note["code"] for note in notes).most_common()
        folded = ", ".join(f"{count:,} {_called(escape(harmless(code)))}" for code, count in codes)
        tables.append(_Table(f"Notes ({len(notes):,}): {folded}", ("Email", "Note", "Why"), [*map(_note, notes)]))
    return tables


def _change(line: Line, executed: bool) -> str:
    moved = "<br>".join(f"{escaped(before)} → {escaped(after)}" for _, before, after in moves(line))
    cells = [_code(line.email), escaped(line.display_name), moved, escaped(line.reason)]
    if executed:
        outcome = line.outcome
        told = f"{outcome.outcome}: {outcome.detail}" if outcome and outcome.detail else outcome and outcome.outcome
        cells.append(escaped(told or "no record") + (" (approved)" if line.released else ""))
    return _row(cells)


def _other(one: OutcomeLine) -> str:
    return _row(
        [_code(one.email), escaped(one.kind), escaped(f"{one.outcome}: {one.detail}" if one.detail else one.outcome)]
    )


def _hold(hold: HoldObject) -> str:
    wanted = f" → {_code(hold['wanted'])}" if hold.get("wanted", hold["email"]) != hold["email"] else ""
    why = " ".join(filter(None, reasons(hold)))
    kind = WORDS[hold["kind"]].title + wanted
    return _row([_code(hold["email"]), kind, _code(hold["code"]), escaped(why), escaped(hold["remedy"])])


def _note(note: NoteObject) -> str:
    return _row([_code(note["email"]), escaped(note["code"]), escaped(note["reason"])])
