"""A probe proves what the sandbox does, and leaves its canary inactive whatever happens on the way."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from agent.engine.shutdown import GracefulShutdown
from agent.errors import ExitCode, LeaseLost, StateError, UsageError, WorkspaceBusy, WrongTarget
from agent.model import Link, UnmanagedAction
from agent.model.probe import EXPECTED_FACTS
from agent.model.run import Outcome, Pause
from agent.model.verification import Verification, VerificationKind, VerificationResult
from agent.report.document import to_json_bytes
from agent.report.probe import probe_json
from connectors.base import PersonKey
from sandbox.pigment.options import WorkspaceOptions
from sandbox.pigment.token import DomainRestriction
from tests.contract.scim_servers import TOKEN, Server, django_scim2_server, scim2_server
from tests.memory_state import MemoryState
from tests.probe_world import CANARY, NONCE, ProbeWorld, differing, facts_of

PEOPLE = {"ann@acme.com", "bea@acme.com", "cid@acme.com"}
REQUESTS = 52
"""Of a first probe in a workspace of one page."""

NOT_TRIED = {"delete": ("not tried", "unknown")}


async def probe_records(world: ProbeWorld) -> list[Verification]:
    return list(await world.state.load_verifications("latam", VerificationKind.PROBE))


async def test_sandbox_is_as_assumed_and_its_canary_is_left_inactive() -> None:
    world = ProbeWorld()
    wire = world.wire()
    result = await world.probe(wire=wire)

    assert (result.exit_code, result.problems) == (ExitCode.DONE, ())
    assert {code: fact for code, fact in facts_of(result).items() if fact[1] != "as-assumed"} == NOT_TRIED
    assert world.active() == PEOPLE
    assert world.space.find_member(CANARY).display_name == f"Canary {NONCE}"
    assert world.space.find_member("canary@example.invalid").active is False
    assert len(wire.sent) == REQUESTS
    assert not any(line.startswith("DELETE") for line in wire.sent)


async def test_document_has_the_documented_shape_and_is_kept() -> None:
    world = ProbeWorld()
    result = await world.probe()
    printed = json.loads(to_json_bytes(probe_json(result.verification)))

    assert list(printed) == ["at", "canary", "facts", "version", "workspace"]
    assert (printed["version"], printed["workspace"], printed["canary"]) == (1, "latam", CANARY)
    assert [list(row) for row in printed["facts"]] == [["code", "expected", "seen", "verdict"]] * len(EXPECTED_FACTS)
    assert [row["code"] for row in printed["facts"]] == list(EXPECTED_FACTS)
    (kept,) = await probe_records(world)
    assert kept == result.verification
    assert (kept.result, kept.subject, kept.by) == (VerificationResult.PASSED, CANARY, "ana@acme.com")


async def test_second_probe_uses_the_same_canary_and_finds_the_same() -> None:
    world = ProbeWorld()
    first = await world.probe()
    ids = [member.id for member in world.space.members]
    second = await world.probe("Canary@ACME.com")

    assert facts_of(second) == facts_of(first)
    assert [member.id for member in world.space.members] == ids
    assert world.active() == PEOPLE


NAMES = {"patch-display-name", "patch-formatted"}
ACTIVE = {"deactivate", "reactivate", "patch-active-text"}
EMAILS = {"patch-email", "patch-user-name"}
FILTERS = {"filter", "filter-case", "filter-emails", "no-match", "inactive-found"}
AGAIN = {"create-again", "create-again-case", "create-again-inactive"}
SWITCHES: list[tuple[dict[str, Any], set[str]]] = [
    ({"page_size": 2}, {"page-size"}),
    ({"order_stable": False}, {"listing-order"}),
    ({"next_cursor": True}, {"next-cursor"}),
    ({"empty_resources": "absent"}, set()),
    ({"filter_emails": False}, {"filter-emails"}),
    ({"patch_dropped": "204"}, EMAILS),
    ({"patch_dropped": "400"}, EMAILS | {"patch-mixed"}),
    ({"put_without_active": "activates"}, {"put-without-active"}),
    ({"put_without_active": "clears"}, {"put-without-active"}),
    ({"shows_formatted": False}, {"name-formatted"}),
    ({"keeps_name_parts": True}, {"name-parts"}),
    ({"etags": True}, {"version"}),
    ({"etags": True, "versions": "strict"}, {"version"}),
    ({"etags": True, "versions": "demanded"}, {"version"}),
    ({"active_as": "text"}, {"active-type"}),
    ({"ids": "awkward"}, set()),
    ({"ids": "email"}, {"id-after-email"}),
    ({"reads_lag": 2}, {"read-lag"}),
    ({"writes_shown": False}, {"create", "put-email", "foreign-domain"} | NAMES | EMAILS | ACTIVE),
    ({"put_active": "lost"}, {"put-active", "put-without-active"}),
    ({"byte_order_mark": True}, {"byte-order-mark"}),
    ({"groups_status": 200}, {"groups"}),
    ({"patch": "405"}, {"patch-mixed"} | NAMES | EMAILS | ACTIVE),
    ({"patch": "501"}, {"patch-mixed"} | NAMES | EMAILS | ACTIVE),
    ({"patch_names": "display only"}, {"patch-formatted"}),
    ({"patch_names": "lost"}, {"patch-mixed"} | NAMES),
    ({"patch_email": "applied"}, {"patch-mixed"} | EMAILS),
    ({"patch_active": "boolean"}, {"patch-active-text"}),
    ({"patch_active": "lost"}, ACTIVE),
    ({"put_email": "400"}, {"put-email"}),
    ({"filter": "exact case"}, {"filter-case"}),
    ({"filter": "400"}, FILTERS),
    ({"no_match": "404"}, {"no-match"}),
    ({"total_shown": "text"}, {"total-results"}),
    ({"total_shown": "page"}, {"total-results"}),
    ({"lists_inactive": False}, {"inactive-listed"}),
    ({"same_address": "409 without a type"}, AGAIN),
    ({"same_address": "same case only"}, {"create-again-case"}),
    ({"keeps_external_id": True}, {"external-id"}),
    ({"email_checked": True}, {"put-foreign-domain"}),
    ({"domain_refusal": "403"}, {"foreign-domain"}),
]


@pytest.mark.parametrize(("switch", "codes"), SWITCHES, ids=lambda value: str(value) if isinstance(value, dict) else "")
async def test_each_switch_of_the_sandbox_is_found_and_nothing_else(switch: dict[str, Any], codes: set[str]) -> None:
    restriction = DomainRestriction("domain_refusal" in switch, ("acme.com",))
    total = "ignore" if switch.get("total_shown") == "page" else "check"
    world = ProbeWorld(WorkspaceOptions(**switch), restriction, total_results=total)
    for _ in range(2):
        result = await world.probe()

        assert set(differing(result)) == codes
        assert (result.exit_code, result.problems) == (ExitCode.WOULD_CHANGE if codes else ExitCode.DONE, ())
        assert world.active() == PEOPLE


def test_every_fact_that_is_tried_can_be_played_by_a_switch() -> None:
    # `read-by-id`, `filter` and `listed` fail only on a server that no run could use.
    assert set(EXPECTED_FACTS) - set().union(*(codes for _, codes in SWITCHES)) == {"read-by-id", "listed", "delete"}


async def test_domain_restriction_is_as_assumed_and_creates_no_foreign_member() -> None:
    world = ProbeWorld(restriction=DomainRestriction(on=True, domains=("acme.com",)))
    result = await world.probe()

    assert result.exit_code is ExitCode.DONE
    assert facts_of(result)["foreign-domain"] == ("400 invalidValue", "as-assumed")
    assert facts_of(result)["put-foreign-domain"][1] == "as-assumed"
    assert {member.user_name for member in world.space.members} == PEOPLE | {CANARY}


async def test_create_that_is_refused_ends_the_probe_with_a_fact() -> None:
    world = ProbeWorld(WorkspaceOptions(seats=3))
    result = await world.probe()

    assert (result.exit_code, differing(result)) == (ExitCode.WOULD_CHANGE, {"create": "403"})
    assert {member.user_name for member in world.space.members} == PEOPLE


async def test_reads_that_lag_too_far_end_the_probe_and_the_canary_is_inactive() -> None:
    world = ProbeWorld(WorkspaceOptions(reads_lag=20))
    for _ in range(2):
        result = await world.probe()

        assert result.exit_code is ExitCode.INCOMPLETE
        assert "read-lag" in differing(result)
        assert world.active() == PEOPLE


async def test_second_member_with_the_same_address_is_moved_away_once() -> None:
    world = ProbeWorld(WorkspaceOptions(same_address="same case only"))
    for _ in range(3):
        assert differing(await world.probe()) == {"create-again-case": "201 with another member"}

    made = sorted(member.user_name for member in world.space.members if member.user_name not in PEOPLE)
    assert made == [f"canary+duplicate-{NONCE}-1@acme.com", CANARY, "canary@example.invalid"]


@pytest.mark.parametrize("start", [scim2_server, django_scim2_server], ids=["scim2-server", "django-scim2-server"])
async def test_second_probe_of_another_server_finds_the_same(start: Callable[[], Server]) -> None:
    server = start()
    world = ProbeWorld(server=server.transport, url=server.url, token=TOKEN)
    first, second = [differing(await world.probe()) for _ in range(2)]

    # The first probe of scim2-server sets name.formatted, which that server keeps.
    assert second | {"name-formatted": "not shown"} == first
    assert len(first) > 10


# -- what is left is undone


@pytest.mark.parametrize("at", range(1, REQUESTS + 1))
async def test_probe_after_one_that_was_killed_cleans_up_and_finds_the_same(at: int) -> None:
    """Killed before the server has the request, and after; plans in between do not see the canary as a stranger."""
    expected = facts_of(await ProbeWorld().probe())
    for is_delivered in (False, True):
        world = ProbeWorld()
        assert await world.killed_probe(at, is_delivered=is_delivered)
        plan = await world.plan()
        result = await world.probe()
        verdicts = {code: verdict for code, (_, verdict) in facts_of(result).items()}
        # The answer to a create is lost with the process; the member itself is found.
        lost = {"create"} if at == 2 and is_delivered else set()

        assert result.problems == ()
        assert {code for code, (_, verdict) in expected.items() if verdicts[code] != verdict} == lost
        assert {note.code for note in plan.notes} <= {"state-empty", "protected"}
        assert world.active() == PEOPLE
        assert sorted(member.user_name for member in world.space.members if "canary" in member.user_name) == [
            CANARY, "canary@example.invalid",
        ]  # fmt: skip
        assert VerificationResult.RUNNING not in [each.result for each in await probe_records(world)]


@pytest.mark.parametrize("at", [3, 29, 33, 46])
async def test_probe_with_another_canary_cleans_up_what_a_killed_one_left(at: int) -> None:
    world = ProbeWorld()
    await world.killed_probe(at, is_delivered=True)
    assert world.active() > PEOPLE
    result = await world.probe("second.canary@acme.com")

    assert result.exit_code is ExitCode.DONE
    assert world.active() == PEOPLE
    assert world.space.find_member(CANARY) is not None
    results = [(each.subject, each.result.value) for each in await probe_records(world)]
    assert results == [("second.canary@acme.com", "passed"), (CANARY, "failed")]


@pytest.mark.parametrize("at", [3, 20, 28, 31, 45])
async def test_probe_that_is_asked_to_stop_leaves_its_canary_inactive(at: int) -> None:
    world, shutdown = ProbeWorld(), GracefulShutdown()

    def stop(_: httpx.Request) -> None:
        if len(wire.sent) == at:
            shutdown.is_requested = True

    wire = world.wire(observe=stop)
    result = await world.probe(wire=wire, shutdown=shutdown)

    assert result.exit_code is ExitCode.INCOMPLETE
    assert result.problems == ("The probe was stopped. Run it again.",)
    assert world.active() == PEOPLE
    assert (await world.probe()).exit_code is ExitCode.DONE


async def test_pause_in_the_middle_ends_the_probe_and_the_canary_is_inactive() -> None:
    world = ProbeWorld()

    def pause(_: httpx.Request) -> None:
        if len(wire.sent) == 20:
            world.state.pauses["latam"] = Pause(world.world.now(), "ana", "")

    wire = world.wire(observe=pause)
    result = await world.probe(wire=wire)

    assert result.exit_code is ExitCode.INCOMPLETE
    assert "paused by ana during the probe" in result.problems[0]
    assert world.active() == PEOPLE


class FailingState(MemoryState):
    """A state that can't be written once *is_away*."""

    is_away = False

    async def record_verification(self, verification: Verification) -> None:
        if self.is_away:
            raise StateError("The state is out of reach.", "Check the database.")
        await super().record_verification(verification)


