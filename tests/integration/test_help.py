"""The `--help` of each command: a summary that fits, examples that parse, every option explained."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from agent.cli.app import app
from tests.command_words import calls, parsed

Path = tuple[str, ...]
NARROW = 80
LARGE_LIBRARIES = {"agent.bootstrap", "asyncio", "fastapi", "httpx", "pydantic", "rich", "sqlalchemy"}


def walk_commands(command: click.Command, path: Path = ()) -> Iterator[tuple[Path, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            loaded = each.make_context(name, [], resilient_parsing=True).command
            yield from walk_commands(loaded, (*path, name))


COMMANDS = dict(walk_commands(app))


def display_name(path: Path) -> str:
    return " ".join(path) or "pigment-sync"


def examples(command: click.Command) -> list[list[str]]:
    """Return the arguments of each `pigment-sync` in the examples, as a shell would pass them."""
    text = re.sub(r"\\\n\s*", " ", inspect.cleandoc(command.help or ""))
    blocks = [block for block in text.split("\n\n") if block.startswith("\b")]
    lines = [line.strip() for block in blocks for line in block.splitlines()[1:]]
    return [arguments for line in lines for arguments in calls(line)]


@pytest.mark.parametrize("path", COMMANDS, ids=display_name)
def test_examples_are_commands_that_exist_with_options_that_exist(path: Path) -> None:
    found = [parsed(arguments) for arguments in examples(COMMANDS[path])]
    assert [each for each in found if each[: len(path)] == path], "no example of the command itself"


@pytest.mark.parametrize("path", COMMANDS, ids=display_name)
def test_summary_is_one_line_that_fits(path: Path) -> None:
    summary = (COMMANDS[path].help or "").partition("\n\n")[0]
    assert "\n" not in summary or not path
    assert summary.endswith(".")
    group = COMMANDS[path[:-1]]
    listed = CliRunner().invoke(group, ["--help"], terminal_width=NARROW).output
    assert "..." not in listed.partition("Commands:")[2]
    assert not path or summary in listed


@pytest.mark.parametrize("path", COMMANDS, ids=display_name)
def test_every_option_is_explained(path: Path) -> None:
    options = [each for each in COMMANDS[path].params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help] == []


@pytest.mark.parametrize("path", [path for path in COMMANDS if path], ids=display_name)
def test_help_describes_what_is_read_or_written(path: Path) -> None:
    assert re.search(r"\b(reads?|writes?|written|sent)\b", COMMANDS[path].help or "", re.IGNORECASE)


@pytest.mark.parametrize("path", COMMANDS, ids=display_name)
def test_help_needs_no_configuration(path: Path) -> None:
    result = CliRunner().invoke(app, [*path, "--help"], env={"PIGMENT_SYNC_CONFIG": "/nowhere"})
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.output.startswith("Usage: ")


def test_list_of_commands_has_the_first_sentence_of_each() -> None:
    listed = {name: command.help for name, command in app.commands.items()}
    assert listed == {name: (COMMANDS[(name,)].help or "").partition("\n\n")[0] for name in listed}


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--help"], {}),
        (["--version"], {}),
        ([], {"_PIGMENT_SYNC_COMPLETE": "bash_complete", "COMP_WORDS": "pigment-sync pl", "COMP_CWORD": "1"}),
    ],
    ids=["help", "version", "completion"],
)
def test_list_of_commands_imports_no_large_library(arguments: list[str], environment: dict[str, str]) -> None:
    code = (
        "import sys; from agent.cli.app import run_cli\n"
        f"try: run_cli({arguments})\n"
        f"finally: print('loaded', sorted({LARGE_LIBRARIES}.intersection(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], check=False, env={**os.environ, **environment}, capture_output=True, text=True
    )
    first, *_, last = ran.stdout.splitlines()
    assert (last, ran.stderr) == ("loaded []", "")
    assert first == "plain,plan" if environment else first.startswith(("Usage: ", "pigment-sync "))


def test_invalid_example_is_detected() -> None:
    for line in ("pigment-sync plan --fromat json", "pigment-sync plam", "pigment-sync links move --from a"):
        with pytest.raises(click.UsageError):
            parsed(next(calls(line)))
    assert list(calls("pigment-sync plan --out p && pigment-sync apply p > x &")) == [
        ["plan", "--out", "p"],
        ["apply", "p"],
    ]
    assert list(calls('eval "$(pigment-sync completion zsh)"  # here')) == [["completion", "zsh"]]
