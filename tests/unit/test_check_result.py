"""The result of a check that is kept for a workspace: what concerns it, and nothing of others."""

from __future__ import annotations

from agent.model.check import CheckResult
from connectors.base import Area, CheckName, Finding, Source

OURS, THEIRS = Source("main", "ours"), Source("main", "theirs")


def line(message: str, source: Source | None = None, area: Area = Area.CONNECTOR) -> Finding:
    return Finding("ok", "subject", message, name=CheckName.APPLICATION, area=area, source=source)


RESULT = CheckResult(
    [line("state", area=Area.STATE)],
    {"main": [line("credentials"), line("our app", OURS), line("their app", THEIRS)], "other": [line("other")]},
    {"latam": [line("latam", area=Area.WORKSPACE)], "eu": [line("eu", area=Area.WORKSPACE)]},
)


def test_workspace_gets_its_sources_and_what_all_share() -> None:
    assert [each.message for each in RESULT.findings_of("latam", [OURS])] == [
        "state",
        "credentials",
        "our app",
        "latam",
    ]


def test_whole_result_has_every_line_once() -> None:
    assert [each.message for each in RESULT] == [
        "state",
        "credentials",
        "our app",
        "their app",
        "other",
        "latam",
        "eu",
    ]
