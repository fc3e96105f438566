"""Results of `check`, `probe` and `compare`: kept per workspace, replaced, and limited in number."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.ports.state import State
from agent.ports.verifications import KEPT_VERIFICATIONS
from tests.state_samples import NOW, a_run

PROBE = Verification(
    workspace="latam",
    kind=VerificationKind.PROBE,
    started_at=NOW,
    result=VerificationResult.RUNNING,
    subject="canary@acme.com",
    by="ana\x00",
    version="0.1.0",
    document={"facts": [{"code": "patch-email", "verdict": "unknown"}], "name": "Ñandú"},
)
CHECK = replace(PROBE, kind=VerificationKind.CHECK, result=VerificationResult.PASSED, subject="", document={})


async def test_result_is_loaded_as_it_was_recorded_by_workspace_and_kind(state: State) -> None:
    assert await state.load_verifications("latam") == ()
    other = replace(PROBE, workspace="apac")
    older = replace(CHECK, started_at=NOW - timedelta(microseconds=1))
    for each in (older, PROBE, CHECK, other):
        await state.record_verification(each)

    assert await state.load_verifications("latam") == (CHECK, PROBE, older)
    assert await state.load_verifications("latam", VerificationKind.CHECK) == (CHECK, older)
    assert await state.load_verifications("latam", VerificationKind.COMPARE) == ()
    assert await state.load_verifications("apac") == (other,)


async def test_result_replaces_the_one_that_started_at_the_same_moment(state: State) -> None:
    await state.record_verification(PROBE)
    ended = replace(PROBE, result=VerificationResult.DIFFERS, document={"facts": []})
    await state.record_verification(ended)
    assert await state.load_verifications("latam") == (ended,)


async def test_oldest_results_are_deleted_beyond_the_limit_of_their_kind(state: State) -> None:
    await state.record_verification(CHECK)
    made = [replace(PROBE, started_at=NOW + timedelta(minutes=number)) for number in range(KEPT_VERIFICATIONS + 3)]
    for each in made:
        await state.record_verification(each)

    kept = await state.load_verifications("latam", VerificationKind.PROBE)
    assert kept == tuple(reversed(made[3:]))
    assert await state.load_verifications("latam", VerificationKind.CHECK) == (CHECK,)


async def test_results_move_with_a_renamed_workspace_and_end_with_a_reset(state: State) -> None:
    for each in (PROBE, replace(CHECK, workspace="new")):
        await state.record_verification(each)
    old, new = await state.take_lease("latam", "one"), await state.take_lease("new", "one")
    await state.rename_workspace(old, new, a_run("run-1", "new"))
    assert await state.load_verifications("new") == (replace(PROBE, workspace="new"),)
    assert await state.load_verifications("latam") == ()

    await state.reset_workspace(new, a_run("run-2", "new"), "")
    assert await state.load_verifications("new") == ()
