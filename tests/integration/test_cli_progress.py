"""Long work shows progress: bars on a terminal, a line a minute in a log."""

from __future__ import annotations

import io

from rich.console import Console
from structlog.testing import capture_logs

from agent.cli.progress import ProgressLog
from agent.cli.progress_bars import ProgressBars


def test_bars_show_counts_and_the_budget_that_is_left() -> None:
    out = io.StringIO()
    bars = ProgressBars(Console(file=out, force_terminal=True, width=160))
    bars.budget = lambda: 412
    with bars.display:
        bars("pigment-latam: listing", 100, None)
        bars("pigment-latam: listing", 200, 400)
        bars.display.refresh()
    output = out.getvalue()

    assert "pigment-latam: listing" in output
    assert "200/400" in output
    assert "412 requests left" in output


def test_name_of_a_group_is_neither_markup_nor_a_sequence() -> None:
    out = io.StringIO()
    bars = ProgressBars(Console(file=out, force_terminal=True, width=160))
    with bars.display:
        bars("okta: [/PROD] Pigment", 1, None)
        bars("okta: [link=http://evil.example]click[/link]", 1, None)
        bars("okta: \x1b]0;title\x07", 1, None)
        bars.display.refresh()
    output = out.getvalue()

    assert "[/PROD] Pigment" in output
    assert "[link=http://evil.example]click[/link]" in output
    assert "\x1b]" not in output


def test_log_has_one_line_a_minute_for_each_kind_of_work() -> None:
    now = [0.0]
    lines = ProgressLog(lambda: now[0])
    with capture_logs() as events:
        for second in range(0, 181, 10):
            now[0] = float(second)
            lines("reading", second, 1000)
            lines("applying", 1, None)

    assert [(line["what"], line["done"]) for line in events if line["what"] == "reading"] == [
        ("reading", 60),
        ("reading", 120),
        ("reading", 180),
    ]
    assert events[0]["per_second"] == 1.0
    assert events[0]["budget"] is None
