"""Approvals over the real engine: two people, narrowed to guards, expired, repeated, and what the journal keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.engine.next_digest import find_next_digest
from agent.engine.planner import ReadOnlyWorkspace
from agent.engine.request import RunRequest, RunResult
from agent.errors import AlreadyApproved, ExitCode, StalePlan, UsageError
from agent.model import Kind
from agent.model.approval import ApprovalPolicy
from agent.model.run import Pause, RunStatus, Trigger
from agent.store.state import SqlState
from tests.factories import plan_of, some_limits
from tests.integration.test_guard_history import Company
from tests.memory_state import MemoryState
from tests.migrated_state import new_sqlite_state
from tests.stepped_world import SteppedWorld

TWO = ApprovalPolicy(needed=2)
LEAVERS = ("p0", "p1", "p2", "p3")


@pytest.fixture(params=["memory", "sqlite"])
async def company(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Company]:
    """Two workspaces; in latam, four of twelve people left, and ten may be created without an approval."""
    worlds = {"latam": SteppedWorld(), "emea": SteppedWorld()}
    now = worlds["latam"].now
    if request.param == "memory":
        yield await with_leavers(Company(MemoryState(now), worlds))
        return
    state = await SqlState.open(new_sqlite_state(tmp_path), now)
    yield await with_leavers(Company(state, worlds))
    await state.close()


async def with_leavers(company: Company) -> Company:
    company.hire(*(f"p{number}" for number in range(12)))
    company.hire("eve", world=company.worlds["emea"])
    await company.sync()
    await company.sync("emea")
    company.limits = some_limits(max_deactivations=2, max_deactivations_percent=100)
    company.change(*LEAVERS, groups=())
    company.pass_minutes(61)
    return company


async def approve(
    company: Company, by: str = "ann", *guards: str, reason: str = "reviewed", digest: str = ""
) -> RunResult:
    digests = frozenset({digest or (await company.plan()).digest})
    request = RunRequest(Trigger.SYNC, by, reason, approved_digests=digests, approved_guards=frozenset(guards))
    (result,) = await company.run(request, "latam")
    return result


async def next_digest(company: Company, result: RunResult) -> str:
    planner, client, policy = company._survey("latam")
    return await find_next_digest(planner, ReadOnlyWorkspace(policy, client), result)


def writes(company: Company) -> int:
    return sum(len(world.space.write_log.writes) for world in company.worlds.values())


async def test_first_of_two_people_writes_nothing_and_the_second_releases(company: Company) -> None:
    company.approval_policy = TWO
    company.hire("new")
    before = writes(company)
    first = await approve(company)

    assert (first.status, first.exit_code, writes(company)) == (RunStatus.HELD, ExitCode.HELD, before)
    assert first.waiting == (
        "Approved by ann: 4 deactivations. Nothing was written: max-deactivations needs the approval of a second "
        f"person until {company.world.now() + timedelta(hours=24):%Y-%m-%d %H:%M UTC}."
    )
    run = await company.state.load_run(first.run_id)
    assert run is not None
    assert (run.error, run.approved_digest) == (first.waiting, None)
    assert run.tally is not None
    assert (run.tally.changes, run.tally.held) == (0, 4)
    company.pass_minutes(1)
    second = await approve(company, "bea", reason="agreed")
    assert (second.status, second.exit_code, second.waiting) == (RunStatus.DONE, ExitCode.DONE, "")
    assert second.approved == "Approved by ann and bea: 4 deactivations."
    assert not company.active() & set(LEAVERS)
    assert "new" in company.active()
    (guard,) = plan_of(second).guards
    assert guard.message.endswith(" Released by an approval of ann and bea.")
    assert guard.released_by == ("ann", "bea")
    kept = await company.state.load_run_approvals(second.run_id)
    assert [(each.by, each.reason, each.run_id, each.applied_in, each.guards) for each in kept] == [
        ("ann", "reviewed", first.run_id, second.run_id, ()),
        ("bea", "agreed", second.run_id, second.run_id, ()),
    ]


async def test_same_person_twice_is_refused_and_not_recorded(company: Company) -> None:
    company.approval_policy = TWO
    before = writes(company)
    first = await approve(company)
    with pytest.raises(AlreadyApproved, match="ANN approved this plan before, at 2026") as refused:
        await approve(company, " ANN ")

    assert "A second person must approve it until" in refused.value.hint
    assert (refused.value.exit_code, writes(company)) == (ExitCode.HELD, before)
    assert len(await company.state.load_approvals("latam", first.digest)) == 1


async def test_expired_approval_does_not_count_and_is_named(company: Company) -> None:
    company.approval_policy = TWO
    before = writes(company)
    await approve(company)
    company.pass_minutes(24 * 60)
    late = await approve(company, "bea")

    assert (late.exit_code, writes(company)) == (ExitCode.HELD, before)
    assert "Nothing was written: The approval of ann of 2026" in late.waiting
    assert " has expired. max-deactivations needs the approval of a second person" in late.waiting
    assert (await approve(company, "ann")).exit_code is ExitCode.DONE
    assert not company.active() & set(LEAVERS)


async def test_applied_approvals_count_for_no_later_run(company: Company) -> None:
    """The same plan may return: then it needs two people again."""
    company.approval_policy = TWO
    company.limits = some_limits(max_deactivations=1000, max_deactivations_percent=100)
    await company.sync()
    company.require_approval = frozenset({Kind.UPDATE_NAME})
    digests = []
    for name in ("Five", "P5"):
        company.change("p5", display_name=name)
        digests.append((await company.plan()).digest)
        await approve(company)
        assert (await approve(company, "bea")).exit_code is ExitCode.DONE
    company.change("p5", display_name="Five")
    assert (await company.plan()).digest == digests[0]
    again = await approve(company, "bea")

    assert again.exit_code is ExitCode.HELD
    assert "a second person" in again.waiting


async def test_approval_of_one_guard_releases_what_no_other_guard_holds(company: Company) -> None:
    company.require_approval = frozenset({Kind.UPDATE_NAME})
    company.change("p5", display_name="Five")
    result = await approve(company, "ann", "approval-required")

    assert result.exit_code is ExitCode.HELD
    assert [record.change.kind for record in result.records] == ["update-name"]
    assert result.approved == "Approved by ann (only approval-required): 1 name change."
    assert company.active() >= set(LEAVERS)
    assert [guard.released_by for guard in plan_of(result).guards] == [(), ("ann",)]
    (approval,) = await company.state.load_run_approvals(result.run_id)
    assert (approval.guards, approval.applied_in) == (("approval-required",), result.run_id)


async def test_change_that_two_guards_hold_waits_for_both(company: Company) -> None:
    """The first guard's approval still counts when the second one is approved."""
    company.require_approval = frozenset({Kind.DEACTIVATE})
    digest = (await company.plan()).digest
    one = await approve(company, "ann", "max-deactivations")

    assert (one.exit_code, one.records) == (ExitCode.HELD, ())
    assert one.approved == (
        "Approved by ann (only max-deactivations): no change (approval-required also holds 4 of these changes)."
    )
    assert (await company.plan()).digest == digest
    both = await approve(company, "ann", "approval-required")
    assert both.exit_code is ExitCode.DONE
    assert not company.active() & set(LEAVERS)


