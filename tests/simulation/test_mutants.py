"""The simulation bites: an agent that breaks a promise is found out, and by the invariant that is meant to.

`docs/simulation.md` lists them.
"""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, findings

RUNS = 1000


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_broken_agent_is_found_out(mutant: Mutant) -> None:
    found = findings(mutant, RUNS, "--until", mutant.caught)

    assert any(mutant.caught in each for each in found), found
