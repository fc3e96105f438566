"""Feed runs against the sandbox: a person who provably left is deactivated, and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from agent.bootstrap import Components, open_components, open_pollers
from agent.engine.dryrun import dry_run
from agent.engine.feed_poll import FeedPoller, FeedScope, PollResult
from agent.engine.named_people import LOOK_AGAIN_AFTER, settle_looks
from agent.engine.request import RunRequest, RunResult
from agent.engine.shutdown import GracefulShutdown
from agent.errors import StateError
from agent.model.email import normalize
from agent.model.run import Outcome, RunStatus, Trigger
from agent.ports.feeds import feed_lease_key
from agent.report.check import check_json, check_junit
from agent.settings.load import load
from agent.settings.root import Settings
from connectors.base import CheckName, PersonKey, discard_progress
from sandbox.company import Person
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.migrated_state import new_sqlite_state

NAME = "pigment-latam"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=3, size=30, limit=RateLimit(None)) as served:
        yield served


class World:
    """One workspace in sync, with a poller whose interval never keeps it from polling."""

    def __init__(self, sandbox: Sandbox, components: Components, poller: FeedPoller) -> None:
        self.sandbox = sandbox
        self.components = components
        self.poller = poller
        self.app = sandbox.company.okta.pigment

    async def sync(self) -> RunResult:
        (result,) = await self.components.sync.run([NAME], RunRequest(Trigger.SYNC))
        return result

    async def poll(self) -> PollResult:
        async def scope() -> FeedScope:
            groups = {key[1]: (NAME,) for key in await self.components.state.load_sightings(NAME)}
            return FeedScope((NAME,), {self.app.id: (NAME,)}, groups)

        return await self.poller.poll(scope)

    async def feed_run(self) -> RunResult:
        sync = self.components.feed_sync()
        (result,) = await sync.run([NAME], RunRequest(Trigger.FEED))
        assert sync.feed_planner is not None
        looks = sync.feed_planner.looks[NAME]
        await settle_looks(self.components.state, looks, result.records, self.components.clock.now())
        return result

    async def undo(self, run_id: str) -> None:
        planner = self.components.undo_planner(run_id)
        workspaces = {NAME: self.components.read_only_workspaces[NAME]}
        (planned,) = await dry_run(planner, workspaces, [NAME], RunRequest(Trigger.PLAN))
        request = RunRequest(Trigger.UNDO, "ops", "put back", approved_digests=frozenset({planned.digest}))
        (result,) = await self.components.undo_sync(run_id).run([NAME], request)
        assert result.status is RunStatus.DONE

    def is_active(self, person: Person) -> bool:
        members = self.sandbox.pigment.workspaces[NAME].members
        return any(member.active for member in members if normalize(member.user_name) == normalize(person.email))

    async def linked(self, count: int) -> list[Person]:
        """Return people with a link and an active member, who have the application through one group."""
        home = self.sandbox.company.okta
        links = {link.person.id for link in (await self.components.state.load_memory(NAME)).links}
        assigned = home.assignments(self.app)
        found = [
            home.people[key]
            for key in sorted(links)
            if len(assigned.get(key, ())) == 1
            and key not in self.app.individuals
            and home.people[key].status == "ACTIVE"
            and self.is_active(home.people[key])
        ]
        return found[:count]


@asynccontextmanager
async def open_world(
    sandbox: Sandbox, folder: Path, *, fleet_percent: int = 100, is_refused: bool = False, **workspace: object
) -> AsyncIterator[World]:
    config = sandbox.write_config(folder)
    new_sqlite_state(folder)
    tree = yaml.safe_load(config.read_text("utf-8"))
    tree["connectors"]["okta-main"]["feed"] = {"every": "10s"}
    tree["limits"] = {"fleet_deactivations_percent": fleet_percent}
    tree["workspaces"][NAME] |= {"limits": {"max_deactivations": 10, "max_deactivations_percent": 100}} | workspace
    config.write_text(yaml.safe_dump(tree), "utf-8")
    settings: Settings = load(config, {})
    async with (
        open_components(settings, discard_progress, GracefulShutdown()) as components,
        open_pollers(settings, components.state) as pollers,
    ):
        (poller,) = pollers
        object.__setattr__(poller, "every", timedelta(0))
        world = World(sandbox, components, poller)
        # The guards hold some of the first run, which is not what these tests are about.
        await world.sync()
        if not is_refused:
            await world.poll()
        yield world


async def test_suspended_person_is_deactivated_with_the_event_in_the_journal(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        (person,) = await world.linked(1)
        requests = world.components.clients[NAME].requests
        sandbox.company.suspend(person)

        polled = await world.poll()
        result = await world.feed_run()

        assert polled.due == (NAME,)
        assert result.status is RunStatus.DONE
        (record,) = result.records
        assert record.outcome is Outcome.DONE
        assert (record.change.kind, record.change.code) == ("deactivate", "suspended")
        assert "user.lifecycle.suspend" in record.change.reason
        assert not world.is_active(person)
        assert await world.components.state.load_named_people(NAME) == ()
        assert world.components.clients[NAME].requests - requests <= 3


async def test_every_kind_of_leaver_is_deactivated_and_the_next_whole_run_has_nothing_left(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with open_world(sandbox, tmp_path) as world:
        deleted, deactivated, left, suspended = await world.linked(4)
        sandbox.company.delete(deleted)
        sandbox.company.deactivate(deactivated)
        sandbox.company.suspend(suspended)
        for group in sandbox.company.groups_of(left):
            if group.id in world.app.groups:
                sandbox.company.quit(left, group.id)

        await world.poll()
        result = await world.feed_run()
        after = await world.sync()

        assert {record.change.code for record in result.records} == {"deleted", "suspended", "left-groups"}
        assert [world.is_active(each) for each in (deactivated, left, suspended)] == [False] * 3
        assert [record.change.kind for record in after.records if record.change.kind == "deactivate"] == []
        notes = [note for note in getattr(after.planned, "notes", ()) if note.code in {"drift", "another-writer"}]
        assert notes == [], "what the feed run wrote is our own"


async def test_undone_feed_run_stays_undone_in_whole_runs_and_feed_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        deactivated, left, suspended = people = await world.linked(3)
        sandbox.company.deactivate(deactivated)
        sandbox.company.suspend(suspended)
        for group in sandbox.company.groups_of(left):
            if group.id in world.app.groups:
                sandbox.company.quit(left, group.id)
        await world.poll()
        result = await world.feed_run()
        assert [world.is_active(each) for each in people] == [False] * 3

        await world.undo(result.run_id)
        assert [world.is_active(each) for each in people] == [True] * 3
        await world.sync()
        sandbox.company.rename(suspended, "Robin", "Again")
        sandbox.company.rename(left, "Kim", "Again")
        await world.poll()
        await world.feed_run()
        await world.sync()

        assert [world.is_active(each) for each in people] == [True] * 3


async def test_person_who_stays_entitled_is_not_touched(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        (person,) = await world.linked(1)
        sandbox.company.suspend(person)
        sandbox.company.reinstate(person)

        await world.poll()
        result = await world.feed_run()

        assert result.records == ()
        assert world.is_active(person)
        assert await world.components.state.load_named_people(NAME) == ()


async def test_guard_counts_the_leavers_of_a_feed_with_those_of_the_hour(sandbox: Sandbox, tmp_path: Path) -> None:
    limits = {"max_deactivations": 2, "max_deactivations_percent": 100}
    async with open_world(sandbox, tmp_path, limits=limits) as world:
        people = await world.linked(3)
        for person in people:
            sandbox.company.suspend(person)

        await world.poll()
        result = await world.feed_run()

        assert result.status is RunStatus.HELD
        assert result.records == ()
        assert all(map(world.is_active, people))


async def test_fleet_guard_counts_the_leavers_of_a_feed(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path, fleet_percent=10) as world:
        for person in await world.linked(4):
            sandbox.company.suspend(person)

        await world.poll()
        result = await world.feed_run()

        assert {hold.code for hold in getattr(result.planned, "holds", ())} == {"fleet"}


async def test_more_people_than_the_feed_takes_start_a_whole_run(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        object.__setattr__(world.poller, "max_people", 2)
        for person in await world.linked(3):
            sandbox.company.suspend(person)

        polled = await world.poll()

        assert (polled.due, list(polled.whole_runs)) == ((), [NAME])
        assert await world.components.state.load_named_people(NAME) == ()


async def test_removed_group_and_newcomer_start_a_whole_run(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        group = world.app.groups[0]
        sandbox.company.hire("okta", "New", "Comer", [group])
        newcomer = await world.poll()
        sandbox.company.unassign_group(world.app, group)
        removed = await world.poll()

        assert "newcomer" in newcomer.whole_runs[NAME]
        assert NAME in removed.whole_runs


async def test_people_of_a_group_that_was_taken_off_the_application_are_left_to_the_guards(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with open_world(sandbox, tmp_path) as world:
        (person, suspended) = await world.linked(2)
        (group,) = [each.id for each in sandbox.company.groups_of(person) if each.id in world.app.groups]
        sandbox.company.unassign_group(world.app, group)
        sandbox.company.rename(person, "Another", "Name")
        sandbox.company.suspend(suspended)
        polled = await world.poll()

        result = await world.feed_run()

        assert NAME in polled.whole_runs
        assert [normalize(record.change.email) for record in result.records] == [normalize(suspended.email)]
        assert world.is_active(person)


async def test_lost_cursor_starts_a_whole_run_and_names_no_one(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        sandbox.environment.okta.system_log.expire_cursors()

        polled = await world.poll()

        assert "lost its place" in polled.whole_runs[NAME]
        assert await world.poll() is not None


async def test_person_named_during_a_whole_run_is_taken_up_inside_it(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        (person,) = await world.linked(1)
        read = world.components.planner.connectors["okta-main"].read

        async def read_then_leave(source: object, *, fresh: bool = False) -> object:
            snapshot = await read(source, fresh=fresh)  # type: ignore[arg-type]  # passed on as it came
            sandbox.company.suspend(person)
            await world.poll()
            return snapshot

        object.__setattr__(world.components.planner.connectors["okta-main"], "read", read_then_leave)
        result = await world.sync()

        ours = [record for record in result.records if record.change.email == person.email]
        assert [(record.change.kind, record.outcome) for record in ours] == [("deactivate", Outcome.DONE)]
        assert not world.is_active(person)


async def test_person_whom_a_whole_run_can_not_decide_about_stays_named_for_the_next_one(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with open_world(sandbox, tmp_path, grace_reads=2) as world:
        (person,) = await world.linked(1)
        read = world.components.planner.connectors["okta-main"].read

        async def read_then_leave(source: object, *, fresh: bool = False) -> object:
            snapshot = await read(source, fresh=fresh)  # type: ignore[arg-type]  # passed on as it came
            sandbox.company.suspend(person)
            await world.poll()
            return snapshot

        object.__setattr__(world.components.planner.connectors["okta-main"], "read", read_then_leave)
        await world.sync()

        (named,) = await world.components.state.load_named_people(NAME)
        assert (named.person.id, world.is_active(person)) == (person.id, True)


async def test_report_has_what_was_sent_before_the_state_was_lost(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        (person,) = await world.linked(1)
        sandbox.company.suspend(person)
        await world.poll()

        async def lose_state(*_arguments: object) -> None:
            raise StateError("The state can't be reached.", "Run again.")

        world.components.state.end_named = lose_state  # type: ignore[assignment,method-assign]  # the database is away
        result = await world.sync()

        assert (result.status, world.is_active(person)) == (RunStatus.INTERRUPTED, False)
        assert [record.change.kind.value for record in result.records] == ["deactivate"]


async def test_whole_run_changes_nothing_of_who_left_after_it_read_them(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        returned, renamed = await world.linked(2)
        sandbox.company.suspend(returned)
        await world.sync()
        sandbox.company.reinstate(returned)
        sandbox.company.rename(renamed, "Another", "Name")
        await world.poll()
        read = world.components.planner.connectors["okta-main"].read

        async def read_then_leave(source: object, *, fresh: bool = False) -> object:
            snapshot = await read(source, fresh=fresh)  # type: ignore[arg-type]  # passed on as it came
            sandbox.company.suspend(returned)
            sandbox.company.suspend(renamed)
            await world.poll()
            return snapshot

        object.__setattr__(world.components.planner.connectors["okta-main"], "read", read_then_leave)
        written = len(sandbox.pigment.workspaces[NAME].write_log.writes)
        result = await world.sync()

        emails = {normalize(returned.email): "returned", normalize(renamed.email): "renamed"}
        made = {
            (emails.get(normalize(record.change.email)), record.change.kind.value, record.outcome)
            for record in result.records
        }
        assert made == {
            ("returned", "reactivate", Outcome.HELD),
            ("renamed", "update-name", Outcome.HELD),
            ("renamed", "deactivate", Outcome.DONE),
        }
        (write,) = sandbox.pigment.workspaces[NAME].write_log.writes[written:]
        assert (write.method, world.is_active(renamed), world.is_active(returned)) == ("PATCH", False, False)


@pytest.mark.parametrize("trouble", ["member refused", "application missing", "person unreadable", "not due"])
async def test_whole_run_changes_nothing_of_who_may_have_left_after_it_read_them(
    sandbox: Sandbox, tmp_path: Path, trouble: str
) -> None:
    async with open_world(sandbox, tmp_path) as world:
        returned, renamed, other = await world.linked(3)
        sandbox.company.suspend(returned)
        await world.sync()
        sandbox.company.reinstate(returned)
        sandbox.company.rename(renamed, "Another", "Name")
        sandbox.company.rename(other, "Other", "Name")
        state = world.components.state
        read = world.components.planner.connectors["okta-main"].read
        rules = {
            "member refused": {"system": "pigment", "path": "/*/Users/*", "method": "GET", "status": 401},
            "application missing": {"system": "okta", "path": "/api/v1/apps/*", "status": 404},
            "person unreadable": {"system": "okta", "path": "/api/v1/users/*", "status": 403},
        }

        async def read_then_leave(source: object, *, fresh: bool = False) -> object:
            snapshot = await read(source, fresh=fresh)  # type: ignore[arg-type]  # passed on as it came
            for person in (returned, renamed):
                sandbox.company.suspend(person)
            await world.poll()
            if trouble in rules:
                rule = {"name": "away", "do": "status"} | rules[trouble]
                sandbox.faults.put(parse_rules({"faults": [rule]}))
            else:
                # By a daemon whose clock is ahead.
                later = world.components.clock.now() + timedelta(seconds=30)
                named = await state.load_named_people(NAME)
                await state.record_look([replace(each, due_at=later) for each in named])
            return snapshot

        # Those who were named for what this run reads are not due here.
        await world.poll()
        await state.end_named(await state.load_named_people(NAME))
        object.__setattr__(world.components.planner.connectors["okta-main"], "read", read_then_leave)
        written = len(sandbox.pigment.workspaces[NAME].write_log.writes)
        result = await world.sync()
        sandbox.faults.clear()

        made = {(normalize(each.change.email), each.change.kind.value, each.outcome) for each in result.records}
        assert made == {
            (normalize(returned.email), "reactivate", Outcome.HELD),
            (normalize(renamed.email), "update-name", Outcome.HELD),
            (normalize(other.email), "update-name", Outcome.DONE),
        }
        assert len(sandbox.pigment.workspaces[NAME].write_log.writes) == written + 1
        named = {each.person.id for each in await state.load_named_people(NAME)}
        assert named == {returned.id, renamed.id}, "the next run settles them"


async def test_approved_deactivation_is_made_although_a_guard_holds_what_the_feed_names(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    limits = {"max_deactivations": 1, "max_deactivations_percent": 100}
    async with open_world(sandbox, tmp_path, limits=limits) as world:
        people = await world.linked(3)
        for person in people:
            sandbox.company.suspend(person)
        components = world.components
        (planned,) = await dry_run(
            components.planner, components.read_only_workspaces, [NAME], RunRequest(Trigger.PLAN)
        )
        read = components.planner.connectors["okta-main"].read

        async def read_then_poll(source: object, *, fresh: bool = False) -> object:
            snapshot = await read(source, fresh=fresh)  # type: ignore[arg-type]  # passed on as it came
            await world.poll()
            return snapshot

        object.__setattr__(components.planner.connectors["okta-main"], "read", read_then_poll)
        approved = RunRequest(
            Trigger.SYNC, by="ana@acme.com", reason="they left", approved_digests=frozenset({planned.digest})
        )
        await components.sync.run([NAME], approved)

        assert [world.is_active(person) for person in people] == [False] * 3


async def test_whole_run_settles_who_was_named_before_it(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        (person,) = await world.linked(1)
        sandbox.company.suspend(person)
        await world.poll()

        result = await world.sync()

        assert not world.is_active(person)
        if result.status in {RunStatus.DONE, RunStatus.HELD}:
            assert await world.components.state.load_named_people(NAME) == ()


async def test_protected_member_and_grace_are_left_alone(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path, grace_reads=2) as world:
        (person,) = await world.linked(1)
        sandbox.company.suspend(person)
        await world.poll()

        result = await world.feed_run()

        assert result.records == ()
        assert world.is_active(person)


async def count_missed(world: World) -> Mapping[str, int]:
    state = world.components.state
    lease = await state.take_lease(feed_lease_key("okta-main"), "one")
    try:
        return await state.judge_found_leavers(lease, "okta-main", world.components.clock.now() + timedelta(hours=1))
    finally:
        await state.release_lease(lease)


async def test_leaver_whom_no_event_announced_is_missed_and_an_announced_one_has_a_lag(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with open_world(sandbox, tmp_path) as world:
        first, announced, missed = await world.linked(3)
        sandbox.company.suspend(first)
        just_begun = await world.sync()
        assert [record.outcome for record in just_begun.records] == [Outcome.DONE]
        assert await count_missed(world) == {}, "the feed began after the run before"

        sandbox.company.suspend(announced)
        await world.poll()
        sandbox.company.suspend(missed)
        result = await world.sync()

        assert {record.change.person for record in result.records} == {
            PersonKey("okta-main", person.id) for person in (announced, missed)
        }
        assert [lag.person.id for lag in result.lags] == [announced.id]
        assert await world.components.state.load_lags("okta-main", LONG_AGO)
        assert await count_missed(world) == {NAME: 1}
        assert await count_missed(world) == {}


async def test_leaver_who_waits_for_an_approval_is_counted_when_found_and_not_again(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    limits = {"max_deactivations": 1, "max_deactivations_percent": 100}
    async with open_world(sandbox, tmp_path, limits=limits) as world:
        await world.sync()
        for person in await world.linked(2):
            sandbox.company.suspend(person)

        held = await world.sync()
        assert (held.status, await count_missed(world)) == (RunStatus.HELD, {NAME: 2})
        await world.sync()
        assert await count_missed(world) == {}


async def test_member_whom_another_tool_reactivated_is_no_missed_leaver(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        (person,) = await world.linked(1)
        sandbox.company.suspend(person)
        await world.sync()
        await world.sync()
        sandbox.pigment.workspaces[NAME].admin_reactivate(person.email)

        result = await world.sync()

        assert [record.change.kind for record in result.records] == ["deactivate"]
        assert await count_missed(world) == {}


async def test_feed_run_measures_the_lag_of_each_deactivation(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        (person,) = await world.linked(1)
        sandbox.company.suspend(person)
        await world.poll()
        sync = world.components.feed_sync()
        results = await sync.run([NAME], RunRequest(Trigger.FEED))

        assert sync.feed_planner is not None
        settled = await settle_looks(
            world.components.state, sync.feed_planner.looks[NAME], results[0].records, world.components.clock.now()
        )
        assert [(lag.person.id, lag.workspace) for lag in settled.lags] == [(person.id, NAME)]
        assert settled.lags[0].seconds >= 0


async def test_check_tries_the_permission_of_the_feed(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_world(sandbox, tmp_path) as world:
        granted = (await world.components.check([NAME])).connectors["okta-main"]
        for client in sandbox.environment.okta.token_issuer.clients.values():
            client.scopes -= {"okta.logs.read"}
    async with open_world(sandbox, tmp_path, is_refused=True) as world:
        result = await world.components.check([NAME])

    lines = [finding for finding in granted if finding.name is CheckName.CHANGE_FEED]
    assert [finding.level for finding in lines] == ["ok", "ok"]
    (refused,) = [finding for finding in result.connectors["okta-main"] if finding.name is CheckName.CHANGE_FEED]
    assert refused.level == "warning"
    assert "invalid_scope" in refused.message
    assert "okta.logs.read" in refused.remedy
    assert "okta.users.read" not in refused.remedy
    checks = check_json(list(result))["checks"]
    assert isinstance(checks, list)
    assert [each["status"] for each in checks if each["name"] == "change-feed"] == ["warning"]
    assert "connector okta-main: change-feed" in check_junit(list(result))


@pytest.mark.parametrize("path", ["/api/v1/users/*", "/api/v1/apps/*"])
async def test_404_for_everybody_deactivates_no_one_and_has_a_line(sandbox: Sandbox, tmp_path: Path, path: str) -> None:
    """The admin role was narrowed: the people, or the application itself, look as if they did not exist."""
    async with open_world(sandbox, tmp_path) as world:
        (person,) = await world.linked(1)
        sandbox.company.suspend(person)
        await world.poll()
        rule = {"name": "narrowed", "do": "status", "system": "okta", "path": path, "status": 404}
        sandbox.faults.put(parse_rules({"faults": [rule]}))
        state = world.components.state
        (named,) = await state.load_named_people(NAME)
        # The last of the looks.
        await state.record_look([replace(named, looks=len(LOOK_AGAIN_AFTER))])
        sync = world.components.feed_sync()
        with capture_logs() as logged:
            (result,) = await sync.run([NAME], RunRequest(Trigger.FEED))
        assert sync.feed_planner is not None
        now = world.components.clock.now()
        settled = await settle_looks(state, sync.feed_planner.looks[NAME], result.records, now)
        sandbox.faults.clear()

        assert result.records == ()
        assert world.is_active(person)
        if path == "/api/v1/users/*":
            assert (settled.unproven, settled.left_to_run[0].person) == (1, named.person)
        else:
            assert [line["log_level"] for line in logged if line["event"] == "feed.not_looked"] == ["warning"]
            assert [each.person for each in await state.load_named_people(NAME)] == [named.person]
