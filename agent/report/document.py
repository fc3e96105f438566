"""Turn plans into the plan document, and the document into bytes.

The digest of a workspace is the SHA-256 of its object as JSON with sorted keys and no white space, without `digest` and
without what changes with time: the numbers of `guards`, the age of holds, the run, a pause, the wording of an error,
and notes that compare with the last run. The document's digest is that of the list of its workspaces' digests.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, cast, overload

import orjson

from agent.model import Change, Fields, Guard, Hold, Note, Plan, SourceCounts, Unplanned
from agent.model.codes import NoteCode
from agent.report.escape import escape_json, escape_surrogates
from agent.report.run_identity import format_utc
from agent.report.schema import (
    COUNT_KEYS,
    VERSION,
    ChangeObject,
    Counts,
    Document,
    FieldsObject,
    GuardObject,
    HoldObject,
    NoteObject,
    PersonObject,
    PlannedObject,
    SourceObject,
    UnplannedObject,
    WorkspaceObject,
)
from connectors.base import PersonKey

__all__ = [
    "CHANGES_AT_ONCE",
    "MAX_NAMED",
    "ChangeObjects",
    "combined_digest",
    "counts_of",
    "document_digest",
    "document_parts",
    "encode_document",
    "encode_plan",
    "encode_workspace",
    "has_own_digest",
    "plan_digest",
    "plan_document",
    "plan_parts",
    "shown_workspace",
    "to_json_bytes",
    "workspace_digest",
    "workspace_object",
]

UNDIGESTED_KEYS = frozenset({"digest", "guards", "held_since", "paused", "run", "shrunk_groups"})
"""Keys that a digest does not cover: they change with time, or do not change what the plan would do."""

UNDIGESTED_NOTES = frozenset({NoteCode.ANOTHER_WRITER, NoteCode.DRIFT, NoteCode.IN_GRACE})
"""Notes that compare with the last run. Each run may change them, though the plan would do the same."""

CHANGES_AT_ONCE = 1_000
"""How many changes are objects at once where a document is only written: as objects they take ten times its bytes."""

NO_OTHERS: Mapping[str, object] = MappingProxyType({})

MAX_NAMED = 10
"""How many of the affected emails a guard lists."""


def workspace_object(plan: Plan | Unplanned, digest: str = "") -> WorkspaceObject:
    """Return the plan of one workspace as the document shows it, with its *digest*, which is computed if empty."""
    whole = _object_without_digest(plan)
    if isinstance(plan, Plan):
        changes = cast("list[ChangeObject]", _encodable([_change_object(change) for change in plan.changes]))
        cast("PlannedObject", whole)["changes"] = changes
    whole["digest"] = digest or workspace_digest(whole)
    return whole


def _object_without_digest(plan: Plan | Unplanned) -> WorkspaceObject:
    """Return the object of *plan* without its digest, and without the changes, which may be many."""
    bare: WorkspaceObject = _unplanned_object(plan) if isinstance(plan, Unplanned) else _planned_object(plan)
    return cast("WorkspaceObject", _encodable(bare))


def plan_document(objects: Sequence[WorkspaceObject], generated_at: str, user: str = "") -> Document:
    """Return the document of *objects*, in the order of the file. *generated_at* is UTC: `2026-03-01T12:00:00Z`.

    *user* is the person that the plan was restricted to (`--user`); `apply` restricts its plan alike.
    """
    whole: Document = {
        "version": VERSION,
        "generated_at": generated_at,
        "digest": document_digest(objects),
        "workspaces": list(objects),
    }
    if user:
        whole["user"] = user
    return whole


def shown_workspace(plan: Plan | Unplanned, digest: str) -> WorkspaceObject:
    """Return what `workspace_object` returns for *plan* with its *digest*, but make each change where it is read."""
    whole = _object_without_digest(plan)
    if isinstance(plan, Plan):
        whole["changes"] = ChangeObjects(plan.changes)
    whole["digest"] = digest
    return whole


class ChangeObjects(Sequence[ChangeObject]):
    """The changes of a plan as the document shows them, each made where it is read.

    As objects, all changes of many people take more room than the plan.
    """

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes

    def __len__(self) -> int:
        return len(self._changes)

    @overload
    def __getitem__(self, index: int, /) -> ChangeObject: ...

    @overload
    def __getitem__(self, index: slice, /) -> list[ChangeObject]: ...

    def __getitem__(self, index: int | slice, /) -> ChangeObject | list[ChangeObject]:
        if isinstance(index, int):
            return cast("ChangeObject", _encodable(_change_object(self._changes[index])))
        return cast("list[ChangeObject]", _encodable([_change_object(change) for change in self._changes[index]]))

    def __iter__(self) -> Iterator[ChangeObject]:
        for start in range(0, len(self), CHANGES_AT_ONCE):
            yield from self[start : start + CHANGES_AT_ONCE]


def encode_document(whole: Document) -> bytes:
    """Return the document as it is written: UTF-8, keys sorted, one newline at the end."""
    return b"".join(document_parts(whole))


def document_parts(whole: Document, others: Mapping[str, object] = NO_OTHERS) -> Iterator[bytes]:
    """Yield what `encode_document` returns, part by part, with the keys of *others* added."""
    workspaces = whole["workspaces"]
    bare = {**whole, **others, "workspaces": [{**each, "changes": []} for each in workspaces]}
    pieces = to_json_bytes(bare).split(b'\n      "changes": []')
    if len(pieces) != len(workspaces) + 1:
        # A document that was read may have unknown keys, which look like these.
        complete = [{**each, "changes": list(each["changes"])} for each in workspaces]
        yield to_json_bytes({**bare, "workspaces": complete})
        return
    yield pieces[0]
    for each, following in zip(workspaces, pieces[1:], strict=True):
        yield b"\n      "
        yield from _change_lines(each["changes"], lambda some: {"workspaces": [{"changes": some}]})
        yield following


def encode_plan(plan: Plan | Unplanned, digest: str = "") -> bytes:
    """Return the plan of one workspace as the journal keeps it, with its *digest*, which is computed if empty."""
    return b"".join(plan_parts(plan, digest))


def plan_parts(plan: Plan | Unplanned, digest: str = "") -> Iterator[bytes]:
    """Yield what `encode_plan` returns, part by part. A plan of many people is large, as objects and as text.

    It is what `encode_workspace` makes of its object.
    """
    whole = _object_without_digest(plan)
    whole["digest"] = digest or plan_digest(plan)
    written = to_json_bytes(whole)
    if isinstance(plan, Unplanned):
        yield written
        return
    before, _, after = written.partition(b'\n  "changes": []')
    yield before + b"\n  "
    yield from _change_lines(ChangeObjects(plan.changes), lambda some: {"changes": some})
    yield after


def _change_lines(changes: Sequence[ChangeObject], frame: Callable[[list[object]], object]) -> Iterator[bytes]:
    """Yield `"changes"` with *changes* as it stands in what *frame* makes of some, from its key to its end."""
    if not changes:
        yield b'"changes": []'
        return
    before, _, after = to_json_bytes(frame([{}])).partition(b"{}")
    gap = before.rpartition(b"[")[2]
    yield b'"changes": ['
    for start in range(0, len(changes), CHANGES_AT_ONCE):
        yield b"," + gap if start else gap
        yield to_json_bytes(frame([*changes[start : start + CHANGES_AT_ONCE]]))[len(before) : -len(after)]
    yield after[: after.index(b"]") + 1]


def encode_workspace(workspace: WorkspaceObject) -> bytes:
    """Return one workspace's object as the journal keeps it; `agent.plan_parser.parse_workspace` reads it."""
    return to_json_bytes(workspace)


