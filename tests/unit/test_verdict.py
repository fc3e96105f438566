"""The verdict on a person: one line before the five steps of `explain`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agent.diff.explain import explain
from agent.diff.plan import compute_plan
from agent.diff.verdict import verdict_line
from agent.model import Inputs, Mode, Unplanned
from agent.model.run import Pause
from connectors.base import Status
from tests.factories import a_policy, link, member, person, reads

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUSPENDED = reads(
    [person("ann", status=Status.SUSPENDED, source_status="SUSPENDED"), person("bea")],
    [member("ann"), member("bea")],
    [link("ann"), link("bea")],
)
ELSEWHERE = reads([person("bea")], [member("bea")], [link("bea")])


def verdict(given: Inputs, mode: Mode = Mode.ENFORCE, pause: Pause | None = None, name: str = "latam") -> str:
    policy = replace(a_policy(), workspace=name, mode=mode)
    return explain("ann@acme.com", given, policy, compute_plan(given, policy), (), pause).verdict


@pytest.mark.parametrize(
    ("given", "start"),
    [
        (SUSPENDED, "loses access to latam at the next sync: "),
        (reads([person("ann")], []), "gets access to latam at the next sync: "),
        (reads([person("ann")], [member("ann", active=False)]), "gets access to latam at the next sync: "),
        (reads([person("ann", display_name="")], []), "has no access to latam; create is on hold (missing-"),
        (
            reads([person("ann", display_name="Ann B")], [member("ann")], [link("ann")]),
            "has access to latam, with a changed name at the next sync",
        ),
    ],
)
def test_verdict_names_what_the_next_sync_does(given: Inputs, start: str) -> None:
    assert verdict(given).startswith(start)


def test_person_in_sync_has_access_and_another_one_has_no_verdict() -> None:
    assert verdict(reads([person("ann")], [member("ann")], [link("ann")])) == "has access to latam"
    assert verdict(ELSEWHERE) == ""


def test_verdict_promises_nothing_where_nothing_is_written() -> None:
    assert verdict(SUSPENDED, Mode.DRY_RUN).startswith("would lose access to latam, which is in mode dry-run: ")
    pause = Pause(NOW, "ida", "audit")
    assert verdict(SUSPENDED, pause=pause).startswith("would lose access to latam, which is paused: ")


def test_line_covers_all_workspaces() -> None:
    known = [
        explain("ann@acme.com", given, policy, compute_plan(given, policy), ())
        for name, given in (("latam", SUSPENDED), ("eu", ELSEWHERE), ("apac", ELSEWHERE))
        for policy in [replace(a_policy(), workspace=name)]
    ]
    unread = Unplanned(
        workspace="us", mode=Mode.ENFORCE, status="incomplete", code="read", message="No answer.", remedy="Wait."
    )
    line = verdict_line("ann@acme.com", [*known, unread])

    assert line.startswith("ann@acme.com loses access to latam at the next sync: ")
    assert line.endswith(". Not in eu, apac. Not known for us: could not be read.")
    assert verdict_line("ann@acme.com", known[1:]) == "ann@acme.com is not in eu, apac."
