"""Read what a report is about: a dry run, an access list, or the journal. Nothing here can write to a workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from agent.engine.dryrun import dry_run
from agent.engine.planner import Planner, ReadOnlyWorkspace, select_workspaces
from agent.engine.queries import load_access
from agent.engine.request import RunRequest
from agent.model import Policy, Unplanned
from agent.model.access import Access
from agent.model.provenance import UNKNOWN_PROVENANCE
from agent.model.report import MadeReport, ReportKind
from agent.model.run import ChangeRecord, Run, RunStatus, Trigger
from agent.plan_parser import parse_workspace
from agent.ports.state import State
from agent.report.delivered import AccessContent, ActivityContent, Content, PlanContent
from agent.report.document import plan_document, workspace_object
from agent.report.news import (
    Facts,
    Unread,
    WaitingHold,
    access_facts,
    activity_facts,
    decode_facts,
    plan_facts,
    waiting_holds,
)
from agent.report.run_identity import format_utc, with_run
from agent.report.schema import WorkspaceObject
from agent.settings.report import ReportSettings

__all__ = ["ReadComponents", "Reading", "read_content"]

FIRST_ACTIVITY = timedelta(days=7)
"""How far the first report on activity reaches back."""
LONGEST_RUN = timedelta(days=1)
"""A run is reported once it has ended, and may have begun this long before."""
MAX_RUNS = 20_000


class ReadComponents(Protocol):
    """What reading needs, without any way to write to a workspace."""

    @property
    def planner(self) -> Planner: ...
    @property
    def read_only_workspaces(self) -> Mapping[str, ReadOnlyWorkspace]: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: the whole *content*, its *facts*, and the *holds* that wait."""

    content: Content
    facts: Facts
    holds: Sequence[WaitingHold]


async def read_content(report: ReportSettings, components: ReadComponents, before: MadeReport | None) -> Reading:
    """Return what *report* shows now. *before* is the last delivered one. Raises `StateError`.

    A workspace that could not be read is named in the facts, and the others are there.
    """
    facts = None if before is None else decode_facts(before.facts)
    match report.what:
        case ReportKind.PLAN:
            return await _read_plan(report, components, facts)
        case ReportKind.ACCESS:
            return await _read_access(report, components, facts)
        case ReportKind.ACTIVITY:
            return await _read_activity(report, components, before)


async def _read_plan(report: ReportSettings, components: ReadComponents, before: Facts | None) -> Reading:
    planner = components.planner
    request = RunRequest(Trigger.PLAN, by=f"report {report.name}")
    results = await dry_run(planner, components.read_only_workspaces, report.workspaces, request, tracer=planner.tracer)
    objects = [
        workspace_object(each.planned)
        if each.run is None
        else with_run(workspace_object(each.planned), each.run, each.approvals)
        for each in results
    ]
    at = format_utc(planner.clock.now())
    holds = [hold for each in objects for hold in await _find_holds(planner.state, each, at)]
    return Reading(PlanContent(plan_document(objects, at)), plan_facts(objects, before), holds)


async def _read_access(report: ReportSettings, components: ReadComponents, before: Facts | None) -> Reading:
    planner = components.planner
    rows: list[Access] = []
    unread: list[Unread] = []
    policies = {name: each.policy for name, each in components.read_only_workspaces.items()}
    read: list[Policy] = []
    for name, found in (await load_access(planner, components.read_only_workspaces, report.workspaces)).items():
        if isinstance(found, Unplanned):
            unread.append(Unread(found.workspace, found.message, found.remedy))
        else:
            rows.extend(found)
            read.append(policies[name])
    content = AccessContent(
        rows,
        planner.clock.now().strftime("%Y-%m-%d %H:%M UTC"),
        [(each.workspace, each.target) for each in read],
        read[0].provenance if read else UNKNOWN_PROVENANCE,
    )
    return Reading(content, access_facts(rows, unread, before), await _find_known_holds(report, components))


async def _read_activity(report: ReportSettings, components: ReadComponents, before: MadeReport | None) -> Reading:
    state, until = components.planner.state, components.planner.clock.now()
    since = until - FIRST_ACTIVITY
    if before is not None and before.made_at is not None:
        since = before.made_at
    names = list(select_workspaces(components.read_only_workspaces, report.workspaces))
    loaded = await state.load_runs(names, since - LONGEST_RUN, MAX_RUNS)
    runs = [run for run in loaded if run.finished_at is not None and since < run.finished_at <= until]
    made = await state.count_changes([run.id for run in runs])
    records: list[tuple[ChangeRecord, Run]] = []
    for run in runs:
        if run.id in made or (run.tally is not None and run.tally.failed) or run.status is RunStatus.INTERRUPTED:
            records += [(each, run) for each in await state.load_changes(run.id)]
    facts = activity_facts(runs, [record for record, _ in records])
    return Reading(
        ActivityContent(since, until, runs, made, records), facts, await _find_known_holds(report, components)
    )


async def _find_known_holds(report: ReportSettings, components: ReadComponents) -> list[WaitingHold]:
    """Return the holds of the newest plan that the journal has of each workspace."""
    planner = components.planner
    at: datetime = planner.clock.now()
    holds: list[WaitingHold] = []
    for name in select_workspaces(components.read_only_workspaces, report.workspaces):
        run = await planner.state.load_last_plan(name, "")
        if run is not None and run.document is not None:
            holds += await _find_holds(planner.state, parse_workspace(run.document), format_utc(at))
    return holds


async def _find_holds(state: State, workspace: WorkspaceObject, at: str) -> list[WaitingHold]:
    given = await state.load_approvals(workspace["name"], workspace["digest"]) if workspace["holds"] else ()
    return waiting_holds(workspace, {each.by for each in given if not each.applied_in}, at)
