"""What all tests share: none of the machine's own TLS settings, and the profiles of hypothesis."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import settings

from tests import counted_lines, postgres

# jsonschema has it compile 38 grammars when it is imported, for formats of no vendor's document: 2 s in each process.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # Python's mark of a module that is not there

WAITING = (
    ("test_replicas_in_trouble", "test_connections", "test_replicas", "test_two_daemons", "test_traces"),
    (
        "test_kill",
        "test_lost_lease",
        "test_held_locks",
        "test_change_feed",
        "test_silent_state",
        "test_serve",
        "test_hung",
        "test_daemon_reports",
    ),
)
"""Modules of whose time half a minute and more is waiting, for leases that run out and for limits of real seconds.

Each of two worker processes begins with a half of them, while the others keep the processors busy.
"""

# httpx and requests read them by themselves, but the tests are about the agent's `ca_bundle`.
for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ.pop(name, None)

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("usual", max_examples=30, deadline=None)
settings.register_profile("fast", max_examples=10, deadline=None)
settings.register_profile("deep", max_examples=3_000, deadline=None)
# Mutation testing runs everything thousands of times.
settings.register_profile("mutants", max_examples=15, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))

# Before a test imports what is counted.
if counted_lines.VARIABLE in os.environ:
    counted_lines.probe_imports()
    counted_lines.write_lines_at_exit()


@contextmanager
def _compiled_once(config: pytest.Config) -> Iterator[None]:
    """Have other processes that collect wait for the first, which compiles what all of them import: 15 s for each."""
    is_controller = not hasattr(config, "workerinput") and config.getoption("dist", "no") != "no"
    cache: pytest.Cache | None = getattr(config, "cache", None)
    if is_controller or cache is None:
        yield
        return
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"process {os.getpid()}")
    with (cache.mkdir("collection") / "last-run").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if file.read() == run:
            fcntl.flock(file, fcntl.LOCK_UN)
            yield
        else:
            yield
            file.truncate(0)
            file.write(run)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Keep the thousands of collected tests out of each later garbage collection, and collect less often."""
    gc.disable()
    try:
        with _compiled_once(session.config):
            return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
        # What is frozen no longer delays collections of everything, and Hypothesis is called at each collection.
        gc.set_threshold(5_000, 10, 20)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what waits long, so that the end of a run does not wait for one of them."""
    halves = [
        sorted((item for item in items if item.path.stem in half), key=lambda item: half.index(item.path.stem))
        for half in WAITING
    ]
    waiting = {module for half in WAITING for module in half}
    others = [item for item in items if item.path.stem not in waiting]
    # Each worker begins with an equal part of the whole.
    part = len(items) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    beside_first = max(0, part - len(halves[0]))
    items[:] = [*halves[0], *others[:beside_first], *halves[1], *others[beside_first:]]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Yield the URL of a real PostgreSQL of this worker's own, without a database at its end."""
    with postgres.running() as url:
        yield url
