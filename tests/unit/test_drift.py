"""Drift: what changed in a workspace since our last run that we did not do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from agent.diff.drift import drift, members_left
from agent.diff.plan import compute_plan
from agent.model import Change, Fields, Kind, Left, Memory, Unsettled
from agent.ports import ChangeRecord, Outcome
from tests.factories import Nothing, a_policy, key, link, member, person, reads

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN = member("ann")


def told(left: tuple[Left, ...] | None, *members: object) -> list[str]:
    found = {each.scim_id: each for each in members if isinstance(each, type(ANN))}
    return sorted(note.reason for note in drift(Memory(left=left), found, frozenset(), Nothing()))


def left(*, email: str = "ann@acme.com", name: str = "Ann", active: bool | None = True) -> Left:
    return Left("m-ann", email, name, active)


def record(kind: Kind, after: Fields, outcome: Outcome = Outcome.DONE, scim_id: str = "m-ann") -> ChangeRecord:
    change = Change(kind, "ann@acme.com", "Ann", scim_id, key("ann"), Fields(), after, "code", "why")
    return ChangeRecord("r1", 0, change, outcome, "", NOW, NOW, scim_id)


def test_nothing_is_drift_before_the_first_run_or_when_all_is_as_left() -> None:
    assert told(None, ANN) == []
    assert told((left(email="ANN@acme.com"),), ANN) == []


def test_every_difference_is_named() -> None:
    assert told((), ANN) == ["Ann was created since our last run, and not by us."]
    assert told((left(),)) == ["Ann is not in the listing any more since our last run, and not by us."]
    assert told((left(name="Ann Lee"),), ANN) == ["Ann was renamed from Ann Lee since our last run, and not by us."]
    assert told((left(email="x@acme.com"),), ANN) == ["Ann had the email x@acme.com since our last run, and not by us."]
    assert told((left(active=False),), ANN) == ["Ann was reactivated since our last run, and not by us."]
    inactive = replace(ANN, active=False)
    assert told((left(),), inactive) == ["Ann was deactivated since our last run, and not by us."]


def test_member_of_unknown_state_is_no_drift() -> None:
    assert told((left(active=None, name="Other"),), ANN) == []


def test_what_our_run_did_is_no_drift() -> None:
    records = [
        record(Kind.UPDATE_EMAIL, Fields("new@acme.com", "New")),
        record(Kind.CREATE, Fields("ann@acme.com", "Ann", True), scim_id="m-new"),
        record(Kind.DEACTIVATE, Fields(active=False), Outcome.FAILED),
    ]
    remembered = members_left({"m-ann": ANN}, records, [link("ann")])

    assert remembered == (
        Left("m-ann", "new@acme.com", "New", True, key("ann"), ("Planners",)),
        Left("m-new", "ann@acme.com", "Ann", True),
    )


def test_change_without_a_known_answer_leaves_the_member_unknown() -> None:
    for outcome in (Outcome.UNKNOWN, Outcome.NOT_PERSISTED):
        (remembered,) = members_left({"m-ann": ANN}, [record(Kind.UPDATE_NAME, Fields(None, "X"), outcome)], [])
        assert remembered.active is None
    (adopted,) = members_left({"m-ann": ANN}, [record(Kind.ADOPT, Fields())], [])
    assert adopted.active is True


def test_plan_notes_drift_but_not_what_a_lost_create_made() -> None:
    given = reads([person("ann"), person("bea")], [ANN, member("bea")], [link("bea")])
    memory = Memory(given.memory.links, left=(), unsettled=(Unsettled(key("ann"), "ann@acme.com", "Ann"),))
    plan = compute_plan(replace(given, memory=memory), a_policy())

    assert [note.email for note in plan.notes if note.code == "drift"] == ["bea@acme.com"]
