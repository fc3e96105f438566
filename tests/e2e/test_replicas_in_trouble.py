"""Two replicas whose database or whose own process fails at the worst moment: no run is lost, and none is doubled."""

from __future__ import annotations

import html
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
import yaml
from sqlalchemy import func, literal_column, select, text

from agent.store.migrate import HEAD
from agent.store.tables import feed_cursors, jobs, named_people, request_permits, runs, whole_runs
from tests import plain_http
from tests.copied_source import copy_source
from tests.e2e.agent_process import REPOSITORY, Agent
from tests.e2e.company import leavers
from tests.e2e.daemon_process import OPERATOR, Serving, serving
from tests.e2e.ended_process import Ended
from tests.e2e.oidc_provider import oidc_provider
from tests.e2e.replica_pair import LATAM, VOID_AFTER, Pair, made_pair
from tests.e2e.tcp_proxy import Trap, proxied
from tests.pgbouncer import pooled
from tests.postgres import free_port
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with oidc_provider() as issuer:
        oidc = {"issuer": issuer, "client_id": "pigment-sync", "client_secret": "a-secret-of-the-client"}
        oidc["roles"] = {"Identity team": "operate"}  # type: ignore[assignment]  # it is a mapping
        with made_pair(tmp_path_factory.mktemp("pair"), oidc=oidc) as pair:
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
    people = pair.hire(6)
    pair.slow_down(3)
    pair.start_tick()
    pair.wait_for_one(people)
    pair.server.stop(mode)
    pair.sandbox.faults.clear()
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
    people = pair.hire(6)
    pair.slow_down(3)
    pair.start_tick()
    pair.wait_for_one(people)
    working = pair.worker()
    pair.proxies[working].silence()
    pair.sandbox.faults.clear()
    # What the proxy has forwarded by now may still be a renewal.
    taken = pair.replicas[1 - working].until("job.taken_over")
    since, _ = pair.lease()
    pair.wait_for_tick(people)
    pair.proxies[working].restore()

    assert LATAM in taken["left"]
    taken_at = datetime.fromtimestamp(since / 1_000_000, UTC)
    by_the_first = [write.at for write in pair.sandbox.workspace(LATAM).write_log.writes if write.at < taken_at]
    # The last one was sent before the deadline, two seconds before the lease was void.
    assert max(by_the_first) < taken_at - timedelta(seconds=1)
    pair.wait_until_given_up(working)
    expect_one_tick(pair, people, is_interrupted=True)
    pair.expect_all_at_work()


def test_replicas_whose_database_is_silent_for_both_go_on_once_it_answers(pair: Pair) -> None:
    people = pair.hire(6)
    pair.slow_down(3)
    pair.start_tick()
    pair.wait_for_one(people)
    for proxy in pair.proxies:
        proxy.silence()
    pair.sandbox.faults.clear()
    _, renewed_at = pair.lease()
    now = select(func.extract("epoch", func.clock_timestamp()) * 1_000_000)
    wait_until(lambda: pair.rows(now)[0][0] > renewed_at + VOID_AFTER + 5_000_000, "five seconds with a void lease")
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
    people = pair.hire(6)
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


