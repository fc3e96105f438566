"""The simulation detects each agent that breaks a promise, by the intended invariant.

`docs/simulation.md` lists them.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.mutants import MUTANTS, SEARCHED, Mutant, findings, misplaced_edits, recorded


def test_every_broken_agent_can_be_made() -> None:
    assert misplaced_edits() == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_broken_agent_is_found_out(mutant: Mutant) -> None:
    # The history that found it before is one of those that may, and is tried first: searching takes minutes.
    seed = recorded().get(mutant.name)
    found = findings(mutant, [seed]) if seed is not None and seed in SEARCHED else Counter[str]()
    if not any(mutant.caught in each for each in found):
        found = findings(mutant, SEARCHED, mutant.caught)

    assert any(mutant.caught in each for each in found), found
