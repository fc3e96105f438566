"""The product accepts what the guides ask people to type and write: commands, options, configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from agent.settings.file import read_config_file
from agent.settings.load import load
from agent.settings.merge import merge_trees
from tests.command_words import calls, parsed
from tests.guide_page import REPOSITORY, Block, Page, pages

PAGES = pages()
REASONS = {
    "changes the machine",
    "needs a browser",
    "needs a cluster",
    "needs a container engine",
    "needs a database server",
    "needs a key",
    "needs a report in the configuration",
    "needs a repository",
    "needs a tenant",
    "needs systemd",
    "needs the network",
    "takes long",
    "the test has a sandbox of its own",
}
RUNS = re.compile(r"runs: sandbox(, exit \d)?")
INLINE = re.compile(r"`(pigment-sync [^`]*)`")
# Placeholders in a sentence for any command, or for what follows.
OPEN = re.compile(r"…|\.\.\.|COMMAND")
LEAST = {
    "tokens": ["pretend"],
    "sources": [{"connector": "okta-main", "app": "0oa1"}],
}


def named(page: Page) -> str:
    return page.name


def shell(page: Page) -> list[Block]:
    return [block for block in page.blocks if block.language == "sh"]


@pytest.mark.parametrize("guide", PAGES, ids=named)
def test_every_block_of_commands_is_run_by_a_test_or_gives_the_reason(guide: Page) -> None:
    unmarked = [block.place for block in guide.blocks if block.language in {"bash", "shell", "console"}]
    for block in shell(guide):
        reason = block.mark.removeprefix("not run: ")
        if not RUNS.fullmatch(block.mark) and not (reason != block.mark and reason in REASONS):
            unmarked.append(f"{block.place}: {block.mark!r}")
    assert unmarked == []


@pytest.mark.parametrize("guide", PAGES, ids=named)
def test_commands_of_guides_exist_with_their_options(guide: Page) -> None:
    for block in shell(guide):
        for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
            for arguments in calls(line) if "pigment-sync" in line else ():
                _accepted(arguments, block.place)


@pytest.mark.parametrize("guide", PAGES, ids=named)
def test_commands_within_sentences_exist_with_their_options(guide: Page) -> None:
    for text in INLINE.findall(re.sub(r"```.*?```", "", guide.text, flags=re.DOTALL)):
        if OPEN.search(text) or "[" in text:
            continue
        for arguments in calls(text.replace("\n", " ")):
            if arguments:
                _accepted(arguments, f"{guide.name}: `{text}`", whole=False)


def _accepted(arguments: list[str], place: str, *, whole: bool = True) -> None:
    """Parse *arguments*; unless *whole*, they may name a command without its arguments."""
    if {"--help", "-h", "--version"} & set(arguments):
        return
    try:
        parsed(arguments)
    except (click.MissingParameter, click.exceptions.NoArgsIsHelpError) as error:
        if whole:
            pytest.fail(f"{place}: {error.format_message()}")
    except click.BadParameter as error:
        # Text that the shell substitutes can't be checked here.
        if not any("$" in argument for argument in arguments):
            pytest.fail(f"{place}: {error.format_message()}")
    except click.UsageError as error:
        pytest.fail(f"{place}: {error.format_message()}")


CONFIGURATIONS = [block for page in PAGES for block in page.blocks if block.mark == "config"]


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=lambda block: block.place)
def test_configuration_in_guides_is_valid(block: Block, tmp_path: Path) -> None:
    """A block holds whole top-level keys; what it leaves out of a connector or workspace is filled in here."""
    file = tmp_path / "config.yaml"
    file.write_text(block.text, "utf-8")
    shown, example = read_config_file(file), read_config_file(REPOSITORY / "config.example.yaml")
    document = merge_trees(example, {key: value for key, value in shown.items() if key != "workspaces"})
    workspaces = shown.get("workspaces") or {"pigment": {}}
    document["connectors"].update(
        {name: each for name, each in (shown.get("connectors") or {}).items() if "type" in each}
    )
    document["workspaces"] = {
        name: merge_trees(
            {**LEAST, "scim_url": f"https://{number}.example.com/scim/v2", "tokens": [f"t{number}"]}, each
        )
        for number, (name, each) in enumerate(workspaces.items())
    }
    file.write_text(json.dumps(document, default=str), "utf-8")

    settings = load(file, {})

    assert set(settings.workspaces) == set(workspaces)


@pytest.mark.parametrize("guide", PAGES, ids=named)
def test_blocks_of_yaml_that_show_the_configuration_are_marked(guide: Page) -> None:
    keys = ("connectors:", "workspaces:", "defaults:", "state:", "server:", "notify:", "pigment:", "http:", "log:")
    for block in guide.blocks:
        if block.language == "yaml" and block.text.startswith(keys):
            assert block.mark in {"config", "values"}, f"{block.place} shows the configuration and nothing checks it"


@pytest.mark.parametrize("guide", PAGES, ids=named)
def test_commands_stand_in_fences_where_their_marks_are_seen(guide: Page) -> None:
    outside = re.sub(r"^( *)```.*?^\1```$", "", guide.text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^ {4,}(?:pigment-sync|scripts/|curl |sqlite3 |pip |\.venv/).*", outside, re.MULTILINE)
    assert indented == []


def test_wrong_commands_would_be_seen() -> None:
    for words in (["plan", "--fromat", "json"], ["plam"]):
        with pytest.raises(pytest.fail.Exception):
            _accepted(words, "here")
