"""Commands in the image do what they do elsewhere, as any user, with nothing writable but the state."""

from __future__ import annotations

import json

import pytest

from sandbox.faults.parse import parse_rules
from sandbox.server import Sandbox
from tests.image.engine import Mount, podman, ran, started
from tests.image.setting import Setting

OURS, OTHER = "10001:10001", "4711:0"
VOLUME = "pigment-sync-image-check"


@pytest.fixture
def volume() -> str:
    """Return the name of a volume that the engine makes when it is first mounted."""
    podman("volume", "rm", "--force", VOLUME)
    return VOLUME


def check_check_finds_nothing_wrong(setting: Setting) -> None:
    result = ran("check", mounts=[*setting.mounts, setting.state(10001, 0)])
    assert (result.code, result.err) == (0, "")
    assert "✗" not in result.out


@pytest.mark.parametrize("user", [OURS, OTHER])
def check_plan_is_the_same_for_every_user(user: str, setting: Setting) -> None:
    result = ran("plan", "--format", "json", mounts=[*setting.mounts, setting.state(10001, 0, 0o770)], user=user)
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert [each["status"] for each in document["workspaces"]] == ["planned"] * 3
    assert all(each["counts"]["create"] for each in document["workspaces"])


@pytest.mark.parametrize("user", [OURS, OTHER])
def check_named_volume_takes_the_state_of_every_user(user: str, setting: Setting, volume: str) -> None:
    mounts = [*setting.mounts, Mount(volume, "/var/lib/pigment-sync", "rw")]
    synced = ran("sync", "-w", "pigment-eu", mounts=mounts, user=user)
    assert synced.code in {0, 4}, synced.err
    history = ran("history", "--format", "json", mounts=mounts, user=user)
    assert [run["workspace"] for run in json.loads(history.out)] == ["pigment-eu"]
    podman("volume", "rm", "--force", volume)


@pytest.mark.parametrize("reader", ["okta-sdk", "scim2-client"])
def check_other_readers_can_start(reader: str, setting: Setting) -> None:
    mounts = [*setting.mounts, setting.state(10001, 0)]
    result = ran("compare", "-w", "pigment-latam", "--with", reader, mounts=mounts)
    assert result.code == 0, result.err
    assert "Equal: both have the same" in result.out


def check_plan_is_saved_where_it_is_mounted(setting: Setting) -> None:
    out = setting.folder / "out"
    out.mkdir()
    out.chmod(0o777)
    mounts = [*setting.mounts, setting.state(10001, 0), Mount(out, "/out", "rw")]
    assert ran("plan", "--out", "/out/plan.json", mounts=mounts).code == 0
    assert json.loads((out / "plan.json").read_text("utf-8"))["version"] == 1


def check_state_url_in_a_secret_file_wins_over_the_folder(setting: Setting) -> None:
    setting.document["state"] = {"url": {"file": "/run/secrets/state-url"}}
    setting.written()
    (setting.secrets / "state-url").write_text("sqlite:////elsewhere/agent.db\n", "utf-8")
    elsewhere = setting.folder / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    assert ran("plan", mounts=[*setting.mounts, Mount(elsewhere, "/elsewhere", "rw")]).code == 0
    assert (elsewhere / "agent.db").stat().st_mode & 0o777 == 0o600


def check_demo_needs_nothing_at_all() -> None:
    result = ran("demo", "--out", "/tmp/demo")
    assert (result.code, result.err.count("Traceback")) == (0, 0), result.err


def check_sync_that_gets_a_stop_signal_stops(sandbox: Sandbox, setting: Setting) -> None:
    """A command is process 1 of its container, where a signal without a handler is lost."""
    sandbox.faults.put(parse_rules({"faults": [{"name": "slow", "do": "slow", "system": "pigment", "seconds": 1}]}))
    try:
        with started("sync", mounts=[*setting.mounts, setting.state(10001, 0)]) as container:
            while not sandbox.requests("pigment"):
                assert container.is_running()
            code, seconds = container.terminated()
    finally:
        sandbox.faults.clear()
    assert seconds < 30
    assert code != 137
