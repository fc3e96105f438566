"""Golden plans: each file of tests/cases is one situation and its expected plan."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.diff.plan import compute_plan
from agent.diff.single_user import restrict_to_user
from agent.guard.hold import FleetContext, apply_fleet_guard, apply_guards, release_approved
from agent.guard.results import GuardHistory
from agent.guard.target import compare_targets
from agent.model import (
    Change,
    GroupRef,
    GroupSighting,
    Hold,
    IndividualAction,
    Inputs,
    Kind,
    KnownTarget,
    LastSeen,
    Link,
    Listing,
    Member,
    Memory,
    Mode,
    Note,
    Plan,
    Policy,
    Toggles,
    UnconfirmedCreate,
    UndoneChange,
    UnmanagedAction,
    Written,
)
from agent.model.codes import ChangeCode, GuardCode, HoldCode, NoteCode
from agent.report.document import workspace_object
from connectors.base import Group, LookupResult, Person, PersonKey, Snapshot, Source, Status
from tests.factories import approved_by, recent_changes, some_limits

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
CASES = sorted((Path(__file__).parent.parent / "cases").glob("*.yaml"))


def _many(entry: object, one: str) -> tuple[int, int] | None:
    """Read `12 people from 1` as the numbers it stands for."""
    if not isinstance(entry, str):
        return None
    count, what, _, first = entry.split()
    assert what == one, entry
    return int(first), int(first) + int(count)


def _people(connector: str, entries: Mapping[str, Any]) -> Iterator[Person]:
    for name, shown in entries.items():
        span = _many(shown, "people")
        if span:
            for number in range(*span):
                yield Person(connector, f"p{number}", f"p{number}@acme.com", f"P {number}", groups=("Planners",))
            continue
        more = dict(shown)
        yield Person(
            connector,
            name,
            more.pop("email", None),
            more.pop("name", ""),
            Status(more.pop("status", "active")),
            groups=tuple(more.pop("groups", ())),
            aliases=tuple(more.pop("aliases", ())),
            **more,
        )


def _snapshot(source: Source, shown: Mapping[str, Any]) -> Snapshot:
    people = tuple(_people(source.connector, shown.get("people", {})))
    names = sorted({group for person in people for group in person.groups} | set(shown.get("groups", ())))
    groups = tuple(Group(name, name, sum(name in person.groups for person in people)) for name in names)
    return Snapshot(source, "Pigment", groups, people, unidentified=tuple(shown.get("unidentified", ())))


def _members(entries: Mapping[str, Any]) -> Iterator[Member]:
    for scim_id, shown in entries.items():
        span = _many(shown, "members")
        if span:
            for number in range(*span):
                yield Member(f"m{number}", f"p{number}@acme.com", f"P {number}", True)
            continue
        yield Member(scim_id, shown.get("email", ""), shown.get("name", ""), shown.get("active", True))


def _key(text: str) -> PersonKey:
    connector, _, name = text.partition(":")
    return PersonKey(connector, name)


def _links(entries: Mapping[str, Any]) -> Iterator[Link]:
    planners = (GroupRef("Planners", "Planners"),)
    for person, shown in entries.items():
        span = _many(shown, "links") if " " in str(shown) and isinstance(shown, str) else None
        if span:
            for number in range(*span):
                yield Link(PersonKey("okta-main", f"p{number}"), f"m{number}", planners)
        elif isinstance(shown, str):
            yield Link(_key(person), shown, planners)
        else:
            groups = tuple(GroupRef(name, name) for name in shown.get("groups", ("Planners",)))
            yield Link(_key(person), shown["member"], groups, shown.get("missed_reads", 0))


def _unconfirmed_creates(entries: Mapping[str, Any]) -> Iterator[UnconfirmedCreate]:
    for person, sent in entries.items():
        for seq, each in enumerate(sent if isinstance(sent, list) else [sent]):
            seen, awaited = each.get("seen"), each.get("awaited", False)
            groups = tuple(GroupRef(name, name) for name in each.get("groups", ()))
            yield UnconfirmedCreate(
                person=_key(person),
                email=each["email"],
                display_name=each["name"],
                run_id="r1",
                seq=seq,
                scim_id=seen,
                is_awaited=awaited,
                may_appear=awaited or each.get("recent", False),
                groups=groups,
            )


def _policy(case: Mapping[str, Any], sources: tuple[Source, ...]) -> Policy:
    more = dict(case.get("policy", {}))
    wrapped: dict[str, Any] = {
        "mode": Mode(more.pop("mode", "enforce")),
        "unmanaged": UnmanagedAction(more.pop("unmanaged", "report")),
        "individual_assignments": IndividualAction(more.pop("individual_assignments", "hold")),
        "limits": some_limits(**more.pop("limits", {})),
        "toggles": Toggles(**more.pop("toggles", {})),
        "require_approval": frozenset(Kind(kind) for kind in more.pop("require_approval", ())),
        "allowed_domains": frozenset(more.pop("allowed_domains", ())),
        "protect": tuple(more.pop("protect", ())),
        "grace_reads": more.pop("grace_reads", 1),
        "target": more.pop("target", ""),
        "tenants": tuple(more.pop("tenants", {}).items()),
    }
    assert not more, f"unknown policy: {more}"
    return Policy("latam", sources, **wrapped)


def _lookup_result(shown: str | Mapping[str, Any]) -> LookupResult:
    """Read `deleted`, `{status: active, groups: [Planners]}`, `{status: active, groups_failure: "403"}`, or
    `{failure: "403"}`."""
    if isinstance(shown, str):
        return LookupResult(Status(shown))
    groups = shown.get("groups")
    status = Status(shown.get("status", "unknown"))
    known = None if groups is None else frozenset(groups)
    failure, groups_failure = shown.get("failure", ""), shown.get("groups_failure", "")
    return LookupResult(status, groups=known, failure=failure, groups_failure=groups_failure)


def _inputs(case: Mapping[str, Any]) -> tuple[Inputs, tuple[Source, ...]]:
    shown = case.get("sources", {"okta-main": case})
    sources = tuple(
        Source(name.partition("/")[0], name.partition("/")[2] or f"app-{name}", groups=tuple(each.get("only", ())))
        for name, each in shown.items()
    )
    snapshots = tuple(_snapshot(source, each) for source, each in zip(sources, shown.values(), strict=True))
    memory = Memory(
        tuple(_links(case.get("links", {}))),
        possible_renames=frozenset(
            (_key(pair.split()[0]), pair.split()[-1]) for pair in case.get("possible_renames", ())
        ),
        unconfirmed_creates=tuple(_unconfirmed_creates(case.get("unconfirmed_creates", {}))),
        undone_changes=tuple(_undone(case.get("undone", {}))),
        last_seen=tuple(_last_seen(case["last_seen"])) if "last_seen" in case else None,
        written=tuple(_written(case.get("written", {}))),
    )
    leaver_status = {_key(person): _lookup_result(shown) for person, shown in case.get("leaver_status", {}).items()}
    return Inputs(snapshots, Listing(tuple(_members(case.get("members", {})))), memory, leaver_status), sources


def _undone(entries: Mapping[str, Any]) -> Iterator[UndoneChange]:
    for scim_id, shown in entries.items():
        yield UndoneChange(
            scim_id=scim_id,
            kind=Kind(shown["kind"]),
            person=_key(shown["person"]) if "person" in shown else None,
            code=shown.get("code", ""),
            groups=tuple(shown.get("groups", ("Planners",))),
            email=shown.get("email", ""),
            display_name=shown.get("name", ""),
            run_id="20260301-120000-3f9a1c",
        )


def _last_seen(entries: Mapping[str, Any]) -> Iterator[LastSeen]:
    for scim_id, shown in entries.items():
        active = shown.get("active", True)
        yield LastSeen(scim_id=scim_id, email=shown["email"], display_name=shown["name"], active=active)


def _written(entries: Mapping[str, Any]) -> Iterator[Written]:
    for scim_id, sent in entries.items():
        for seq, each in enumerate(sent if isinstance(sent, list) else [sent]):
            facts = {"is_sure": "sure", "is_recent": "recent", "is_after_left": "after_left"}
            given = {field: each[word] for field, word in facts.items() if word in each}
            yield Written(
                scim_id=scim_id,
                email=each.get("email"),
                display_name=each.get("name"),
                active=each.get("active"),
                sent_at=LONG_AGO,
                seq=seq,
                **given,
            )


def _ids(shown: int | list[str]) -> frozenset[str]:
    """Return the SCIM ids that are named, or so many of members that the case does not show."""
    return frozenset(f"gone-{number}" for number in range(shown)) if isinstance(shown, int) else frozenset(shown)


def _history(case: Mapping[str, Any]) -> GuardHistory:
    recent = {code.replace("-", "_"): _ids(shown) for code, shown in case.get("recent", {}).items()}
    sizes = {_key(group): size for group, size in case.get("baselines", {}).items()}
    return GuardHistory(
        recent_changes=recent_changes(**recent),
        baselines={(group.connector, group.id): (group.id, size) for group, size in sizes.items()},
        contested_members={
            scim_id: [datetime.fromisoformat(at) for at in times]
            for scim_id, times in case.get("contested", {}).items()
        },
        newly_empty_groups={
            _key(group): GroupSighting(_key(group).id, size) for group, size in case.get("emptied", {}).items()
        },
    )


def _fleet(shown: Mapping[str, Any]) -> FleetContext:
    return FleetContext(
        **{"percent": 10, **shown, "recent": {name: _ids(ids) for name, ids in shown.get("recent", {}).items()}}
    )


def _known(entries: Mapping[str, str]) -> tuple[KnownTarget, ...]:
    """Read `latam okta-main: okta https://…` as what the state knows the connector of that key by."""
    pairs = ((key.partition(" "), fingerprint) for key, fingerprint in entries.items())
    return tuple(KnownTarget(key[0], key[2], fingerprint, LONG_AGO) for key, fingerprint in pairs)


def _planned(case: Mapping[str, Any]) -> Plan:
    inputs, sources = _inputs(case)
    policy = _policy(case, sources)
    unguarded = compute_plan(inputs, policy)
    target = compare_targets(policy, _known(case.get("known", {})), inputs, unguarded)
    if "user" in case:
        unguarded = restrict_to_user(unguarded, case["user"])
    plan = apply_guards(unguarded, policy, replace(_history(case), target_check=target))
    if "fleet" in case:
        (plan,) = apply_fleet_guard([plan], _fleet(case["fleet"]))
    return release_approved(plan, unguarded, approved_by("ops")) if case.get("approved") else plan


def _change(change: Change) -> str:
    steps = [
        f"{getattr(change.before, field.name)} -> {getattr(change.after, field.name)}"
        if change.kind is not Kind.CREATE
        else f"{getattr(change.after, field.name)}"
        for field in fields(change.after)
        if field.name != "active" and getattr(change.after, field.name) is not None
    ]
    after = f" after {change.waits_for}" if change.waits_for else ""
    return (
        " ".join([change.kind, change.scim_id or "new", *([", ".join(steps)] if steps else []), f"({change.code})"])
        + after
    )


def _hold(hold: Hold) -> str:
    wanted = f" -> {hold.wanted}" if hold.wanted else ""
    return f"{hold.kind} {hold.email}{wanted} ({hold.code})"


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_case_gives_the_expected_plan(path: Path) -> None:
    case = yaml.safe_load(path.read_text("utf-8"))
    plan = _planned(case)
    expect = case["expect"]
    assert case["about"]

    assert [_change(change) for change in plan.changes] == expect.get("changes", [])
    assert [_hold(hold) for hold in plan.holds] == expect.get("holds", [])
    assert [f"{note.code} {note.email}".strip() for note in plan.notes] == expect.get("notes", [])
    assert plan.in_sync == expect.get("in-sync", 0)
    assert [guard.code for guard in plan.guards] == expect.get("guards", [])
    entries: list[Change | Hold | Note] = [*plan.changes, *plan.holds, *plan.notes]
    sentences = [entry.reason for entry in entries]
    text = " ".join([*sentences, *(hold.remedy for hold in plan.holds), *(guard.message for guard in plan.guards)])
    for words in expect.get("says", []):
        assert words in text


GOLDEN = Path(__file__).parent.parent / "golden" / "cases.json"


def test_texts_of_the_cases_are_unchanged() -> None:
    """Compare every sentence of every case. PIGMENT_SYNC_GOLDEN=write writes the file again, for review."""
    text = {path.stem: workspace_object(_planned(yaml.safe_load(path.read_text("utf-8")))) for path in CASES}
    written = json.dumps(text, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("PIGMENT_SYNC_GOLDEN") == "write":
        GOLDEN.write_text(written, "utf-8")

    assert json.loads(written) == json.loads(GOLDEN.read_text("utf-8"))


NOT_OF_THE_TABLE = {
    NoteCode.CHANGED_SINCE,
    NoteCode.STATE_EMPTY,
    *(code for code in ChangeCode if code.startswith("undo-")),
}
"""Codes of an undo and of the state check, which have tests of their own."""


def test_cases_cover_every_code_of_the_design() -> None:
    """A row, hold or guard without a golden case is a promise without a check."""
    text = " ".join(path.read_text("utf-8") for path in CASES)
    codes = {*ChangeCode, *HoldCode, *NoteCode, *GuardCode} - NOT_OF_THE_TABLE
    assert sorted(code for code in codes if code not in text) == []
