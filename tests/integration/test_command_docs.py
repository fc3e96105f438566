"""docs/commands.md matches the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agent.errors import ExitCode
from scripts.gen_command_reference import command_contexts, commands_page, root_context

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "commands.md"
CONTEXTS = {context.command_path: context for context in command_contexts(root_context())}


def section(path: str) -> str:
    """Return the section of one command, without its subcommands."""
    name = path.removeprefix("pigment-sync ")
    [found] = re.findall(rf"^#+ `{re.escape(name)}`\n(.*?)(?=^#)", commands_page(), re.MULTILINE | re.DOTALL)
    return str(found)


def test_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == commands_page(), "run scripts/command-docs"


def test_script_writes_the_page(tmp_path: Path) -> None:
    written = tmp_path / "page.md"
    subprocess.run([sys.executable, "-m", "scripts.gen_command_reference", str(written)], cwd=ROOT, check=True)
    assert written.read_text("utf-8") == commands_page()


@pytest.mark.parametrize("path", CONTEXTS)
def test_every_option_is_in_the_section_of_its_command(path: str) -> None:
    # `--trace` is listed once, for `pigment-sync` itself.
    options = [each for each in CONTEXTS[path].command.params if isinstance(each, click.Option) and not each.hidden]
    rows = [line for line in section(path).splitlines() if line.startswith("| `-")]
    assert len(rows) == len(options) + (path == "pigment-sync")
    for option, row in zip(options, rows, strict=False):
        assert row.startswith("| " + ", ".join(f"`{name}`" for name in option.opts))
        assert row.count("|") == 5
        assert ("**required**" in row) == option.required


@pytest.mark.parametrize("path", CONTEXTS)
def test_section_has_usage_and_examples(path: str) -> None:
    text = section(path)
    assert f"```text\n{path} [OPTIONS]" in text
    assert "pigment-sync" in text.partition("Examples:\n\n```text\n")[2]
    assert "\b" not in text


def test_values_and_defaults_are_described() -> None:
    assert "| `--limit` | whole number, 1 to 10000 | `20` |" in section("pigment-sync history")
    assert "| `--format` | `text`, `csv`, `html`, `xlsx`, `json` | `text` |" in section("pigment-sync access")
    assert "| `--by` | `WHO` | the OS user |" in section("pigment-sync undo")
    row = "| `--token` | `env:NAME` or `file:PATH` | `env:PIGMENT_TOKEN` | Location of its API token. |"
    assert row in section("pigment-sync init")
    assert "| `-h`, `--help` |  |  |" in section("pigment-sync")


def test_every_exit_code_is_listed_once() -> None:
    codes = re.findall(r"^\| (\d) \| .", commands_page(), re.MULTILINE)
    assert [int(code) for code in codes] == sorted(ExitCode)
    assert "in the order 1, 8, 6, 5, 9, 7, 4, 3." in commands_page()
