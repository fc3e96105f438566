"""The daemon: runs each workspace when it is due and when somebody asks, and answers how things stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from agent.answer import Explanation
from agent.daemon.proof import WriteProof
from agent.daemon.questions import Questions
from agent.daemon.runner import InForce, Opening, Runner, Told
from agent.daemon.schedule import Tick, spelled, ticks
from agent.daemon.timetable import Timetable
from agent.desk import Health, Ongoing, Request, Standing, UnknownName
from agent.engine.inquiry import explanations
from agent.engine.order import Order
from agent.engine.retention import forget_old_runs
from agent.engine.run import noted
from agent.engine.stopping import Stopping
from agent.model import Mode, Unplanned
from agent.ports import Clock, Pause, Run, RunStatus, State, Trigger
from agent.settings.root import Settings
from agent.settings.workspace import WorkspaceSettings
from connectors.base import silent

__all__ = ["Daemon"]

log = structlog.get_logger()
WAIT_FOR_LEASE_SECONDS = 300.0
"""How long a run that somebody asked for waits for the one that holds its workspace."""
PATIENCE_SECONDS = 20.0
"""How long a stop waits for writes in flight; whoever stops a container kills it after 30 s."""
LOOKED_AT = 200
"""Runs of the journal that are looked through for how a workspace stands."""
READ = {RunStatus.PLANNED, RunStatus.DONE, RunStatus.HELD, RunStatus.FAILED}
APPLIED = {RunStatus.DONE, RunStatus.HELD}
NOT_WHOLE = {Trigger.LINKS, Trigger.PAUSE, Trigger.RESUME, Trigger.UNDO, Trigger.WORKSPACES}
"""Runs that show nothing about the whole workspace: neither its status nor that it was brought in step."""


class Daemon:
    """Implements `agent.desk.Desk`. Start it within a running event loop, and stop it."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        clock: Clock,
        opening: Opening,
        told: Told,
        budget_left: Callable[[], int | None],
    ) -> None:
        self.state = state
        self._clock = clock
        self._opening = opening
        self._budget_left = budget_left
        self._questions = Questions(budget_left)
        self._write_proof = WriteProof()
        self._started_at = clock.now()
        self._config = InForce(settings, self._started_at)
        self._runner = Runner(self._config, state, clock, opening, told)
        self._timetable = Timetable(clock, self._due, self._last_run)

    async def start(self) -> None:
        """Plan the schedules and begin; what was missed while nothing ran is made up once. Raises `StateError`."""
        self._timetable.replace(await self._first_times(self._config.settings))
        self._timetable.daily("prune", self._prune)
        self._timetable.start()

    async def stop(self) -> bool:
        """Let the writes in flight end, close the runs, and return whether nothing had to be broken off."""
        self._timetable.halt()
        was_gentle = await self._runner.work.end(PATIENCE_SECONDS)
        self._timetable.close()
        log.info("daemon.stopped", was_gentle=was_gentle)
        return was_gentle

    async def reload(self, settings: Settings) -> None:
        """Take *settings* from the next run on; what is under way ends with what it began with.

        All of them or nothing: the state is asked first. Raises `StateError`, and has then changed nothing.
        """
        first_times = await self._first_times(settings)
        self._config.replace(settings, self._clock.now())
        self._timetable.replace(first_times)
        log.info("config.reloaded", workspaces=list(self.names))

    def refuse(self, what: str, why: str) -> None:
        """Keep the configuration in force with its schedules; `/readyz` reports *what* became of a newer one."""
        since = self._config.at.strftime("%Y-%m-%d %H:%M:%S UTC")
        self._config.trouble = f"{what} The one of {since} is in force, with its schedules. {why}"

    async def _first_times(self, settings: Settings) -> dict[str, tuple[Tick, datetime | None]]:
        schedules = {name: each.schedule for name, each in settings.workspaces.items()}
        return await self._timetable.first_times(ticks(schedules))

    def _due(self, tick: Tick) -> asyncio.Task[None] | None:
        names = [name for name in tick.workspaces if name in self.names]
        if not names or self._runner.work.is_stopping:
            return None
        _, task = self._runner.start(names, Order(Trigger.SCHEDULE), is_dry_run=False)
        return task

    async def _last_run(self, tick: Tick) -> datetime | None:
        """Return when the tick ran last; None when one of its workspaces never ran on schedule."""
        times = []
        for name in tick.workspaces:
            runs = await self.state.runs([name], limit=LOOKED_AT)
            times.append(next((run.started_at for run in runs if run.trigger is Trigger.SCHEDULE), None))
        known = [time for time in times if time is not None]
        return min(known) if len(known) == len(times) else None

    async def _prune(self) -> None:
        await forget_old_runs(self.state, self._clock)

    # The desk

    @property
    def settings(self) -> Settings:
        """The configuration in force."""
        return self._config.settings

    @property
    def _workspaces(self) -> dict[str, WorkspaceSettings]:
        return self._config.settings.workspaces

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._workspaces)

    @property
    def ongoing(self) -> tuple[Ongoing, ...]:
        return self._runner.work.ongoing

    async def ask(self, request: Request) -> str:
        self._expect(request.workspace)
        self._runner.work.refuse_too_much()
        approvals = frozenset({request.approval} if request.approval else ())
        order = Order(
            request.trigger, request.by, request.reason, request.user, approvals, wait_seconds=WAIT_FOR_LEASE_SECONDS
        )
        run_ids, _ = self._runner.start([request.workspace], order, is_dry_run=request.is_dry_run)
        return run_ids[request.workspace]

    async def standing(self, name: str) -> Standing:
        self._expect(name)
        workspace = self._workspaces[name]
        runs = [
            run
            for run in await self.state.runs([name], limit=LOOKED_AT)
            if run.trigger not in NOT_WHOLE and not run.user
        ]
        pause = await self.state.paused(name)
        return Standing(
            name,
            Mode(workspace.mode),
            spelled(workspace.schedule),
            self._timetable.next_run(name),
            workspace.token_expires,
            pause,
            last=_last(runs, Mode(workspace.mode)),
            read=_newest(runs, READ),
            applied=_newest([run for run in runs if not run.dry_run], APPLIED),
            in_flight=() if pause is None else await self.state.in_flight(name),
        )

    async def explain(self, email: str) -> Sequence[Explanation | Unplanned]:
        settings = self._config.settings
        async with (
            self._questions.turn(settings.pigment.requests_per_window),
            self._opening(settings, silent, Stopping()) as tools,
        ):
            return await explanations(tools.survey, tools.read_sites, [], email)

    async def pause(self, name: str, by: str, reason: str) -> None:
        self._expect(name)
        now = self._clock.now()
        await self.state.pause(name, Pause(now, by, reason), noted(name, Order(Trigger.PAUSE, by, reason), now))

    async def resume(self, name: str, by: str, reason: str) -> None:
        self._expect(name)
        if await self.state.paused(name) is not None:
            run = noted(name, Order(Trigger.RESUME, by, reason), self._clock.now())
            await self.state.pause(name, None, run)

    async def health(self) -> Health:
        state_trouble = await self._write_proof.trouble(self.state)
        troubles = [each for each in (self._config.trouble, state_trouble) if each]
        troubles += self._timetable.troubles()
        return Health(tuple(troubles), self._started_at, self._config.at, is_state_up=not state_trouble)

    def budget_left(self) -> int | None:
        return self._budget_left()

    def _expect(self, name: str) -> None:
        if name not in self.names:
            raise UnknownName(f"There is no workspace {name}.", f"The workspaces are: {', '.join(self.names)}.")


def _last(runs: Sequence[Run], mode: Mode) -> Run | None:
    """Return the newest run that has ended. A look by hand does not clear what the last sync held or failed to do."""
    ended = [run for run in runs if run.status is not RunStatus.RUNNING]
    telling = ended if mode is Mode.DRY_RUN else [run for run in ended if not run.dry_run] or ended
    return next(iter(telling), None)


def _newest(runs: Sequence[Run], statuses: set[RunStatus]) -> Run | None:
    return next((run for run in runs if run.status in statuses), None)
