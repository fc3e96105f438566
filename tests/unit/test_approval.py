"""Which plans an approval fits: by a whole digest or its beginning, and never one that nothing is written to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agent.engine.approval import match_approvals
from agent.engine.request import Decision, RunRequest
from agent.errors import StalePlan, UsageError
from agent.model import Mode
from agent.model.run import Pause, Trigger
from agent.plan_parser import describe_difference
from agent.report.document import combined_digest, plan_digest
from tests.factories import a_policy
from tests.golden.samples import a_guarded_leaver, a_plan
from tests.memory_state import MemoryState
from tests.state_samples import Clock

PAUSE = Pause(datetime(2026, 3, 1, 12, tzinfo=UTC), "ops", "")


def planned(name: str, mode: Mode = Mode.ENFORCE, pause: Pause | None = None) -> Decision:
    plan = replace(a_plan(name, holds=(a_guarded_leaver(1),)), mode=mode, pause=pause)
    return Decision(a_policy(), plan, plan_digest(plan))


async def agreed(*approvals: str, fresh: list[Decision], trigger: Trigger = Trigger.SYNC) -> dict[str, str]:
    order = RunRequest(trigger, approved_digests=frozenset(approvals))
    return await match_approvals(fresh, order, MemoryState(Clock().now), describe_difference)


async def test_beginning_of_a_digest_approves_the_plan_it_fits() -> None:
    one, two = planned("one"), planned("two")

    assert await agreed(one.digest[:15], fresh=[one, two]) == {"one": one.digest}
    assert await agreed(one.digest, two.digest[:20], fresh=[one, two]) == {
        "one": one.digest,
        "two": two.digest,
    }
    whole = combined_digest([one.digest, two.digest])
    assert await agreed(whole[:15], fresh=[one, two]) == {"one": whole, "two": whole}


async def test_beginning_that_fits_several_plans_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="matches several digests"):
        await agreed("sha256:", fresh=[planned("one"), planned("two")])


async def test_digest_that_fits_no_plan_is_stale() -> None:
    with pytest.raises(StalePlan, match="The plan changed after sha256:00000000 was approved"):
        await agreed("sha256:00000000", fresh=[planned("one")])


@pytest.mark.parametrize(
    ("other", "why"),
    [(planned("two", Mode.DRY_RUN), "two: in mode dry-run"), (planned("two", pause=PAUSE), "two: paused")],
)
async def test_plan_that_nothing_is_written_to_can_not_be_approved(other: Decision, why: str) -> None:
    with pytest.raises(UsageError, match=f"{why}. Nothing was approved and nothing was written"):
        await agreed(other.digest, fresh=[planned("one"), other])
    # A file holds the plans of all its workspaces, and the others are applied.
    assert await agreed(other.digest, fresh=[planned("one"), other], trigger=Trigger.APPLY)
