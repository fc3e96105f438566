"""Count the lines that end-to-end tests run only where a module asks for it with `pytest.mark.traced`.

Most of these tests repeat lines that others reach, in many processes.
"""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "traced: count the lines that this test and its processes run")


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("traced") is None:
        item.add_marker(pytest.mark.no_cover)
