"""Drift: what changed in a workspace since our last run that we did not do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agent.diff.drift import Difference, Expectation, drift_notes, last_seen_members
from agent.diff.plan import compute_plan
from agent.model import Change, Fields, Kind, LastSeen, Member, Memory, UnconfirmedCreate, Written
from agent.model.run import ChangeRecord, Outcome
from tests.factories import Nothing, a_policy, key, link, member, person, reads

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN = member("ann")


def notes_of(left: tuple[LastSeen, ...] | None, *members: object) -> list[str]:
    found = {each.scim_id: each for each in members if isinstance(each, type(ANN))}
    return sorted(note.reason for note in drift_notes(Memory(last_seen=left), found, frozenset(), Nothing()))


def left(*, email: str = "ann@acme.com", name: str = "Ann", active: bool | None = True) -> LastSeen:
    return LastSeen(scim_id="m-ann", email=email, display_name=name, active=active)


def record(kind: Kind, after: Fields, outcome: Outcome = Outcome.DONE, scim_id: str = "m-ann") -> ChangeRecord:
    change = Change(
        kind=kind,
        email="ann@acme.com",
        display_name="Ann",
        scim_id=scim_id,
        person=key("ann"),
        before=Fields(),
        after=after,
        code="code",
        reason="why",
    )
    return ChangeRecord(
        run_id="r1", seq=0, change=change, outcome=outcome, detail="", sent_at=NOW, answered_at=NOW, scim_id=scim_id
    )


def test_nothing_is_drift_before_the_first_run_or_when_all_is_as_left() -> None:
    assert notes_of(None, ANN) == []
    assert notes_of((left(email="ANN@acme.com"),), ANN) == []


def test_every_difference_is_named() -> None:
    assert notes_of((), ANN) == ["Ann was created since our last run, not by this agent."]
    assert notes_of((left(),)) == ["Ann disappeared from the listing since our last run, not by this agent."]
    assert notes_of((left(name="Ann Lee"),), ANN) == [
        "Ann was renamed from Ann Lee since our last run, not by this agent."
    ]
    assert notes_of((left(email="x@acme.com"),), ANN) == [
        "Ann had the email x@acme.com since our last run, not by this agent."
    ]
    assert notes_of((left(active=False),), ANN) == ["Ann was reactivated since our last run, not by this agent."]
    inactive = replace(ANN, active=False)
    assert notes_of((left(),), inactive) == ["Ann was deactivated since our last run, not by this agent."]


def test_member_of_unknown_state_is_no_drift() -> None:
    assert notes_of((left(active=None, name="Other"),), ANN) == []


def test_what_our_run_did_is_no_drift() -> None:
    records = [
        record(Kind.UPDATE_EMAIL, Fields("new@acme.com", "New")),
        record(Kind.CREATE, Fields("ann@acme.com", "Ann", True), scim_id="m-new"),
        record(Kind.DEACTIVATE, Fields(active=False), Outcome.FAILED),
    ]
    remembered = last_seen_members({"m-ann": ANN}, records, [link("ann")])

    assert remembered == (
        LastSeen(
            scim_id="m-ann",
            email="new@acme.com",
            display_name="New",
            active=True,
            person=key("ann"),
            groups=("Planners",),
        ),
        LastSeen(scim_id="m-new", email="ann@acme.com", display_name="Ann", active=True),
    )


def test_change_without_a_known_answer_leaves_the_member_unknown() -> None:
    for outcome in (Outcome.UNKNOWN, Outcome.NOT_PERSISTED):
        (remembered,) = last_seen_members({"m-ann": ANN}, [record(Kind.UPDATE_NAME, Fields(None, "X"), outcome)], [])
        assert remembered.active is None
    (adopted,) = last_seen_members({"m-ann": ANN}, [record(Kind.ADOPT, Fields())], [])
    assert adopted.active is True


def test_plan_notes_drift_but_not_what_a_lost_create_made() -> None:
    given = reads([person("ann"), person("bea")], [ANN, member("bea")], [link("bea")])
    memory = Memory(
        given.memory.links,
        last_seen=(),
        unconfirmed_creates=(UnconfirmedCreate(person=key("ann"), email="ann@acme.com", display_name="Ann"),),
    )
    plan = compute_plan(replace(given, memory=memory), a_policy())

    assert [note.email for note in plan.notes if note.code == "drift"] == ["bea@acme.com"]


class Everything:
    """Sources that call for each difference: implements `agent.diff.drift.Expectation`."""

    def call_for(self, _difference: Difference, _member: Member, /) -> bool:
        return True


def wrote(*, sure: bool = True, recent: bool = True, seq: int = 0, **fields: Any) -> Written:
    given = Written(
        scim_id="m-ann",
        email=None,
        display_name=None,
        active=None,
        sent_at=NOW,
        seq=seq,
        is_sure=sure,
        is_recent=recent,
    )
    return replace(given, **fields)


def codes(was: LastSeen | None, *written: Written, now: Member = ANN, sources: Expectation | None = None) -> list[str]:
    memory = Memory(last_seen=() if was is None else (was,), written=written)
    return [note.code for note in drift_notes(memory, {now.scim_id: now}, frozenset(), sources or Nothing())]


def test_what_the_sources_call_for_is_another_writers() -> None:
    for was in (None, left(name="Other"), left(email="x@acme.com"), left(active=False)):
        assert codes(was, sources=Everything()) == ["another-writer"]
        assert codes(was) == ["drift"]


def test_what_undoes_the_last_of_our_writes_within_a_day_is_another_writers() -> None:
    was = left(name="Other")
    ours = wrote(display_name="Other")
    assert codes(was, ours) == ["another-writer"]
    assert codes(was, replace(ours, is_recent=False)) == ["drift"]
    assert codes(was, replace(ours, is_sure=False)) == ["drift"]
    assert codes(was, ours, wrote(display_name="Third", seq=1)) == ["drift"]
    assert codes(was, wrote(display_name="Third", seq=1), wrote(display_name="Other", seq=2)) == ["another-writer"]
    assert codes(left(email="X@acme.com"), wrote(email="x@acme.com")) == ["another-writer"]
    assert codes(left(active=False), wrote(active=False)) == ["another-writer"]
    assert codes(left(active=False), wrote(active=True)) == ["drift"]


def test_what_we_wrote_ourselves_is_never_another_writers() -> None:
    was = left(name="Other")
    assert codes(was, wrote(display_name="Ann", sure=False), sources=Everything()) == []
    assert codes(was, wrote(display_name="Ann", is_after_left=True), sources=Everything()) == []
    assert codes(was, wrote(active=True, sure=False, is_after_left=True), sources=Everything()) == []
    assert codes(None, wrote(), sources=Everything()) == []
    made = wrote(email="ann@acme.com", display_name="Ann", active=True, is_after_left=True)
    assert codes(None, made, sources=Everything()) == []
    # Shown late by a listing that lags behind.
    assert codes(was, wrote(display_name="Ann"), sources=Everything()) == ["drift"]


def test_name_in_another_spelling_is_not_another_writers() -> None:
    assert codes(left(name="Ann "), wrote(display_name="Ann "), sources=Everything()) == ["drift"]


def test_member_with_a_link_that_was_not_listed_before_is_not_another_writers() -> None:
    given = reads([person("ann")], [ANN], [link("ann")])
    plan = compute_plan(replace(given, memory=replace(given.memory, last_seen=())), a_policy())

    assert [note.code for note in plan.notes] == ["drift"]
