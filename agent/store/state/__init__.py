"""The state in a database: each call is one transaction, in a separate thread. One module for each port or two."""

from __future__ import annotations

from agent.store.state.feeds import SqlFeeds
from agent.store.state.jobs import SqlJobs
from agent.store.state.journal import SqlJournal
from agent.store.state.leases import SqlLeases
from agent.store.state.links import SqlLinks
from agent.store.state.reports import SqlReports
from agent.store.state.web_logins import SqlWebLogins
from agent.store.state.workspaces import SqlWorkspaces

__all__ = ["SqlState"]


class SqlState(SqlLeases, SqlLinks, SqlJournal, SqlWorkspaces, SqlJobs, SqlFeeds, SqlReports, SqlWebLogins):
    """Implements `agent.ports.state.State`. Open it with `SqlState.open`, and close it."""
