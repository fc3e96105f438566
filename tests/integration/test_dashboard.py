"""The Grafana dashboard: Prometheus parses its queries, and they use metrics and labels that the agent exports."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import yaml

from tests.dashboard import load, panels, queries
from tests.exported_metrics import exported_labels
from tests.guide_page import REPOSITORY
from tests.programs import require

NOT_SHOWN: dict[str, str] = {
    "pigment_sync_compare_differences": "a comparison is made by hand, and its result is on the page and in `check`",
    "pigment_sync_compare_timestamp_seconds": "as above",
    "pigment_sync_replica_info": "names the daemon that was scraped; the page lists all",
    "pigment_sync_stopped_ticks": "the page shows a stopped tick",
    "pigment_sync_takeovers": "only where several daemons run",
}
"""Exported metrics that no panel shows, each with the reason."""

NAME = re.compile(r"\bpigment_sync_\w+")
SELECTOR = re.compile(r"(pigment_sync_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r'(\w+)(?:=~|!~|!=|=)"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")
LEGEND = re.compile(r"{{(\w+)}}")
# Prometheus adds them at each scrape.
ADDED = {"job", "instance"}
CURRENT_PANELS = {"row", "stat", "timeseries", "table"}
ANCHOR = re.compile(r"^\$\{runbook\}#([\w-]+)$")


def headings(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_prometheus_parses_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"dashboard:query:{number}", "expr": each.expression} for number, each in enumerate(queries(load()))
    ]
    assert rules
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = subprocess.run(
        [require("promtool"), "check", "rules", "rules.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_metric_and_label_of_a_query_is_exported() -> None:
    exported = {name: labels for series in exported_labels().values() for name, labels in series.items()}
    for query in queries(load()):
        used = SELECTOR.findall(query.expression)
        assert used, query
        known: set[str] = set(ADDED)
        for name, selectors in used:
            assert name in exported, query
            assert set(LABEL.findall(selectors)) <= exported[name] | ADDED, query
            known |= exported[name]
        grouped = {label.strip() for group in GROUPING.findall(query.expression) for label in group.split(",")}
        assert grouped <= known, query
        shown = set(LEGEND.findall(query.legend))
        assert shown <= (grouped or known), query


def test_every_exported_metric_is_on_the_dashboard_or_listed_as_not() -> None:
    shown = {name for query in queries(load()) for name in NAME.findall(query.expression)}
    missing = {metric for metric, series in exported_labels().items() if not shown & set(series)}
    assert missing == set(NOT_SHOWN)


def test_every_panel_explains_itself_and_has_its_own_place() -> None:
    found = list(panels(load()))
    assert Counter(each["id"] for each in found).most_common(1)[0][1] == 1
    assert {each["type"] for each in found} == CURRENT_PANELS
    places: set[tuple[int, int]] = set()
    for each in found:
        assert each["title"]
        assert each["type"] == "row" or each["description"].endswith("."), each["title"]
        at = each["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not places & cells, each["title"]
        places |= cells
    titles = Counter(each["title"] for each in found)
    assert titles.most_common(1)[0][1] == 1, "a title names one panel"


def test_every_value_has_a_unit_and_every_panel_reads_the_chosen_source() -> None:
    dashboard = load()
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["workspace"]["includeAll"]
    assert dashboard["schemaVersion"] == 42
    source = {"type": "prometheus", "uid": "${datasource}"}
    for each in panels(dashboard):
        if each["type"] == "row":
            continue
        assert each["datasource"] == source
        assert all(target["datasource"] == source for target in each["targets"])
        assert each["fieldConfig"]["defaults"]["unit"]
        assert each["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
    assert "id" not in dashboard, "an id belongs to one Grafana"


def test_every_link_leads_to_a_section_of_the_runbook() -> None:
    known = headings(REPOSITORY / "docs" / "runbook.md")
    links = [link["url"] for panel in panels(load()) for link in panel.get("links", ())]
    assert len(links) > 10
    for url in links:
        found = ANCHOR.match(url)
        assert found, url
        assert found[1] in known, url
