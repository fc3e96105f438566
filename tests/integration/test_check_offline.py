"""`check --offline`: what the configuration alone shows, without a connection and without the values of secrets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
import yaml

from tests.e2e.agent_process import LONGEST_SECONDS
from tests.e2e.fork_server import fork

ROOT = Path(__file__).parents[2]
# Writes each use of a socket to the file named last, and allows no connection and no look-up of a name.
WATCHED = """
import os, sys
socket_log = os.open(sys.argv.pop(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
def refuse(event, arguments):
    if event.startswith("socket."):
        os.write(socket_log, f"{event}\\n".encode())
        if event not in ("socket.__new__", "socket.bind", "socket.gethostname"):
            raise OSError("no network")
sys.addaudithook(refuse)
from agent.__main__ import main
sys.exit(main())
"""
Tree = dict[str, Any]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return the example configuration, with files of secrets that do not exist."""
    text = (ROOT / "config.example.yaml").read_text("utf-8").replace("/run/secrets/", "secrets/")
    found: Tree = yaml.safe_load(text)
    # `on` is a word for true in YAML 1.1.
    found["notify"] = {"urls": []}
    return found


def written(folder: Path, tree: Tree) -> Path:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(tree), "utf-8")
    return file


def check(
    config: Path, *arguments: str, environ: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **(environ or {})}
    words = ["--config", str(config), "check", *arguments]
    if not prefix:
        process = fork(words, environment, ROOT)
        out, err = process.communicate(LONGEST_SECONDS)
        return subprocess.CompletedProcess(words, process.wait(), out.decode(), err.decode())
    command = [*prefix, sys.executable, "-m", "agent", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)


def offline(config: Path, *arguments: str, **environ: str) -> tuple[int, dict[str, Any]]:
    done = check(config, "--offline", "--format", "json", *arguments, environ=environ)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def errors(document: dict[str, Any], level: str = "error") -> Iterator[tuple[str, str]]:
    for each in document["checks"]:
        if each["status"] == level:
            yield each["subject"], each["message"]


def test_pull_request_without_secrets_passes_and_lists_what_was_not_checked(tmp_path: Path, tree: Tree) -> None:
    code, document = offline(written(tmp_path, tree))

    assert (code, document["exit_code"], list(errors(document))) == (0, 0, [])
    reasons = {each["subject"]: each["reason"] for each in document["not_checked"]}
    assert "ENTRA_SECRET is not set" in reasons["connectors.entra-eu.client_secret"]
    assert "No such file" in reasons["connectors.okta-main.private_key"]
    assert {
        "workspaces.pigment-latam.tokens.0",
        "workspaces.pigment-eu.tokens.0",
        "state",
        "connector okta-main",
        "workspace pigment-apac",
        "server",
        "environment",
    } <= set(reasons)


def test_a_chosen_workspace_needs_only_its_own(tmp_path: Path, tree: Tree) -> None:
    config = written(tmp_path, tree)

    _, document = offline(config, "-w", "pigment-eu")
    unknown = check(config, "--offline", "-w", "pigment-nowhere")

    subjects = {each["subject"] for each in document["not_checked"]}
    assert {"connector entra-eu", "workspace pigment-eu", "workspaces.pigment-eu.tokens.0"} <= subjects
    assert not [each for each in subjects if "okta" in each or "latam" in each]
    assert unknown.returncode == 2
    assert "There is no workspace pigment-nowhere." in unknown.stderr


def test_test_notice_can_not_be_sent_offline(tmp_path: Path, tree: Tree) -> None:
    done = check(written(tmp_path, tree), "--offline", "--notify")

    assert done.returncode == 2
    assert "an offline check sends nothing" in done.stderr


def test_no_connection_is_made(tmp_path: Path, tree: Tree) -> None:
    tree["server"] = {"oidc": {"issuer": "https://login.acme.com", "client_id": "a", "client_secret": "b"}}
    tree["server"]["oidc"]["roles"] = {"Identity team": "operate"}
    config = written(tmp_path, tree)

    def sockets(*arguments: str) -> tuple[int, list[str]]:
        log = tmp_path / "sockets"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-c", WATCHED, "--config", str(config), "check", *arguments, str(log)]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        return done.returncode, log.read_text("utf-8").split()

    for output_format in ("text", "json", "junit"):
        assert sockets("--offline", "--format", output_format) == (0, [])

    tree["notify"] = {"urls": ["mailto://ann:pass@mail.example.com", "jsons://hooks.example.com/a"]}
    tree["reports"] = [report("file:///srv/reports", "s3://bucket/reports", "mailtos://mail.example.com?to=a@acme.com")]
    written(tmp_path, tree)
    code, events = sockets("--offline")
    # To learn whether this machine has IPv6, the library of notifications binds a socket to loopback.
    assert (code, set(events) <= {"socket.__new__", "socket.bind"}) == (0, True)
    # The watch works: without the option, the same file makes connections.
    assert {"socket.getaddrinfo", "socket.connect"} & set(sockets()[1])


def test_passes_where_the_network_is_cut(tmp_path: Path, tree: Tree) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs unshare, and the right to make a network namespace")

    done = check(written(tmp_path, tree), "--offline", prefix=(unshare, "-rn"))

    assert done.returncode == 0, done.stderr
    assert "Not checked, because the check is offline:" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].startswith("1 ok, 0 warnings, 0 errors, ")