async def test_state_that_goes_away_ends_the_probe_and_the_canary_is_inactive() -> None:
    world = ProbeWorld()
    state = FailingState(world.world.now)
    world.state = state

    def lose(_: httpx.Request) -> None:
        state.is_away = len(wire.sent) >= 20

    wire = world.wire(observe=lose)
    result = await world.probe(wire=wire)

    assert result.exit_code is ExitCode.INCOMPLETE
    assert world.active() == PEOPLE
    state.is_away = False
    assert (await world.probe()).exit_code is ExitCode.DONE


@pytest.mark.parametrize("at", [15, 16, 30])
async def test_probe_that_lost_its_lease_writes_nothing_more_and_the_next_one_cleans_up(at: int) -> None:
    """As after a suspend of the machine: another process may hold the lease by now."""
    world = ProbeWorld()
    writes: list[int] = []

    def suspend(request: httpx.Request) -> None:
        if len(wire.sent) == at:
            world.world.pass_minutes(1)
            writes.append(_write_count(world))

    wire = world.wire(observe=suspend)
    with contextlib.suppress(LeaseLost):
        assert (await world.probe(wire=wire)).exit_code is ExitCode.INCOMPLETE
    # The request that was under way when the machine was suspended may have left.
    assert _write_count(world) - writes[0] <= 1
    assert world.active() > PEOPLE
    assert (await world.probe()).exit_code is ExitCode.DONE
    assert world.active() == PEOPLE


