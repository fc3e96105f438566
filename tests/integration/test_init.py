"""`init` creates a configuration that loads, from options or answers. It overwrites nothing and takes no secret."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.app import run_cli
from agent.settings.load import load
from agent.settings.template import PIGMENT_QUESTIONS, PROVIDERS_BY_TYPE, questions_for, render_config, validate_answer
from connectors.secret import Secret

ROOT = Path(__file__).parents[2]
OPTIONS = ["--org-url", "https://acme.okta.com", "--client-id", "0oa1", "--app", "0oa2"]
SCIM = ["--scim-url", "https://eu.example.com/scim/v2"]
ANSWERS = {
    "okta": {"client_id": "0oa1", "app": "0oa2"},
    "entra": {"tenant_id": "acme.onmicrosoft.com", "client_id": "66-77", "app": "99-88"},
    "onelogin": {"client_id": "0123456789", "app": "1234567"},
}
"""Answers other than the samples, which may be alike. A provider that is not here is answered with its samples."""

TYPED = {
    "entra": {"secret": "file:entra", "workspace": "eu", "token": "env:T"},
    "onelogin": {"workspace": "apac", "scim_url": "http://127.0.0.1:9/scim", "token": "file:/run/secrets/token"},
}
"""Answers other than the defaults, at a terminal."""


def answers_for(provider: str) -> dict[str, str]:
    """Return an answer to each question, empty where it has a default."""
    answers = {each.key: "" if each.default else each.sample for each in questions_for(provider)}
    return answers | ANSWERS.get(provider, {})


@dataclass
class Terminal:
    """A user at a terminal; *output* is everything shown so far."""

    process: subprocess.Popen[bytes]
    side: int
    output: str = ""
    answered: int = 0

    def read(self) -> bool:
        """Read the available output; return whether more may follow."""
        ready, _, _ = select.select([self.side], [], [], 20)
        assert ready, f"no more output after {self.output}"
        try:
            piece = os.read(self.side, 4096).decode()
        except OSError:
            # Linux raises this once no process holds the terminal.
            return False
        self.output += piece
        return bool(piece)

    def type(self, keys: str) -> None:
        """Type *keys* once a prompt is waiting."""
        while not self.output[self.answered :].endswith(": "):
            assert self.read(), self.output
        self.answered = len(self.output)
        os.write(self.side, keys.encode())

    def interrupt(self, key: str) -> None:
        """Press *key* until the process ends: Python misses a Ctrl-C just before it reads an answer."""
        for _ in range(20):
            os.write(self.side, key.encode())
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
                return
        pytest.fail(f"still running after {key!r}: {self.output}")

    def wait(self) -> int:
        """Read the remaining output and return the exit code."""
        while self.read():
            pass
        return self.process.wait(20)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """`pigment-sync init` in an empty folder, started on a terminal."""
    side, other = pty.openpty()
    process = subprocess.Popen(
        # A controlling terminal, so that Ctrl-C sends a signal.
        ["setsid", "--ctty", sys.executable, "-m", "agent", "init"],
        stdin=other,
        stdout=other,
        stderr=other,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "TERM": "dumb"},
    )
    os.close(other)
    yield Terminal(process, side)
    process.kill()
    process.wait()
    os.close(side)


@pytest.mark.parametrize("provider", PROVIDERS_BY_TYPE)
def test_file_loads_for_each_provider_without_a_question(
    provider: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "config.yaml"
    answers = answers_for(provider)
    options = [word for key, answer in answers.items() if answer for word in (f"--{key.replace('_', '-')}", answer)]
    code = run_cli(["init", "--provider", provider, "--out", str(out), *options])
    captured = capfd.readouterr()
    assert (code, captured.err) == (0, "")
    settings = load(out, {})
    (workspace,) = settings.workspaces.values()
    assert [each.type for each in settings.connectors.values()] == [provider]
    assert workspace.mode == "dry-run"
    assert workspace.tokens == (Secret("env", "PIGMENT_TOKEN"),)
    assert workspace.sources[0].app == answers["app"]
    assert out.stat().st_mode & 0o777 == 0o600
    assert f"pigment-sync --config {out} check" in captured.out
    assert f"pigment-sync --config {out} plan" in captured.out
    assert "export PIGMENT_TOKEN=…" in captured.out


@pytest.mark.parametrize("provider", PROVIDERS_BY_TYPE)
def test_file_loads_for_each_provider_after_answers(provider: str, terminal: Terminal, tmp_path: Path) -> None:
    answers = answers_for(provider) | TYPED.get(provider, {})
    for line in (provider, *answers.values()):
        terminal.type(f"{line}\n")
    assert terminal.wait() == 0, terminal.output
    settings = load(tmp_path / "config.yaml", {})
    assert list(settings.connectors) == [provider]
    assert list(settings.workspaces) == [answers["workspace"] or "pigment"]
    assert "pigment-sync check" in terminal.output
    assert (tmp_path / "config.yaml").stat().st_mode & 0o777 == 0o600


def test_invalid_answer_is_explained_and_prompted_again(terminal: Terminal, tmp_path: Path) -> None:
    wrong = {
        "org_url": ("https://acme-admin.okta.com",),
        "secret": ("00TheSecretItself", "env:NO NAME"),
        "app": ("Pigment EU!",),
    }
    lines = [line for key, answer in answers_for("okta").items() for line in (*wrong.get(key, ()), answer)]
    for line in ("unknown-type", "okta", *lines):
        terminal.type(f"{line}\n")
    assert terminal.wait() == 0, terminal.output
    for words in (
        "is the admin console; write https://acme.okta.com",
        "must be env:NAME or file:PATH; the file must not contain the secret itself",
        "env must be the name of an environment variable",
        "must be the application's id",
    ):
        assert words in " ".join(terminal.output.split())
    assert "TheSecretItself" not in (tmp_path / "config.yaml").read_text("utf-8")
    assert load(tmp_path / "config.yaml", {}).connectors


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_interrupt_leaves_no_file(key: str, terminal: Terminal, tmp_path: Path) -> None:
    terminal.type("entra\n")
    terminal.type("")
    terminal.interrupt(key)
    assert terminal.wait() == 1
    assert "Nothing was written." in terminal.output
    assert "stopped" in terminal.output
    assert "Traceback" not in terminal.output
    assert list(tmp_path.iterdir()) == []


def test_missing_options_are_listed_without_a_terminal(tmp_path: Path) -> None:
    def init(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "agent", "init", *arguments]
        environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
        result = subprocess.run(
            command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, env=environment, check=False
        )
        return result.returncode, result.stderr.decode()

    code, err = init()
    assert code == 2
    assert "--provider is required when stdin is not a terminal." in err
    code, err = init("--provider", "onelogin", "--app", "1")
    assert code == 2
    assert "--subdomain, --client-id, --scim-url are required when stdin is not a terminal." in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_existing_file_is_left_unchanged(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "config.yaml"
    match kind:
        case "file":
            out.write_text("mine", "utf-8")
        case "folder":
            out.mkdir()
        case _:
            out.symlink_to(tmp_path / "elsewhere")
    named = ["init", "--out", str(out)] if kind == "folder" else ["--config", str(out), "init"]
    assert run_cli([*named, "--provider", "okta"]) == 8
    err = capfd.readouterr().err
    assert f"{out} already exists and is left unchanged." in err
    assert "--out" in err
    assert not (tmp_path / "elsewhere").exists()
    assert kind != "file" or out.read_text("utf-8") == "mine"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["--org-url", "http://acme.okta.com"], "--org-url: must start with https:// (http:// is for loopback hosts"),
        (["--org-url", "https://acme.okta.com/app/1"], "--org-url: must be the org's root alone"),
        (["--org-url", "https://"], "--org-url: must start with https:// and name the org"),
        (["--org-url", "https://[acme"], "--org-url: is not a valid host name"),
        (["--org-url", "https://ac me.okta.com"], "--org-url: is not a valid host name"),
        (["--org-url", "https://{org}.okta.com"], "--org-url: is not a valid host name"),
        (["--org-url", "https://acme..okta.com"], "--org-url: is not a valid host name"),
        (["--org-url", "https://acme,okta.com"], "--org-url: is not a valid host name"),
        (["--scim-url", "https://<workspace>.example.com/scim"], "--scim-url: is not a valid host name"),
        (["--scim-url", "https://-eu.example.com/scim"], "--scim-url: is not a valid host name"),
        (["--scim-url", "https://eu.example.com:99999/scim"], "--scim-url: has a port above 65535"),
        (["--scim-url", "https://…/scim"], "--scim-url: is not a URL"),
        (["--scim-url", "https://u:pa55word@eu.example.com/scim"], "--scim-url: must not contain a user or a password"),
        (["--app", "Pigment EU"], "--app: must be the application's id"),
        (["--client-id", ""], "--client-id: must not be empty"),
        (["--workspace", "Pigment EU"], "--workspace: is not a valid name"),
        (
            ["--token", "pa55word"],
            "--token: must be env:NAME or file:PATH; the file must not contain the secret itself",
        ),
        (["--token", "env:pa55word!"], "--token: env must be the name of an environment variable"),
        (["--secret", "file:"], "--secret: file must be the path of the file"),
        (["--tenant-id", "acme.com"], "--tenant-id: not for Okta"),
        (["--out", "/nowhere/config.yaml"], "/nowhere/config.yaml can't be written (No such file or directory)"),
    ],
)
def test_invalid_option_is_a_usage_error_with_its_name(
    changed: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "config.yaml"
    code = run_cli(["init", "--provider", "okta", "--out", str(out), *OPTIONS, *SCIM, *changed])
    err = capfd.readouterr().err
    assert code == 2
    assert words in err
    assert "pa55word" not in err
    assert "Traceback" not in err
    assert not out.exists()


@given(st.data())
def test_accepted_answers_make_a_file_that_loads(data: st.DataObject) -> None:
    provider = data.draw(st.sampled_from(list(PROVIDERS_BY_TYPE)))
    answers = {}
    for question in questions_for(provider):
        wild = data.draw(st.text().map(lambda words: f"file:{words}")) if question.is_secret else data.draw(st.text())
        try:
            answers[question.key] = validate_answer(provider, question, wild)
        except ValueError:
            answers[question.key] = question.sample
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_bytes(render_config(provider, answers).encode())
        (workspace,) = load(file, {}).workspaces.values()
        assert workspace.scim_url == answers["scim_url"].removesuffix("/")


@pytest.mark.parametrize(
    "url",
    [
        "https://eu.example.com:8443/scim/v2",
        "https://münchen.example.com/scim",
        "https://10.0.0.1/x",
        "http://[::1]:9/x",
    ],
)
def test_any_valid_host_is_accepted(url: str) -> None:
    (question,) = (each for each in PIGMENT_QUESTIONS if each.key == "scim_url")
    assert validate_answer("okta", question, f" {url} ") == url


def test_okta_org_is_accepted_without_a_scheme() -> None:
    (question,) = (each for each in questions_for("okta") if each.key == "org_url")
    assert validate_answer("okta", question, " acme.okta.com ") == "https://acme.okta.com"
    assert validate_answer("okta", question, "http://127.0.0.1:8700") == "http://127.0.0.1:8700"


def test_file_omits_keys_with_a_default() -> None:
    answers = {question.key: question.sample for question in questions_for("okta")}
    keys = [
        line.strip().split(":")[0]
        for line in render_config("okta", answers).splitlines()
        if ":" in line and "#" not in line
    ]
    assert "mode" in keys
    assert set(keys).isdisjoint({"state", "server", "log", "limits", "toggles", "defaults"})
    assert [question.key for question in PIGMENT_QUESTIONS] == ["workspace", "scim_url", "token"]
