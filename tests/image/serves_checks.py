"""The daemon in the image: health, a clean shutdown, and a state that outlives its container."""

from __future__ import annotations

import json

import pytest

from tests.image.engine import IMAGE, Container, inspected, ran, started
from tests.image.setting import Setting


def health_check(container: Container) -> int:
    """Run what the image names as its health check, as the engine would."""
    kind, *command = inspected(IMAGE)["HealthCheck" if "HealthCheck" in inspected(IMAGE) else "Healthcheck"]["Test"]
    assert kind == "CMD"
    return container.inside(*command).code


@pytest.mark.parametrize(("user", "uid"), [("10001:10001", 10001), ("4711:0", 4711)])
def check_daemon_answers_syncs_ends_gently_and_goes_on(user: str, uid: int, setting: Setting) -> None:
    mounts = [*setting.mounts, setting.state(uid, 0)]
    port = ("--env", f"PIGMENT_SYNC__SERVER__PORT={setting.port}")
    with started(mounts=mounts, user=user, more=port) as daemon:
        daemon.until("server.listening")
        daemon.until("run.finished")
        assert setting.answer("/healthz").status_code == 200
        assert setting.answer("/readyz").status_code == 200
        assert health_check(daemon) == 0
        assert daemon.inside("cat", "/proc/1/comm").out.strip() == "pigment-sync"
        assert "CapEff:\t0000000000000000" in daemon.inside("cat", "/proc/1/status").out
        code, seconds = daemon.terminated()
    assert code == 0
    assert seconds < 25
    before = runs(setting, user)
    with started(mounts=mounts, user=user, more=port) as daemon:
        daemon.until("server.listening")
        assert setting.answer("/readyz").status_code == 200
        assert daemon.terminated()[0] == 0
    # Each was synced less than an hour ago, which the second daemon knows from the first one's journal.
    assert runs(setting, user) == before
    assert before


def runs(setting: Setting, user: str) -> list[str]:
    volume = setting.state(int(user.partition(":")[0]), 0)
    result = ran("history", "--format", "json", mounts=[*setting.mounts, volume], user=user)
    assert result.code == 0, result.err
    return sorted(run["id"] for run in json.loads(result.out))


def check_health_check_fails_where_nothing_listens(setting: Setting) -> None:
    mounts = [*setting.mounts, setting.state(10001, 0)]
    with started(mounts=mounts, more=("--env", "PIGMENT_SYNC__SERVER__PORT=0")) as daemon:
        daemon.until("server.listening")
        assert health_check(daemon) != 0


def check_health_check_asks_past_a_proxy(setting: Setting) -> None:
    mounts = [*setting.mounts, setting.state(10001, 0)]
    more = [
        f"--env=PIGMENT_SYNC__SERVER__PORT={setting.port}",
        "--env=http_proxy=http://127.0.0.1:9",
        "--env=NO_PROXY=",
    ]
    with started(mounts=mounts, more=more) as daemon:
        daemon.until("server.listening")
        assert health_check(daemon) == 0
