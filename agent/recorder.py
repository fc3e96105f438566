"""Record what a plan reads, uses and decides, with made-up names, for a replay elsewhere. Writes to no workspace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import httpx

from agent.bootstrap import Hooks, SystemClock, build_components, open_shared_resources
from agent.engine.planner import select_workspaces
from agent.engine.request import Decision
from agent.engine.shutdown import GracefulShutdown
from agent.errors import StateError
from agent.recording.address import AnswerVisitor, System
from agent.recording.fields import keep_answer
from agent.recording.file import VERSION, RecordingWriter, create_recording
from agent.recording.memory import Names, keep_row, plan_summary, protected_addresses
from agent.recording.pseudonyms import Collector, Replacements, Visitor
from agent.recording.transport import KeptAnswer, Recorder
from agent.report.document import workspace_object
from agent.settings.root import Settings
from agent.settings.target import policies
from agent.settings.workspace import WorkspaceSettings
from agent.store.codec import to_micros
from agent.store.state import SqlState
from connectors.base import Progress, ReadError
from connectors.http import ApiResponse

__all__ = ["RecordedPlan", "record"]

ROWS_PER_LINE = 1_000
LINK_RELATION = 'rel="next"'
KEPT_POLICY = {
    *("mode", "unmanaged", "individual_assignments", "grace_reads", "limits", "require_approval", "toggles"),
    *("total_results", "page_size"),
}
KEPT_SOURCE = ("nested", "guests", "email")
KEPT_CONNECTOR = {"type", "entitled_statuses", "aliases"}


@dataclass(frozen=True, slots=True)
class RecordedPlan:
    """What was recorded: the decisions of the plan, and how many lines of each kind the file has."""

    decisions: Sequence[Decision]
    counts: Mapping[str, int]


async def record(
    settings: Settings,
    wanted: Sequence[str],
    out: Path,
    progress: Progress,
    shutdown: GracefulShutdown,
    random: Random | None = None,
) -> RecordedPlan:
    """Plan the *wanted* workspaces (without names: all) and write the recording to *out*.

    *random* makes the replacements; by default it is the operating system's. Raises `PigmentSyncError`.
    """
    names = list(select_workspaces(settings.workspaces, wanted))
    with create_recording(out) as writer:
        async with open_shared_resources(settings, is_reading=True) as shared:
            state = shared.state
            if not isinstance(state, SqlState):
                raise TypeError("open_shared_resources opens a SqlState")
            before = await state.export_plan_rows(names, list(settings.workspaces))
            made_up = _names(settings, before)
            recorder = Recorder(_systems(settings, names, made_up))
            page_sizes = await _load_page_sizes(settings, names, state)
            async with build_components(settings, progress, shutdown, shared, Hooks(wrap=recorder.wrap)) as components:
                readers = components.read_only_workspaces
                now = components.clock.now()
                decisions = await components.planner.plan([readers[name] for name in names])
            rows = await state.export_plan_rows(names, list(settings.workspaces))
            if rows != before:
                raise StateError(
                    "The state changed while the plan was recorded.",
                    "Pause the daemon's schedule or wait for its run to end, and record again.",
                )
        plans = [dict(workspace_object(each.planned)) for each in decisions]
        content = _Content(settings, names, made_up, recorder, rows, plans, to_micros(now), page_sizes=page_sizes)
        seen = Collector()
        content.write(_Discard(), seen)
        # Last, when every address and id that the configuration may name was seen.
        content = replace(content, group_ids=_group_ids(plans, seen))
        content.write_config(_Discard(), seen, seen.emails)
        replacements = Replacements(seen, random or SystemRandom())
        content.write(writer, replacements)
        content.write_config(writer, replacements, sorted(seen.emails))
    return RecordedPlan(decisions, writer.counts)


def _group_ids(plans: Sequence[Mapping[str, Any]], seen: Collector) -> frozenset[str]:
    """Return the ids that a configured group may be, in lower case: where a plan failed, any id that was seen."""
    planned = [source for plan in plans for source in plan.get("sources", ())]
    ids = {group["id"] for source in planned for group in source["groups"]}
    is_complete = all(plan["status"] == "planned" for plan in plans)
    return frozenset(each.lower() for each in (ids if is_complete else ids | seen.ids))


class _Discard:
    """Takes the lines of the first pass, which only collects the originals."""

    def write(self, kind: str, content: Mapping[str, Any]) -> None:
        """Discard a line."""


def _names(settings: Settings, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Names:
    known = policies(settings)
    tenants = {name: fingerprint for policy in known.values() for name, fingerprint in policy.tenants}
    unused = {name: "" for name in settings.connectors if name not in tenants}
    return Names.of({name: policy.target for name, policy in known.items()}, {**unused, **tenants}, rows)


async def _load_page_sizes(settings: Settings, names: Sequence[str], state: SqlState) -> dict[str, int | str]:
    """Return the page size with which the listing of each workspace begins: a replay must ask for the same pages."""
    now, known = SystemClock().now(), policies(settings)
    found: dict[str, int | str] = {}
    for name in names:
        learned = await state.load_page_size(known[name].target)
        is_known = settings.workspaces[name].page_size == "auto" and learned is not None and learned.is_valid(now)
        found[name] = learned.size if learned is not None and is_known else settings.workspaces[name].page_size
    return found


def _systems(settings: Settings, names: Sequence[str], made_up: Names) -> list[System]:
    used = {source.connector for name in names for source in settings.workspaces[name].sources}
    found = {
        each.base_url: System(_system_name(settings, made_up, each.base_url), each.type, each.base_url)
        for name, each in settings.connectors.items()
        if name in used
    }
    workspaces = [System(made_up.workspaces[name], "pigment", settings.workspaces[name].scim_url) for name in names]
    return [*found.values(), *workspaces]


def _system_name(settings: Settings, made_up: Names, base_url: str) -> str:
    """Return the name of what connectors with one base URL read, such as two tenants: their ids are distinct."""
    return min(made_up.connectors[name] for name, each in settings.connectors.items() if each.base_url == base_url)


@dataclass(frozen=True, slots=True)
class _Content:
    """Everything that goes into a recording, with its original values."""

    settings: Settings
    workspaces: Sequence[str]
    names: Names
    recorder: Recorder
    rows: Sequence[tuple[str, Mapping[str, Any]]]
    plans: Sequence[Mapping[str, Any]]
    now: int
    group_ids: frozenset[str] = field(default=frozenset())
    page_sizes: Mapping[str, int | str] = field(default_factory=dict)

    def write(self, writer: RecordingWriter | _Discard, values: Visitor) -> None:
        """Write everything but the configuration."""
        recorded = [self.names.workspaces[name] for name in self.workspaces]
        release = self.settings.provenance.version
        writer.write("header", {"version": VERSION, "release": release, "workspaces": recorded})
        for answer in self.recorder.answers():
            writer.write("answer", _keep_answer(answer, values))
        tables: dict[str, list[Mapping[str, Any]]] = {}
        for table, row in self.rows:
            tables.setdefault(table, []).append(row)
        for table, listed in tables.items():
            for start in range(0, len(listed), ROWS_PER_LINE):
                kept = [keep_row(row, values, self.names, self.now) for row in listed[start : start + ROWS_PER_LINE]]
                writer.write("state", {"table": table, "rows": kept})
        for plan in self.plans:
            writer.write("plan", plan_summary(plan, values, self.names))

    def write_config(self, writer: RecordingWriter | _Discard, values: Visitor, emails: Iterable[str]) -> None:
        writer.write("config", self._keep_config(values, list(emails)))

    def _keep_config(self, values: Visitor, emails: Sequence[str]) -> dict[str, Any]:
        connectors = {}
        for name, each in self.settings.connectors.items():
            shown = self.names.connectors[name]
            kept = each.model_dump(mode="json", include=KEPT_CONNECTOR)
            kept = {key: sorted(value) if isinstance(value, list) else value for key, value in kept.items()}
            system = kept["system"] = _system_name(self.settings, self.names, each.base_url)
            if each.type == "entra":
                kept["hidden_members"] = self.recorder.hidden_members.get(system)
            connectors[shown] = kept
        return {
            "connectors": connectors,
            "workspaces": {
                self.names.workspaces[name]: self._keep_workspace(name, each, values, emails)
                for name, each in self.settings.workspaces.items()
            },
            "order": [self.names.workspaces[name] for name in self.settings.workspaces],
            "fleet_deactivations_percent": self.settings.limits.fleet_deactivations_percent,
        }

    def _keep_workspace(
        self, name: str, settings: WorkspaceSettings, values: Visitor, emails: Sequence[str]
    ) -> dict[str, Any]:
        kept = settings.model_dump(mode="json", include=KEPT_POLICY)
        return {
            **kept,
            "page_size": self.page_sizes.get(name, kept["page_size"]),
            "require_approval": sorted(kept["require_approval"]),
            "allowed_domains": sorted(values.domain(each) for each in settings.allowed_domains),
            "protect": protected_addresses(settings.protect, emails, values),
            "sources": [
                {
                    "connector": self.names.connectors[source.connector],
                    "app": values.id(source.app),
                    "groups": [self._keep_group(each, values) for each in source.groups],
                    **{key: getattr(source, key) for key in KEPT_SOURCE},
                }
                for source in settings.sources
            ],
        }

    def _keep_group(self, group: str, values: Visitor) -> str:
        """Return a configured group: the id where an answer has it as one, else the name."""
        return values.id(group) if group.lower() in self.group_ids else values.name(group)


def _keep_answer(answer: KeptAnswer, values: Visitor) -> dict[str, Any]:
    """Return the recorded line of one answer."""
    visitor = AnswerVisitor(values, answer.system)
    kept: dict[str, Any] = {
        "system": answer.system.name,
        "url": visitor.address(answer.url),
        "status": answer.status,
        "headers": _keep_headers(answer, visitor),
        "content": "empty",
    }
    body = answer.body
    if not body:
        return kept
    response = ApiResponse(answer.status, httpx.Headers(), httpx.URL(answer.url), body)
    try:
        document = response.json()
    except ReadError:
        return kept | {"content": "text"}
    return kept | {"content": "json", "body": keep_answer(document, answer.system.kind, visitor)}


def _keep_headers(answer: KeptAnswer, visitor: AnswerVisitor) -> list[list[str]]:
    kept: list[list[str]] = []
    headers = httpx.Headers(list(answer.headers))
    response = ApiResponse(answer.status, headers, httpx.URL(answer.url), b"")
    try:
        link = response.link("next")
    except ReadError:
        link = "https://["
    if link is not None:
        kept.append(["link", f"<{visitor.link(link)}>; {LINK_RELATION}"])
    kept += [["after-cursor", visitor.cursor(each.strip())] for each in headers.get_list("after-cursor")]
    counts = headers.get_list("total-count")
    kept += [["total-count", each if set(each) <= set("0123456789, ") else "?"] for each in counts]
    kept += [["location", visitor.link(each)] for each in headers.get_list("location")]
    return kept
