"""`check` tests notifications, login, port and pauses without sending anything."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import respx
import yaml

from agent.model.run import Pause
from agent.preflight import run_preflight
from agent.settings.load import load
from agent.settings.root import Settings
from connectors.base import Finding
from tests.memory_state import MemoryState
from tests.state_samples import Clock

BASE = {
    "connectors": {"main": {"type": "okta", "org_url": "https://acme.okta.com", "api_token": {"env": "T"}}},
    "workspaces": {
        "latam": {
            "scim_url": "https://latam.example.com/scim/v2",
            "tokens": [{"env": "L"}],
            "sources": [{"connector": "main", "app": "0oa1"}],
        }
    },
}
ISSUER = "https://login.acme.com"
OIDC = {"issuer": ISSUER, "client_id": "c", "client_secret": "s3cret", "roles": {"ops": "operate"}}


@pytest.fixture(name="listening")
def _listening() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def settings(folder: Path, **more: object) -> Settings:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({"server": {"port": 0}, **BASE, **more}), "utf-8")
    return load(file, {})


async def findings(given: Settings, pause: Pause | None = None) -> list[Finding]:
    state = MemoryState(Clock().now)
    if pause is not None:
        await state.set_pause("latam", pause)
    return await run_preflight(given, state, ["latam"])


async def test_unconfigured_features_have_no_findings(tmp_path: Path) -> None:
    assert await findings(settings(tmp_path)) == []


async def test_reachable_notification_server_is_ok_and_gets_nothing(tmp_path: Path, listening: int) -> None:
    (found,) = await findings(settings(tmp_path, notify={"urls": [f"json://ana:s3cret@127.0.0.1:{listening}/s3cret"]}))

    assert (found.level, found.subject) == ("ok", "notify.urls.0")
    assert f"127.0.0.1:{listening}" in found.message
    assert "s3cret" not in str(found)


@pytest.mark.parametrize(
    ("url", "level", "why"),
    [
        ("nonsense://s3cret", "error", "not a URL that Apprise supports"),
        ("slack://s3cret", "error", "not a URL that Apprise supports"),
        ("json://ana:s3cret@127.0.0.1:1/s3cret", "warning", "can't be reached"),
        ("mailto://ana:s3cret@acme.invalid:1?smtp=127.0.0.1&to=b@acme.com", "warning", "can't be reached"),
        ("pagerduty://A1BRTD4JDTIiajkdnlazkcOXrI@s3cretS3CRETs3cretS3CRET", "ok", "not contacted"),
    ],
)
async def test_unusable_notification_url_is_reported_without_its_secrets(
    tmp_path: Path, url: str, level: str, why: str
) -> None:
    (found,) = await findings(settings(tmp_path, notify={"urls": [url]}))

    assert found.level == level
    assert why in found.message
    assert "s3cret" not in str(found).lower()


@pytest.mark.parametrize(
    ("answer", "level", "why"),
    [
        (httpx.Response(200, json={"issuer": f"{ISSUER}/"}), "ok", "is reachable"),
        (httpx.Response(200, json={"issuer": "https://evil.example"}), "error", "a different issuer"),
        (httpx.Response(404, text="no"), "error", "no metadata"),
        (httpx.Response(503, json={}), "error", "returned status 503"),
        (httpx.ConnectError("refused"), "error", "refused"),
    ],
)
async def test_login_is_checked_by_its_metadata(
    tmp_path: Path, answer: httpx.Response | Exception, level: str, why: str
) -> None:
    with respx.mock:
        route = respx.get(f"{ISSUER}/.well-known/openid-configuration")
        route.mock(side_effect=answer) if isinstance(answer, Exception) else route.mock(return_value=answer)
        (found,) = await findings(settings(tmp_path, server={"port": 0, "oidc": OIDC}))

    assert (found.level, found.subject) == (level, "server.oidc")
    assert why in found.message


async def test_port_in_use_by_another_program_is_a_warning(tmp_path: Path, listening: int) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    (free,) = await findings(settings(tmp_path, server={"port": port}))
    assert (free.level, free.subject) == ("ok", "server")

    with respx.mock:
        respx.get(f"http://127.0.0.1:{listening}/metrics").respond(text="go_goroutines 8")
        (taken,) = await findings(settings(tmp_path, server={"port": listening}))
    assert taken.level == "warning"
    assert f"port {listening} of 127.0.0.1 is in use" in taken.message
    assert "serve would not start" in taken.message

    with respx.mock:
        respx.get(f"http://127.0.0.1:{listening}/metrics").respond(text="pigment_sync_ready 1")
        (ours,) = await findings(settings(tmp_path, server={"port": listening}))
    assert ours.level == "ok"


async def test_pause_is_a_warning_with_who_since_when_and_why(tmp_path: Path) -> None:
    pause = Pause(datetime(2026, 3, 1, 12, tzinfo=UTC), "ops", "a migration")
    (found,) = await findings(settings(tmp_path), pause)

    assert (found.level, found.subject) == ("warning", "workspace latam")
    assert found.message == "is paused by ops since 2026-03-01 12:00 UTC: a migration. Nothing is written to it."
    assert found.remedy == "To resume: pigment-sync resume latam"
