"""The figures of a plan that metrics show, from the plan document as the journal keeps it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson

from agent.model import Change, Kind
from agent.report.hold_age import count_holds, oldest_waiting

__all__ = ["PlanFigures", "SourceFigures", "plan_figures"]


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """How many people one connector assigns to the workspace, and how many of them are eligible."""

    people: int
    eligible: int


@dataclass(frozen=True, slots=True)
class PlanFigures:
    """The counts of one workspace's plan. *sources* are by connector, *changes* have every kind.

    *guards* are the codes of the guards that tripped and that no approval released. *holds* are those that the run
    left, by code. *oldest_hold* is since when the oldest of them waits for a person; None without one.
    """

    members: int
    active: int
    linked: int
    in_sync: int
    sources: Mapping[str, SourceFigures]
    changes: Mapping[Kind, int]
    guards: tuple[str, ...]
    holds: Mapping[str, int]
    oldest_hold: datetime | None = None


def plan_figures(document: bytes, planned_at: datetime, released: Collection[Change]) -> PlanFigures:
    """Return the figures of the plan *document*, a workspace's object in which everything was read.

    *planned_at* and *released* are as in `agent.report.hold_age.oldest_waiting`.
    """
    workspace = orjson.loads(document)
    members, counts = workspace["members"], workspace["counts"]
    sources: dict[str, SourceFigures] = {}
    for source in workspace["sources"]:
        # One connector may read several applications for the same workspace.
        found = sources.get(source["connector"], SourceFigures(0, 0))
        sources[source["connector"]] = SourceFigures(
            found.people + source["people"], found.eligible + source["entitled"]
        )
    return PlanFigures(
        members=members["total"],
        active=members["active"],
        linked=members["linked"],
        in_sync=counts["in-sync"],
        sources=sources,
        changes={kind: counts[kind] for kind in Kind},
        guards=tuple(guard["code"] for guard in workspace.get("guards", []) if not guard.get("released_by")),
        holds=count_holds(document, released),
        oldest_hold=oldest_waiting(document, planned_at, released),
    )
