"""The parts of the store that a plan does not need, each imported at its first use: `parts.jobs` is `agent.store.jobs`.

With the classes that they read and write they would be a thirtieth of the start of every command.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

__all__ = [
    "approvals",
    "daemons",
    "feed_health",
    "feeds",
    "jobs",
    "journal_queue",
    "notices",
    "permits",
    "plan_rows",
    "reports",
    "web_logins",
    "whole_runs",
]

if TYPE_CHECKING:
    from agent.store import (
        approvals,
        daemons,
        feed_health,
        feeds,
        jobs,
        journal_queue,
        notices,
        permits,
        plan_rows,
        reports,
        web_logins,
        whole_runs,
    )


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"agent.store.{name}")
