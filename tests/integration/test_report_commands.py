"""`report send` and `report list`, and that `report RUN` is what it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.app import run_cli
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.report_world import write_reports

LATAM = "pigment-latam"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=27, size=20, limit=RateLimit(None)) as served:
        yield served


def configured(sandbox: Sandbox, folder: Path, *to: str, **latam: object) -> Path:
    weekly = {
        "name": "weekly",
        "what": "plan",
        "workspaces": [LATAM],
        "schedule": {"cron": "0 7 * * mon"},
        "formats": ["html", "json"],
        "to": list(to),
    }
    return write_reports(sandbox, folder, [weekly], **latam)


def run(config: Path, *words: str) -> int:
    return run_cli(["--config", str(config), *words])


def test_report_is_sent_now_and_listed(sandbox: Sandbox, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    config = configured(sandbox, tmp_path, folder.as_uri())

    assert run(config, "report", "send", "weekly", "--by", "ana", "--format", "json") == 0
    sent = json.loads(capfd.readouterr().out)
    assert run(config, "report", "list", "--format", "json") == 0
    (row,) = json.loads(capfd.readouterr().out)["reports"]
    assert run(config, "report", "list") == 0
    table = capfd.readouterr().out

    assert (sent["by"], sent["status"], [each["status"] for each in sent["deliveries"]]) == (
        "ana",
        "made",
        ["delivered"],
    )
    assert sorted(path.suffix for path in folder.iterdir()) == [".html", ".json"]
    assert (row["name"], row["state"], row["schedule"]) == ("weekly", "delivered", "cron 0 7 * * mon (UTC)")
    assert row["last_delivered_at"] == sent["deliveries"][0]["delivered_at"]
    assert row["newest"] == {key: value for key, value in sent.items() if key != "version"}
    assert row["next_at"].endswith("T07:00:00Z")
    assert table.splitlines()[0].split("\t")[0] == "name"


def test_failed_delivery_exits_5_and_keeps_the_secret(
    sandbox: Sandbox, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = configured(sandbox, tmp_path, "json://127.0.0.1:1/s3cret-of-the-hook", (tmp_path / "missing").as_uri())

    assert run(config, "report", "send", "weekly") == 5
    first = capfd.readouterr()
    assert run(config, "report", "list") == 0
    second = capfd.readouterr()

    assert "can't be reached" in first.out
    assert "does not exist. Create it, or mount it." in first.out
    assert "waiting: 1: json://127.0.0.1:1: " in second.out
    assert "s3cret" not in f"{first}{second}"


def test_report_of_a_workspace_that_cannot_be_read_exits_6(
    sandbox: Sandbox, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    config = configured(sandbox, tmp_path, folder.as_uri(), tokens=["not-the-token"])

    assert run(config, "report", "send", "weekly") == 6
    assert f"{LATAM} could not be read" in capfd.readouterr().out
    assert len(list(folder.iterdir())) == 2


def test_unknown_report_is_refused_with_the_known_ones(
    sandbox: Sandbox, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = configured(sandbox, tmp_path, "file:///srv/reports")

    assert run(config, "report", "send", "daily") == 2
    assert "There is no report daily." in (shown := capfd.readouterr().err)
    assert "weekly" in shown


def test_report_of_a_run_is_shown_as_before(
    sandbox: Sandbox, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = configured(sandbox, tmp_path, "file:///srv/reports")
    plan = tmp_path / "plan.json"
    assert run(config, "plan", "-w", LATAM, "--out", str(plan)) == 0
    capfd.readouterr()

    assert run(config, "report", str(plan), "--format", "csv") == 0
    assert capfd.readouterr().out.startswith("workspace,")
    assert run(config, "report", "--format", "markdown", str(plan)) == 0
    assert LATAM in capfd.readouterr().out
    assert run(config, "report", "20260301-120000-3f9a1c") == 2
    assert "There is no run 20260301-120000-3f9a1c." in capfd.readouterr().err
    assert run(config, "report") == 2
    assert run(config, "report", "--help") == 0
    assert "--evidence" in (shown := capfd.readouterr().out)
    assert "report send" in shown
