"""What happened to ticks and runs, as the database saw it, and what of them was lost or doubled.

The triggers are the bench's own and know nothing of the agent's decisions: a row was added, claimed, ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine, text

__all__ = ["Disturbance", "Event", "Schedule", "Verdict", "judge", "load_events", "watch"]

MICROS = 1_000_000
INTERRUPTED, BUSY = "interrupted", "busy"

WATCH = """
CREATE TABLE bench_events (
    number bigserial PRIMARY KEY,
    at bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    kind text NOT NULL,
    name text NOT NULL,
    workspace text NOT NULL DEFAULT '',
    detail text NOT NULL DEFAULT ''
);

CREATE FUNCTION bench_schedule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bench_events (kind, name, detail) VALUES ('due', NEW.name, NEW.next_at - OLD.next_at);
    RETURN NULL;
END $$;
CREATE TRIGGER bench AFTER UPDATE OF next_at ON schedules FOR EACH ROW EXECUTE FUNCTION bench_schedule();

CREATE FUNCTION bench_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO bench_events (kind, name) VALUES ('added', NEW.id);
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO bench_events (kind, name) VALUES ('ended', OLD.id);
    ELSIF NEW.id <> OLD.id THEN
        INSERT INTO bench_events (kind, name) VALUES ('stopped', OLD.id);
    ELSIF NEW.claims > OLD.claims THEN
        INSERT INTO bench_events (kind, name, detail) VALUES ('claimed', NEW.id, NEW.replica);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER bench AFTER INSERT OR UPDATE OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION bench_job();

CREATE FUNCTION bench_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO bench_events (kind, name, workspace) VALUES ('begun', NEW.id, NEW.workspace);
    END IF;
    IF NEW.finished_at IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.status <> OLD.status) THEN
        INSERT INTO bench_events (kind, name, workspace, detail)
        VALUES ('finished', NEW.id, NEW.workspace, NEW.status);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER bench AFTER INSERT OR UPDATE ON runs FOR EACH ROW WHEN (NEW.trigger = 'schedule')
