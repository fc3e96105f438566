"""The findings of `check` in each format."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from agent.model.ladder import StepName
from agent.report.check import check_json, check_junit, check_text
from connectors.base import Area, CheckName, Finding

FINDINGS = [
    Finding(
        "ok",
        "config",
        "the configuration is valid",
        "not shown",
        name=CheckName.CONFIGURATION,
        area=Area.CONFIG,
    ),
    Finding(
        "warning",
        "workspace latam",
        "is paused by ida.",
        "To resume: `pigment-sync resume latam`",
        name=CheckName.PAUSE,
        area=Area.WORKSPACE,
    ),
    Finding("error", "connector main", "<refused>\x1b[31m", "Renew the key.", name=CheckName.CREDENTIALS),
]


@pytest.mark.parametrize(("encoding", "signs"), [("utf-8", "✓!✗"), ("ascii", "o!X"), ("latin-1", "o!X"), ("?", "o!X")])
def test_each_finding_has_a_line_with_a_sign_that_the_stream_can_show(encoding: str, signs: str) -> None:
    lines = check_text(FINDINGS, encoding, colour=False).splitlines()

    assert [lines[0][0], lines[1][0], lines[4][0]] == list(signs)
    assert [line[3:] for line in lines[:6]] == [
        "config: the configuration is valid",
        "workspace latam: is paused by ida.",
        "To resume:",
        "  pigment-sync resume latam",
        "connector main: <refused>\\x1b[31m",
        "Renew the key.",
    ]
    assert lines[6] == "1 ok, 1 warning, 1 error"


def test_colour_is_in_the_sign_alone() -> None:
    text = check_text(FINDINGS, "utf-8", colour=True)
    assert text.replace("\x1b[32m✓\x1b[0m", "✓").startswith(check_text(FINDINGS, "utf-8", colour=False)[:20])
    assert "\x1b[31m✗\x1b[0m  connector main" in text


def test_json_has_each_finding_with_its_area_and_name() -> None:
    found = check_json(FINDINGS)

    assert (found["version"], found["ok"], check_json(FINDINGS[:2])["ok"]) == (1, False, True)
    assert found["checks"][1] == {  # type: ignore[index]  # an object for JSON
        "area": "workspace",
        "subject": "workspace latam",
        "name": "pause",
        "status": "warning",
        "message": "is paused by ida.",
        "remedy": "To resume: `pigment-sync resume latam`",
    }


def test_junit_has_a_failure_for_each_error() -> None:
    suite = fromstring(check_junit(FINDINGS))  # noqa: S314  (our own text)

    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    (failure,) = suite.iter("failure")
    assert (failure.get("message"), failure.text) == ("<refused>\\x1b[31m", "Renew the key.")
    assert [(case.get("classname"), case.get("name")) for case in suite] == [
        ("pigment-sync.check.config", "config: configuration"),
        ("pigment-sync.check.workspace", "workspace latam: pause"),
        ("pigment-sync.check.connector", "connector main: credentials"),
    ]


def test_each_name_of_a_check_and_each_step_of_the_ladder_is_described() -> None:
    page = (Path(__file__).parents[2] / "docs" / "day-one.md").read_text("utf-8")
    assert [name.value for name in (*CheckName, *StepName) if f"`{name.value}`" not in page] == []
