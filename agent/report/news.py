"""What is new in a report since the last delivered one of its name: entries that came and went, and who must act."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from agent.model.access import Access
from agent.model.codes import GuardCode
from agent.model.email import normalize
from agent.model.run import ChangeRecord, Run
from agent.report.hold_age import age_phrase, held_since, hold_object_key
from agent.report.hold_guards import hold_guards
from agent.report.labels import KIND_LABELS
from agent.report.schema import ChangeObject, HoldObject, PlannedObject, WorkspaceObject

__all__ = [
    "Entry",
    "Facts",
    "News",
    "Unread",
    "WaitingHold",
    "access_facts",
    "activity_facts",
    "compare",
    "decode_facts",
    "encode_facts",
    "facts_digest",
    "plan_facts",
    "unread_workspaces",
    "waiting_holds",
]

VERSION = 1
NUMBER_LABELS = {
    **{kind: labels.planned[1] for kind, labels in KIND_LABELS.items()},
    "hold": "on hold",
    "active": "active members",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a report: *key* names it in the next report too, *value* is what may differ there."""

    key: str
    workspace: str
    text: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """A workspace that could not be read, and what to do about it."""

    workspace: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The content of one report, to compare the next one with.

    The entries of a workspace that could not be read are those of the report before: nothing is known to be gone.
    """

    what: str
    entries: tuple[Entry, ...]
    numbers: Mapping[str, int]
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitingHold:
    """A hold with since when it waits (UTC), *age* in words, and the *owner*: who must act."""

    workspace: str
    text: str
    since: str
    age: str
    owner: str


@dataclass(frozen=True, slots=True)
class News:
    """The difference to the last delivered report, of *since*; None: this is the first one.

    *numbers* are label, number before (None: not known) and number now. *holds* are all that wait, oldest first.
    """

    since: datetime | None
    unread: tuple[Unread, ...]
    missed: tuple[datetime, ...]
    new: tuple[Entry, ...]
    gone: tuple[Entry, ...]
    changed: tuple[tuple[Entry, str], ...]
    numbers: tuple[tuple[str, int | None, int], ...]
    holds: tuple[WaitingHold, ...] = field(default=())


def plan_facts(workspaces: Sequence[WorkspaceObject], before: Facts | None) -> Facts:
    """Return the facts of a plan: its changes and holds."""
    entries: list[Entry] = []
    numbers: Counter[str] = Counter()
    for workspace in workspaces:
        if workspace["status"] != "planned":
            continue
        entries += [_change_entry(workspace["name"], each) for each in workspace["changes"]]
        entries += [_hold_entry(workspace["name"], each) for each in workspace["holds"]]
        counts = {key: workspace["counts"].get(key, 0) for key in NUMBER_LABELS if key in workspace["counts"]}
        numbers.update({**counts, "active": workspace["members"]["active"]})
    shown = {label: numbers[key] for key, label in NUMBER_LABELS.items() if key in numbers}
    return _with_unread(Facts("plan", tuple(entries), shown, unread_workspaces(workspaces)), before)


def unread_workspaces(workspaces: Sequence[WorkspaceObject]) -> tuple[Unread, ...]:
    return tuple(
        Unread(each["name"], each["error"]["message"], each["error"]["remedy"])
        for each in workspaces
        if each["status"] != "planned"
    )


def access_facts(rows: Sequence[Access], unread: Sequence[Unread], before: Facts | None) -> Facts:
    """Return the facts of an access list: who has access, through which groups, with which exceptions."""
    entries = [
        Entry(_key(row.workspace, "access", row.scim_id), row.workspace, row.email, _access_value(row)) for row in rows
    ]
    words = Counter(word for row in rows for word in row.exceptions)
    numbers = {"have access": len(rows), **dict(sorted(words.items()))}
    return _with_unread(Facts("access", tuple(entries), numbers, tuple(unread)), before)


def activity_facts(runs: Sequence[Run], records: Sequence[ChangeRecord]) -> Facts:
    """Return the facts of what *runs* did: the changes that they tried."""
    names = {run.id: run.workspace for run in runs}
    entries = [
        Entry(
            _key(names[each.run_id], "done", each.run_id, str(each.seq)),
            names[each.run_id],
            f"{each.change.kind} {each.change.email}: {each.outcome}",
        )
        for each in records
        if each.run_id in names
    ]
    outcomes = Counter(f"{each.change.kind} {each.outcome}" for each in records)
    numbers = {"runs": len(runs), "changes": len(records), **dict(sorted(outcomes.items()))}
    return Facts("activity", tuple(entries), numbers)


def _with_unread(now: Facts, before: Facts | None) -> Facts:
    names = {each.workspace for each in now.unread}
    if before is None or before.what != now.what or not names:
        return now
    carried = tuple(each for each in before.entries if each.workspace in names)
    return Facts(now.what, now.entries + carried, now.numbers, now.unread)


def facts_digest(facts: Facts) -> str:
    """Return the digest of the content. Numbers follow from it, and the wording of an error is no news."""
    covered = [
        facts.what,
        sorted([each.key, each.value] for each in facts.entries),
        sorted(each.workspace for each in facts.unread),
    ]
    return "sha256:" + hashlib.sha256(orjson.dumps(covered)).hexdigest()


def encode_facts(facts: Facts) -> bytes:
    return orjson.dumps(
        {
            "version": VERSION,
            "what": facts.what,
            "entries": [[each.key, each.workspace, each.text, each.value] for each in facts.entries],
            "numbers": dict(facts.numbers),
            "unread": [[each.workspace, each.message, each.remedy] for each in facts.unread],
        }
    )


def decode_facts(encoded: bytes) -> Facts | None:
    """Return the facts, None if there is nothing of this version: then there is nothing to compare with."""
    if not encoded:
        return None
    found: dict[str, Any] = orjson.loads(encoded)
    if found.get("version") != VERSION:
        return None
    return Facts(
        found["what"],
        tuple(Entry(*each) for each in found["entries"]),
        found["numbers"],
        tuple(Unread(*each) for each in found["unread"]),
    )


def compare(
    now: Facts,
    before: Facts | None,
    since: datetime | None,
    missed: Sequence[datetime],
    holds: Sequence[WaitingHold],
) -> News:
    """Return what is new in *now*. Without *before* nothing is: a list of everything is no news."""
    comparable = before if before is not None and before.what == now.what else None
    old = {each.key: each for each in comparable.entries} if comparable else {}
    current = {each.key: each for each in now.entries}
    # What a run did before is not gone.
    is_list = now.what != "activity"
    return News(
        since if comparable else None,
        now.unread,
        tuple(missed),
        tuple(each for key, each in current.items() if key not in old) if comparable or not is_list else (),
        tuple(each for key, each in old.items() if key not in current) if is_list else (),
        tuple((each, old[key].value) for key, each in current.items() if key in old and old[key].value != each.value),
        _number_rows(now, comparable),
        tuple(sorted(holds, key=lambda each: (each.since or "9", each.workspace, each.text))),
    )


def _number_rows(now: Facts, before: Facts | None) -> tuple[tuple[str, int | None, int], ...]:
    """Return the numbers before and now. Those of a report that could not read everything are not compared."""
    known = before.numbers if before is not None and before.unread == now.unread == () else None
    labels = dict.fromkeys([*now.numbers, *(known or ())])
    rows = [(label, None if known is None else known.get(label, 0), now.numbers.get(label, 0)) for label in labels]
    return tuple(row for row in rows if row[1] or row[2])


def waiting_holds(workspace: WorkspaceObject, approvers: Collection[str], at: str) -> list[WaitingHold]:
    """Return the holds of *workspace* with their ages as of *at* and their owners.

    *approvers* are the people who have approved this plan, while another person must approve it too.
    """
    if workspace["status"] != "planned":
        return []
    started_at = workspace["run"]["started_at"] if "run" in workspace else ""
    times, guards = held_since(workspace), hold_guards(workspace)
    return [
        WaitingHold(
            workspace["name"],
            _hold_text(hold),
            since,
            age_phrase(since, at, started_at) or "waiting since an unknown time",
            _owner(hold, codes, approvers, workspace),
        )
        for hold, since, codes in zip(workspace["holds"], times, guards, strict=True)
    ]


def _owner(hold: HoldObject, guards: Collection[str], approvers: Collection[str], workspace: PlannedObject) -> str:
    """Return who must act: an approver where an approval releases it, else who administers its cause."""
    if GuardCode.TOGGLE_OFF in guards or hold["code"] == GuardCode.TOGGLE_OFF:
        return "a setting: its toggle is off"
    if guards and "after" in hold:
        codes = " and ".join(sorted(guards))
        if approvers:
            return f"approved by {' and '.join(sorted(approvers))}; another approver must approve {codes}"
        return f"an approver, for {codes}"
    if "person" in hold:
        groups = hold.get("groups") or []
        of_groups = f", groups {', '.join(groups)}" if groups else ""
        return f"an administrator of {hold['person']['connector']}{of_groups}"
    connectors = dict.fromkeys(each["connector"] for each in workspace["sources"])
    return f"an administrator of {' or '.join(connectors)}" if connectors else "an administrator of the workspace"


def _change_entry(workspace: str, change: ChangeObject) -> Entry:
    person = change["person"]
    subject = (
        f"{person['connector']}:{person['id']}"
        if person
        else f"member {change['scim_id']}"
        if change["scim_id"]
        else normalize(change["email"])
    )
    value = ", ".join([change["code"], *(f"{key}: {value}" for key, value in sorted(change["after"].items()))])
    text = f"{change['kind']} {change['email']}"
    return Entry(_key(workspace, "change", change["kind"], subject), workspace, text, value)


def _hold_entry(workspace: str, hold: HoldObject) -> Entry:
    return Entry(_key(workspace, "hold", *hold_object_key(hold)), workspace, f"on hold: {_hold_text(hold)}")


def _hold_text(hold: HoldObject) -> str:
    wanted = hold.get("wanted", hold["email"])
    moves = f" → {wanted}" if wanted != hold["email"] else ""
    return f"{hold['kind']} {hold['email']}{moves} ({hold['code']})"


def _access_value(row: Access) -> str:
    exceptions = f"; {', '.join(sorted(row.exceptions))}" if row.exceptions else ""
    return f"{', '.join(sorted(row.groups)) or 'no group'}{exceptions}"


def _key(*parts: str) -> str:
    return orjson.dumps(parts).decode()
