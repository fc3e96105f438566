"""A process of the previous release still works when this one migrates its state; this one continues from its data.

Its statements are in `release_before`; `tests/integration/test_store_release_before.py` holds migrations to such use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine

from agent.store.tables import metadata
from sandbox.company import Person
from sandbox.pigment.member import Member
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.command_line import run_command
from tests.e2e.release_before import ReleaseBefore, release_before
from tests.postgres import new_database

LATAM, GROUP = "pigment-latam", "Pigment LatAm"


@dataclass
class Harness:
    """A workspace in sync by this release, and a process of the previous release that opened its state earlier."""

    sandbox: Sandbox
    config: Path
    url: str
    older: Callable[[], AbstractContextManager[ReleaseBefore]]

    def hire(self, given: str) -> Person:
        return self.sandbox.company.hire("okta", given, "Tester", [GROUP])

    def create(self, person: Person) -> Member:
        """Add a member to the workspace as the previous release creates it."""
        return self.sandbox.workspace(LATAM).admin_create(person.email, f"{person.given} {person.family}")

    def planned(self) -> Any:
        ran = run_command(self.config, "plan", "--format", "json")
        assert ran.code == 0, ran.out + ran.err
        (workspace,) = json.loads(ran.out)["workspaces"]
        return workspace

    def sync(self) -> None:
        ran = run_command(self.config, "sync")
        assert ran.code == 0, ran.out + ran.err

    def known(self, table: str) -> list[dict[str, Any]]:
        engine = create_engine(self.url)
        with engine.connect() as connection:
            found = [dict(row) for row in connection.execute(metadata.tables[table].select()).mappings()]
        engine.dispose()
        return sorted(found, key=str)


@pytest.fixture(params=["sqlite", "postgresql"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if request.param == "postgresql":
        url = new_database(request.getfixturevalue("postgres_server"))
    with run_sandbox(seed=13, size=20, limit=RateLimit(None)) as sandbox:
        config = sandbox.write_config(tmp_path, url)
        tree = yaml.safe_load(config.read_text("utf-8"))
        config.write_text(yaml.safe_dump(tree | {"workspaces": {LATAM: tree["workspaces"][LATAM]}}), "utf-8")
        group = sandbox.company.okta.group(GROUP)
        older = partial(release_before, url, LATAM, "okta-main", (group.id, group.name))
        made = Harness(sandbox, config, url, older)
        made.sync()
        yield made


def test_runs_of_the_release_before_bring_no_hold_and_cost_nothing_that_was_known(harness: Harness) -> None:
    before, known = harness.planned(), {name: harness.known(name) for name in ("targets", "group_sightings", "undone")}
    joiner = harness.hire("Join")
    member = harness.create(joiner)
    with harness.older() as older:
        older.make("20260301-120000-aaaaaa", joiner, member.id)
    leaver = harness.sandbox.company.leave(harness.hire("Leave"))
    created = harness.create(leaver)
    created.active = False
    with harness.older() as older:
        older.make("20260301-120100-bbbbbb", leaver, created.id)
        older.deactivate("20260301-120200-cccccc", leaver, created.id)
    after = harness.planned()

    assert before["changes"] == after["changes"] == []
    assert after["holds"] == before["holds"]
    assert after["guards"] == before["guards"] == []
    assert {name: harness.known(name) for name in known} == known
    newcomer = harness.hire("New")
    harness.sync()
    assert harness.sandbox.workspace(LATAM).find_member(newcomer.email) is not None
    assert all(each["seen_at"] for each in harness.known("baselines"))
    listed = run_command(harness.config, "history", "--format", "json").out
    assert {"aaaaaa", "bbbbbb", "cccccc"} <= {each["id"][-6:] for each in json.loads(listed)}
    assert "deactivate done (run 20260301-120200-cccccc)" in run_command(harness.config, "explain", leaver.email).out


@pytest.mark.parametrize("is_made", [True, False])
def test_create_that_the_release_before_never_heard_of_is_settled_and_made_once(
    harness: Harness, is_made: bool
) -> None:
    joiner = harness.hire("Lost")
    made = harness.create(joiner) if is_made else None
    with harness.older() as older:
        older.send_create("20260301-120000-aaaaaa", joiner)
    harness.sync()

    assert [each for each in harness.known("runs") if each["status"] == "running"] == []
    (member,) = [
        each for each in harness.sandbox.workspace(LATAM).members if each.user_name.lower() == joiner.email.lower()
    ]
    assert made is None or member.id == made.id
    assert {each["scim_id"] for each in harness.known("links") if each["person"] == joiner.id} == {member.id}
    assert harness.planned()["changes"] == []


def test_release_before_and_this_one_respect_the_lease_and_the_pause_of_each_other(harness: Harness) -> None:
    joiner = harness.hire("Wait")
    with harness.older() as older:
        older.hold_lease()
    busy = run_command(harness.config, "sync")
    with harness.older() as older:
        older.release_lease()
        older.pause()
    paused = run_command(harness.config, "sync")
    member = harness.sandbox.workspace(LATAM).find_member(joiner.email)
    run_command(harness.config, "resume", LATAM)
    harness.sync()

    assert busy.code == 7
    assert "older, process 7" in busy.out + busy.err
    assert member is None, paused.out
    assert harness.sandbox.workspace(LATAM).find_member(joiner.email) is not None
    # What the previous release reads when it acquires the lease: its key's row, with a number that only grows.
    fences = {each["workspace"]: each["fence"] for each in harness.known("leases")}
    assert fences[LATAM] == max(fences.values())
