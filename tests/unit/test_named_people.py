"""How the people whom a feed named go on: no one who may have left is forgotten before something decided about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from agent.apply.changes import Applier
from agent.engine.feed_plan import Look
from agent.engine.named_people import LAGS_FOR, LOOK_AGAIN_AFTER, NamedInRun, end_read_people, settle_looks
from agent.engine.planner import ReadOnlyWorkspace
from agent.engine.request import Decision
from agent.model import Change, Fields, Kind, MemberCounts, Mode, Plan
from agent.model.change import deactivate_change
from agent.model.codes import ChangeCode
from agent.model.feed import NamedPerson
from agent.model.run import ChangeRecord, Outcome
from connectors.feed import Standing
from tests.factories import a_policy, key, member
from tests.memory_state import MemoryState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAME = "latam"
LAST_LOOK = len(LOOK_AGAIN_AFTER)


def _named(person: str, at: datetime = NOW, *, looks: int = 0) -> NamedPerson:
    return NamedPerson(NAME, key(person), "e1", "user.lifecycle.suspend", at, at, at, looks=looks)


def _state_of(*people: NamedPerson) -> MemoryState:
    state = MemoryState(lambda: NOW)
    state.named = {(NAME, each.person): each for each in people}
    return state


def _record(person: NamedPerson, outcome: Outcome) -> ChangeRecord:
    change = deactivate_change(member("ann"), person.person, ChangeCode.SUSPENDED, "It left.", ())
    return ChangeRecord(
        run_id="r1", seq=0, change=change, outcome=outcome, detail="", sent_at=NOW, answered_at=NOW, scim_id="m-ann"
    )


class _Clock:
    def now(self) -> datetime:
        return NOW

    def elapsed(self) -> float:
        return 0.0


async def _waiting(state: MemoryState) -> list[str]:
    return [each.person.id for each in await state.load_named_people(NAME)]


async def test_leaver_whose_deactivation_failed_each_time_is_left_to_a_run_over_everyone() -> None:
    ann = _named("ann", looks=LAST_LOOK)
    state = _state_of(ann)

    looks = [Look(ann, Standing.LEFT, is_conclusive=True)]
    settled = await settle_looks(cast(Any, state), looks, [_record(ann, Outcome.FAILED)], NOW)

    assert (settled.left_to_run, settled.deactivated) == ((ann,), ())


@pytest.mark.parametrize("standing", [Standing.UNKNOWN, Standing.LEFT])
async def test_last_look_inside_a_run_over_everyone_forgets_no_one(standing: Standing) -> None:
    ann = _named("ann", looks=LAST_LOOK)
    state = _state_of(ann)
    records = [_record(ann, Outcome.FAILED)] if standing is Standing.LEFT else []

    await settle_looks(cast(Any, state), [Look(ann, standing, is_conclusive=False)], records, NOW, may_leave=False)

    assert await _waiting(state) == ["ann"]


async def test_run_over_everyone_forgets_those_about_whom_it_decided_and_no_other() -> None:
    before, just_before, found, during = (
        _named("before", NOW - LAGS_FOR),
        _named("just-before", NOW - LAGS_FOR + timedelta(seconds=1)),
        _named("found", NOW - timedelta(seconds=1)),
        _named("during", NOW + timedelta(seconds=1)),
    )
    state = _state_of(before, just_before, found, during)

    await end_read_people(cast(Any, state), NAME, NOW, {found.person, during.person})

    assert await _waiting(state) == ["just-before", "during"]


def _new_email(person: str, waits_for: str | None = None) -> Change:
    return Change(
        kind=Kind.UPDATE_EMAIL,
        email=f"new-{person}@acme.com",
        display_name=person,
        scim_id=f"m-{person}",
        person=key(person),
        before=Fields(),
        after=Fields(email=f"new-{person}@acme.com"),
        code=ChangeCode.EMAIL_CHANGED,
        reason="It has another address.",
        waits_for=waits_for,
    )


async def test_change_that_waits_for_a_person_who_may_have_left_is_left_out_too() -> None:
    named = _named("ann", NOW + timedelta(seconds=1))
    state = _state_of(named)
    changes = (_new_email("ann"), _new_email("bob", "m-ann"), _new_email("cal", "m-bob"), _new_email("dan"))
    lease = await state.take_lease(NAME, "one")
    nothing = cast(Any, None)
    applier = Applier(nothing, cast(Any, state), _Clock(), lease, "r1", nothing, bool, True, nothing, nothing)
    policy = a_policy(workspace=NAME)
    planner = cast(Any, object())
    workspace = ReadOnlyWorkspace(policy, nothing)
    counts = MemberCounts(total=4, active=4, linked=4, guarded=4)
    plan = Plan(
        workspace=NAME, mode=Mode.ENFORCE, sources=(), members=counts, in_sync=0, changes=changes, holds=(), notes=()
    )

    run = NamedInRun(cast(Any, state), _Clock(), planner, workspace, applier, NOW)
    decision = await run.before_writes(Decision(policy, plan, ""))

    assert decision.plan is not None
    assert decision.plan.changes == (changes[3],)
    left_out = applier.result_so_far.records
    assert [(each.change.display_name, each.outcome) for each in left_out] == [
        (name, Outcome.HELD) for name in ("ann", "bob", "cal")
    ]