def plan_digest(plan: Plan | Unplanned) -> str:
    """Return the digest that approves *plan*: that of its object in the document."""
    return _digest(_object_without_digest(plan), ChangeObjects(plan.changes if isinstance(plan, Plan) else ()))


def workspace_digest(workspace: WorkspaceObject) -> str:
    """Return the digest of what the workspace's plan would do and why."""
    return _sha256(_covered_now(workspace))


def _digest(workspace: WorkspaceObject, changes: ChangeObjects) -> str:
    """Return the digest of *workspace*, which has no changes, with *changes*."""
    if not changes:
        return workspace_digest(workspace)
    covered = orjson.dumps(_covered_now(workspace), option=orjson.OPT_SORT_KEYS)
    # Sorted, it is the first key.
    begin = b'{"changes":['
    if not covered.startswith(begin):
        raise AssertionError("another key of a plan stands before its changes")
    end = covered.removeprefix(begin)
    found = hashlib.sha256(begin)
    for start in range(0, len(changes), CHANGES_AT_ONCE):
        found.update(b"," if start else b"")
        found.update(orjson.dumps(changes[start : start + CHANGES_AT_ONCE], option=orjson.OPT_SORT_KEYS)[1:-1])
    found.update(end)
    return f"sha256:{found.hexdigest()}"


