"""Thousands of random histories, in none of which an invariant breaks; `scripts/simulate` runs more of them."""

from __future__ import annotations

import pytest

from tests.simulation.run import batches, survive

RUNS = 2000


@pytest.mark.parametrize("seeds", batches(1, RUNS), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_histories_break_no_invariant(seeds: tuple[int, ...]) -> None:
    writes, failures = survive(seeds)

    assert failures == []
    assert writes > len(seeds), "histories in which nothing is written prove nothing"
