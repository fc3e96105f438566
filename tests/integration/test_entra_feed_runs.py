"""Entra's feed with a state and a workspace: a lost place, a tenant that changes whole, a permission that is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from agent.bootstrap import Components, open_components, open_pollers
from agent.engine.feed_poll import FeedPoller, FeedScope, PollResult
from agent.engine.named_people import settle_looks
from agent.engine.request import RunRequest, RunResult
from agent.engine.shutdown import GracefulShutdown
from agent.model.run import RunStatus, Trigger
from agent.settings.load import load
from connectors.base import PermissionMissing, discard_progress
from sandbox.company import Person
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox

NAME, CONNECTOR = "pigment-eu", "entra-eu"


@dataclass
class World:
    """One workspace in sync, with a poller whose interval never keeps it from polling."""

    sandbox: Sandbox
    components: Components
    poller: FeedPoller

    async def poll(self) -> PollResult:
        async def scope() -> FeedScope:
            groups = {key[1]: (NAME,) for key in await self.components.state.load_sightings(NAME)}
            return FeedScope((NAME,), {self.sandbox.company.entra.pigment.id: (NAME,)}, groups)

        return await self.poller.poll(scope)

    async def sync(self) -> RunResult:
        (result,) = await self.components.sync.run([NAME], RunRequest(Trigger.SYNC))
        return result

    async def feed_run(self) -> RunResult:
        """Run once as the daemon does. Those who are to be looked at again are due at once."""
        sync, state = self.components.feed_sync(), self.components.state
        (result,) = await sync.run([NAME], RunRequest(Trigger.FEED))
        assert sync.feed_planner is not None
        long_ago = self.components.clock.now() - timedelta(minutes=5)
        await settle_looks(state, sync.feed_planner.looks[NAME], result.records, long_ago)
        return result

    def active(self) -> set[str]:
        return {each.user_name.lower() for each in self.sandbox.workspace(NAME).members if each.active}

    async def linked(self) -> list[Person]:
        """Return active people with a link, an active member and one group that counts."""
        home = self.sandbox.company.entra
        links = {link.person.id for link in (await self.components.state.load_memory(NAME)).links}
        return [
            home.people[key]
            for key, groups in home.assignments(home.pigment).items()
            if key in links and len(groups) == 1 and home.people[key].email.lower() in self.active()
        ]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with run_sandbox(seed=3, size=30, limit=RateLimit(None)) as sandbox:
        config = sandbox.write_config(tmp_path)
        tree = yaml.safe_load(config.read_text("utf-8"))
        tree["connectors"][CONNECTOR]["feed"] = {"every": "10s", "max_people": 5}
        config.write_text(yaml.safe_dump(tree), "utf-8")
        settings = load(config, {})
        async with (
            open_components(settings, discard_progress, GracefulShutdown()) as components,
            open_pollers(settings, components.state) as pollers,
        ):
            (poller,) = pollers
            object.__setattr__(poller, "every", timedelta(0))
            found = World(sandbox, components, poller)
            await found.sync()
            await found.poll()
            yield found


async def test_disabled_person_is_deactivated_by_what_the_feed_names(world: World) -> None:
    (person, *_) = await world.linked()
    world.sandbox.company.suspend(person)

    polled = await world.poll()
    result = await world.feed_run()

    assert (polled.due, dict(polled.whole_runs)) == ((NAME,), {})
    (record,) = result.records
    assert (record.change.kind, record.change.code) == ("deactivate", "suspended")
    assert "(users/delta)" in record.change.reason
    assert person.email.lower() not in world.active()


async def test_person_whom_a_replica_still_shows_as_before_is_looked_at_once_more(world: World) -> None:
    disabled, renamed, *_ = await world.linked()
    tenant = world.sandbox.environment.entra
    tenant.options = replace(tenant.options, replica_seconds=3600)
    world.sandbox.company.suspend(disabled)
    world.sandbox.company.rename(renamed, given="Other")
    await world.poll()

    first = await world.feed_run()
    waiting = await world.components.state.load_named_people(NAME)
    second = await world.feed_run()

    assert first.records == ()
    assert {(each.person.id, each.looks) for each in waiting} == {(disabled.id, 1), (renamed.id, 1)}
    assert [each.change.email for each in second.records] == [disabled.email]
    assert await world.components.state.load_named_people(NAME) == (), "the new name is left to a whole run"


async def test_lost_place_is_a_whole_run_and_names_no_one(world: World) -> None:
    (person, *_) = await world.linked()
    world.sandbox.environment.entra.delta_log.expire_tokens()
    world.sandbox.company.suspend(person)

    lost = await world.poll()
    again = await world.poll()

    assert lost.due == ()
    assert dict(lost.whole_runs) == {NAME: "the feed lost its place"}
    assert (again.due, dict(again.whole_runs)) == ((), {}), "the fresh place is later"
    assert await world.components.state.load_named_people(NAME) == ()


async def test_tenant_that_disables_everyone_is_a_whole_run_that_its_guards_hold(world: World) -> None:
    before = world.active()
    for person in await world.linked():
        world.sandbox.company.suspend(person)

    polled = await world.poll()
    result = await world.sync()

    assert polled.due == ()
    assert "people at once" in polled.whole_runs[NAME]
    assert result.status is RunStatus.HELD
    assert world.active() == before


async def test_permission_that_is_gone_is_named_and_the_place_is_kept(world: World) -> None:
    (person, *_) = await world.linked()
    tenant = world.sandbox.environment.entra
    roles = tenant.roles
    world.sandbox.company.suspend(person)
    tenant.roles = roles - {"User.Read.All"}
    tenant.token_issuer.revoke_all()

    with pytest.raises(PermissionMissing) as missing:
        await world.poll()
    tenant.roles = roles
    tenant.token_issuer.revoke_all()

    assert "User.Read.All" in missing.value.hint
    assert (await world.poll()).due == (NAME,)
