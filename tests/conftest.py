"""What all tests share: none of the machine's own TLS settings, and the profiles of hypothesis."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests import postgres

# jsonschema has it compile 38 grammars when it is imported, for formats of no vendor's document: 2 s in each process.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # Python's mark of a module that is not there

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

# Coverage starts itself in each process that finds it.
COVERAGE_VARIABLE = "COVERAGE_PROCESS_CONFIG"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the thousands of collected tests out of each later garbage collection."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Extend `pytest.mark.no_cover` to the fixtures of a test and to the processes that it starts."""
    plugin = item.config.pluginmanager.getplugin("_cov")
    tracer = plugin.cov_controller if plugin else None
    if tracer is None or item.get_closest_marker("no_cover") is None:
        return (yield)
    tracer.pause()
    configuration = os.environ.pop(COVERAGE_VARIABLE, None)
    try:
        return (yield)
    finally:
        if configuration is not None:
            os.environ[COVERAGE_VARIABLE] = configuration
        # The mark's own hook has already resumed it, unless a fixture failed; to start it twice would nest it.
        if not tracer.started:
            tracer.resume()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Yield the URL of a real PostgreSQL of this worker's own, without a database at its end."""
    with postgres.running() as url:
        yield url