@pytest.mark.parametrize(
    ("value", "problem"),
    [("changeme", "it is a placeholder"), ('"quoted"', "it is in quotation marks"), ("Bearer abc", "the word of an")],
)
def test_value_that_is_there_must_be_usable(tmp_path: Path, tree: Tree, value: str, problem: str) -> None:
    config = written(tmp_path, tree)

    code, document = offline(config, LATAM_TOKEN=value)
    empty, _ = offline(config, LATAM_TOKEN=" ")
    good, _ = offline(config, LATAM_TOKEN="5f1e7c9a")

    assert code == document["exit_code"] == 8
    [(subject, message)] = errors(document)
    assert subject == "workspaces.pigment-latam.tokens.0"
    assert problem in message
    assert value not in message
    assert (empty, good) == (0, 0)


def test_secret_files_are_checked_for_content_and_permissions(tmp_path: Path, tree: Tree) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, content, mode in (("onelogin", b"", 0o600), ("pigment-eu", b"\x30\x82\xff", 0o600)):
        (secrets / name).write_bytes(content)
        (secrets / name).chmod(mode)
    (secrets / "pigment-apac").write_text("5f1e7c9a")
    (secrets / "pigment-apac").chmod(0o644)

    code, document = offline(written(tmp_path, tree))

    assert code == 8
    assert [subject for subject, _ in errors(document)] == [
        "connectors.onelogin-apac.client_secret",
        "workspaces.pigment-eu.tokens.0",
    ]
    assert [subject for subject, _ in errors(document, "warning")] == ["workspaces.pigment-apac.tokens.0"]
    assert "okta" in json.dumps(document["not_checked"])


def test_secret_in_a_file_that_all_can_read_is_a_warning(tmp_path: Path, tree: Tree) -> None:
    tree["workspaces"]["pigment-eu"]["tokens"] = ["5f1e7c9a"]
    config = written(tmp_path, tree)
    config.chmod(0o644)

    code, document = offline(config)

    assert code == 0
    [(subject, message)] = errors(document, "warning")
    assert (subject, "holds secrets" in message, "5f1e7c9a" in json.dumps(document)) == ("config", True, False)


def test_two_workspaces_with_one_token_are_an_error(tmp_path: Path, tree: Tree) -> None:
    tree["workspaces"]["pigment-eu"]["tokens"] = [{"env": "EU_TOKEN"}]

    code, document = offline(written(tmp_path, tree), EU_TOKEN="5f1e7c9a", LATAM_TOKEN="5f1e7c9a")

    assert code == 8
    [(subject, message)] = errors(document)
    assert (subject, "holds the same token" in message) == ("workspaces", True)


