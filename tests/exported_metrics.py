"""The metrics that the agent exports, with their labels."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import Counter, Histogram, MetricWrapperBase

from agent.metrics import Metrics

__all__ = ["exported_labels"]


def exported_labels() -> dict[str, dict[str, set[str]]]:
    """Map each metric to its series, and each of those to its labels."""
    registry = CollectorRegistry()
    Metrics(registry)
    found = {}
    for collector in registry._collector_to_names:
        assert isinstance(collector, MetricWrapperBase)
        name, labels = collector._name, set(collector._labelnames)
        match collector:
            case Counter():
                found[name] = {f"{name}_total": labels}
            case Histogram():
                found[name] = {f"{name}_bucket": {*labels, "le"}, f"{name}_sum": labels, f"{name}_count": labels}
            case _:
                found[name] = {name: labels}
    return found
