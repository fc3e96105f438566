"""Renderings equal the files in tests/golden. PIGMENT_SYNC_GOLDEN=write writes them again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.plan_parser import parse_document
from agent.report.document import encode_document, plan_document
from agent.report.render import NO_OUTCOMES, Format, RenderOptions, render
from tests.golden.samples import MADE_AT, a_document, a_run_document, outcomes

FOLDER = Path(__file__).parent.parent / "golden"

FILES = {
    "plan.txt": (Format.TEXT, RenderOptions(), False),
    "plan.narrow.txt": (Format.TEXT, RenderOptions(width=60), False),
    "plan.verbose.ansi": (Format.TEXT, RenderOptions(width=120, colour=True, verbose=True), False),
    "plan.json": (Format.JSON, RenderOptions(), False),
    "plan.md": (Format.MARKDOWN, RenderOptions(), False),
    "plan.short.md": (Format.MARKDOWN, RenderOptions(max_chars=6_000), False),
    "plan.html": (Format.HTML, RenderOptions(), False),
    "plan.csv": (Format.CSV, RenderOptions(), False),
    "run.txt": (Format.TEXT, RenderOptions(), True),
    "run.json": (Format.JSON, RenderOptions(), True),
    "run.md": (Format.MARKDOWN, RenderOptions(), True),
    "run.html": (Format.HTML, RenderOptions(), True),
    "run.csv": (Format.CSV, RenderOptions(bom=True), True),
    "run.one.txt": (Format.TEXT, RenderOptions(), True),
    "run.one.md": (Format.MARKDOWN, RenderOptions(), True),
}


@pytest.mark.parametrize("name", FILES)
def test_rendering_is_the_golden_file(name: str) -> None:
    form, look, executed = FILES[name]
    document = a_run_document() if executed else a_document()
    if ".one." in name:
        document = plan_document(document["workspaces"][:1], MADE_AT)
    saved = parse_document(encode_document(document))
    shown = render(saved, form, look, outcomes() if executed else NO_OUTCOMES)
    golden = FOLDER / name
    if os.environ.get("PIGMENT_SYNC_GOLDEN") == "write":
        golden.write_bytes(shown.encode())
    assert golden.read_bytes().decode() == shown


def test_every_format_has_a_golden_file() -> None:
    assert {form for form, _, _ in FILES.values()} == set(Format)