async def test_canary_that_can_not_be_deactivated_is_reported() -> None:
    world = ProbeWorld(WorkspaceOptions(last_admin=CANARY))
    result = await world.probe()

    assert result.exit_code is ExitCode.INCOMPLETE
    assert any(f"{CANARY} could not be restored" in problem for problem in result.problems)
    world.space.options = WorkspaceOptions()
    assert (await world.probe()).exit_code is ExitCode.DONE
    assert world.active() == PEOPLE


# -- what is refused, before any write


def _write_count(world: ProbeWorld) -> int:
    return len(world.space.write_log.writes)


async def _refusal(world: ProbeWorld, canary: str = CANARY, error: type[Exception] = UsageError) -> str:
    before = _write_count(world)
    with pytest.raises(error) as caught:
        await world.probe(canary)
    assert _write_count(world) == before
    assert await probe_records(world) == []
    return str(caught.value)


@pytest.mark.parametrize("canary", ["canary", "canary@acme", f"{'x' * 60}@acme.com"])
async def test_address_that_can_not_be_a_canary_is_refused(canary: str) -> None:
    assert "can't be a canary" in await _refusal(ProbeWorld(), canary)


async def test_canary_in_another_domain_is_refused() -> None:
    assert "is not in the allowed_domains" in await _refusal(ProbeWorld(), "canary@example.com")


