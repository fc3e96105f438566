"""`sync --exit-code`: what the exit code of a run shows in addition."""

from __future__ import annotations

import pytest

from agent.engine.request import RunResult, detailed_exit_code
from agent.errors import ExitCode, worst_exit_code
from agent.model import Hold, Kind
from agent.model.run import ChangeRecord, Outcome, RunStatus
from tests.golden.samples import a_foreigner, a_plan
from tests.state_samples import a_change, done

TOGGLE = Hold(kind=Kind.CREATE, code="toggle-off", email="ann@acme.com", reason="", remedy="")
CREATED, ADOPTED = done(a_change(Kind.CREATE)), done(a_change(Kind.ADOPT))
HELD_AT_PIGMENT = done(a_change(Kind.CREATE), 1, Outcome.HELD)


def ended(holds: tuple[Hold, ...] | None, *records: ChangeRecord, code: ExitCode = ExitCode.DONE) -> ExitCode:
    planned = a_plan("latam", holds=(a_foreigner(),))
    result = RunResult("latam", "r1", RunStatus.DONE, code, planned, "sha256:a", records, holds=holds)
    return detailed_exit_code(result)


@pytest.mark.parametrize(
    ("holds", "records", "expected"),
    [
        ((), (), ExitCode.DONE),
        ((), (CREATED,), ExitCode.WOULD_CHANGE),
        ((), (ADOPTED,), ExitCode.DONE),
        ((a_foreigner(),), (), ExitCode.HELD),
        ((a_foreigner(),), (CREATED,), ExitCode.HELD),
        ((), (CREATED, HELD_AT_PIGMENT), ExitCode.HELD),
        ((TOGGLE,), (), ExitCode.DONE),
        ((TOGGLE,), (CREATED,), ExitCode.WOULD_CHANGE),
        (None, (), ExitCode.DONE),
    ],
    ids=[
        "nothing",
        "written",
        "adopted",
        "hold",
        "hold-and-written",
        "held-by-a-conflict",
        "toggle",
        "toggle-and-written",
        "dry-run-or-pause",
    ],
)
def test_code_shows_what_was_written_and_what_waits(
    holds: tuple[Hold, ...] | None, records: tuple[ChangeRecord, ...], expected: ExitCode
) -> None:
    assert ended(holds, *records) is expected


@pytest.mark.parametrize("code", sorted(set(ExitCode) - {ExitCode.DONE}))
def test_every_other_code_stays(code: ExitCode) -> None:
    assert ended((a_foreigner(),), CREATED, code=code) is code


def test_of_several_workspaces_a_hold_wins_over_a_write_and_everything_else_over_both() -> None:
    written, held = ended((), CREATED), ended((a_foreigner(),))

    assert worst_exit_code([written, held]) is ExitCode.HELD
    for worse in set(ExitCode) - {ExitCode.DONE, ExitCode.USAGE, ExitCode.HELD, ExitCode.WOULD_CHANGE}:
        assert worst_exit_code([written, held, worse]) is worse