async def test_each_guard_needs_its_own_two_people(company: Company) -> None:
    company.approval_policy = TWO
    company.require_approval = frozenset({Kind.UPDATE_NAME})
    company.change("p5", display_name="Five")
    await approve(company)
    result = await approve(company, "bea", "approval-required")

    assert [record.change.kind for record in result.records] == ["update-name"]
    assert company.active() >= set(LEAVERS)
    assert result.exit_code is ExitCode.HELD


async def test_guard_that_holds_nothing_is_refused(company: Company) -> None:
    before = writes(company)
    with pytest.raises(UsageError, match="fleet, max-creates: holds nothing in this plan of latam") as refused:
        await approve(company, "ann", "max-creates", "max-deactivations", "fleet")

    assert "The guards that do are: max-deactivations." in refused.value.hint
    assert writes(company) == before


@pytest.mark.parametrize("reason", ["", "  ", "…", "."])
async def test_missing_reason_is_refused_before_anything_is_read(company: Company, reason: str) -> None:
    runs = len(await company.state.load_runs())
    with pytest.raises(UsageError, match="An approval needs a reason"):
        await approve(company, reason=reason, digest="sha256:00000000")

    assert len(await company.state.load_runs()) == runs
    company.approval_policy = ApprovalPolicy(requires_reason=False)
    assert (await approve(company, reason=reason)).exit_code is ExitCode.DONE


async def test_approval_without_a_person_is_refused(company: Company) -> None:
    with pytest.raises(UsageError, match="--by is empty"):
        await approve(company, " ")


async def test_plan_file_needs_a_reason_only_for_what_guards_hold(company: Company) -> None:
    held = RunRequest(Trigger.APPLY, "ann", approved_digests=frozenset({(await company.plan()).digest}))
    with pytest.raises(UsageError, match="An approval needs a reason"):
        await company.run(held, "latam")
    plain = RunRequest(Trigger.APPLY, "ann", approved_digests=frozenset({(await company.plan("emea")).digest}))
    (result,) = await company.run(plain, "emea")

    assert result.exit_code is ExitCode.DONE
    assert await company.state.load_run_approvals(result.run_id) == ()


