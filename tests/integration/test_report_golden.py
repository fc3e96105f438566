"""Renderings are what they were: the files in tests/golden, written anew with PIGMENT_SYNC_GOLDEN=write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.report.document import encode
from agent.report.rendering import NO_OUTCOMES, Format, Look, render
from agent.report.saved import parse
from tests.golden.samples import a_document, outcomes

FOLDER = Path(__file__).parent.parent / "golden"

FILES = {
    "plan.txt": (Format.TEXT, Look(), False),
    "plan.narrow.txt": (Format.TEXT, Look(width=60), False),
    "plan.verbose.ansi": (Format.TEXT, Look(width=120, colour=True, verbose=True), False),
    "plan.json": (Format.JSON, Look(), False),
    "plan.md": (Format.MARKDOWN, Look(), False),
    "plan.short.md": (Format.MARKDOWN, Look(most=6_000), False),
    "plan.html": (Format.HTML, Look(), False),
    "plan.csv": (Format.CSV, Look(), False),
    "run.txt": (Format.TEXT, Look(), True),
    "run.json": (Format.JSON, Look(), True),
    "run.md": (Format.MARKDOWN, Look(), True),
    "run.html": (Format.HTML, Look(), True),
    "run.csv": (Format.CSV, Look(bom=True), True),
}


@pytest.mark.parametrize("name", FILES)
def test_rendering_is_the_golden_file(name: str) -> None:
    form, look, executed = FILES[name]
    saved = parse(encode(a_document()))
    shown = render(saved, form, look, outcomes() if executed else NO_OUTCOMES)
    golden = FOLDER / name
    if os.environ.get("PIGMENT_SYNC_GOLDEN") == "write":
        golden.write_bytes(shown.encode())
    assert golden.read_bytes().decode() == shown


def test_every_format_has_a_golden_file() -> None:
    assert {form for form, _, _ in FILES.values()} == set(Format)
