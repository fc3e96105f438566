"""A guide as the tests see it: its blocks of commands and of configuration, and how to run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["REPOSITORY", "Block", "Page", "pages"]

REPOSITORY = Path(__file__).parent.parent
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\s*$")
MARK = re.compile(r"^ *<!-- (?P<mark>.*) -->$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fence: its language, its text, and the mark in the line before it."""

    page: str
    line: int
    language: str
    mark: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file, *name* relative to the repository."""

    name: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        return list(_blocks(self.name, self.text))


def pages() -> list[Page]:
    """Return README and every page of the guides."""
    files = [REPOSITORY / "README.md", REPOSITORY / "SECURITY.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
    return [Page(str(file.relative_to(REPOSITORY)), file.read_text("utf-8")) for file in files if file.exists()]


def _blocks(name: str, text: str) -> Iterator[Block]:
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        indent = opening["indent"]
        end = next(place for place in range(number + 1, len(lines)) if lines[place] == f"{indent}```")
        mark = MARK.match(lines[number - 1]) if number else None
        body = "\n".join(line.removeprefix(indent) for line in lines[number + 1 : end])
        yield Block(name, number + 1, opening["language"], mark["mark"] if mark else "", body)
        number = end + 1
