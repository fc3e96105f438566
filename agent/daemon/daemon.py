"""The daemon: runs each workspace on schedule and on request, and reports the status of each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import structlog

from agent.daemon.background_jobs import BackgroundJobs
from agent.daemon.dispatcher import NO_JOB_OBSERVER, Dispatcher, JobObserver
from agent.daemon.feeds import NO_FEED_OBSERVER, DaemonFeeds, FeedObserver, OpenPollers
from agent.daemon.feeds import TICK_SECONDS as FEED_TICK_SECONDS
from agent.daemon.interface import (
    ActiveRun,
    FeedStatus,
    Health,
    LinkDecision,
    ManualRunRequest,
    NotFound,
    RenameDecision,
    Replica,
    StaleLinks,
    WorkspaceStatus,
)
from agent.daemon.newest_plans import NewestPlans
from agent.daemon.newest_runs import NewestRuns, load_newest_runs
from agent.daemon.presence import Presence, daemon_phrase, own_record
from agent.daemon.reports import TICK_SECONDS, DaemonReports, ReportServiceFactory
from agent.daemon.runner import ActiveConfig, ComponentsFactory, Runner, RunObserver
from agent.daemon.schedule import ScheduleGroup, format_schedule, stale_after
from agent.daemon.state_probe import StateProbe
from agent.daemon.tasks import QueryLimiter
from agent.delivery.service import ReportState
from agent.engine.links import LinkCorrection, LinkEditor
from agent.engine.queries import explain_person
from agent.engine.records import admin_run, new_run_id, prune_old_runs
from agent.engine.request import RunRequest
from agent.engine.shutdown import GracefulShutdown
from agent.model import Mode, Unplanned
from agent.model.access import Explanation
from agent.model.approval import Approval, ApprovalPolicy
from agent.model.daemon import DaemonRecord
from agent.model.job import Job, JobRequest
from agent.model.run import LinkEdit, Pause, RunFilter, Trigger
from agent.ports.clock import Clock
from agent.ports.state import State
from agent.report.link_edits import link_edits_digest
from agent.settings.root import Settings
from agent.settings.workspace import WorkspaceSettings
from connectors.base import discard_progress

__all__ = ["Daemon"]

log = structlog.get_logger()
LINK_WAIT_SECONDS = 10.0
"""How long a correction of a link waits for the run that holds its workspace: a browser waits with it."""
SHUTDOWN_TIMEOUT_SECONDS = 20.0
"""How long a stop waits for writes in flight. Container runtimes kill a container after 30 s."""
SCHEDULED_RUN = RunFilter(triggers=frozenset({Trigger.SCHEDULE}))


class Daemon:
    """Implements `agent.daemon.interface.DaemonApi`. Start it within a running event loop, and stop it."""

    def __init__(  # noqa: PLR0913  (the composition root names each)
        self,
        settings: Settings,
        state: State,
        clock: Clock,
        components_factory: ComponentsFactory,
        observer: RunObserver,
        budget_left: Callable[[], int | None],
        create_report_service: ReportServiceFactory | None = None,
        open_pollers: OpenPollers | None = None,
        feed_observer: FeedObserver = NO_FEED_OBSERVER,
        job_observer: JobObserver = NO_JOB_OBSERVER,
    ) -> None:
        self.state = state
        self._clock = clock
        self._components_factory = components_factory
        self._budget_left = budget_left
        self._query_limiter = QueryLimiter(budget_left)
        self._state_probe = StateProbe()
        self._newest_plans = NewestPlans()
        self._started_at = clock.now()
        self._config = ActiveConfig(settings, self._started_at)
        self._feeds = DaemonFeeds(
            self._config, state, clock, open_pollers, self._start_feed_run, self._is_active, feed_observer
        )
        self._runner = Runner(
            self._config, state, clock, components_factory, observer, on_settled=self._feeds.on_settled
        )
        self._reports = DaemonReports(self._config, state, clock, components_factory, create_report_service)
        own = own_record(self._started_at, settings.provenance.version)
        self._presence = Presence(state, own)
        self._background = BackgroundJobs()
        self._dispatcher = Dispatcher(
            self._config,
            state,
            clock,
            self._runner,
            own.id,
            daemon_phrase(own),
            self._find_last_run,
            lambda: bool(self._presence.others),
            job_observer,
        )

    async def start(self) -> None:
        """Schedule the workspaces and start. Runs missed while the daemon was down run once. Raises `StateError`."""
        self._dispatcher.use(await self._dispatcher.prepare(self._config.settings))
        self._background.add_daily_job("prune", self._prune_runs)
        self._background.add_interval_job("reports", TICK_SECONDS, self._reports.run_due)
        self._background.add_interval_job("feeds", FEED_TICK_SECONDS, self._feeds.run_due)
        self._background.start()
        await self._presence.start()
        self._dispatcher.start()

    async def stop(self) -> bool:
        """Let writes in flight end, close the runs, and return whether nothing had to be cancelled."""
        self._background.pause()
        self._dispatcher.pause()
        was_gentle = await self._runner.tasks.shut_down(SHUTDOWN_TIMEOUT_SECONDS)
        self._background.close()
        await self._dispatcher.stop()
        await self._reports.stop()
        await self._feeds.stop()
        await self._presence.stop()
        log.info("daemon.stopped", was_gentle=was_gentle)
        return was_gentle

    async def reload(self, settings: Settings) -> None:
        """Use *settings* from the next run on; active runs end with the settings that they started with.

        Applies all of them or none: the state is read first. When it raises `StateError`, nothing has changed.
        """
        groups = await self._dispatcher.prepare(settings)
        self._config.replace(settings, self._clock.now())
        self._dispatcher.use(groups)
        log.info("config.reloaded", workspaces=list(self.workspace_names))

    def report_refused_config(self, what: str, why: str) -> None:
        """Keep the active configuration and its schedules; `/readyz` reports *what* happened to the new one."""
        since = self._config.loaded_at.strftime("%Y-%m-%d %H:%M:%S UTC")
        self._config.problem = f"{what} The one of {since} stays active, with its schedules. {why}"

    def _is_active(self, name: str) -> bool:
        return any(run.workspace == name for run in self._dispatcher.active_runs)

    def _start_feed_run(self, name: str, trigger: Trigger, reason: str) -> None:
        if not self._runner.tasks.is_stopping:
            self._runner.start([name], RunRequest(trigger, reason=reason), is_dry_run=False)

    @property
    def feeds(self) -> tuple[FeedStatus, ...]:
        """How the change feed of each connector is doing, in the file's order."""
        return tuple(self._feeds.statuses.values())

    async def _find_last_run(self, group: ScheduleGroup) -> datetime | None:
        """Return when the group last ran; None when one of its workspaces never ran on schedule."""
        times = []
        for name in group.workspaces:
            runs = await self.state.load_runs([name], limit=1, where=SCHEDULED_RUN)
            times.append(runs[0].started_at if runs else None)
        known = [time for time in times if time is not None]
        return min(known) if len(known) == len(times) else None

    async def _prune_runs(self) -> None:
        await prune_old_runs(self.state, self._clock)

    @property
    def settings(self) -> Settings:
        """The active configuration."""
        return self._config.settings

    @property
    def _workspaces(self) -> dict[str, WorkspaceSettings]:
        return self._config.settings.workspaces

    @property
    def approval_policy(self) -> ApprovalPolicy:
        return self._config.settings.approvals.policy()

    def now(self) -> datetime:
        return self._clock.now()

    @property
    def workspace_names(self) -> tuple[str, ...]:
        return tuple(self._workspaces)

    @property
    def next_run(self) -> datetime | None:
        """When the next scheduled run of any workspace begins; None without a schedule."""
        times = [self._dispatcher.next_run(name) for name in self.workspace_names]
        return min((time for time in times if time is not None), default=None)

    @property
    def active_runs(self) -> tuple[ActiveRun, ...]:
        return self._dispatcher.active_runs

    @property
    def running_here(self) -> tuple[ActiveRun, ...]:
        """The runs that this daemon works on."""
        return self._runner.tasks.active_runs

    async def load_active_runs(self) -> tuple[ActiveRun, ...]:
        return await self._dispatcher.load_active_runs()

    @property
    def replicas(self) -> tuple[Replica, ...]:
        own = replace(self._presence.own, seen_at=self._clock.now())
        return tuple(
            Replica(each, self._dispatcher.workspaces_of(each.id), is_this=each is own)
            for each in (own, *self._presence.others)
        )

    @property
    def stopped_ticks(self) -> tuple[Job, ...]:
        return self._dispatcher.stopped_ticks

    @property
    def other_daemons(self) -> tuple[DaemonRecord, ...]:
        return self._presence.others

    async def look_for_others(self) -> None:
        """Look now for other daemons, which is done every 15 seconds otherwise."""
        await self._presence.look()

    async def request_run(self, request: ManualRunRequest) -> str:
        self._require_workspace(request.workspace)
        run_id = new_run_id(self._clock.now())
        job = Job(
            id=f"request:{run_id}",
            request=JobRequest(
                trigger=request.trigger,
                is_dry_run=request.is_dry_run,
                by=request.by,
                reason=request.reason,
                user=request.user,
                approved_digest=request.approved_digest,
                approved_guards=request.approved_guards,
                undone=request.undone.id if request.undone is not None else "",
            ),
            run_ids={request.workspace: run_id},
        )
        await self._dispatcher.add_request(job)
        return run_id

    async def load_statuses(self) -> tuple[WorkspaceStatus, ...]:
        return await self._load_statuses(self.workspace_names)

    async def load_workspace_status(self, name: str) -> WorkspaceStatus:
        self._require_workspace(name)
        (status,) = await self._load_statuses([name])
        return status

    async def _load_statuses(self, names: Sequence[str]) -> tuple[WorkspaceStatus, ...]:
        """Return the status of each of *names*, by a few reads for all of them: there may be hundreds."""
        modes = {name: Mode(self._workspaces[name].mode) for name in names}
        newest = await load_newest_runs(self.state, modes)
        pauses = await self.state.load_pauses()
        approvals = await self.state.load_newest_approvals(names)
        return tuple([await self._status(name, newest[name], pauses.get(name), approvals.get(name)) for name in names])

    async def _status(
        self, name: str, newest: NewestRuns, pause: Pause | None, approval: Approval | None
    ) -> WorkspaceStatus:
        workspace, last_read = self._workspaces[name], newest.last_read
        read_at = (last_read.finished_at or last_read.started_at) if last_read else self._started_at
        return WorkspaceStatus(
            name,
            Mode(workspace.mode),
            format_schedule(workspace.schedule),
            self._dispatcher.next_run(name),
            stale_after(workspace.schedule, read_at),
            workspace.token_expires,
            pause,
            last_run=newest.last_run,
            last_read=last_read,
            last_applied=newest.last_applied,
            in_flight=() if pause is None else await self.state.load_in_flight(name),
            figures=await self._newest_plans.find(self.state, last_read),
            last_approval=approval,
            whole_runs=newest.outlines,
            scim_url=workspace.scim_url,
        )

    async def load_reports(self) -> Sequence[ReportState]:
        return await self._reports.load_states()

    def send_report(self, name: str, by: str) -> None:
        self._reports.request(name, by)

    async def explain_person(self, email: str) -> Sequence[Explanation | Unplanned]:
        settings = self._config.settings
        async with (
            self._query_limiter.acquire(settings.pigment.requests_per_window),
            self._components_factory(settings, discard_progress, GracefulShutdown()) as components,
        ):
            return await explain_person(components.planner, components.read_only_workspaces, [], email)

    async def settle_rename(self, decision: RenameDecision) -> None:
        async with self._edit_links(decision.workspace) as editor:
            member = await editor.find_held_rename(decision.person, decision.shown_reason)
            request = RunRequest(Trigger.LINKS, decision.by, decision.reason, wait_seconds=LINK_WAIT_SECONDS)
            if decision.is_same:
                await editor.write(await editor.plan_assign(member.email, decision.person), request)
            else:
                await editor.write_new((decision.person, member.scim_id), replace(request, user=member.email))

    async def plan_link_correction(self, name: str, correction: LinkCorrection) -> Sequence[LinkEdit]:
        async with self._edit_links(name) as editor:
            return await editor.plan_correction(correction)

    async def correct_link(self, decision: LinkDecision) -> None:
        async with self._edit_links(decision.workspace) as editor:
            edits = await editor.plan_correction(decision.correction)
            if link_edits_digest(edits) != decision.digest:
                raise StaleLinks(
                    "The links have changed since they were shown. No link was written.", "Review the correction again."
                )
            request = RunRequest(Trigger.LINKS, decision.by, decision.reason, wait_seconds=LINK_WAIT_SECONDS)
            await editor.write(edits, request)

    @asynccontextmanager
    async def _edit_links(self, name: str) -> AsyncIterator[LinkEditor]:
        self._require_workspace(name)
        settings = self._config.settings
        async with (
            self._query_limiter.acquire(settings.pigment.requests_per_window),
            self._components_factory(settings, discard_progress, GracefulShutdown()) as components,
        ):
            yield components.link_editor(name)

    async def pause(self, name: str, by: str, reason: str) -> None:
        self._require_workspace(name)
        now = self._clock.now()
        run = admin_run(name, RunRequest(Trigger.PAUSE, by, reason), now, self._config.settings.provenance)
        await self.state.set_pause(name, Pause(now, by, reason), run)

    async def resume(self, name: str, by: str, reason: str) -> None:
        self._require_workspace(name)
        if await self.state.load_pause(name) is not None:
            request = RunRequest(Trigger.RESUME, by, reason)
            run = admin_run(name, request, self._clock.now(), self._config.settings.provenance)
            await self.state.set_pause(name, None, run)

    async def check_health(self) -> Health:
        state_problem = await self._state_probe.find_problem(self.state)
        problems = [each for each in (self._config.problem, state_problem) if each]
        problems += self._dispatcher.problems()
        return Health(tuple(problems), self._started_at, self._config.loaded_at, is_state_up=not state_problem)

    def budget_left(self) -> int | None:
        return self._budget_left()

    def _require_workspace(self, name: str) -> None:
        if name not in self.workspace_names:
            raise NotFound(f"There is no workspace {name}.", f"The workspaces are: {', '.join(self.workspace_names)}.")
