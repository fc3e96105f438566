"""The page about the state: an operator finds every table of it there."""

from __future__ import annotations

import re
from pathlib import Path

from agent.store.tables import metadata

PAGE = Path(__file__).parents[2] / "docs" / "state.md"


def test_page_describes_every_table() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    described = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert set(metadata.tables) <= described
