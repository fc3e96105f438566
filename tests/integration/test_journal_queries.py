"""What a run asks the journal is found by an index: the journal of a workspace grows for 400 days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, event, insert

from agent.store.change_journal import (
    load_contested_members,
    load_member_changes,
    load_recent_changes,
    load_recent_deactivations,
    load_unconfirmed_creates,
    written,
)
from agent.store.tables import targets
from agent.store.targets import SELF
from tests.migrated_state import new_sqlite_state

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR_AGO = NOW - timedelta(hours=1)
QUERIES: dict[str, Callable[[Connection], object]] = {
    "unconfirmed creates": lambda connection: load_unconfirmed_creates(connection, "pigment-latam", NOW),
    "recent changes": lambda connection: load_recent_changes(connection, "pigment-latam", HOUR_AGO),
    "recent deactivations": lambda connection: load_recent_deactivations(connection, ["pigment-latam"], HOUR_AGO),
    "contested members": lambda connection: load_contested_members(connection, "pigment-latam", HOUR_AGO),
    "recent writes": lambda connection: written(connection, "pigment-latam", NOW, None),
    "changes of an address": lambda connection: load_member_changes(
        connection, "pigment-latam", 10, "ana@acme.com", ""
    ),
    "changes of a member": lambda connection: load_member_changes(connection, "pigment-latam", 10, "", "m1"),
}
RECENT = ("recent changes", "recent deactivations", "contested members", "recent writes")


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("has_target", [True, False])
def test_query_searches_the_journal_by_more_than_the_workspace(name: str, has_target: bool, tmp_path: Path) -> None:
    searches = journal_searches(name, has_target, tmp_path)

    assert searches
    for search in searches:
        assert search.startswith("SEARCH"), search
        assert "workspace=? AND " in search, search


@pytest.mark.parametrize("name", RECENT)
@pytest.mark.parametrize("has_target", [True, False])
def test_query_of_recent_changes_reads_no_adoption(name: str, has_target: bool, tmp_path: Path) -> None:
    """Of a first sync they are as many as its members."""
    searches = journal_searches(name, has_target, tmp_path)

    assert searches
    assert {search.split(" USING ")[1] for search in searches} == {"INDEX ix_changes_sent (workspace=? AND sent_at>?)"}


def journal_searches(name: str, has_target: bool, folder: Path) -> list[str]:
    """Return how SQLite searches the changes for the query *name*."""
    engine = create_engine(new_sqlite_state(folder))
    sent = []
    with engine.connect() as connection:
        if has_target:
            row = {"workspace": "pigment-latam", "connector": SELF, "fingerprint": "f1", "recorded_at": 0}
            connection.execute(insert(targets).values(**row))
        event.listen(connection, "before_cursor_execute", lambda *call: sent.append(call[2:4]))
        QUERIES[name](connection)
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all() for sql, values in sent[:]]
    engine.dispose()
    return [step.detail for plan in plans for step in plan if step.detail.split()[1] == "changes"]
