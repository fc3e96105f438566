"""A state of an older release, a new one and an empty one: the effects and warnings of each command."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

import agent.store.migrate
from agent.store.migrate import HEAD
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.e2e.agent_process import Ran
from tests.e2e.command_line import run_command
from tests.postgres import new_database

pytestmark = pytest.mark.traced

LATAM = "pigment-latam"
BEFORE = "0004"
"""The schema of the release that knew no fingerprints."""
READING = (
    ("plan",),
    ("explain", "ann@acme.com"),
    ("access",),
    ("access", "--as-of", "2026-01-01"),
    ("members",),
    ("history",),
    ("report", "20260301-120000-3f9a1c"),
    ("links", "list"),
    ("links", "move", "--from", "okta-main", "--to", "entra-eu"),
    ("workspaces", "list"),
    ("check",),
    ("undo", "20260301-120000-3f9a1c"),
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=13, size=20, limit=RateLimit(None)) as served:
        yield served


def old_state(url: str) -> None:
    """Make an empty state of the previous release."""
    config = Config()
    folder = Path(agent.store.migrate.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    engine = create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
    engine.dispose()


def schema(url: str) -> str:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    engine.dispose()
    return str(found)


def only_latam(config: Path) -> None:
    tree = yaml.safe_load(config.read_text("utf-8"))
    tree["workspaces"] = {LATAM: tree["workspaces"][LATAM]}
    config.write_text(yaml.safe_dump(tree), "utf-8")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_commands_that_read_never_migrate_an_older_state(
    request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path, kind: str
) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if kind == "postgresql":
        url = new_database(request.getfixturevalue("postgres_server"))
    old_state(url)
    config = sandbox.write_config(tmp_path, url)
    for arguments in READING:
        ran = run_command(config, *arguments)
        assert ran.code == 1, (arguments, ran.out, ran.err)
        assert " state migrate" in ran.err, arguments
        assert BEFORE in ran.err
        assert HEAD in ran.err
        assert schema(url) == BEFORE, arguments

    migrated = run_command(config, "state", "migrate")
    assert (migrated.code, schema(url)) == (0, HEAD), migrated.err
    assert run_command(config, "history").code == 0


def test_command_that_writes_migrates_an_older_state(sandbox: Sandbox, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    old_state(url)
    config = sandbox.write_config(tmp_path)

    assert run_command(config, "pause", LATAM, "--reason", "an upgrade").code == 0
    assert schema(url) == HEAD


def test_state_of_the_release_before_goes_on_without_a_hold_and_is_known_from_then_on(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    config = sandbox.write_config(tmp_path)
    only_latam(config)
    assert run_command(config, "sync").code == 0
    links = run_command(config, "links", "list").out
    moved_back(tmp_path / "state.db")
    leaver = next(each for each in sandbox.company.okta.people.values() if each.email in links)
    sandbox.company.leave(leaver)
    ran = run_command(config, "sync")

    assert ran.code == 0, ran.out + ran.err
    assert leaver.email in ran.out
    assert "wrong-target" not in ran.out
    assert "state-empty" not in ran.out
    listed = json.loads(run_command(config, "workspaces", "list", "--format", "json").out)
    assert [(each["name"], each["url"]) for each in listed] == [(LATAM, f"{sandbox.pigment_url}/{LATAM}/scim/v2")]


def moved_back(path: Path) -> None:
    """Replace the state by one of the previous release with the same links, and nothing unknown to that release."""
    backup = path.with_name("kept.db")
    with sqlite3.connect(path) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    for each in path.parent.glob("state.db*"):
        each.unlink()
    old_state(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        connection.execute("ATTACH ? AS kept", (str(backup),))
        connection.execute(
            "INSERT INTO links (workspace, connector, person, scim_id, groups, missed_reads)"
            " SELECT workspace, connector, person, scim_id, groups, missed_reads FROM kept.links"
        )


def warned(ran: Ran) -> list[str]:
    return [line for line in ran.err.splitlines() if line.startswith("pigment-sync: warning: ")]


def test_new_and_empty_states_are_warned_of_until_there_are_links(sandbox: Sandbox, tmp_path: Path) -> None:
    config = sandbox.write_config(tmp_path)
    only_latam(config)
    sandbox.workspace(LATAM).admin_create("somebody@acme.com", "Some Body")
    first, second = run_command(config, "plan"), run_command(config, "plan", "--format", "json")
    place = str(tmp_path / "state.db")

    assert [place in line for line in warned(first)] == [True, False], first.err
    assert ["has no links for" in line for line in warned(second)] == [True], "it is new once, and empty until a sync"
    (planned,) = json.loads(second.out)["workspaces"]
    assert "state-empty" in {note["code"] for note in planned["notes"]}
    assert (first.code, second.code) == (0, 0)
    checked = run_command(config, "check")
    assert checked.code == 0, checked.out
    assert f"the state {place} has no links for it yet" in checked.out

    assert run_command(config, "sync").code == 0
    after = run_command(config, "plan", "--format", "json")
    assert warned(after) == []
    assert "state-empty" not in after.out
    assert "no links" not in run_command(config, "check").out


def test_mistyped_place_of_the_state_is_warned_of_by_plan_and_check(sandbox: Sandbox, tmp_path: Path) -> None:
    config = sandbox.write_config(tmp_path, f"sqlite:///{tmp_path}/mistyped/state.db")
    only_latam(config)
    checked = run_command(config, "check")
    shutil.rmtree(tmp_path / "mistyped")
    planned = run_command(config, "plan")

    assert f"there was no state at {tmp_path}/mistyped/state.db" in checked.out
    assert warned(checked) == [], "reported once"
    assert f"there was no state at {tmp_path}/mistyped/state.db" in planned.err
    assert "state.url" in planned.err


def test_check_names_a_key_that_the_state_knows_otherwise(sandbox: Sandbox, tmp_path: Path) -> None:
    config = sandbox.write_config(tmp_path)
    only_latam(config)
    assert run_command(config, "sync").code == 0
    config.write_text(config.read_text("utf-8").replace(f"{LATAM}:", "brazil:"), "utf-8")
    checked = run_command(config, "check")

    assert checked.code == 6
    assert f"pigment-sync --config {config} workspaces rename {LATAM} brazil" in checked.out
