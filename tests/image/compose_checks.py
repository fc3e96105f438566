"""deploy/compose.yaml runs as it stands, by podman-compose: the trial with the sandbox, the agent with PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.image.engine import IMAGE, podman

REPOSITORY = Path(__file__).parents[2]
POSTGRES = "localhost/pigment-sync-postgres:test"
PORT = "18080"
TOKEN = {"Authorization": "Bearer try-the-sandbox"}
PASSWORD = "only-for-this-check"


def compose(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [os.environ["PODMAN_COMPOSE"], "-f", "compose.yaml", *arguments]
    more = {"PIGMENT_SYNC_IMAGE": IMAGE, "POSTGRES_IMAGE": POSTGRES, "PIGMENT_SYNC_PORT": PORT}
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def deployed() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="compose-check-")) / "deploy"
    shutil.copytree(REPOSITORY / "deploy", folder, ignore=shutil.ignore_patterns("secrets"))
    yield folder
    compose(folder, "--profile", "sandbox", "down", "--volumes")
    shutil.rmtree(folder.parent)


def answered(path: str) -> httpx.Response:
    """Return the first answer that is a success, within a minute."""
    ends = time.monotonic() + 60
    while True:
        try:
            found = httpx.get(f"http://127.0.0.1:{PORT}{path}", headers=TOKEN, timeout=5, trust_env=False)
            if found.status_code == 200 or time.monotonic() > ends:
                return found
        except httpx.TransportError:
            if time.monotonic() > ends:
                raise
        time.sleep(0.3)


def check_trial_syncs_the_sandbox(deployed: Path) -> None:
    begun = compose(deployed, "--profile", "sandbox", "up", "--detach", "sandbox-agent")
    assert answered("/readyz").text.strip() == "ready", begun.stderr
    names = [each["name"] for each in answered("/api/v1/workspaces").json()["workspaces"]]
    assert names == ["pigment-latam", "pigment-eu", "pigment-apac"]
    for service in ("sandbox", "sandbox-agent"):
        assert podman("healthcheck", "run", f"pigment-sync_{service}_1").code == 0


def check_agent_keeps_its_state_in_postgresql(deployed: Path) -> None:
    secrets = deployed / "compose" / "secrets"
    secrets.mkdir()
    key = (
        rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    )
    for name, value in {
        "postgres-password": PASSWORD,
        "state-url": f"postgresql+psycopg://pigment_sync:{PASSWORD}@postgres/pigment_sync",
        "okta-key": key,
        "pigment-token": "pretend",
        "page-token": f"operate:you:sha256:{'0' * 64}",
    }.items():
        (secrets / name).write_text(value, "utf-8")
        (secrets / name).chmod(0o644)
    begun = compose(deployed, "up", "--detach")
    assert answered("/readyz").text.strip() == "ready", begun.stderr
    pause = podman("exec", "pigment-sync_agent_1", "pigment-sync", "pause", "pigment-latam", "--reason", "a check")
    assert pause.code == 0, pause.err
    query = ("psql", "--no-align", "--tuples-only", "--username=pigment_sync", "pigment_sync", "--command")
    found = podman("exec", "pigment-sync_postgres_1", *query, "SELECT reason FROM pauses")
    assert found.out.strip() == "a check", found.err
    for service in ("agent", "postgres"):
        assert podman("healthcheck", "run", f"pigment-sync_{service}_1").code == 0
