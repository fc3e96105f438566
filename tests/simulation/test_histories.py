"""Hundreds of random histories without a broken invariant; `scripts/simulate` runs more of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.simulation.run import batches, survive

RUNS = 100
RUNS_WITH_FEED = 40
FOUND = (
    6577, 6773, 8486, 12769, 13160, 16543, 20558, 22515, 23004, 29170, 29581, 32932, 42598,
    43924, 44629, 46773, 47482, 53765, 60256, 60759, 62637, 66707, 69218, 70583, 70743, 73425,
    80285, 82450, 82864, 82957, 86548, 89211, 94235, 97941,
)  # fmt: skip
"""Histories in which longer runs found a fault of the agent or of the simulation, one change at a time."""
FOUND_WITH_FEED = (89, 237, 248, 340, 2654, 5176, 6222, 7202, 14034, 16683)
"""The same of histories with change feeds."""


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """Write no log: it would be an eighth of the time. `scripts/simulate --seed` shows a history."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("seeds", batches(1, RUNS, 25), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_histories_break_no_invariant(seeds: tuple[int, ...]) -> None:
    lived, failures = survive(seeds)

    assert failures == []
    assert lived.writes > len(seeds), "histories in which nothing is written prove nothing"


@pytest.mark.parametrize("seeds", batches(1, RUNS_WITH_FEED, 20), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_histories_with_feeds_break_no_invariant(seeds: tuple[int, ...]) -> None:
    lived, failures = survive(seeds, has_feed=True)

    assert failures == []
    assert lived.happened["deactivations by a feed run"] > 0, "feeds that deactivate no one prove nothing"


def test_histories_that_found_a_fault_before_find_none() -> None:
    _, failures = survive(FOUND, in_flight=1)

    assert failures == []


def test_histories_with_feeds_that_found_a_fault_before_find_none() -> None:
    _, failures = survive(FOUND_WITH_FEED, has_feed=True, in_flight=1)

    assert failures == []
