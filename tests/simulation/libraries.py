"""Import what few broken agents of the simulation change, before processes are forked that each import the rest.

These modules of ours import none that most mutants edit. A process that edits one of these imports all of ours again.
"""

from __future__ import annotations

import gc
import importlib

for name in (
    "apscheduler.schedulers.asyncio",
    "apscheduler.triggers.cron",
    "concurrent.futures.process",
    "httpx",
    "jinja2",
    "multiprocessing.connection",
    "orjson",
    "pydantic",
    "rich.console",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.ext.asyncio",
    "structlog",
    "tenacity",
    "agent.settings.root",
    "agent.store.state",
    "agent.report.render",
    "agent.report.delivered",
    "agent.scim.listing",
    "agent.notifications.delivery",
    "agent.plan_parser",
    "sandbox.pigment.workspace",
):
    importlib.import_module(name)
# A collection in each process would copy every page that holds an object.
gc.collect()
gc.freeze()
