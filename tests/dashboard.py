"""The Grafana dashboard of `deploy/`: its panels, and their queries with values in place of Grafana's variables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.guide_page import REPOSITORY

__all__ = ["DASHBOARD", "Query", "load", "panels", "queries"]

DASHBOARD = REPOSITORY / "deploy" / "grafana" / "pigment-sync.json"
VARIABLES = {"$__rate_interval": "5m", "$workspace": ".*"}


@dataclass(frozen=True)
class Query:
    """A query of the *panel* with this title. *legend* names each of its series."""

    panel: str
    expression: str
    legend: str


def load() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return document


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels, also those within collapsed rows; rows are panels too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def queries(dashboard: Mapping[str, Any]) -> Iterator[Query]:
    for panel in panels(dashboard):
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield Query(panel["title"], expression, target.get("legendFormat", ""))
