"""Count the lines that end-to-end tests run only where a module asks for it with `pytest.mark.traced`.

Most of these tests repeat lines that others reach, in many processes, and the tracer would double their time.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

# Coverage starts itself in each process that finds it.
VARIABLE = "COVERAGE_PROCESS_CONFIG"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "traced: count the lines that this test and its processes run")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test and its fixtures; `pytest.mark.no_cover` would neither reach fixtures nor processes."""
    plugin = item.config.pluginmanager.getplugin("_cov")
    tracer = plugin.cov_controller if plugin else None
    if tracer is None or item.get_closest_marker("traced"):
        return (yield)
    tracer.pause()
    configuration = os.environ.pop(VARIABLE, None)
    try:
        return (yield)
    finally:
        if configuration is not None:
            os.environ[VARIABLE] = configuration
        tracer.resume()
