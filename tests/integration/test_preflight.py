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

from agent.engine.state_checks import check_workspace_state
from agent.model.run import Pause
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.preflight import run_preflight
from agent.settings.load import load
from agent.settings.root import Settings
from connectors.base import CheckName, Source
from tests.factories import a_policy
from tests.memory_state import MemoryState
from tests.notice_receivers import webhook
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
A_SOURCE = Source("main", "0oa1")
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


async def test_unconfigured_features_have_no_findings(tmp_path: Path) -> None:
    assert await run_preflight(settings(tmp_path)) == []


async def test_reachable_notification_server_is_ok_and_gets_nothing(tmp_path: Path, listening: int) -> None:
    (found,) = await run_preflight(
        settings(tmp_path, notify={"urls": [f"json://ana:s3cret@127.0.0.1:{listening}/s3cret"]})
    )

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
    (found,) = await run_preflight(settings(tmp_path, notify={"urls": [url]}))

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
        (found,) = await run_preflight(settings(tmp_path, server={"port": 0, "oidc": OIDC}))

    assert (found.level, found.subject) == (level, "server.oidc")
    assert why in found.message


async def test_port_in_use_by_another_program_is_a_warning(tmp_path: Path, listening: int) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    (free,) = await run_preflight(settings(tmp_path, server={"port": port}))
    assert (free.level, free.subject) == ("ok", "server")

    with respx.mock:
        respx.get(f"http://127.0.0.1:{listening}/metrics").respond(text="go_goroutines 8")
        (taken,) = await run_preflight(settings(tmp_path, server={"port": listening}))
    assert taken.level == "warning"
    assert f"port {listening} of 127.0.0.1 is in use" in taken.message
    assert "serve would not start" in taken.message

    with respx.mock:
        respx.get(f"http://127.0.0.1:{listening}/metrics").respond(text="pigment_sync_ready 1")
        (ours,) = await run_preflight(settings(tmp_path, server={"port": listening}))
    assert ours.level == "ok"


async def test_pause_is_a_warning_with_who_since_when_and_why() -> None:
    state = MemoryState(Clock().now)
    await state.set_pause("latam", Pause(datetime(2026, 3, 1, 12, tzinfo=UTC), "ops", "a migration"))
    *_, found = await check_workspace_state(state, "state.db", a_policy(A_SOURCE))

    assert (found.level, found.name, found.subject) == ("warning", CheckName.PAUSE, "workspace latam")
    assert found.message == "is paused by ops since 2026-03-01 12:00 UTC: a migration. Nothing is written to it."
    assert found.remedy == "To resume: pigment-sync resume latam"


async def test_newest_probe_and_comparison_are_shown_with_their_dates() -> None:
    state = MemoryState(Clock().now)
    for day, kind, result, subject in (
        (1, VerificationKind.PROBE, VerificationResult.PASSED, "canary@acme.com"),
        (2, VerificationKind.PROBE, VerificationResult.DIFFERS, "canary@acme.com"),
        (3, VerificationKind.COMPARE, VerificationResult.PASSED, "okta-sdk"),
    ):
        at = datetime(2026, 3, day, 12, tzinfo=UTC)
        await state.record_verification(
            Verification(workspace="latam", kind=kind, started_at=at, result=result, subject=subject)
        )
    *_, probed, compared = await check_workspace_state(state, "state.db", a_policy(A_SOURCE))

    assert (probed.level, probed.name, compared.level, compared.name) == ("warning", "probe", "ok", "comparison")
    assert probed.message == "the newest probe, with canary@acme.com, found differences (2026-03-02 12:00 UTC)."
    assert "okta-sdk, found everything as expected (2026-03-03 12:00 UTC)" in compared.message
    assert "`pigment-sync probe --workspace latam" in probed.remedy


@pytest.mark.parametrize(("status", "level", "words"), [(200, "ok", "was accepted"), (500, "error", "not delivered")])
async def test_test_notice_is_sent_only_when_it_is_asked_for(
    tmp_path: Path, status: int, level: str, words: str
) -> None:
    with webhook() as receiver:
        given = settings(tmp_path, notify={"urls": [f"json://ana:s3cret@127.0.0.1:{receiver.port}/x"]})
        await run_preflight(given)
        before, receiver.status = len(receiver.received), status
        *_, found = await run_preflight(given, sends_notices=True)

    assert before == 0
    assert len(receiver.received) == (status == 200)
    assert (found.level, found.name, found.subject) == (level, CheckName.TEST_NOTICE, "notify.urls.0")
    assert words in found.message
    assert "s3cret" not in str(found)
