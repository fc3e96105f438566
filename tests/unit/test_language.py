"""Comments, docstrings and pages hold to the words of CONTRIBUTING.md, section "Language"."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIRECTORIES = ["agent", "bench", "connectors", "sandbox", "scripts", "tests"]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("docs/**/*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")))
)
BETTER = {
    r"(?i:tell|tells|telling|told)": "report, print, return",
    r"(?i:say|says|saying|said)": "report, show, for example",
    r"(?i:whoever)": "anyone who",
    r"(?i:nobody|somebody|everybody)": "no person, a person, all",
    r"(?i:mend|mends|mended|mending)": "fix",
    r"(?i:anew)": "again",
    r"(?i:former|formerly)": "previous, old",
    r"(?i:beside|upon)": "next to, with, on",
    r"(?i:hence|thrice)": "so, three times",
    r"(?i:in step)": "in sync",
    r"(?i:readdress\w*)": "change the email",
    r"(?:is|are) none": "does not exist",
    r"(?i:that (?:is|are) no)(?! longer\b)": "that is not a",
}
WORDS = re.compile(rf"\b(?:{'|'.join(BETTER)})\b")
CODE = re.compile(r"``[^`]*``|`[^`]*`|\]\([^)]*\)|https?://\S+")


def prose_of_module(source: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of comments and docstrings, those of attributes included, with their numbers."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            text = ast.get_source_segment(source, node) or ""
            yield from enumerate(text.split("\n"), node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def prose_of_page(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines outside fences and indented code, with their numbers."""
    is_code = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield number, line


def read_if_suspect(path: Path) -> str:
    """Return a module's text, or nothing where none of the words is in it: tokenizing takes most of the time."""
    source = path.read_text("utf-8")
    return source if WORDS.search(source) else ""


def found_words(name: str, prose: Iterator[tuple[int, str]]) -> list[str]:
    return [f"{name}:{number}: {hit[0]}" for number, line in prose for hit in WORDS.finditer(CODE.sub("", line))]


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_comments_and_docstrings_use_plain_words(directory: str) -> None:
    modules = sorted((ROOT / directory).rglob("*.py"))
    found = [
        hit
        for path in modules
        for hit in found_words(str(path.relative_to(ROOT)), prose_of_module(read_if_suspect(path)))
    ]

    assert modules
    assert found == []


@pytest.mark.parametrize("name", PAGES)
def test_pages_use_plain_words(name: str) -> None:
    assert found_words(name, prose_of_page((ROOT / name).read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "Tell nobody.",
        "It says why.",
        "a port that is no number",
        "the workspaces are in step",
        "It is none.",
        "Whoever comes second",
        "a mended link",
        "The former stays.",
    ],
)
def test_ruled_out_words_are_found(text: str) -> None:
    assert found_words("x", prose_of_page(text))
    assert found_words("x", prose_of_module(f'"""{text}"""'))
    assert found_words("x", prose_of_module(f"a = 1  # {text}"))


@pytest.mark.parametrize(
    "text", ["`tell`", "that is no longer there", "```\ntell\n```", "The essay is in information.", "If it is None"]
)
def test_code_and_other_words_are_not_found(text: str) -> None:
    assert found_words("x", prose_of_page(text)) == []


def test_strings_of_the_program_are_not_comments() -> None:
    assert found_words("x", prose_of_module('a = "tell"')) == []