@pytest.mark.parametrize("glob", ["canary@*", "*+probe@acme.com"])
async def test_protected_canary_is_refused(glob: str) -> None:
    world = ProbeWorld()
    world.policy = replace(world.policy, protect=(glob,))
    assert "is protected" in await _refusal(world)


@pytest.mark.parametrize("address", [CANARY, "CANARY@acme.com", "canary+probe@acme.com", "canary@example.invalid"])
@pytest.mark.parametrize("active", [True, False])
async def test_address_of_a_member_that_no_probe_created_is_refused(address: str, active: bool) -> None:
    world = ProbeWorld()
    world.space.admin_create(address, "Someone", active=active)
    assert "that no probe created" in await _refusal(world)


async def test_linked_member_is_refused_even_if_a_probe_created_it() -> None:
    world = ProbeWorld()
    await world.probe()
    scim_id = world.space.find_member(CANARY).id
    world.state.links["latam"] = {PersonKey("okta", "zoe"): Link(PersonKey("okta", "zoe"), scim_id)}
    world.state.verifications, kept = [], world.state.verifications
    assert "linked to a person" in await _refusal(world)
    world.state.verifications = kept
    with pytest.raises(UsageError, match="linked to a person"):
        await world.probe()


@pytest.mark.parametrize("more", [{}, {"aliases": ("canary+probe@acme.com",)}])
async def test_address_of_an_assigned_person_is_refused(more: dict[str, Any]) -> None:
    world = ProbeWorld()
    world.hire("canary" if not more else "zoe", **more)
    assert "is assigned to latam at a source" in await _refusal(world)


