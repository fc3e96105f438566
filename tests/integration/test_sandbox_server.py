"""The sandbox serves all its systems on loopback, and a user can experiment with them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, SandboxError, run_sandbox

SYSTEMS = ("okta", "entra", "onelogin", "pigment", "admin")


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """A sandbox for the read-only tests."""
    with run_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox() as made:
        yield made


def members(sandbox: Sandbox, workspace: str, token: str = "") -> httpx.Response:
    secret = token or sandbox.environment.tokens(workspace)[0]
    url = f"{sandbox.pigment_url}/{workspace}/scim/v2/Users"
    return httpx.get(url, headers={"Authorization": f"Bearer {secret}"})


def test_each_system_listens_at_a_loopback_port_of_its_own(shared: Sandbox) -> None:
    assert set(shared.urls) == set(SYSTEMS)
    assert len(set(shared.urls.values())) == 5
    assert all(url.startswith("http://127.0.0.1:") for url in shared.urls.values())


def test_each_system_answers_in_its_own_words(shared: Sandbox) -> None:
    assert httpx.get(f"{shared.okta_url}/api/v1/apps").json()["errorCode"] == "E0000011"
    assert httpx.get(f"{shared.entra_url}/v1.0/users").json()["error"]["code"] == "InvalidAuthenticationToken"
    assert httpx.get(f"{shared.onelogin_url}/api/2/users").json()["name"] == "UnauthorizedError"
    assert members(shared, "pigment-eu", "wrong").json()["status"] == "401"
    assert "people" in httpx.get(shared.admin_url).json()


def test_ports_are_in_a_row_when_the_first_is_named() -> None:
    with run_sandbox(port=free_row()) as made:
        ports = [int(made.urls[name].rpartition(":")[2]) for name in SYSTEMS]

    assert ports == list(range(ports[0], ports[0] + 5))


def test_port_in_use_is_reported_and_nothing_stays_open() -> None:
    first = free_row()
    with (
        socket.create_server(("127.0.0.1", first + 2)),
        pytest.raises(SandboxError, match=str(first + 2)),
        run_sandbox(port=first),
    ):
        pass

    with run_sandbox(port=first) as made:
        assert made.okta_url == f"http://127.0.0.1:{first}"


def free_row() -> int:
    """Return a port that is free, as are the four after it."""
    for first in range(21_000, 30_000, 7):
        with pytest.MonkeyPatch.context():
            try:
                for port in range(first, first + 5):
                    socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                continue
            return first
    raise AssertionError("no five free ports in a row")


def test_nothing_is_left_when_the_block_ends() -> None:
    threads = threading.active_count()
    with run_sandbox() as made:
        assert httpx.get(made.admin_url).status_code == 200

    with pytest.raises(httpx.ConnectError):
        httpx.get(made.admin_url)
    assert threading.active_count() == threads


def test_signals_and_logging_are_left_to_the_process() -> None:
    import logging

    before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    with run_sandbox() as made:
        httpx.get(made.admin_url)
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
        assert logging.getLogger("uvicorn").handlers == []
        assert logging.getLogger("uvicorn.access").handlers == []


def test_same_seed_gives_the_same_world(shared: Sandbox) -> None:
    with run_sandbox() as other, run_sandbox(seed=2) as stranger:
        assert repr(other.company.directories) == repr(shared.company.directories)
        assert [each.id for each in other.workspace("pigment-eu").members] == [
            each.id for each in shared.workspace("pigment-eu").members
        ]
        assert other.environment.okta_key.private_pem == shared.environment.okta_key.private_pem
        assert stranger.environment.okta_key.private_pem != shared.environment.okta_key.private_pem


def test_size_decides_how_many_people_there_are() -> None:
    with run_sandbox(size=30) as made:
        assert [len(each.people) for each in made.company.directories.values()] == [30, 32, 30]


def test_workspaces_hold_most_people_and_a_little_of_everything(shared: Sandbox) -> None:
    for name, directory in (("pigment-latam", "okta"), ("pigment-eu", "entra"), ("pigment-apac", "onelogin")):
        home = shared.company.directory(directory)
        assigned = {home.people[key].email.casefold() for key in home.assignments(home.pigment)}
        listed = {member.user_name.casefold(): member for member in shared.workspace(name).members}
        assert len(assigned & set(listed)) > 0.85 * len(assigned)
        assert assigned - set(listed)
        assert "support@pigment.com" in listed
        assert [email for email in listed if "auditor" in email]
        assert [email for email, member in listed.items() if not member.active and email not in assigned]


def test_requests_are_remembered_by_system(sandbox: Sandbox) -> None:
    httpx.get(f"{sandbox.okta_url}/api/v1/apps?limit=1")
    members(sandbox, "pigment-latam")
    members(sandbox, "pigment-eu", "wrong")

    assert [(each.method, each.path, each.query, each.status) for each in sandbox.requests("okta")] == [
        ("GET", "/api/v1/apps", "limit=1", 401)
    ]
    assert [each.status for each in sandbox.requests("pigment")] == [200, 401]
    assert len(sandbox.requests()) == 3
    assert sandbox.requests("pigment", "POST") == []
    sandbox.request_log.clear()
    assert sandbox.requests() == []


def test_fault_goes_wrong_and_is_remembered(sandbox: Sandbox) -> None:
    faults = {"faults": [{"do": "status", "status": 503, "system": "pigment", "times": 1}]}
    assert httpx.put(f"{sandbox.admin_url}/faults", json=faults).status_code == 200

    statuses = [members(sandbox, "pigment-eu").status_code for _ in range(2)]

    assert statuses == [503, 200]
    assert [each.status for each in sandbox.requests("pigment")] == [503, 200]
    assert len(httpx.get(f"{sandbox.admin_url}/faults").json()["fired"]) == 1


def test_lost_connection_is_remembered_without_a_status(sandbox: Sandbox) -> None:
    faults = {"faults": [{"do": "disconnect", "system": "pigment"}]}
    httpx.put(f"{sandbox.admin_url}/faults", json=faults)

    with pytest.raises(httpx.TransportError):
        members(sandbox, "pigment-eu")

    # The client sees its connection go a moment before the server knows that it has lost it.
    for _ in range(500):
        if sandbox.requests("pigment"):
            break
        threading.Event().wait(0.01)
    assert [each.status for each in sandbox.requests("pigment")] == [0]


def test_pigment_holds_to_the_limit_that_was_set() -> None:
    with run_sandbox(limit=RateLimit(2, 300)) as made:
        assert [members(made, "pigment-eu").status_code for _ in range(3)] == [200, 200, 429]
        assert "requests_per_window: 2" in made.config_yaml()


def test_config_names_the_three_workspaces_and_where_they_are_fed_from(shared: Sandbox) -> None:
    config = yaml.safe_load(shared.config_yaml("sqlite:///else.db", "dry-run"))

    assert config["state"] == {"url": "sqlite:///else.db"}
    assert {
        name: (each["sources"][0]["connector"], each["sources"][0]["app"], each["mode"])
        for name, each in config["workspaces"].items()
    } == {
        "pigment-latam": ("okta-main", shared.company.okta.pigment.id, "dry-run"),
        "pigment-eu": ("entra-eu", shared.company.entra.pigment.id, "dry-run"),
        "pigment-apac": ("onelogin-apac", shared.company.onelogin.pigment.id, "dry-run"),
    }
    assert config["connectors"]["okta-main"]["private_key"] == shared.environment.okta_key.private_pem
    assert config["connectors"]["okta-main"]["org_url"] == shared.okta_url


def test_written_config_keeps_the_key_in_a_file_of_its_own(shared: Sandbox, tmp_path: Path) -> None:
    path = shared.write_config(tmp_path / "new" / "folder")

    config = yaml.safe_load(path.read_text("utf-8"))
    key = path.parent / config["connectors"]["okta-main"]["private_key"]["file"]
    assert key.read_text("utf-8") == shared.environment.okta_key.private_pem
    assert "PRIVATE KEY" not in path.read_text("utf-8")
    assert [each.stat().st_mode & 0o777 for each in (path, key)] == [0o600, 0o600]


def test_config_opens_each_system(shared: Sandbox) -> None:
    config = yaml.safe_load(shared.config_yaml())["connectors"]
    entra, onelogin = config["entra-eu"], config["onelogin-apac"]
    scope = f"{entra['graph_url']}/.default"
    form = {"grant_type": "client_credentials", "client_id": entra["client_id"], "scope": scope}

    token = httpx.post(
        f"{entra['authority_url']}/{entra['tenant_id']}/oauth2/v2.0/token",
        data=form | {"client_secret": entra["client_secret"]},
    )
    other = httpx.post(
        f"{onelogin['api_url']}/auth/oauth2/v2/token",
        json={"grant_type": "client_credentials"},
        auth=(str(onelogin["client_id"]), onelogin["client_secret"]),
    )

    assert (token.status_code, other.status_code) == (200, 200)
    assert {members(shared, name).status_code for name in shared.pigment.workspaces} == {200}
    assert {
        members(shared, name, shared.environment.tokens(name)[1]).status_code for name in shared.pigment.workspaces
    } == {200}


def test_week_reports_the_changes_of_each_directory(sandbox: Sandbox) -> None:
    before = {name: repr(each) for name, each in sandbox.company.directories.items()}

    lines = sandbox.simulate_week()

    assert {line.partition(",")[0] for line in lines} == {"LatAm", "EU", "APAC"}
    assert all(repr(each) != before[name] for name, each in sandbox.company.directories.items())
    assert sandbox.company.person("ana.souza@acme.com").family == "Souza"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_served_sandbox_prints_its_addresses_and_stops_on_request(number: signal.Signals, tmp_path: Path) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults: [{do: status, status: 418, system: pigment}]", "utf-8")
    with serving(tmp_path, faults) as (process, output):
        config = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text("utf-8"))
        url = config["workspaces"]["pigment-eu"]["scim_url"]
        assert httpx.get(f"{url}/Users").status_code == 418
        assert url in output
        process.send_signal(number)
        rest, errors = process.communicate(timeout=120)

    assert process.returncode == 0
    assert errors == ""
    assert "stopped" in rest


def test_unreadable_file_of_faults_is_reported(tmp_path: Path) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults: [{do: nonsense}]", "utf-8")

    done = subprocess.run(command(tmp_path, faults), check=False, capture_output=True, text=True, timeout=120)

    assert "SandboxError" in done.stderr
    assert "faults.yaml" in done.stderr.splitlines()[-1]


def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file", "utf-8")
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults: []", "utf-8")

    done = subprocess.run(command(tmp_path, faults), check=False, capture_output=True, text=True, timeout=120)

    assert "SandboxError: The configuration can't be written" in done.stderr


def command(folder: Path, faults: Path) -> list[str]:
    program = (
        "from pathlib import Path; from sandbox.server import serve; "
        f"serve(0, 1, Path({str(faults)!r}), Path({str(folder / 'out')!r}))"
    )
    return [sys.executable, "-c", program]


class serving:  # noqa: N801  (used as a context)
    """A sandbox in its own process, with its output when it was ready."""

    def __init__(self, folder: Path, faults: Path) -> None:
        root = str(Path(__file__).parents[2])
        self.process = subprocess.Popen(
            command(folder, faults),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": root},
        )

    def __enter__(self) -> tuple[subprocess.Popen[str], str]:
        assert self.process.stdout is not None
        output = ""
        for line in self.process.stdout:
            output += line
            if line.startswith("docs/sandbox.md"):
                break
        return self.process, output

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