async def test_plan_file_needs_two_people_as_well(company: Company) -> None:
    company.approval_policy = TWO
    digests = frozenset({(await company.plan()).digest})
    (first,) = await company.run(RunRequest(Trigger.APPLY, "ann", "why", approved_digests=digests), "latam")
    (second,) = await company.run(RunRequest(Trigger.APPLY, "bea", "why", approved_digests=digests), "latam")

    assert (first.exit_code, second.exit_code) == (ExitCode.HELD, ExitCode.DONE)
    assert not company.active() & set(LEAVERS)


async def test_waiting_approval_keeps_the_command_from_writing_to_other_workspaces(company: Company) -> None:
    """An approval of a whole document would be stale for the second person otherwise."""
    company.approval_policy = TWO
    company.hire("zoe", world=company.worlds["emea"])
    before = writes(company)
    digests = frozenset({(await company.plan()).digest})
    latam, emea = await company.run(RunRequest(Trigger.SYNC, "ann", "why", approved_digests=digests))

    assert (latam.exit_code, emea.exit_code, writes(company)) == (ExitCode.HELD, ExitCode.DONE, before)
    assert (emea.status, emea.waiting) == (
        RunStatus.PLANNED,
        "Nothing was written: another approval of the same command waits for a second person.",
    )


async def test_approval_of_a_changed_plan_is_stale_for_the_second_person_too(company: Company) -> None:
    company.approval_policy = TWO
    first = await approve(company)
    company.change("p4", groups=())
    before = writes(company)
    with pytest.raises(StalePlan):
        await approve(company, "bea", digest=first.digest)
    assert writes(company) == before


async def test_undo_that_a_guard_holds_needs_two_people(company: Company) -> None:
    done = await approve(company)
    company.approval_policy = TWO
    company.require_approval = frozenset({Kind.REACTIVATE})
    before = writes(company)
    first = await company.undo(done.run_id, by="ann")
    assert (first.exit_code, writes(company)) == (ExitCode.HELD, before)
    second = await company.undo(done.run_id, by="bea")

    assert second.exit_code is ExitCode.DONE
    assert company.active() >= set(LEAVERS)


async def test_undo_of_an_approved_create_ends_the_link(company: Company) -> None:
    company.require_approval = frozenset({Kind.CREATE})
    company.limits = some_limits(max_deactivations_percent=100)
    await company.sync()
    company.hire("new")
    made = await approve(company)
    assert "new" in company.active()
    company.require_approval = frozenset()
    assert (await company.undo(made.run_id)).exit_code is ExitCode.DONE

    assert "new" not in company.active()
    assert "new" not in {link.person.id for link in (await company.state.load_memory("latam")).links}


async def test_pause_that_comes_after_the_plan_leaves_the_approval_unrecorded(company: Company) -> None:
    digest = (await company.plan()).digest
    await company.state.set_pause("latam", Pause(company.world.now(), "ops", "stop"))
    with pytest.raises(UsageError, match="latam: paused"):
        await approve(company, digest=digest)
    assert await company.state.load_approvals("latam", digest) == ()


@pytest.mark.parametrize("needed", [1, 2])
async def test_approval_stays_valid_when_a_run_in_between_changes_only_a_note(company: Company, needed: int) -> None:
    """The note of another writer goes once a run has seen its change."""
    company.approval_policy = ApprovalPolicy(needed=needed)
    company.world.space.admin_rename("p5@acme.com", "Changed by hand")
    company.change("p5", display_name="Changed by hand")
    seen = await company.plan()
    assert [note.code for note in plan_of(seen).notes] == ["another-writer"]
    if needed == 2:
        assert (await approve(company, digest=seen.digest)).exit_code is ExitCode.HELD
    before = writes(company)
    between = await company.sync()
    assert (between.exit_code, writes(company)) == (ExitCode.HELD, before)
    assert plan_of(await company.plan()).notes == ()

    assert (await approve(company, "bea", digest=seen.digest)).exit_code is ExitCode.DONE
    assert not company.active() & set(LEAVERS)


async def test_next_digest_approves_what_a_run_left_on_hold(company: Company) -> None:
    """The run made a create, so the digest of its own plan is stale."""
    company.hire("new")
    result = await company.sync()
    assert [record.change.kind for record in result.records] == ["create"]
    digest = await next_digest(company, result)

    assert digest not in {"", result.digest}
    assert (await approve(company, digest=digest)).exit_code is ExitCode.DONE
    assert not company.active() & set(LEAVERS)


async def test_next_digest_is_not_given_for_holds_that_the_run_did_not_have(company: Company) -> None:
    company.hire("new")
    result = await company.sync()
    company.change("p4", groups=())
    assert await next_digest(company, result) == ""


async def test_next_digest_of_a_run_without_changes_is_its_own_and_costs_no_read(company: Company) -> None:
    result = await company.sync()
    company.world.failing.add("okta")
    assert await next_digest(company, result) == result.digest
