"""The two charts of a workspace's runs as SVG files: active members; the changes made and on hold. Both over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from jinja2 import PackageLoader, Template

from agent.model.run import Run, RunCounts
from agent.report.html import template_environment

__all__ = ["CHARTS", "CONTENT_SECURITY_POLICY", "render_chart"]

CONTENT_SECURITY_POLICY = "default-src 'none'; sandbox"
"""The file can do nothing, also when it is opened by itself."""
LEFT, RIGHT, TOP, PANEL_HEIGHT = 48.0, 424.0, 24.0, 84.0
"""Small enough to be read on a phone without scrolling: the newest run must be in view."""
TIME_LABELS = 3
COLOURS = {
    "light": ("#fff", "#5a5f6b", "#e2e2dc", ("#4338ca", "#15803d", "#b45309")),
    "dark": ("#1c1f25", "#a3a8b4", "#30343d", ("#a5b0ff", "#4ade80", "#fbbf24")),
}


CHARTS = ("members", "changes")


@dataclass(frozen=True, slots=True)
class _Line:
    """One value over time. *points* are its x, its y and the number there."""

    label: str
    colour: str
    points: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True, slots=True)
class _Panel:
    """Lines with one axis, from zero to *maximum*: a step of one among thousands must not look like a fall."""

    maximum: int
    lines: tuple[_Line, ...]


def render_chart(runs: Sequence[Run], name: str, theme: str) -> bytes:
    """Draw *runs* over the whole workspace, newest first. *name* is one of `CHARTS`, *theme* `light` or `dark`."""
    counted = [(run.started_at, run.tally) for run in reversed(runs) if run.tally is not None]
    ground, ink, grid, (first, second, third) = COLOURS[theme]
    x_values = _x_values([when for when, _ in counted])
    counts = [each for _, each in counted]
    if name == "members":
        panel = _panel(x_values, ("Active members", first, [each.active for each in counts]))
    else:
        panel = _panel(
            x_values,
            ("Changes", second, [each.changes for each in counts]),
            ("On hold", third, [each.held for each in counts]),
        )
    drawing = _template().render(
        panel=panel,
        top=TOP,
        times=_time_labels(counted),
        ground=ground,
        ink=ink,
        grid=grid,
        left=LEFT,
        right=RIGHT,
        height=PANEL_HEIGHT,
    )
    return drawing.encode()


@cache
def _template() -> Template:
    return template_environment(PackageLoader("agent.web", "templates")).get_template("chart.svg")


def _x_values(times: Sequence[datetime]) -> list[float]:
    """Return a place for each time, the newest at the right edge."""
    if not times:
        return []
    span = (times[-1] - times[0]).total_seconds()
    return [RIGHT - (RIGHT - LEFT) * ((times[-1] - each).total_seconds() / span if span else 0) for each in times]


def _panel(x_values: Sequence[float], *series: tuple[str, str, Sequence[int]]) -> _Panel:
    maximum = max([1, *(number for _, _, numbers in series for number in numbers)])
    lines = [
        _Line(
            label,
            colour,
            tuple(
                (round(x, 1), round(TOP + PANEL_HEIGHT * (1 - number / maximum), 1), number)
                for x, number in zip(x_values, numbers, strict=True)
            ),
        )
        for label, colour, numbers in series
    ]
    return _Panel(maximum, tuple(lines))


def _time_labels(counted: Sequence[tuple[datetime, RunCounts]]) -> list[tuple[float, str]]:
    """Return labels at equal distances between the oldest and the newest run."""
    if not counted:
        return []
    oldest, newest = counted[0][0], counted[-1][0]
    parts = [each / (TIME_LABELS - 1) for each in range(TIME_LABELS)] if newest > oldest else [1.0]
    return [(LEFT + (RIGHT - LEFT) * part, f"{oldest + (newest - oldest) * part:%m-%d %H:%M}") for part in parts]
