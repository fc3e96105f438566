"""The state in a recording: what a plan reads of it, later and elsewhere, without anything of the original."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Boolean, Integer

from agent.model import Kind
from agent.model.email import normalize
from agent.model.policy import protected_pattern
from agent.model.probe import load_record
from agent.model.verification import VerificationKind
from agent.recording.memory import Names, keep_row, protected_addresses, restore_row
from agent.recording.pseudonyms import Collector, Replacements, Visitor
from agent.store.codec import change_to_json, to_micros
from agent.store.plan_rows import CHANGE_COLUMNS, MEMORY_TABLES, PROBE_COLUMNS, RUN_COLUMNS
from agent.store.state import SqlState
from agent.store.tables import changes, left_members, runs, targets, verifications
from tests.state_samples import NOW, Clock, a_change

SECRET = "Confidential"
LATER = timedelta(days=3)
TABLES = {table.name: table.c.keys() for table in (*MEMORY_TABLES, targets, left_members)}
TABLES |= {changes.name: list(CHANGE_COLUMNS), runs.name: list(RUN_COLUMNS), verifications.name: list(PROBE_COLUMNS)}
Rows = dict[str, list[dict[str, Any]]]


class Unchanged:
    """Replaces nothing."""

    def same(self, text: str) -> str:
        return text

    id = email = name = domain = cursor = word = same


def sample(table: str, column: str) -> Any:
    """Return a value for a column that names someone wherever its type allows it."""
    types = {table.name: table for table in (runs, changes, left_members, targets, verifications)}
    if column == "record":
        return {"canary_id": SECRET, "members": {SECRET: f"{SECRET}@acme.com"}}
    definition = types.get(table, next((each for each in MEMORY_TABLES if each.name == table), None))
    assert definition is not None
    if column == "groups":
        return json.dumps([SECRET] if table == "undone" else [[SECRET, SECRET]])
    if column == "change":
        change = a_change(Kind.UPDATE_EMAIL, f"{SECRET}@acme.com", SECRET)
        return change_to_json(change).replace("Ann", SECRET).replace("ann", SECRET).replace("She left", SECRET)
    if column == "members":
        return [[SECRET, f"{SECRET}@acme.com", SECRET, True, ["okta-main", SECRET], [SECRET]]]
    fixed = {"workspace": "latam", "connector": "okta-main", "kind": "deactivate", "code": "left-groups"}
    fixed |= {"trigger": "sync", "status": "done", "outcome": "done"}
    kind = definition.c[column].type
    plain = True if isinstance(kind, Boolean) else 1 if isinstance(kind, Integer) else SECRET
    return fixed.get(column, plain)


@pytest.mark.parametrize("table", TABLES)
def test_every_column_has_its_replacement(table: str) -> None:
    """A column that is added later must be given one too, or this fails."""
    row = {column: sample(table, column) for column in TABLES[table]}
    names = Names.of({"latam": "https://latam"}, {"okta-main": "okta"}, [(table, row)])
    seen = Collector()
    keep_row(row, seen, names, 0)
    kept = keep_row(row, Replacements(seen, Random(1)), names, 0)
    assert kept.keys() == row.keys()
    shown = json.dumps(kept).lower()
    for original in (SECRET.lower(), "acme", "latam", "okta-main", "planners", "former"):
        assert original not in shown
    assert all(row[column] == kept[column] for column in kept if isinstance(row[column], bool))


def memory() -> Rows:
    """Return rows of a workspace that an agent has worked on, with an undo, a pause and a create without an answer."""
    now = to_micros(NOW)
    hour = 3_600_000_000
    run = dict.fromkeys(RUN_COLUMNS) | {"id": "r1", "workspace": "latam", "trigger": "sync", "dry_run": False}
    run |= {"status": "done", "started_at": now - hour, "finished_at": now - hour // 2, "guarded": 7}

    def change(seq: int, kind: Kind, outcome: str, age: int, scim_id: str | None = "m1") -> dict[str, Any]:
        made = a_change(kind, f"p{seq}@acme.com", scim_id)
        return {
            "run_id": "r1",
            "seq": seq,
            "workspace": "latam",
            "kind": kind.value,
            "changes_email": made.changes_email,
            "change": change_to_json(made),
            "scim_id": scim_id,
            "outcome": outcome,
            "detail": "it met a member" if seq == 4 else "",
            "sent_at": now - age,
            "answered_at": None,
            "accepted": None,
            "absences": 1,
        }

    workspace = {"workspace": "latam"}
    person = {**workspace, "connector": "okta-main", "person": "ann"}
    group = {**workspace, "connector": "okta-main", "group_id": "g1"}
    return {
        "runs": [run],
        "links": [{**person, "scim_id": "m1", "groups": '[["g1","Planners"]]', "missed_reads": 1}],
        "possible_renames": [{**person, "scim_id": "m2"}],
        "different_people": [{**person, "scim_id": "m3", "run_id": "r1"}],
        "baselines": [{**group, "name": "Planners", "people": 9, "seen_at": now - hour}],
        "former_sizes": [{**group, "people": 12, "seen_at": now - 2 * hour}],
        "group_sightings": [{**group, "name": "Planners", "app": "0oa", "people": 9, "empty_since": now - hour}],
        "undone": [
            {
                **person,
                "scim_id": "m1",
                "kind": "deactivate",
                "code": "left-groups",
                "groups": '["g1"]',
                "email": "ann@acme.com",
                "display_name": "Ann Lee",
                "run_id": "r1",
            }
        ],
        "pauses": [{**workspace, "since": now - hour, "by": "not recorded", "reason": ""}],
        "targets": [{**workspace, "connector": "", "fingerprint": "https://latam", "recorded_at": now - hour}],
        "left_members": [
            {
                **workspace,
                "run_id": "r1",
                "taken_at": now - hour,
                "members": [["m1", "ann@acme.com", "Ann Lee", True, ["okta-main", "ann"], ["Planners"]]],
            }
        ],
        "changes": [
            change(0, Kind.DEACTIVATE, "done", hour // 2),
            change(1, Kind.DEACTIVATE, "done", hour // 3),
            change(2, Kind.UPDATE_EMAIL, "done", hour // 4),
            change(3, Kind.CREATE, "unknown", 40 * 24 * hour, None),
            change(4, Kind.CREATE, "done", hour // 5, "m9"),
        ],
        "verifications": [
            {
                "workspace": "latam",
                "started_at": now - hour,
                "subject": "canary@acme.com",
                "record": {"canary_id": "m7", "members": {"m7": "canary@acme.com"}},
            }
        ],
    }


async def open_state(path: Path, clock: Clock) -> SqlState:
    return await SqlState.open(f"sqlite:///{path}", clock.now)


async def load_all(state: SqlState, clock: Clock) -> list[Any]:
    """Return everything that the planner loads."""
    since = clock.now() - timedelta(minutes=60)
    day = clock.now() - timedelta(hours=24)
    return [
        await state.load_memory("latam"),
        await state.load_sightings("latam"),
        await state.load_baselines("latam", day),
        await state.load_recent_changes("latam", since),
        await state.load_contested_members("latam", day),
        await state.load_pause("latam"),
        await state.load_targets(),
        await state.count_guarded("latam"),
        [load_record(each) for each in await state.load_verifications("latam", VerificationKind.PROBE)],
    ]


def shifted(text: str) -> str:
    return text.replace("datetime.datetime(2026, 3, 4", "datetime.datetime(2026, 3, 1")


def replay(exported: list[tuple[str, dict[str, Any]]], values: Visitor, names: Names, later: int) -> Rows:
    found: Rows = {"runs": []}
    for table, row in exported:
        kept = json.loads(json.dumps(keep_row(row, values, names, to_micros(NOW))))
        back: Mapping[str, str] = {"workspace workspace-1": "https://latam"}
        found.setdefault(table, []).append(restore_row(kept, later, back))
    return found


async def test_a_replayed_state_gives_a_plan_what_the_recorded_one_gave(tmp_path: Path) -> None:
    clock, later = Clock(), Clock()
    later.moment = NOW + LATER
    names = Names({"latam": "latam"}, {"okta-main": "okta-main"}, {"https://latam": "workspace workspace-1"})
    recorded = await open_state(tmp_path / "recorded.db", clock)
    replayed = await open_state(tmp_path / "replayed.db", later)
    try:
        await recorded.import_plan_rows(memory())
        exported = await recorded.export_plan_rows(["latam"], ["latam"])
        await replayed.import_plan_rows(replay(exported, Unchanged(), names, to_micros(later.now())))
        was, now = await load_all(recorded, clock), await load_all(replayed, later)
    finally:
        await recorded.close()
        await replayed.close()
    assert [shifted(repr(each)) for each in now] == [repr(each) for each in was]
    found = was[0]
    assert found.links
    assert found.unconfirmed_creates
    assert found.last_seen
    assert found.undone_changes
    assert found.written
    assert found.possible_renames
    assert found.different_people
    assert was[4], "two deactivations of one member"
    (canary,) = was[8]
    assert canary.members == {"m7": "canary@acme.com"}


async def test_only_the_named_workspaces_are_exported(tmp_path: Path) -> None:
    state = await open_state(tmp_path / "state.db", Clock())
    try:
        await state.import_plan_rows(memory())
        exported = await state.export_plan_rows(["eu"], ["eu"])
    finally:
        await state.close()
    assert {table for table, _ in exported} == {"targets"}


@pytest.mark.parametrize(
    ("globs", "protected"),
    [
        (["*@acme.com"], {"ann@acme.com", "svc-x@acme.com", "Svc-Y@ACME.com"}),
        (["svc-*@acme.com"], {"svc-x@acme.com", "Svc-Y@ACME.com"}),
        (["ann@acme.com", "*@other.example"], {"ann@acme.com", "bea@other.example"}),
        (["cleo@acme.com"], set()),
    ],
)
def test_protect_still_matches_the_same_addresses(globs: list[str], protected: set[str]) -> None:
    emails = ["ann@acme.com", "svc-x@acme.com", "Svc-Y@ACME.com", "bea@other.example", "Support@Pigment.com"]
    seen = Collector()
    for email in emails:
        seen.email(email)
    protected_addresses(globs, emails, seen)
    values = Replacements(seen, Random(1))
    pattern = protected_pattern(protected_addresses(globs, emails, values))
    matched = {each for each in emails if pattern.match(normalize(values.email(each)))}
    assert matched == protected | {"Support@Pigment.com"}