def test_notification_of_an_unknown_service_is_an_error(tmp_path: Path, tree: Tree) -> None:
    tree["notify"] = {"urls": ["carrier-pigeon://roof", "jsons://hooks.example.com/a", {"env": "CHAT_URL"}]}
    config = written(tmp_path, tree)

    code, document = offline(config)
    named, also = offline(config, CHAT_URL="smoke://hill")

    assert code == named == 8
    assert [subject for subject, _ in errors(document)] == ["notify.urls.0"]
    assert [subject for subject, _ in errors(also)] == ["notify.urls.0", "notify.urls.2"]


def report(*targets: object) -> Tree:
    return {"name": "weekly", "what": "plan", "to": list(targets)}


def test_target_of_a_report_is_checked_where_its_value_is_there(tmp_path: Path, tree: Tree) -> None:
    tree["reports"] = [report("file:///srv/reports", {"env": "REPORT_URL"})]
    config = written(tmp_path, tree)

    absent, left_out = offline(config)
    code, document = offline(config, REPORT_URL="pigeon://ann:5f1e7c9a@roof")
    good, _ = offline(config, REPORT_URL="jsons://hooks.example.com/a")

    assert (absent, good, code) == (0, 0, 8)
    assert {"reports", "reports.0.to.1"} <= {each["subject"] for each in left_out["not_checked"]}
    [(subject, message)] = errors(document)
    assert (subject, "has the unknown scheme pigeon://" in message) == ("reports.0.to.1", True)
    assert "5f1e7c9a" not in json.dumps(document)
    tree["reports"] = [report("pigeon://roof")]
    assert check(written(tmp_path, tree), "--offline").returncode == 8


def test_authorities_are_read_where_they_are(tmp_path: Path, tree: Tree) -> None:
    tree["ca_bundle"] = "authorities.pem"
    config = written(tmp_path, tree)

    absent, left_out = offline(config)
    (tmp_path / "authorities.pem").write_text("not a certificate")
    code, document = offline(config)

    assert absent == 0
    assert "ca_bundle" in [each["subject"] for each in left_out["not_checked"]]
    assert (code, [subject for subject, _ in errors(document)]) == (8, ["ca_bundle"])


@pytest.mark.parametrize("output_format", ["text", "json", "junit"])
def test_invalid_file_ends_with_8_in_each_format(tmp_path: Path, tree: Tree, output_format: str) -> None:
    tree["workspaces"]["pigment-eu"]["mode"] = "enforced"
    tree["workspaces"]["pigment-latam"]["schedule"] = {"cron": "61 * * * *"}
    tree["workspaces"]["pigment-apac"]["scim_url"] = "http://apac.example.com/scim/v2"

    done = check(written(tmp_path, tree), "--offline", "--format", output_format)

    assert done.returncode == 8
    shown = done.stdout + done.stderr
    for path in ("workspaces.pigment-eu.mode", "workspaces.pigment-latam.schedule", "workspaces.pigment-apac.scim_url"):
        assert path in shown
    if output_format == "json":
        assert len(list(errors(json.loads(done.stdout)))) >= 4
    if output_format == "junit":
        assert int(fromstring(done.stdout).get("failures", "0")) >= 4  # noqa: S314  (our own text)


def test_junit_shows_what_was_not_checked_as_skipped(tmp_path: Path, tree: Tree) -> None:
    config = written(tmp_path, tree)
    _, document = offline(config)

    suite = fromstring(check(config, "--offline", "--format", "junit").stdout)  # noqa: S314  (our own text)

    skipped = [case.get("name") for case in suite if case.find("skipped") is not None]
    assert skipped == [each["subject"] for each in document["not_checked"]]
    assert suite.get("skipped") == str(len(skipped))
    assert suite.get("tests") == str(len(skipped) + len(document["checks"]))
