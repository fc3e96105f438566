"""Count the lines of the processes that an end-to-end test starts only where its module has `pytest.mark.traced`.

Most of these tests repeat lines that others reach, in many processes.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.counted_lines import VARIABLE

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "traced: count the lines that the processes of this test run")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    folder = os.environ.get(VARIABLE)
    # Pytest calls it for the tests of other folders too.
    is_counted = not item.path.is_relative_to(HERE) or item.get_closest_marker("traced") is not None
    if folder is None or is_counted:
        return (yield)
    del os.environ[VARIABLE]
    try:
        return (yield)
    finally:
        os.environ[VARIABLE] = folder