async def test_paused_workspace_is_refused() -> None:
    world = ProbeWorld()
    world.state.pauses["latam"] = Pause(world.world.now(), "ana", "")
    assert "is paused by ana" in await _refusal(world)


async def test_workspace_that_the_state_knows_as_another_one_is_refused() -> None:
    world = ProbeWorld()
    lease = await world.state.take_lease("latam", "another process")
    await world.state.record_targets(lease, [("", "pigment elsewhere")])
    await world.state.release_lease(lease)
    assert "The state knows latam at pigment elsewhere" in await _refusal(world, error=WrongTarget)


async def test_workspace_that_a_run_holds_is_busy() -> None:
    world = ProbeWorld()
    await world.state.take_lease("latam", "another process")
    assert "latam" in await _refusal(world, error=WorkspaceBusy)


async def test_source_that_can_not_be_read_ends_the_probe_before_any_write() -> None:
    world = ProbeWorld()
    world.world.failing.add("okta")
    with pytest.raises(Exception, match="broke off") as caught:
        await world.probe()
    assert getattr(caught.value, "exit_code", None) is ExitCode.INCOMPLETE
    assert _write_count(world) == 0


async def test_member_that_was_given_to_a_person_since_is_left_alone() -> None:
    """A killed probe leaves its canary active; then a person is assigned with its address, and linked to it."""
    world = ProbeWorld()
    await world.killed_probe(20, is_delivered=True)
    world.hire("canary")
    await world.sync()
    result = await world.probe("second.canary@acme.com")

    assert result.exit_code is ExitCode.DONE
    assert world.active() == PEOPLE | {CANARY}


# -- plans and runs


@pytest.mark.parametrize("unmanaged", list(UnmanagedAction))
async def test_plan_is_unchanged_by_a_probe(unmanaged: UnmanagedAction) -> None:
    world = ProbeWorld()
    world.policy = replace(world.policy, unmanaged=unmanaged)
    await world.sync()
    before = await world.plan()
    await world.probe()
    after = await world.plan()

    assert (after.changes, after.holds, after.notes, after.guards) == (
        before.changes, before.holds, before.notes, before.guards,
    )  # fmt: skip
    await world.sync()
    await world.probe()
    assert (await world.plan()).notes == before.notes
    assert (await world.sync()).exit_code is ExitCode.DONE


async def test_active_canary_of_a_killed_probe_is_neither_deactivated_nor_counted() -> None:
    world = ProbeWorld()
    world.policy = replace(world.policy, unmanaged=UnmanagedAction.DEACTIVATE)
    await world.sync()
    await world.killed_probe(20, is_delivered=True)
    plan = await world.plan()

    assert plan.changes == ()
    (note,) = [note for note in plan.notes if note.email == CANARY]
    assert (note.code, "pigment-sync probe" in note.reason) == ("protected", True)