def _covered_now(workspace: WorkspaceObject) -> dict[str, object]:
    covered = _covered(workspace)
    if workspace["status"] == "planned":
        notes = [note for note in workspace["notes"] if note["code"] not in UNDIGESTED_NOTES]
        covered |= {"notes": notes, "counts": {**workspace["counts"], "note": len(notes)}}
    return covered


def has_own_digest(workspace: WorkspaceObject) -> bool:
    """Return whether *workspace* matches its digest. Releases until 0.1.0 covered every note."""
    return workspace["digest"] in {workspace_digest(workspace), _sha256(_covered(workspace))}


def _covered(workspace: WorkspaceObject) -> dict[str, object]:
    covered: dict[str, object] = {key: value for key, value in workspace.items() if key not in UNDIGESTED_KEYS}
    if workspace["status"] != "planned":
        covered["error"] = {"code": workspace["error"]["code"]}
    return covered


def document_digest(objects: Sequence[WorkspaceObject]) -> str:
    return combined_digest(workspace["digest"] for workspace in objects)


def combined_digest(digests: Iterable[str]) -> str:
    """Return the digest of a document whose workspaces have *digests*, in the order of the file."""
    return _sha256(list(digests))


def counts_of(plan_counts: Counter[str], holds: int, notes: int, in_sync: int) -> Counts:
    """Return `counts` with every key."""
    others = {"hold": holds, "note": notes, "in-sync": in_sync}
    return {key: others.get(key, plan_counts[key]) for key in COUNT_KEYS}


