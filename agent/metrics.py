"""Metrics for Prometheus: counters of runs and responses, and gauges that are set at each scrape.

Label values are names from the configuration and fixed words, so that cardinality stays bounded.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from agent.engine.feed_poll import PollResult
from agent.engine.request import RunResult
from agent.model import Kind, Plan
from agent.model.codes import GuardCode
from agent.model.run import Outcome, Trigger

if TYPE_CHECKING:
    import httpx

__all__ = ["CONTENT_TYPE", "SCRAPE_GAUGES", "Metrics", "Sample"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
BUCKETS = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
LAG_BUCKETS = (5, 10, 15, 20, 30, 45, 60, 90, 120, 300, 900, 3600)
FEED_OUTCOMES = ("done", "failed")
MAX_HOSTS = 50
"""A tenant has a handful of hosts; any further host is counted as `other`."""
Sample = tuple[tuple[str, ...], float]

SCRAPE_GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "pigment_sync_config_loaded_timestamp_seconds": ("Time at which the active configuration was loaded.", ()),
    "pigment_sync_started_timestamp_seconds": ("Time at which the daemon started.", ()),
    "pigment_sync_replica_info": ("The daemon that answers this scrape, by its host's or Pod's name.", ("replica",)),
    "pigment_sync_ready": ("1 if /readyz succeeds.", ()),
    "pigment_sync_state_up": ("1 if the state could be read and written at this scrape.", ()),
    "pigment_sync_budget_left": ("Remaining requests of the busiest Pigment host.", ()),
    "pigment_sync_ongoing_runs": ("Runs that are queued or in progress.", ("workspace",)),
    "pigment_sync_paused": ("1 if writing is paused.", ("workspace",)),
    "pigment_sync_enforcing": ("1 in mode enforce, 0 in mode dry-run.", ("workspace",)),
    "pigment_sync_stale_after_timestamp_seconds": (
        "The second scheduled time after the last complete read, or after the start.",
        ("workspace",),
    ),
    "pigment_sync_next_run_timestamp_seconds": ("Time of the next scheduled run.", ("workspace",)),
    "pigment_sync_last_read_timestamp_seconds": ("Time of the last complete read.", ("workspace",)),
    "pigment_sync_last_apply_timestamp_seconds": ("Time of the last successful sync.", ("workspace",)),
    "pigment_sync_oldest_hold_timestamp_seconds": (
        "Time since which the oldest hold waits for a person; absent without one.",
        ("workspace",),
    ),
    "pigment_sync_members": ("Members of the newest complete listing.", ("workspace", "state")),
    "pigment_sync_linked_members": ("Members linked to a person before the newest complete plan.", ("workspace",)),
    "pigment_sync_in_sync_members": ("Members that need no change in the newest complete plan.", ("workspace",)),
    "pigment_sync_assigned_people": ("People that a connector read as assigned.", ("workspace", "connector")),
    "pigment_sync_eligible_people": ("Assigned people who are eligible for access.", ("workspace", "connector")),
    "pigment_sync_planned_changes": (
        "Changes of the newest complete plan, without those on hold.",
        ("workspace", "kind"),
    ),
    "pigment_sync_tripped_guards": (
        "1 for each guard that tripped in the newest complete plan and that no approval released.",
        ("workspace", "guard"),
    ),
    "pigment_sync_holds": ("Holds that the newest complete plan left.", ("workspace", "code")),
    "pigment_sync_last_run": ("1 for the status of the newest run.", ("workspace", "status")),
    "pigment_sync_token_days_left": ("Days until the first token expires; negative after that.", ("workspace",)),
    "pigment_sync_lease_holder_info": ("The holder of the lease.", ("workspace", "holder")),
    "pigment_sync_compare_differences": (
        "Differences that the newest completed comparison with a reader found.",
        ("workspace", "with"),
    ),
    "pigment_sync_compare_timestamp_seconds": (
        "Time at which the newest completed comparison with a reader began.",
        ("workspace", "with"),
    ),
    "pigment_sync_report_last_delivered_timestamp_seconds": (
        "Time at which a target last got the scheduled report.",
        ("report",),
    ),
    "pigment_sync_report_overdue_since_timestamp_seconds": (
        "Scheduled time of the report that has not reached all its targets; absent without one.",
        ("report",),
    ),
    "pigment_sync_build_info": ("Versions of the agent and of Python.", ("version", "python")),
}
"""Help text and labels of each gauge that `/metrics` sets at each scrape."""


class Metrics:
    """All metrics, registered in *registry*."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._runs = Counter(
            "pigment_sync_runs_total", "Finished runs.", ("workspace", "status", "trigger"), registry=registry
        )
        self._duration = Histogram(
            "pigment_sync_run_duration_seconds",
            "Duration of runs.",
            ("workspace",),
            registry=registry,
            buckets=BUCKETS,
        )
        self._changes = Counter(
            "pigment_sync_changes_total", "Changes by outcome.", ("workspace", "kind", "outcome"), registry=registry
        )
        self._guard_trips = Counter(
            "pigment_sync_guard_trips_total",
            "Plans of the whole workspace in which a guard tripped.",
            ("workspace", "guard"),
            registry=registry,
        )
        self._notices = Counter(
            "pigment_sync_notices_total", "Notices by outcome.", ("workspace", "outcome"), registry=registry
        )
        self._requests = Counter(
            "pigment_sync_requests_total", "Responses of other systems.", ("host", "status"), registry=registry
        )
        self._feed_polls = Counter(
            "pigment_sync_feed_polls_total", "Polls of change feeds.", ("connector", "outcome"), registry=registry
        )
        self._feed_last_poll = Gauge(
            "pigment_sync_feed_last_poll_timestamp_seconds",
            "Last successful poll of a change feed.",
            ("connector",),
            registry=registry,
        )
        self._feed_lag = Histogram(
            "pigment_sync_feed_lag_seconds",
            "Time from the provider's event to the deactivation.",
            ("connector",),
            registry=registry,
            buckets=LAG_BUCKETS,
        )
        self._feed_missed = Counter(
            "pigment_sync_feed_missed_leavers_total",
            "Leavers that runs over everyone found and no event announced.",
            ("connector", "workspace"),
            registry=registry,
        )
        self._takeovers = Counter(
            "pigment_sync_takeovers_total", "Jobs taken over from a daemon that was lost.", registry=registry
        )
        self._stopped_ticks = Counter(
            "pigment_sync_stopped_ticks_total",
            "Ticks that two daemons did not survive, and that no other continues.",
            ("schedule",),
            registry=registry,
        )
        self._gauges = {
            name: Gauge(name, meaning, labels, registry=registry) for name, (meaning, labels) in SCRAPE_GAUGES.items()
        }
        self._by_workspace = (
            self._runs,
            self._duration,
            self._changes,
            self._guard_trips,
            self._notices,
        )
        self._workspaces: set[str] = set()
        self._hosts: set[str] = set()
        self._feeds: set[str] = set()
        self._feed_series: set[tuple[str, str]] = set()

    def record_run(self, result: RunResult, trigger: Trigger, seconds: float) -> None:
        """Count a finished run that took *seconds*."""
        self._workspaces.add(result.workspace)
        self._runs.labels(result.workspace, result.status, trigger).inc()
        self._duration.labels(result.workspace).observe(seconds)
        for record in result.records:
            self._changes.labels(result.workspace, record.change.kind, record.outcome).inc()
        for lag in result.lags:
            self._feed_lag.labels(lag.person.connector).observe(lag.seconds)
        if result.is_for_everyone and isinstance(result.planned, Plan):
            for guard in result.planned.guards:
                self._guard_trips.labels(result.workspace, guard.code).inc()

    def count_notice(self, workspace: str, outcome: str) -> None:
        """Count a notice of *workspace* that was `sent` or `not-sent`."""
        self._workspaces.add(workspace)
        self._notices.labels(workspace, outcome).inc()

    def record_poll(self, connector: str, result: PollResult) -> None:
        """Count a poll of a change feed. Also one by another process shows that the feed works."""
        self._feed_last_poll.labels(connector).set(result.polled_at.timestamp())
        if not result.is_elsewhere:
            self._feed_polls.labels(connector, "done").inc()
        for workspace, count in result.missed.items():
            self._feed_missed.labels(connector, workspace).inc(count)

    def record_failed_poll(self, connector: str) -> None:
        self._feed_polls.labels(connector, "failed").inc()

    def set_feeds(self, workspaces: Mapping[str, Collection[str]]) -> None:
        """Begin the counters of each feed at 0, and remove the series of every other one: its last poll gets no older.

        *workspaces* are those of each connector with a feed.
        """
        series = {(connector, name) for connector, names in workspaces.items() for name in names}
        for connector in workspaces:
            for outcome in FEED_OUTCOMES:
                self._feed_polls.labels(connector, outcome)
            self._feed_lag.labels(connector)
        for each in series:
            self._feed_missed.labels(*each)
        for connector in self._feeds.difference(workspaces):
            for metric in (self._feed_polls, self._feed_last_poll, self._feed_lag, self._feed_missed):
                metric.remove_by_labels({"connector": connector})
        for connector, name in self._feed_series - series:
            self._feed_missed.remove_by_labels({"connector": connector, "workspace": name})
        self._feeds, self._feed_series = set(workspaces), series

    def record_takeover(self) -> None:
        """Count a job that this daemon took over from another that died, or that lost its lease."""
        self._takeovers.inc()

    def record_stopped_tick(self, schedule: str) -> None:
        self._stopped_ticks.labels(schedule).inc()

    def set_workspaces(self, names: Collection[str]) -> None:
        """Begin the counters of *names* at 0, and remove the series of every other workspace.

        Prometheus sees no increase in a counter that begins above 0: the first change would never show.
        """
        for workspace in set(names) - self._workspaces:
            for kind in Kind:
                for outcome in (Outcome.DONE, Outcome.FAILED):
                    self._changes.labels(workspace, kind, outcome)
            for guard in GuardCode:
                self._guard_trips.labels(workspace, guard)
        for workspace in self._workspaces.difference(names):
            for metric in self._by_workspace:
                metric.remove_by_labels({"workspace": workspace})
        self._workspaces = set(names)

    async def count_response(self, response: httpx.Response) -> None:
        """Count a response; an event hook of `httpx.AsyncClient`."""
        host = response.request.url.host
        if host in self._hosts or len(self._hosts) < MAX_HOSTS:
            self._hosts.add(host)
        else:
            host = "other"
        self._requests.labels(host, response.status_code).inc()

    def set_gauges(self, samples: Mapping[str, Iterable[Sample]]) -> None:
        """Set the gauges of a scrape. A gauge that is not in *samples* is removed, or NaN if it has no labels."""
        for name, gauge in self._gauges.items():
            gauge.clear()
            if not SCRAPE_GAUGES[name][1]:
                gauge.set(math.nan)
            for labels, value in samples.get(name, ()):
                (gauge.labels(*labels) if labels else gauge).set(value)

    def render(self) -> bytes:
        return generate_latest(self._registry)
