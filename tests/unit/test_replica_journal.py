"""The bench of replicas finds what is lost or doubled, and how long a dead replica's work waited."""

from __future__ import annotations

import pytest

from bench.replica_journal import Disturbance, Event, Schedule, Verdict, judge

SECOND = 1_000_000
SCHEDULES = {"every 5m": Schedule(300, ("eu", "us")), "every 301s": Schedule(301, ("asia",))}
DUE = Event(0, "due", "every 5m", detail=str(300 * SECOND))
ADDED = Event(0, "added", "tick:every 5m")
ENDED = Event(60 * SECOND, "ended", "tick:every 5m")


def claimed(seconds: int, replica: str) -> Event:
    return Event(seconds * SECOND, "claimed", "tick:every 5m", detail=replica)


def begun(seconds: int, workspace: str, run: str) -> Event:
    return Event(seconds * SECOND, "begun", run, workspace)


def finished(seconds: int, workspace: str, run: str, status: str = "done") -> Event:
    return Event(seconds * SECOND, "finished", run, workspace, status)


WHOLE = (
    DUE,
    ADDED,
    claimed(1, "one"),
    begun(2, "eu", "r1"),
    begun(2, "us", "r2"),
    finished(9, "eu", "r1"),
    finished(9, "us", "r2", "held"),
    ENDED,
)
TAKEN_OVER = (
    *WHOLE[:6],
    claimed(25, "two"),
    finished(26, "us", "r2", "interrupted"),
    begun(26, "us", "r3"),
    finished(30, "us", "r3"),
    ENDED,
)


def without(kind: str, workspace: str = "") -> Verdict:
    return judge([each for each in WHOLE if (each.kind, each.workspace) != (kind, workspace)], SCHEDULES, [])


def test_tick_with_a_finished_run_of_each_workspace_is_whole() -> None:
    found = judge(WHOLE, SCHEDULES, [])

    assert (found.due, found.ticks, found.lost, found.doubled) == (1, 1, [], [])
    assert found.statuses == {"done": 1, "held": 1}


@pytest.mark.parametrize(
    ("found", "lost"),
    [
        (without("finished", "us"), "us: no finished run in a tick, but []"),
        (without("ended"), "every 5m: its tick has not ended"),
        (judge([DUE, *WHOLE], SCHEDULES, []), "every 5m: 1 times due without a tick"),
        (
            judge([Event(0, "due", "every 301s", detail=str(602 * SECOND))], SCHEDULES, []),
            "every 301s: 2 times due without a tick",
        ),
        (judge([*WHOLE[:6], finished(9, "us", "r2", "busy"), ENDED], SCHEDULES, []), "us: no finished run"),
    ],
)
def test_what_is_missing_is_lost(found: Verdict, lost: str) -> None:
    assert [each[: len(lost)] for each in found.lost] == [lost]
    assert found.doubled == []


@pytest.mark.parametrize(
    ("events", "doubled"),
    [
        ([*WHOLE[:-1], begun(10, "us", "r3"), finished(11, "us", "r3"), ENDED], "us: 2 finished runs in one tick"),
        ([*WHOLE[:5], begun(3, "us", "r3"), *WHOLE[5:]], "us: r3 began while r2 was open"),
        ([*WHOLE, begun(70, "us", "r3"), finished(71, "us", "r3")], "begun r3 us outside a tick"),
        ([*WHOLE, claimed(70, "two")], "claimed tick:every 5m  outside a tick"),
    ],
)
def test_what_is_there_twice_is_doubled(events: list[Event], doubled: str) -> None:
    found = judge(events, SCHEDULES, [])

    assert (found.doubled, found.lost) == ([doubled], [])


def test_takeover_is_measured_to_the_next_run_of_what_was_left() -> None:
    kills = [
        Disturbance(10 * SECOND, "kill -9", "one"),
        Disturbance(10 * SECOND, "SIGSTOP", "two"),
        Disturbance(61 * SECOND, "late", "two"),
    ]

    found = judge(TAKEN_OVER, SCHEDULES, kills)

    assert (found.lost, found.doubled) == ([], [])
    assert found.statuses == {"done": 2, "interrupted": 1}
    assert found.takeovers == {"kill -9": [16.0], "SIGSTOP": [], "late": []}


def test_work_that_nothing_took_over_is_lost_and_has_no_takeover() -> None:
    found = judge(WHOLE[:6], SCHEDULES, [Disturbance(10 * SECOND, "kill -9", "one")])

    assert len(found.lost) == 2
    assert found.takeovers == {"kill -9": []}