def _sha256(value: object) -> str:
    return "sha256:" + hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def to_json_bytes(value: object, *, sorts_keys: bool = True) -> bytes:
    """Return *value*, made of JSON types, as JSON that is safe to show on a terminal."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | (orjson.OPT_SORT_KEYS if sorts_keys else 0)
    return escape_json(orjson.dumps(_encodable(value), option=options).decode()).encode()


def _encodable(value: object) -> object:
    """Return *value* so that UTF-8 can hold it: lone surrogates, which only a broken source sends, are escaped."""
    try:
        orjson.dumps(value)
    except TypeError:
        return _escape_surrogates_in(value)
    return value


def _escape_surrogates_in(value: object) -> object:
    if isinstance(value, str):
        return escape_surrogates(value)
    if isinstance(value, list | tuple):
        return [_escape_surrogates_in(item) for item in value]
    if isinstance(value, dict):
        return {key: _escape_surrogates_in(item) for key, item in value.items()}
    return value


def _unplanned_object(plan: Unplanned) -> UnplannedObject:
    return {
        "name": plan.workspace,
        "mode": plan.mode.value,
        "status": cast("Literal['incomplete', 'credentials', 'busy']", plan.status),
        "digest": "",
        "error": {"code": plan.code, "message": plan.message, "remedy": plan.remedy},
        "changes": [],
        "holds": [],
        "notes": [],
    }


def _planned_object(plan: Plan) -> PlannedObject:
    """Return the object of *plan* without its changes."""
    kinds = Counter(change.kind.value for change in plan.changes)
    members = plan.members
    holds = sorted(((_hold_object(hold), hold) for hold in plan.holds), key=lambda pair: _sort_key(pair[0]))
    shown: PlannedObject = {
        "name": plan.workspace,
        "mode": plan.mode.value,
        "status": "planned",
        "digest": "",
        "sources": [_source_object(source) for source in plan.sources],
        "members": {"total": members.total, "active": members.active, "linked": members.linked},
        "counts": counts_of(Counter(kinds), len(plan.holds), len(plan.notes), plan.in_sync),
        "changes": [],
        "holds": [shown_hold for shown_hold, _ in holds],
        "notes": sorted((_note_object(note) for note in plan.notes), key=_sort_key),
        "guards": [_guard_object(guard, [hold for _, hold in holds]) for guard in plan.guards],
    }
    if any(hold.since for _, hold in holds):
        shown["held_since"] = [format_utc(hold.since) if hold.since else "" for _, hold in holds]
    if plan.shrunk_groups:
        shown["shrunk_groups"] = [
            {
                "connector": group.connector,
                "id": group.id,
                "name": group.name,
                "before": group.before,
                "people": group.people,
            }
            for group in plan.shrunk_groups
        ]
    if plan.pause is not None:
        since = format_utc(plan.pause.since)
        shown["paused"] = {"by": plan.pause.by, "since": since, "reason": plan.pause.reason}
    return shown


def _sort_key(entry: HoldObject | NoteObject) -> tuple[str, str, str]:
    """Sort what has no order of its own. Changes keep theirs: they are applied in that order."""
    return entry["code"], entry["email"], entry["reason"]


def _source_object(source: SourceCounts) -> SourceObject:
    return {
        "connector": source.connector,
        "app": source.app,
        "people": source.people,
        "entitled": source.entitled,
        "groups": [{"id": key, "name": name, "people": people} for key, name, people in sorted(source.groups)],
        "individual": source.individual,
    }


def _change_object(change: Change) -> ChangeObject:
    shown: ChangeObject = {
        "kind": change.kind.value,
        "email": change.email,
        "display_name": change.display_name,
        "scim_id": change.scim_id,
        "person": _person_object(change.person) if change.person else None,
        "before": _fields_object(change.before, change.after),
        "after": _fields_object(change.after, change.before),
        "code": str(change.code),
        "reason": change.reason,
        "groups": list(change.groups),
    }
    _add_sent_fields(shown, change)
    return shown


def _hold_object(hold: Hold) -> HoldObject:
    shown: HoldObject = {
        "kind": hold.kind.value,
        "code": str(hold.code),
        "email": hold.email,
        "reason": hold.reason,
        "remedy": hold.remedy,
    }
    if hold.wanted is not None:
        shown["wanted"] = hold.wanted
    if hold.scim_id is not None:
        shown["scim_id"] = hold.scim_id
    if hold.person is not None:
        shown["person"] = _person_object(hold.person)
    if hold.change is not None:
        _add_held_change(shown, hold.change)
    return shown


def _add_held_change(shown: HoldObject, change: Change) -> None:
    shown["before"] = _fields_object(change.before, change.after)
    shown["after"] = _fields_object(change.after, change.before)
    shown["display_name"] = change.display_name
    shown["groups"] = list(change.groups)
    shown["change_code"] = str(change.code)
    shown["change_reason"] = change.reason
    _add_sent_fields(shown, change)


def _add_sent_fields(shown: ChangeObject | HoldObject, change: Change) -> None:
    if change.given_name:
        shown["given_name"] = change.given_name
    if change.family_name:
        shown["family_name"] = change.family_name
    if change.waits_for is not None:
        shown["waits_for"] = change.waits_for


def _fields_object(fields: Fields, other: Fields) -> FieldsObject:
    """Return the fields of *fields* that differ from *other*."""
    shown: FieldsObject = {}
    if fields.email is not None and fields.email != other.email:
        shown["email"] = fields.email
    if fields.display_name is not None and fields.display_name != other.display_name:
        shown["display_name"] = fields.display_name
    if fields.active is not None and fields.active != other.active:
        shown["active"] = fields.active
    return shown


def _person_object(person: PersonKey) -> PersonObject:
    return {"connector": person.connector, "id": person.id}


def _note_object(note: Note) -> NoteObject:
    return {"code": str(note.code), "email": note.email, "reason": note.reason}


def _guard_object(guard: Guard, holds: Sequence[Hold]) -> GuardObject:
    shown: GuardObject = {
        "code": str(guard.code),
        "count": guard.count,
        "recent": guard.recent,
        "limit": guard.limit,
        "message": guard.message,
        "affected": len(guard.affected),
        "first": list(guard.affected[:MAX_NAMED]),
        "holds": [index for index, hold in enumerate(holds) if guard.code in hold.guards],
    }
    if guard.released_by:
        shown["released_by"] = list(guard.released_by)
    return shown
