"""Changes in flight together: each after its intent, never two that touch each other, and one phase after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.apply.changes import Applier, ApplyResult
from agent.errors import StateError, TokensRefused, WriteError, WriteRefused
from agent.model import Change, Fields, Kind, Link, Member, Pause
from agent.model.policy import protected_pattern
from agent.model.run import ChangeRecord, Lease, Outcome
from connectors.base import PersonKey, discard_progress
from tests.memory_state import MemoryState
from tests.simulation.loop import run_virtually
from tests.state_samples import NOW, a_change, begun

PHASES = (Kind.DEACTIVATE, Kind.UPDATE_EMAIL, Kind.REACTIVATE, Kind.UPDATE_NAME, Kind.CREATE)
SECOND_OF_FOUR = 2


class Noon:
    """Implements `agent.ports.clock.Clock`."""

    def now(self) -> Any:
        return NOW

    def elapsed(self) -> float:
        return 0


@dataclass
class Space:
    """A workspace whose write number N takes `seconds[N]`. *on_write* is called as each arrives.

    Implements the writing part of `agent.ports.workspace.WorkspaceWriter`.
    """

    state: MemoryState
    seconds: Sequence[float]
    on_write: Callable[[int], None] = lambda _number: None
    at_once: int = 0
    most: int = 0
    under_way: list[Change] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)

    async def _write(self, touched: str) -> None:
        changes = [each.change for each in await self.state.load_in_flight("latam")]
        number = len(self.arrived)
        self.arrived.append(touched)
        assert touched in {change.scim_id or change.email for change in changes}, "it was sent before its intent"
        assert len({change.kind for change in changes}) == 1, "two phases at once"
        ids = [change.scim_id for change in changes if change.scim_id]
        assert len(set(ids)) == len(ids), "two changes of one member at once"
        addresses = [each for change in changes for each in {change.email, change.before.email} - {None}]
        assert len(set(addresses)) == len(addresses), "two changes of one address at once"
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            self.on_write(number)
            await asyncio.sleep(self.seconds[number % len(self.seconds)])
        finally:
            self.at_once -= 1

    async def create(self, email: str, display_name: str, *_names: str) -> Member:
        await self._write(email)
        return Member(f"new-{email}", email, display_name, True)

    async def patch(self, member: Member, wanted: Fields) -> Member:
        return await self.replace(member, wanted)

    async def replace(self, member: Member, wanted: Fields) -> Member:
        await self._write(member.scim_id)
        changed = {name: value for name in ("email", "display_name", "active") if (value := getattr(wanted, name))}
        return replace(member, **changed) if wanted.active is None else replace(member, active=wanted.active)

    async def find(self, email: str) -> tuple[Member, ...]:
        await asyncio.sleep(0.1)
        return tuple(each for each in self.members.values() if each.email == email)


def change_of(kind: Kind, number: int, member: int | None = None) -> Change:
    who = number if member is None else member
    made = replace(
        a_change(kind, f"p{who}@acme.com", None if kind is Kind.CREATE else f"m{who}"),
        person=PersonKey("okta-main", f"p{number}"),
    )
    if kind is Kind.UPDATE_EMAIL:
        return replace(made, email=f"p{who}-new@acme.com", before=Fields(f"p{who}@acme.com"), after=Fields(made.email))
    after = {Kind.DEACTIVATE: Fields(active=False), Kind.UPDATE_NAME: Fields(display_name="Ann Ray")}
    return replace(made, before=Fields(), after=after.get(kind, Fields(active=True)))


async def applied(
    changes: Sequence[Change],
    state: MemoryState,
    space: Space,
    in_flight: int,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
    is_outdated: Callable[[int], bool] = lambda _tried: False,
) -> ApplyResult:
    lease = await begun(state)

    async def holds() -> None:
        """The lease holds."""

    applier = Applier(
        cast(Any, space),
        state,
        Noon(),
        lease,
        "r1",
        discard_progress,
        is_stopping,
        True,
        holds,
        protected_pattern(()),
        in_flight=in_flight,
    )
    members = {each.scim_id: Member(each.scim_id, each.email, "Ann Lee", True) for each in changes if each.scim_id}
    result = await applier.apply(changes, members, frozenset(members), is_outdated)
    assert space.at_once == 0, "a change was left in flight"
    return result


@given(
    kinds=st.lists(st.sampled_from(PHASES), max_size=30),
    owners=st.lists(st.integers(0, 12), min_size=30, max_size=30),
    seconds=st.lists(st.floats(0.01, 3), min_size=1, max_size=12),
    in_flight=st.integers(1, 8),
)
def test_any_plan_is_applied_in_phases_and_never_twice_to_one_member(
    kinds: list[Kind], owners: list[int], seconds: list[float], in_flight: int
) -> None:
    """Members recur, as they do in no plan: even then one is never changed twice at once."""
    in_order = sorted(kinds, key=PHASES.index)
    changes = [
        change_of(kind, number, None if kind is Kind.CREATE else owners[number]) for number, kind in enumerate(in_order)
    ]
    state = MemoryState(lambda: NOW)
    space = Space(state, seconds)

    result = run_virtually(applied(changes, state, space, in_flight))

    assert [record.seq for record in result.records] == list(range(len(changes)))
    assert {record.outcome for record in result.records} <= {Outcome.DONE}
    assert tuple(state.records.get("r1", {}).values()) != () or not changes
    assert sorted(state.records.get("r1", {}).values(), key=lambda each: each.seq) == list(result.records)
    assert space.most <= in_flight


def test_independent_changes_of_a_phase_are_sent_together() -> None:
    state = MemoryState(lambda: NOW)
    space = Space(state, [1])

    run_virtually(applied([change_of(Kind.DEACTIVATE, number) for number in range(9)], state, space, 4))

    assert space.most == 4


def test_changes_of_emails_are_sent_one_by_one() -> None:
    state = MemoryState(lambda: NOW)
    space = Space(state, [1])

    run_virtually(applied([change_of(Kind.UPDATE_EMAIL, number) for number in range(4)], state, space, 8))

    assert space.most == 1


def test_pause_keeps_back_what_has_no_intent_and_awaits_what_has_one() -> None:
    state = MemoryState(lambda: NOW)

    def pause(number: int) -> None:
        if number == SECOND_OF_FOUR:
            state.pauses["latam"] = Pause(NOW, "ana@acme.com", "wait")

    changes = [change_of(Kind.DEACTIVATE, number) for number in range(20)]
    result = run_virtually(applied(changes, state, Space(state, [1, 2, 3], pause), 4))

    made = [record.outcome for record in result.records]
    assert made == [Outcome.DONE] * 3 + [Outcome.NOT_TRIED] * 17
    assert result.pause is not None


def test_stop_and_age_await_what_is_in_flight() -> None:
    state = MemoryState(lambda: NOW)
    asked: list[int] = []
    changes = [change_of(Kind.CREATE, number) for number in range(10)]

    stopped = run_virtually(
        applied(changes, state, Space(state, [1, 2], asked.append), 4, is_stopping=lambda: len(asked) > 2)
    )
    state = MemoryState(lambda: NOW)
    old = run_virtually(applied(changes, state, Space(state, [1, 2]), 4, is_outdated=lambda tried: tried == 5))

    assert [record.outcome for record in stopped.records] == [Outcome.DONE] * 4 + [Outcome.NOT_TRIED] * 6
    assert [record.outcome for record in old.records] == [Outcome.DONE] * 5
    assert [seq for seq, _ in old.remaining] == [5, 6, 7, 8, 9]
    assert len(state.links["latam"]) == 5


class LostState(MemoryState):
    """A state that is lost from intent number *lost_at* on."""

    lost_at = 6
    calls = 0

    async def record_intent(self, *arguments: Any, **named: Any) -> Pause | None:
        self.calls += 1
        if self.calls >= self.lost_at:
            raise StateError("The state can't be used.", "Run again.")
        return await super().record_intent(*arguments, **named)


def test_lost_state_ends_the_run_and_every_change_has_a_record() -> None:
    state = LostState(lambda: NOW)
    changes = [change_of(Kind.UPDATE_NAME, number) for number in range(12)]

    result = run_virtually(applied(changes, state, Space(state, [1, 2, 3, 4]), 4))

    outcomes = [record.outcome for record in result.records]
    assert outcomes == [Outcome.DONE] * 5 + [Outcome.NOT_TRIED] * 7
    on_record = {seq for seq, each in state.records["r1"].items() if each.outcome is Outcome.DONE}
    assert on_record | {each.seq for each in result.unrecorded} == set(range(12))
    assert isinstance(result.state_error, StateError)


class Refusing(Space):
    """A workspace that refuses every token from write number 3 on."""

    async def patch(self, member: Member, wanted: Fields) -> Member:
        number = len(self.arrived)
        changed = await super().patch(member, wanted)
        if number >= SECOND_OF_FOUR:
            raise TokensRefused("Refused.", "Put a token.", may_be_applied=False)
        return changed


def test_refused_token_ends_the_run_after_what_is_in_flight() -> None:
    state = MemoryState(lambda: NOW)
    space = Refusing(state, [1, 1, 2])

    result = run_virtually(applied([change_of(Kind.DEACTIVATE, number) for number in range(20)], state, space, 4))

    made = [record.outcome for record in result.records]
    assert made == [Outcome.DONE] * 2 + [Outcome.FAILED] * 2 + [Outcome.NOT_TRIED] * 16
    assert len(space.arrived) == 4
    assert isinstance(result.workspace_error, TokensRefused)


@dataclass
class Meeting(Space):
    """A workspace in which two creates meet a member: the one that a third create has made, before its answer.

    An administrator gives it another address between the two.
    """

    async def create(self, email: str, *_names: str) -> Member:
        if email == "p0@acme.com":
            made = self.members["new"] = Member("new", "p1@acme.com", "Ann Lee", True)
            await self._write(email)
            return replace(made, email=email)
        await self._write(email)
        raise WriteRefused("Taken.", "See the next plan.", 409)


def test_create_that_meets_a_member_waits_until_it_is_known_who_made_it() -> None:
    state = MemoryState(lambda: NOW)
    # The create that made the member is answered last.
    space = Meeting(state, [5, 1, 2])

    result = run_virtually(applied([change_of(Kind.CREATE, number) for number in range(3)], state, space, 8))

    assert [record.outcome for record in result.records] == [Outcome.DONE, Outcome.HELD, Outcome.FAILED]
    assert [link.person.id for link in state.links["latam"].values()] == ["p0"]


class Bug(Exception):
    """What no one expects."""


def test_bug_in_one_change_is_raised_after_the_others_have_their_outcome() -> None:
    state = MemoryState(lambda: NOW)

    def fail(number: int) -> None:
        if number == SECOND_OF_FOUR:
            raise Bug

    space = Space(state, [1, 2, 3], fail)
    with pytest.raises(Bug):
        run_virtually(applied([change_of(Kind.DEACTIVATE, number) for number in range(20)], state, space, 4))

    outcomes = [each.outcome for each in state.records["r1"].values()]
    assert outcomes == [Outcome.DONE, Outcome.DONE, Outcome.UNKNOWN, Outcome.DONE]
    assert space.at_once == 0


async def _cancelled(state: MemoryState, space: Space) -> int:
    task = asyncio.create_task(applied([change_of(Kind.CREATE, number) for number in range(20)], state, space, 4))
    await asyncio.sleep(1.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    left, arrived = space.at_once, len(space.arrived)
    await asyncio.sleep(60)
    assert len(space.arrived) == arrived, "a change was sent after the end"
    return left


def test_cancelled_run_leaves_nothing_in_flight() -> None:
    state = MemoryState(lambda: NOW)

    assert run_virtually(_cancelled(state, Space(state, [1, 9, 9, 9]))) == 0

    assert {each.outcome for each in state.records["r1"].values()} == {Outcome.DONE, Outcome.UNKNOWN}


class FailedAnswers(MemoryState):
    """A state that is lost at the outcome of change number 1, while others are in flight."""

    async def record_answer(self, lease: Lease, record: ChangeRecord, link: Link | None = None) -> None:
        if record.seq == 1:
            raise StateError("The state can't be used.", "Run again.")
        await super().record_answer(lease, record, link)


def test_outcome_that_can_not_be_written_is_kept_with_those_after_it() -> None:
    state = FailedAnswers(lambda: NOW)

    result = run_virtually(
        applied([change_of(Kind.CREATE, number) for number in range(8)], state, Space(state, [3, 1, 4, 5]), 4)
    )

    assert [each.seq for each in result.records] == list(range(8))
    # A create without its link on record must be found again by the next run.
    kept = {each.seq: each.outcome for each in result.unrecorded}
    assert kept == {**dict.fromkeys(range(4), Outcome.UNKNOWN), **dict.fromkeys(range(4, 8), Outcome.NOT_TRIED)}


def test_failed_change_keeps_the_others_of_its_phase() -> None:
    class Failing(Space):
        async def patch(self, member: Member, wanted: Fields) -> Member:
            changed = await super().patch(member, wanted)
            if member.scim_id == "m1":
                raise WriteError("No.", "Look.")
            return changed

    state = MemoryState(lambda: NOW)
    result = run_virtually(
        applied([change_of(Kind.DEACTIVATE, number) for number in range(6)], state, Failing(state, [1, 2]), 4)
    )

    assert [each.outcome for each in result.records] == [Outcome.DONE, Outcome.FAILED, *[Outcome.DONE] * 4]
