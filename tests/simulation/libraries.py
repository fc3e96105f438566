"""Import the libraries of a simulation and nothing of ours, before processes are forked that each import the agent."""

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
):
    importlib.import_module(name)
# A collection in each process would copy every page that holds an object.
gc.collect()
gc.freeze()
