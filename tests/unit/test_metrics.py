"""Metrics count runs and responses, with bounded label values."""

from __future__ import annotations

from dataclasses import replace

import httpx
from prometheus_client import CollectorRegistry

from agent.engine.request import RunResult
from agent.errors import ExitCode
from agent.metrics import MAX_HOSTS, Metrics
from agent.model import Guard, Hold, Kind
from agent.model.run import Outcome, RunStatus, Trigger
from tests.factories import plan_of
from tests.golden.samples import a_plan
from tests.state_samples import a_change, done


def a_result(*codes: str) -> RunResult:
    """Return a held run with a done creation and two failed deactivations."""
    holds = tuple(Hold(kind=Kind.CREATE, code=code, email="ann@acme.com", reason="", remedy="") for code in codes)
    failed = [done(a_change(), seq, Outcome.FAILED) for seq in (1, 2)]
    records = (done(a_change(Kind.CREATE)), *failed)
    return RunResult("latam", "r1", RunStatus.HELD, ExitCode.HELD, a_plan("latam", holds=holds), "sha256:a", records)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_run_is_counted_with_its_duration_and_its_changes() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.record_run(a_result("address-taken", "address-taken", "unknown-status"), Trigger.SCHEDULE, 12)

    assert value(registry, "pigment_sync_runs_total", workspace="latam", status="held", trigger="schedule") == 1
    assert value(registry, "pigment_sync_run_duration_seconds_sum", workspace="latam") == 12
    assert value(registry, "pigment_sync_changes_total", workspace="latam", kind="create", outcome="done") == 1
    assert value(registry, "pigment_sync_changes_total", workspace="latam", kind="deactivate", outcome="failed") == 2


def test_guards_that_trip_are_counted_in_a_dry_run_too() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    guard = Guard(code="max-deactivations", count=3, recent=0, limit="2", message="", affected=())
    held = a_result()
    tripped = replace(held, planned=replace(plan_of(held), guards=(guard,)), records=(), holds=None)
    for _ in range(2):
        metrics.record_run(tripped, Trigger.PLAN, 1)
    metrics.record_run(replace(tripped, is_for_everyone=False), Trigger.API, 1)

    assert value(registry, "pigment_sync_guard_trips_total", workspace="latam", guard="max-deactivations") == 2


def test_workspace_that_was_removed_loses_every_series_and_others_keep_theirs() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for name in ("latam", "emea"):
        metrics.record_run(replace(a_result("address-taken"), workspace=name), Trigger.SCHEDULE, 1)
        metrics.count_notice(name, "not-sent")
    metrics.set_workspaces(["emea", "apac"])

    assert b'"latam"' not in metrics.render()
    assert value(registry, "pigment_sync_notices_total", workspace="emea", outcome="not-sent") == 1
    assert value(registry, "pigment_sync_changes_total", workspace="emea", kind="create", outcome="done") == 1
    assert value(registry, "pigment_sync_changes_total", workspace="apac", kind="create", outcome="done") == 0
    assert value(registry, "pigment_sync_guard_trips_total", workspace="apac", guard="fleet") == 0


async def test_responses_are_counted_by_a_bounded_number_of_hosts() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    transport = httpx.MockTransport(lambda _: httpx.Response(429))
    async with httpx.AsyncClient(transport=transport, event_hooks={"response": [metrics.count_response]}) as client:
        for number in range(MAX_HOSTS + 2):
            await client.get(f"https://host{number}.example.com/secret?token=x")

    assert value(registry, "pigment_sync_requests_total", host="host0.example.com", status="429") == 1
    assert value(registry, "pigment_sync_requests_total", host="other", status="429") == 2
    assert b"secret" not in metrics.render()


def test_gauge_without_a_new_sample_is_removed() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.set_gauges({"pigment_sync_paused": [(("latam",), 1)], "pigment_sync_budget_left": [((), 7)]})
    assert value(registry, "pigment_sync_budget_left") == 7
    metrics.set_gauges({"pigment_sync_paused": [(("emea",), 0)]})

    assert value(registry, "pigment_sync_paused", workspace="latam") is None
    assert value(registry, "pigment_sync_paused", workspace="emea") == 0
    assert b"pigment_sync_budget_left NaN" in metrics.render()
