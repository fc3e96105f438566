"""No cursor of a change feed and no token reaches a log, an error, a metric or the page, whatever answers a poll."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from agent.bootstrap import SystemClock, open_pollers, open_shared_resources
from agent.daemon.feeds import DaemonFeeds
from agent.daemon.interface import FeedStatus
from agent.daemon.runner import ActiveConfig
from agent.engine.feed_poll import FeedPoller
from agent.metrics import Metrics
from agent.ports.state import State
from agent.settings.load import load
from agent.settings.root import Settings
from sandbox.faults.parse import parse_rules
from sandbox.pigment.rate_limit import RateLimit
from sandbox.server import Sandbox, run_sandbox
from tests.integration.test_page_approvals import PageDaemon, Visitor, daemon, visitor

__all__ = ["daemon", "visitor"]

FAULTS: list[dict[str, object]] = [
    {"name": "refused", "do": "status", "status": 400},
    {"name": "narrowed", "do": "status", "status": 403},
    {"name": "missing", "do": "status", "status": 404},
    {"name": "gone", "do": "status", "status": 410},
    {"name": "html", "do": "html", "status": 502},
    {"name": "not json", "do": "invalid-json", "text": "<<<"},
    {"name": "no answer", "do": "disconnect"},
    {"name": "cut off", "do": "truncated", "keep": 0.5},
]
SYSTEMS = ("okta", "entra", "onelogin")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with run_sandbox(seed=3, size=15, limit=RateLimit(None)) as served:
        yield served


def secret_parts(cursor: str) -> set[str]:
    """Return the values of a cursor: of its query, its JSON, or itself. The fixed words of the APIs are left out."""
    texts = [cursor]
    if cursor.startswith(("{", "[")):
        texts = [json.dumps(json.loads(cursor))]
    values = [found for text in texts for found in re.findall(r"(?:after|token|since)=([^&\"\s]+)", text)]
    return {cursor, *(value for value in values if len(value) >= 8)}


async def load_secrets(state: State) -> set[str]:
    found = set()
    for name in ("okta-main", "entra-eu", "onelogin-apac"):
        cursor = await state.load_feed_cursor(name)
        assert cursor is not None, name
        found |= secret_parts(cursor.cursor)
    return found


@asynccontextmanager
async def open_eager_pollers(settings: Settings, state: State) -> AsyncIterator[list[FeedPoller]]:
    """Open pollers that no poll before keeps from polling."""
    async with open_pollers(settings, state) as pollers:
        yield [replace(each, every=timedelta(0)) for each in pollers]


async def test_no_cursor_is_in_any_log_error_metric_or_page(
    sandbox: Sandbox, tmp_path: Path, visitor: Visitor, daemon: PageDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    config = sandbox.write_config(tmp_path)
    document = yaml.safe_load(config.read_text("utf-8"))
    for connector in document["connectors"].values():
        connector["feed"] = {"every": "10s"}
    document["http"] = {"retries": 0, "timeout_seconds": 5}
    config.write_text(yaml.safe_dump(document), "utf-8")
    settings, metrics, clock = load(config, {}), Metrics(CollectorRegistry()), SystemClock()
    seen: list[str] = []
    secrets: set[str] = set()
    caplog.set_level(logging.WARNING)
    async with open_shared_resources(settings) as shared:
        active = ActiveConfig(settings, clock.now())
        feeds = DaemonFeeds(
            active,
            shared.state,
            clock,
            lambda current: open_eager_pollers(current, shared.state),
            lambda *_: None,
            lambda _: False,
            metrics,
        )
        with capture_logs() as logged:
            await feeds.run_due()
            secrets |= await load_secrets(shared.state)
            statuses: list[FeedStatus] = [*feeds.statuses.values()]
            for fault in FAULTS:
                rules = [fault | {"system": each, "name": f"{fault['name']} at {each}"} for each in SYSTEMS]
                sandbox.faults.put(parse_rules({"faults": rules}))
                # After a reload each feed is tried at once, also one that was refused.
                active.replace(settings, clock.now())
                await feeds.run_due()
                statuses += [replace(each) for each in feeds.statuses.values()]
            sandbox.faults.clear()
            secrets |= await load_secrets(shared.state)
        await feeds.stop()
    seen += [str(logged), caplog.text, metrics.render().decode(), repr(statuses)]
    daemon.feeds = tuple(statuses)
    seen.append((await visitor.client.get("/")).text)

    assert sum(bool(each.problem) for each in statuses) >= len(FAULTS), "the faults had an effect"
    assert len(secrets) >= 5
    assert [part for part in secrets for text in seen if part in text] == []
