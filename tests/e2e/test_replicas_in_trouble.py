"""Two replicas whose database or whose own process fails at the worst moment: no run is lost, and none is doubled."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from agent.store.tables import jobs, request_permits
from tests.e2e.ended_process import Ended
from tests.e2e.replica_pair import LATAM, VOID_AFTER, Pair, made_pair, wait_until
from tests.pgbouncer import pooled
from tests.postgres import free_port


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with made_pair(tmp_path_factory.mktemp("pair")) as pair:
        yield pair


@pytest.fixture
def pair(made: Pair) -> Pair:
    made.begin()
    return made


def expect_one_tick(pair: Pair, people: list[str], *, is_interrupted: bool | None = None) -> None:
    """One tick was one run for each workspace, with one more for each whose run was interrupted."""
    assert pair.created() == dict.fromkeys(people, 1)
    ended = pair.ended()
    names = {name for name, _ in ended}
    assert len(names) == 2
    interrupted = [ended.pop((name, "interrupted"), 0) for name in names]
    assert max(interrupted) <= 1
    if is_interrupted is not None:
        assert any(interrupted) == is_interrupted
    assert set(ended.values()) == {1}
    assert {status for _, status in ended} <= {"done", "held"}
    assert not pair.rows(select(jobs.c.id))


@pytest.mark.parametrize(("mode", "has_moved"), [("fast", False), ("immediate", True)])
def test_replicas_go_on_after_their_database_was_away(mode: str, has_moved: bool, pair: Pair) -> None:
    """It restarts, or another server with its data takes its place and no connection is left."""
    people = pair.hire(8)
    pair.slow_down(1)
    pair.start_tick()
    wait_until(lambda: any(map(pair.is_active, people)))
    pair.server.stop(mode)
    for replica in pair.replicas:
        replica.until("jobs.not_loaded")
    if has_moved:
        pair.server.port = free_port()
    assert not pair.server.start()
    for proxy in pair.proxies:
        proxy.redirect(pair.server.port)
    pair.wait_for_tick(people)

    expect_one_tick(pair, people)
    pair.expect_all_at_work()


def test_replica_that_is_cut_off_stops_and_the_other_takes_up_the_rest(pair: Pair) -> None:
    """Its connections stay open, and nothing is answered any more."""
    people = pair.hire(8)
    pair.slow_down(1)
    pair.start_tick()
    wait_until(lambda: any(map(pair.is_active, people)))
    working = pair.worker()
    pair.proxies[working].silence()
    # What the proxy has forwarded by now may still be a renewal.
    taken = pair.replicas[1 - working].until("job.taken_over")
    since, _ = pair.lease()
    pair.wait_for_tick(people)
    pair.proxies[working].restore()

    assert LATAM in taken["left"]
    taken_at = datetime.fromtimestamp(since / 1_000_000, UTC)
    by_the_first = [write.at for write in pair.sandbox.workspace(LATAM).write_log.writes if write.at < taken_at]
    # Each create takes a second, and the last one was sent before the deadline of 13 s.
    assert max(by_the_first) < taken_at - timedelta(seconds=1)
    pair.wait_until_given_up(working)
    expect_one_tick(pair, people, is_interrupted=True)
    pair.expect_all_at_work()


def test_replicas_whose_database_is_silent_for_both_go_on_once_it_answers(pair: Pair) -> None:
    people = pair.hire(8)
    pair.slow_down(1)
    pair.start_tick()
    wait_until(lambda: any(map(pair.is_active, people)))
    for proxy in pair.proxies:
        proxy.silence()
    _, renewed_at = pair.lease()
    now = select(func.extract("epoch", func.clock_timestamp()) * 1_000_000)
    wait_until(lambda: pair.rows(now)[0][0] > renewed_at + VOID_AFTER + 5_000_000)
    written = len(pair.sandbox.workspace(LATAM).write_log.writes)
    unready = [replica.answer("/readyz").status_code for replica in pair.replicas]
    for proxy in pair.proxies:
        proxy.restore()
    pair.wait_for_tick(people)

    assert unready == [503, 503]
    assert written < len(people)
    expect_one_tick(pair, people, is_interrupted=True)
    pair.expect_all_at_work()


@pytest.mark.parametrize(
    ("statement", "is_committed", "has_begun"),
    [
        pytest.param("UPDATE jobs SET claims", True, False, id="just after the claim"),
        pytest.param("INSERT INTO runs", False, False, id="before the commit of begin_run"),
        pytest.param("INSERT INTO runs", True, True, id="just after begin_run"),
        pytest.param("DELETE FROM jobs", False, False, id="before the job's end is on record"),
        pytest.param("DELETE FROM jobs", True, False, id="just after the job's end"),
    ],
)
def test_replica_suspended_at_a_commit_does_nothing_twice_when_it_goes_on(
    statement: str,
    is_committed: bool,
    has_begun: bool,
    pair: Pair,
) -> None:
    people = pair.hire(2)
    pair.start_tick()
    suspended = pair.suspend_at(statement, is_committed=is_committed)
    pair.wait_for_tick(people)
    written = pair.created()
    pair.wake(suspended)
    if not (statement.startswith("DELETE") and is_committed):
        pair.wait_until_given_up(suspended)
    pair.expect_all_at_work()

    assert pair.created() == written
    expect_one_tick(pair, people, is_interrupted=has_begun)


def test_replica_suspended_in_the_middle_of_a_write_does_nothing_twice_when_it_goes_on(pair: Pair) -> None:
    people = pair.hire(4)
    pair.slow_down(1)
    pair.start_tick()
    working = pair.worker()
    writes = Ended(pair.replicas[working].process, 2, signal.SIGSTOP)
    pair.sandbox.workspace(LATAM).write_log.writes = writes
    taken = pair.replicas[1 - working].until("job.taken_over")
    # Only one write suspends it.
    pair.sandbox.workspace(LATAM).write_log.writes = list(writes)
    pair.wait_for_tick(people)
    pair.wake(working)
    pair.wait_until_given_up(working)
    pair.expect_all_at_work()

    assert LATAM in taken["left"]
    expect_one_tick(pair, people, is_interrupted=True)


def test_replicas_share_ticks_requests_and_budget_through_a_pooler(pair: Pair) -> None:
    """The pooler takes the database's place, first in one mode and then in the other."""
    for mode, size in (("transaction", 2), ("session", 20)):
        pair.begin()
        with ExitStack() as stack:
            through = stack.enter_context(pooled(pair.url, mode, size))
            for proxy in pair.proxies:
                proxy.redirect(int(through.rpartition(":")[2].partition("/")[0]))
            people = pair.hire(2)
            pair.start_tick()
            pair.wait_for_tick(people)
            expect_one_tick(pair, people)
            pair.expect_all_at_work()
            ((holders,),) = pair.rows(select(func.count(func.distinct(request_permits.c.holder))))
            assert holders == 2
            for proxy in pair.proxies:
                proxy.redirect(pair.server.port)
