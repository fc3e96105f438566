"""Commands in prose: whole, alone on their line, with the configuration in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.report.commands import split_commands, with_config
from agent.report.layout import PLAIN, paragraph_lines

ASSIGN = "pigment-sync links assign ann@acme.com --workspace latam --person okta-main:00u1"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("No command at all.", [("No command at all.", False)]),
        (f"If so: {ASSIGN}", [("If so:", False), (ASSIGN, True)]),
        (f"If so: {ASSIGN}. If not, wait.", [("If so:", False), (ASSIGN, True), ("If not, wait.", False)]),
        (
            "Or: `pigment-sync workspaces reset latam`. Then plan.",
            [("Or:", False), ("pigment-sync workspaces reset latam", True), ("Then plan.", False)],
        ),
        ("Members that pigment-sync created are kept.", [("Members that pigment-sync created are kept.", False)]),
    ],
)
def test_commands_are_found_without_the_mark_that_ends_their_sentence(
    words: str, parts: list[tuple[str, bool]]
) -> None:
    assert list(split_commands(words)) == parts


def test_command_is_alone_on_its_line_and_not_wrapped() -> None:
    lines = [
        "".join(text for text, _ in line) for line in paragraph_lines(f"→ If so: {ASSIGN}. If not, wait.", PLAIN, 2, 40)
    ]
    assert lines == ["  → If so:", f"    {ASSIGN}", "  If not, wait."]


def test_commands_have_the_configuration_in_use() -> None:
    text = "pigment-sync plan -w a, pigment-sync 0.1.0, /opt/pigment-sync plan, pigment-sync hash-token"
    assert with_config(text, None) == text
    assert with_config(text, Path("my file.yaml")) == (
        "pigment-sync --config 'my file.yaml' plan -w a, pigment-sync 0.1.0, /opt/pigment-sync plan, "
        "pigment-sync hash-token"
    )
