"""The small chart of a workspace's runs: active members, changes and holds over time, as an SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

import pygal
from pygal.style import Style

from agent.model.run import Run, Trigger

__all__ = ["CONTENT_SECURITY_POLICY", "render_chart"]

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""The file styles itself and can do nothing else, also when it is opened by itself."""
NAMESPACE = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", NAMESPACE)
FONT = "system-ui, sans-serif"
COLOURS = {
    "light": ("#fff", "#1d1f24", "#5a5f6b", "#e2e2dc", ("#4338ca", "#15803d", "#b45309")),
    "dark": ("#1c1f25", "#e8e9ec", "#a3a8b4", "#30343d", ("#a5b0ff", "#4ade80", "#fbbf24")),
}


def render_chart(runs: Sequence[Run], theme: str) -> bytes:
    """Draw *runs* over the whole workspace, given newest first; *theme* is `light` or `dark`."""
    whole = [run for run in reversed(runs) if not run.user and run.trigger is not Trigger.UNDO]
    shown = [(run, run.tally) for run in whole if run.tally is not None]
    tallies = [tally for _, tally in shown]
    ground, ink, soft, line, colours = COLOURS[theme]
    style = Style(
        background=ground,
        plot_background=ground,
        foreground=soft,
        foreground_strong=ink,
        foreground_subtle=soft,
        guide_stroke_color=line,
        major_guide_stroke_color=line,
        guide_stroke_dasharray="1",
        major_guide_stroke_dasharray="1",
        colors=colours,
        font_family=FONT,
        label_font_size=13,
        major_label_font_size=13,
        legend_font_size=14,
        tooltip_font_size=12,
        no_data_font_size=18,
    )
    drawing = pygal.Line(
        style=style,
        js=(),
        width=900,
        height=260,
        margin=8,
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        show_minor_x_labels=False,
        x_labels_major_count=5,
        dots_size=2.5,
        stroke_style={"width": 2},
        no_data_text="No run with a plan yet",
        value_formatter=lambda number: f"{number:,.0f}",
        range=_axis_range([tally.active for tally in tallies]),
        secondary_range=_axis_range([max(tally.changes, tally.held) for tally in tallies]),
    )
    drawing.x_labels = [f"{run.started_at:%m-%d %H:%M}" for run, _ in shown]
    drawing.add("Active members", [tally.active for tally in tallies])
    drawing.add("Changes (right)", [tally.changes for tally in tallies], secondary=True)
    drawing.add("Held (right)", [tally.held for tally in tallies], secondary=True)
    # The configuration of a script that nobody loads.
    tree = ElementTree.fromstring(drawing.render())  # noqa: S314 - what was drawn here
    for parent in list(tree.iter()):
        for script in parent.findall(f"{{{NAMESPACE}}}script"):
            parent.remove(script)
    drawn: bytes = ElementTree.tostring(tree)
    return drawn


def _axis_range(numbers: Sequence[int]) -> tuple[int, int]:
    """Return an axis from zero, so that a step of one among thousands does not look like a fall."""
    return 0, max([*numbers, 1])