EXECUTE FUNCTION bench_run();
"""


@dataclass(frozen=True, slots=True)
class Event:
    """One row that changed, at *at* microseconds. *kind* and what the others are:

    due: *name* is a schedule, *detail* how many microseconds its next time moved. added, ended, stopped: *name* is a
    tick. claimed: also *detail*, the replica. begun, finished: *name* is a run, *detail* the status.
    """

    at: int
    kind: str
    name: str
    workspace: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The workspaces that are due together each *seconds*."""

    seconds: int
    workspaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A *replica* was killed or suspended at *at*, microseconds."""

    at: int
    kind: str
    replica: str


@dataclass(slots=True)
class Verdict:
    """*lost* and *doubled* have a line for each tick or run that is not as it must be.

    *takeovers* are the seconds from a disturbance to the next run of each workspace that was worked on.
    """

    due: int = 0
    ticks: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    takeovers: dict[str, list[float]] = field(default_factory=dict)


@dataclass(slots=True)
class _Tick:
    """A tick between two rows of the journal, with its claims and the runs of its workspaces."""

    name: str
    added_at: int
    ended_at: int | None = None
    claims: list[tuple[int, str]] = field(default_factory=list)
    begun: list[tuple[int, str, str]] = field(default_factory=list)
    """The moment, the workspace, the run."""
    finished: list[tuple[int, str, str]] = field(default_factory=list)
    """The moment, the workspace, the status."""

    def record(self, event: Event) -> None:
        match event.kind:
            case "begun":
                self.begun.append((event.at, event.workspace, event.name))
            case "finished":
                self.finished.append((event.at, event.workspace, event.detail))
            case "claimed":
                self.claims.append((event.at, event.detail))
            case _:
                self.ended_at = event.at


def watch(engine: Engine) -> None:
    """Record in the database of *engine* what happens to its ticks and runs from now on."""
    with engine.begin() as connection:
        connection.exec_driver_sql(WATCH)


def load_events(engine: Engine) -> list[Event]:
    query = text("SELECT at, kind, name, workspace, detail FROM bench_events ORDER BY number")
    with engine.connect() as connection:
        return [Event(*row) for row in connection.execute(query)]


def judge(events: Sequence[Event], schedules: Mapping[str, Schedule], disturbances: Sequence[Disturbance]) -> Verdict:
    """Return what became of each time that one of *schedules* was due, from *events* in the order of their rows."""
    found = Verdict()
    ticks = _collect_ticks(events, schedules, found)
    found.ticks = len(ticks)
    for tick in ticks:
        _judge_tick(tick, schedules[tick.name].workspaces, found)
    _judge_overlaps(events, found)
    for disturbance in disturbances:
        for tick in ticks:
            seconds = _takeover_seconds(tick, schedules[tick.name].workspaces, disturbance)
            found.takeovers.setdefault(disturbance.kind, []).extend(seconds)
    return found


def _collect_ticks(events: Sequence[Event], schedules: Mapping[str, Schedule], found: Verdict) -> list[_Tick]:
    """Return all ticks. What is outside all ticks, and a due time without a tick, is added to *found*."""
    schedule_of = {name: schedule for schedule, each in schedules.items() for name in each.workspaces}
    newest: dict[str, _Tick] = {}
    ticks: list[_Tick] = []
    missing = Counter[str]()
    for event in events:
        schedule = schedule_of.get(event.workspace, event.name.removeprefix("tick:"))
        if event.kind == "due":
            # More than one interval: a time was left out.
            times = round(int(event.detail) / MICROS / schedules[schedule].seconds)
            missing[schedule] += times
            found.due += times
        elif event.kind == "added":
            missing[schedule] -= 1
            newest[schedule] = _Tick(schedule, event.at)
            ticks.append(newest[schedule])
        elif schedule in newest and newest[schedule].ended_at is None:
            newest[schedule].record(event)
        elif event.kind in {"begun", "claimed", "stopped"}:
            found.doubled.append(f"{event.kind} {event.name} {event.workspace} outside a tick")
    found.lost += [f"{schedule}: {count} times due without a tick" for schedule, count in missing.items() if count]
    return ticks


def _judge_tick(tick: _Tick, names: Sequence[str], found: Verdict) -> None:
    if tick.ended_at is None:
        found.lost.append(f"{tick.name}: its tick has not ended")
    for name in names:
        statuses = [status for _, workspace, status in tick.finished if workspace == name]
        found.statuses.update(statuses)
        ended = [status for status in statuses if status not in {INTERRUPTED, BUSY}]
        if not ended:
            found.lost.append(f"{name}: no finished run in a tick, but {statuses}")
        if len(ended) > 1:
            found.doubled.append(f"{name}: {len(ended)} finished runs in one tick")


def _judge_overlaps(events: Sequence[Event], found: Verdict) -> None:
    """A run that begins while another of its workspace is open has to close that one: in one transaction."""
    is_open: dict[str, set[str]] = {}
    for event in events:
        if event.kind == "begun":
            others = is_open.setdefault(event.workspace, set())
            if others:
                found.doubled.append(f"{event.workspace}: {event.name} began while {', '.join(others)} was open")
            others.add(event.name)
        elif event.kind == "finished":
            is_open.get(event.workspace, set()).discard(event.name)


def _takeover_seconds(tick: _Tick, names: Sequence[str], disturbance: Disturbance) -> list[float]:
    """Return for each workspace that *disturbance* left without a finished run how long it waited for work.

    The next run of another replica is the sign of work. Without one, the replica went on itself.
    """
    at = disturbance.at
    is_over = tick.ended_at is not None and tick.ended_at <= at
    claims = [replica for moment, replica in tick.claims if moment <= at]
    if is_over or not claims or claims[-1] != disturbance.replica:
        return []
    taken = min(
        (moment for moment, replica in tick.claims if moment > at and replica != disturbance.replica), default=at
    )
    seconds = []
    for name in names:
        if any(
            moment <= at and workspace == name and status != INTERRUPTED for moment, workspace, status in tick.finished
        ):
            continue
        begun = [moment for moment, workspace, _ in tick.begun if workspace == name and moment > taken]
        if begun:
            seconds.append((min(begun) - at) / MICROS)
    return seconds
