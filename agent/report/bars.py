"""Compute the charts of the HTML report: the length of each bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.report.group_sizes import group_sizes_by_source, recorded_sizes
from agent.report.labels import KIND_LABELS, KINDS
from agent.report.schema import PlannedObject
from agent.report.view import View

__all__ = ["WIDTH", "Bar", "Figure", "group_bars", "segments", "totals"]

WIDTH = 1000
MIN_SEGMENT_WIDTH = 8
"""The least width of a segment, of `WIDTH`: one leaver among thousands must be visible."""

MAX_GROUPS = 12


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its name; *key* is that of the plan document's counts."""

    key: str
    title: str
    number: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle from *start*, *length* long, both of `WIDTH`. *phrase* is shown for the number, if not empty."""

    key: str
    title: str
    number: int
    start: float
    length: float
    phrase: str = ""


def totals(shown: Sequence[View]) -> list[Figure]:
    """Return the numbers over all workspaces: of what is planned, or of what was done where a run applied it."""
    kinds = [Figure(kind, KIND_LABELS[kind].title, sum(_kind_count(view, kind) for view in shown)) for kind in KINDS]
    undone = sum(sum(view.not_applied_by_outcome.values()) for view in shown)
    lost = sum(view.workspace["status"] != "planned" for view in shown)
    return [
        *kinds,
        *([Figure("failed", "Not done", undone)] if undone else []),
        Figure("hold", "On hold", sum(len(view.holds) for view in shown)),
        Figure("in-sync", "In sync", sum(_counts(view).get("in-sync", 0) for view in shown)),
        *([Figure("unplanned", "Not planned", lost)] if lost else []),
    ]


def segments(view: View) -> list[Bar]:
    """Return the bar of one workspace: its changes by kind, what is held, and how many are in sync."""
    counts = _counts(view)
    figures = [Figure(kind, KIND_LABELS[kind].title, len(view.changes_by_kind.get(kind, ()))) for kind in KINDS]
    figures += [Figure("hold", "On hold", len(view.holds)), Figure("in-sync", "In sync", counts.get("in-sync", 0))]
    shown = [figure for figure in figures if figure.number]
    whole = sum(figure.number for figure in shown)
    spare = WIDTH - MIN_SEGMENT_WIDTH * len(shown)
    bars, start = [], 0.0
    for figure in shown:
        length = MIN_SEGMENT_WIDTH + spare * figure.number / whole
        bars.append(Bar(figure.key, figure.title, figure.number, round(start, 1), round(length, 1)))
        start += length
    return bars


def group_bars(workspace: PlannedObject) -> tuple[list[Bar], int]:
    """Return the groups of all sources, relative to the largest, and the number of those left out.

    Groups that are gone are first: they must not hide behind large ones.
    """
    parts = group_sizes_by_source(workspace, recorded_sizes(workspace))
    sizes = [size for part in parts for size in part]
    sizes.sort(key=lambda size: (not size.is_gone, -size.now, -(size.before or 0), size.name, size.id))
    largest = max((size.now for size in sizes), default=0) or 1
    bars = [
        Bar(size.id, size.name, size.now, 0, round(WIDTH * size.now / largest, 1), size.phrase)
        for size in sizes[:MAX_GROUPS]
    ]
    return bars, len(sizes) - len(bars)


def _kind_count(view: View, kind: str) -> int:
    return view.applied_by_kind.get(kind, 0) if view.executed else _counts(view).get(kind, 0)


def _counts(view: View) -> Mapping[str, int]:
    return view.workspace["counts"] if view.workspace["status"] == "planned" else {}