def browser_at(port: int) -> httpx.Client:
    """Return a browser that makes a connection for each request, as a load balancer may."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return plain_http.client(f"http://127.0.0.1:{port}", limits=limits)


def fields_of(page: str) -> dict[str, str]:
    """Return the fields of the form that approves a run, as a browser sends them."""
    form = re.search(r'<form method="post" action="/runs/[^"]+/approval".*?</form>', page, re.DOTALL)
    assert form, page
    found = {}
    for tag in re.findall("<input[^>]*>", form[0]):
        said = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if said.get("type") != "checkbox" or " checked" in tag:
            found[said["name"]] = html.unescape(said.get("value", "on"))
    return found


def test_page_goes_on_at_the_other_replica_when_one_is_killed(pair: Pair) -> None:
    """The browsers know one address, and what is behind it changes."""
    departed = leavers(pair.sandbox, 6)
    with (
        proxied("127.0.0.1", pair.replicas[0].port) as front,
        browser_at(front.port) as operator,
        browser_at(front.port) as visitor,
    ):
        assert operator.post("/login", data={"token": OPERATOR}).status_code == 303
        begun = visitor.get("/login/oidc")
        held = pair.ask(0)
        assert held["status"] == "held"
        pair.kill(0)
        front.redirect(pair.replicas[1].port)

        fields = fields_of(operator.get(f"/runs/{held['id']}").text)
        fields |= {"reason": "they left"} | {name: str(len(departed)) for name in fields if "number" in name}
        approved = operator.post(f"/runs/{held['id']}/approval", data=fields)
        assert approved.status_code == 303, approved.text
        wait_until(lambda: not any(pair.is_active(each.email.lower()) for each in departed), "the deactivations")
        agreed = visitor.post(begun.headers["location"], data={"sub": "ana"})
        back = visitor.get(agreed.headers["location"])
        shown = visitor.get("/").text
        cookies = dict(operator.cookies)
        left = operator.post("/logout", data={"csrf": fields["csrf"]})

        pair.start_again(0)
        front.redirect(pair.replicas[0].port)
        again = visitor.get("/").text
        operator.cookies.update(cookies)
        refused = operator.get("/")

    assert back.status_code == 200
    assert "ana@acme.com" in shown
    assert "ana@acme.com" in again
    assert left.headers["location"] == refused.headers["location"] == "/login"
    assert pair.ended("page")[LATAM, "done"] == 1
    pair.expect_all_at_work()


def test_replicas_whose_clocks_are_two_hours_apart_keep_ticks_leases_and_sessions(pair: Pair) -> None:
    with pair.joined_at(-3600) as behind, pair.joined_at(3600) as ahead, pair.suspended(0, 1):
        # One tick takes longer than a lease lasts without renewal.
        long = pair.hire(18)
        pair.slow_down(2)
        pair.start_tick()
        pair.wait_for_tick(long)
        expect_one_tick(pair, long, is_interrupted=False)
        times = pair.rows(select(runs.c.id, runs.c.started_at, runs.c.finished_at))
        ((now,),) = pair.rows(select(func.extract("epoch", func.clock_timestamp()) * 1_000_000))
        assert all(0 <= now - at < 1_800_000_000 for run, *both in times if run not in pair.known for at in both)
        with browser_at(pair.replicas[behind].port) as one, browser_at(pair.replicas[ahead].port) as other:
            assert one.post("/login", data={"token": OPERATOR}).status_code == 303
            other.cookies = one.cookies
            assert other.get("/").status_code == 200

        pair.known = {run for run, *_ in times}
        pair.sandbox.workspace(LATAM).write_log.clear()
        people = pair.hire(6)
        pair.slow_down(3)
        pair.start_tick()
        pair.wait_for_one(people)
        working = pair.worker()
        pair.kill(working)
        pair.sandbox.faults.clear()
        _, renewed_at = pair.lease()
        pair.replicas[behind + ahead - working].until("job.taken_over")
        since, _ = pair.lease()
        pair.wait_for_tick(people)
        for number in (behind, ahead):
            assert "clock.differs" in {line.get("event") for line in pair.replicas[number].seen}

    assert since - renewed_at >= VOID_AFTER
    expect_one_tick(pair, people, is_interrupted=True)
    pair.expect_all_at_work()


def with_feed(agent: Agent) -> Agent:
    """Return an agent that also polls the change feed of Okta."""
    document = yaml.safe_load(agent.config.read_text("utf-8"))
    document["connectors"]["okta-main"]["feed"] = {"every": "10s", "whole_run_every": "10s"}
    config = agent.config.with_name("with-feed.yaml")
    config.write_text(yaml.safe_dump(document), "utf-8")
    return Agent(config)


def test_run_that_a_feed_asks_for_is_started_once_although_the_replica_that_polled_is_killed(pair: Pair) -> None:
    wanted = select(whole_runs.c.workspace).where(whole_runs.c.why != "")
    with serving(with_feed(pair.agents[0])) as one, serving(with_feed(pair.agents[1])) as other:
        polled = select(feed_cursors.c.polled_at)
        first = wait_until(lambda: pair.rows(polled), "the first poll")
        # The second poll reads what happened in the minutes before the first.
        wait_until(lambda: pair.rows(polled) != first, "the second poll")
        open_runs = select(runs.c.id).where(runs.c.finished_at.is_(None))
        unfinished = (select(named_people.c.person), wanted, open_runs)
        wait_until(lambda: not any(map(pair.rows, unfinished)), "the end of what was polled")
        pair.known = {run for (run,) in pair.rows(select(runs.c.id))}
        pair.sandbox.workspace(LATAM).write_log.clear()
        killed: list[Serving] = []

        def kill(replica: Serving) -> None:
            for proxy in pair.proxies:
                proxy.trap = None
            replica.process.send_signal(signal.SIGKILL)
            killed.append(replica)

        traps = [Trap(b"INSERT INTO whole_runs", partial(kill, each), is_committed=True) for each in (one, other)]
        for proxy, trap in zip(pair.proxies, traps, strict=True):
            proxy.trap = trap
        people = pair.hire(1)
        wait_until(lambda: killed, "the kill of a replica")
        for trap in traps:
            trap.release()
        left = other if killed == [one] else one
        left.until("run.started", holds=lambda line: line["workspace"] == LATAM)
        wait_until(lambda: not pair.rows(wanted), "the end of the wanted run")

    assert pair.created() == dict.fromkeys(people, 1)
    found = pair.rows(select(runs.c.id, runs.c.workspace, runs.c.reason).order_by(runs.c.started_at))
    assert [(name, reason) for run, name, reason in found if run not in pair.known] == [
        (LATAM, "Started early: the feed reports a newcomer.")
    ]


def release_before(folder: Path) -> Path:
    """Copy this release without its newest migration, and without what that is for."""
    for part in ("agent", "connectors"):
        copy_source(REPOSITORY / part, folder / part, with_bytecode=True)
    migrate = folder / "agent" / "store" / "migrate.py"
    source = migrate.read_text("utf-8")
    before = re.findall(r'"(\d{4})"', source.partition("KNOWN_REVISIONS")[2])[-1]
    source = source.replace(f'HEAD = "{HEAD}"', f'HEAD = "{before}"').replace(f'        "{before}",\n', "")
    migrate.write_text(source, "utf-8")
    (newest,) = (folder / "agent" / "store" / "migrations" / "versions").glob(f"{HEAD}_*.py")
    newest.unlink()
    # Schema 0024 has an index more, which no code names.
    return folder


def test_release_before_works_on_one_database_with_this_one(pair: Pair, tmp_path: Path) -> None:
    with pair.joined_by("-m", "agent", folder=release_before(tmp_path)) as older:
        assert pair.rows(select(literal_column("version_num")).select_from(text("alembic_version"))) == [(HEAD,)]
        with pair.suspended(0, 1):
            people = pair.hire(2)
            pair.start_tick()
            pair.wait_for_tick(people)
            expect_one_tick(pair, people, is_interrupted=False)

            pair.known |= {run for (run,) in pair.rows(select(runs.c.id))}
            pair.sandbox.workspace(LATAM).write_log.clear()
            people = pair.hire(6)
            pair.slow_down(3)
            pair.start_tick()
            pair.wait_for_one(people)
            assert pair.worker() == older
        pair.kill(older)
        pair.sandbox.faults.clear()
        pair.wait_for_tick(people)

    expect_one_tick(pair, people, is_interrupted=True)
    pair.expect_all_at_work()
