"""The systemd units: each command exists, the agent supports each setting, and systemd knows each directive."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from agent.daemon.daemon import SHUTDOWN_TIMEOUT_SECONDS
from agent.errors import ExitCode
from tests.command_words import calls, parsed
from tests.guide_page import REPOSITORY
from tests.programs import require

UNITS = REPOSITORY / "deploy" / "systemd"
DAEMON, ONCE, TIMER = "pigment-sync.service", "pigment-sync-once.service", "pigment-sync-once.timer"
Unit = dict[str, dict[str, list[str]]]


def unit(name: str) -> Unit:
    """Return the values of each directive, by section; a directive that stands twice has both."""
    sections: Unit = {}
    for line in (UNITS / name).read_text("utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), defaultdict(list))
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section[key].append(value)
    return sections


def only(found: Unit, section: str, key: str) -> str:
    (value,) = found[section][key]
    return value


@pytest.mark.parametrize(("name", "command"), [(DAEMON, "serve"), (ONCE, "sync")])
def test_service_starts_a_command_that_exists(name: str, command: str) -> None:
    (arguments,) = calls(only(unit(name), "Service", "ExecStart"))
    assert parsed(arguments) == (command,)


def test_daemon_is_not_restarted_for_what_people_must_fix() -> None:
    daemon = unit(DAEMON)
    assert only(daemon, "Service", "Restart") == "on-failure"
    assert [int(code) for code in only(daemon, "Service", "RestartPreventExitStatus").split()] == [
        ExitCode.USAGE,
        ExitCode.CONFIG,
    ]
    assert int(only(daemon, "Unit", "StartLimitBurst")) <= 5


def test_held_and_failed_runs_are_failures_of_the_service() -> None:
    once = unit(ONCE)
    assert once["Service"]["SuccessExitStatus"] == []
    assert "Restart" not in once["Service"]


@pytest.mark.parametrize("name", [DAEMON, ONCE])
def test_stop_waits_longer_than_the_agent_takes(name: str) -> None:
    assert float(only(unit(name), "Service", "TimeoutStopSec")) > SHUTDOWN_TIMEOUT_SECONDS + 10


@pytest.mark.parametrize("name", [DAEMON, ONCE])
def test_state_is_in_the_folder_that_systemd_keeps(name: str) -> None:
    service = unit(name)["Service"]
    assert service["StateDirectory"] == ["pigment-sync"]
    assert service["StateDirectoryMode"] == ["0700"]
    assert service["Environment"] == [], "what stands there would overrule the file"


@pytest.mark.parametrize("name", [DAEMON, ONCE])
def test_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = unit(name)["Service"]
    assert service["User"] == ["pigment-sync"]
    assert service["CapabilityBoundingSet"] == [""]
    for key in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "MemoryDenyWriteExecute"):
        assert service[key] == ["yes"], key
    assert service["ProtectSystem"] == ["strict"]


def test_timer_makes_up_for_what_was_missed() -> None:
    timer = unit(TIMER)["Timer"]
    assert timer["Persistent"] == ["yes"]
    assert Path(UNITS / ONCE).stem == Path(UNITS / TIMER).stem


def test_systemd_knows_every_word(tmp_path: Path) -> None:
    analyze = require("systemd-analyze")
    for name in (DAEMON, ONCE, TIMER):
        # The path of the command is the installation's.
        text = (UNITS / name).read_text("utf-8").replace("/opt/pigment-sync/bin/pigment-sync", "/bin/true")
        (tmp_path / name).write_text(text, "utf-8")
    paths = [str(tmp_path / name) for name in (DAEMON, ONCE, TIMER)]
    result = subprocess.run([analyze, "verify", "--man=no", *paths], capture_output=True, text=True, check=False)
    about = [line for line in result.stderr.splitlines() if "pigment-sync" in line]
    assert about == []