async def test_person_who_gets_the_address_of_an_inactive_canary_waits_for_an_operator() -> None:
    world = ProbeWorld()
    await world.probe()
    world.hire("canary")
    (hold,) = (await world.plan()).holds
    assert hold.code == "possible-recycled-address"


def _sent(wire: Any, method: str) -> int:
    return sum(line.startswith(method) for line in wire.sent)


@pytest.mark.parametrize(
    ("switch", "change"),
    [
        ({"patch": "405"}, "name"),
        ({"patch": "501"}, "leave"),
        ({"patch_names": "lost"}, "name"),
        ({"patch_active": "lost"}, "leave"),
    ],
)
async def test_run_after_a_probe_uses_put_where_patch_has_no_effect(switch: dict[str, Any], change: str) -> None:
    world = ProbeWorld(WorkspaceOptions(**switch))
    await world.sync()
    await world.probe()
    world.world.pass_minutes(61)
    if change == "name":
        person = world.world.people["okta", "ann"]
        world.world.people["okta", "ann"] = replace(person, display_name="Ann Lima")
    else:
        del world.world.people["okta", "ann"]
    wire = world.wire()
    result = await world.sync(wire)

    assert [record.outcome for record in result.records] == [Outcome.DONE]
    assert (_sent(wire, "PATCH"), _sent(wire, "PUT")) == (0, 1)


async def test_server_that_was_corrected_is_used_as_assumed_after_the_next_probe() -> None:
    world = ProbeWorld(WorkspaceOptions(patch="501"))
    await world.sync()
    await world.probe()
    world.space.options = WorkspaceOptions()
    await world.probe()
    del world.world.people["okta", "ann"]
    wire = world.wire()
    result = await world.sync(wire)

    assert [record.outcome for record in result.records] == [Outcome.DONE]
    assert (_sent(wire, "PATCH"), _sent(wire, "PUT")) == (1, 0)


class LosesFirstPost(httpx.AsyncBaseTransport):
    """Delivers the first POST and loses its answer."""

    def __init__(self, server: httpx.AsyncBaseTransport) -> None:
        self.server = server
        self.is_lost = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.server.handle_async_request(request)
        if request.method == "POST" and not self.is_lost:
            self.is_lost = True
            raise httpx.ReadError("reset", request=request)
        return response


@pytest.mark.parametrize("is_probed", [True, False])
async def test_lost_create_is_found_in_the_listing_where_no_filter_works(is_probed: bool) -> None:
    world = ProbeWorld(WorkspaceOptions(filter="400"))
    await world.sync()
    if is_probed:
        await world.probe()
    world.hire("dan")
    wire = world.wire()
    wire.server = LosesFirstPost(wire.server)
    result = await world.sync(wire)

    outcome = Outcome.DONE if is_probed else Outcome.UNKNOWN
    assert [record.outcome for record in result.records] == [outcome]


async def test_result_of_another_server_changes_nothing() -> None:
    world = ProbeWorld(WorkspaceOptions(patch="501"))
    await world.sync()
    await world.probe()
    world.state.verifications = [
        replace(each, document={**each.document, "record": {**each.document["record"], "target": "pigment elsewhere"}})  # type: ignore[dict-item]  # a document of `probe_document`
        for each in world.state.verifications
    ]
    del world.world.people["okta", "ann"]
    wire = world.wire()
    await world.sync(wire)

    assert _sent(wire, "PATCH") == 1


async def test_probe_keeps_its_lease_for_as_long_as_it_takes() -> None:
    """Each write renews an overdue lease: reads that lag make the probe longer than a lease lasts."""
    world = ProbeWorld(WorkspaceOptions(reads_lag=4))
    began = world.world.now()
    result = await world.probe()

    assert world.world.now() - began > timedelta(seconds=30)
    assert result.problems == ()
