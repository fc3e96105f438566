"""Write docs/commands.md: every command, from what the command line says of itself."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from agent.cli.app import app
from agent.errors import WORST_FIRST, ExitCode

__all__ = ["command_contexts", "commands_page", "root_context"]

PROGRAM_NAME = "pigment-sync"
INTRODUCTION = """\
# Commands

Written by `scripts/command-docs` from the command line itself; `pigment-sync COMMAND --help` tells the same.
"""
TABLE_HEADER = "| option | value | default | what it does |\n|---|---|---|---|"
# How `init` tells the default of what it asks for.
DEFAULT_IN_HELP = re.compile(r"\s*\[default: (.*)\]$")


def commands_page() -> str:
    """Return the whole page, as Markdown."""
    sections = ["\n".join(_section(context)) for context in command_contexts(root_context())]
    return "\n".join([INTRODUCTION, *sections, "\n".join(_exit_code_section())])


def root_context() -> click.Context:
    """Return the context of `pigment-sync` itself, with nothing parsed."""
    return click.Context(app, info_name=PROGRAM_NAME, **app.context_settings)


def command_contexts(context: click.Context) -> Iterator[click.Context]:
    """Yield *context* and those of all commands below it, in the order in which they were added."""
    yield context
    if isinstance(context.command, click.Group):
        for name, command in context.command.commands.items():
            yield from command_contexts(click.Context(command, parent=context, info_name=name))


def _section(context: click.Context) -> Iterator[str]:
    words = context.command_path.removeprefix(PROGRAM_NAME).split()
    yield f"{'#' * (len(words) + 1 if words else 2)} `{' '.join(words) or PROGRAM_NAME}`\n"
    texts, examples = _paragraphs_and_examples(context.command)
    yield from (f"{text}\n" for text in texts)
    yield f"```text\n{_usage(context)}\n```\n"
    if isinstance(context.command, click.Group):
        yield "\n".join(_command_table(context, context.command))
    yield from (f"Examples:\n\n```text\n{each}\n```\n" for each in examples)
    rows = [_option_row(each, context) for each in _options(context)]
    if rows:
        yield "\n".join([TABLE_HEADER, *rows, ""])


def _paragraphs_and_examples(command: click.Command) -> tuple[list[str], list[str]]:
    """Return the paragraphs of a command's text, and its examples; the exit codes have a section of their own."""
    texts, examples = [], []
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        if not block.startswith("\b"):
            texts.append(_escape_markdown(" ".join(block.split())))
        elif not block.startswith("\b\nExit codes:"):
            examples.append(block.removeprefix("\b\n"))
    return texts, examples


def _escape_markdown(text: str) -> str:
    """Return *text* so that Markdown shows it as it is, but for what stands between backticks."""
    return re.sub(r"[<*|]", r"\\\g<0>", text)


def _usage(context: click.Context) -> str:
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def _command_table(context: click.Context, group: click.Group) -> Iterator[str]:
    yield "| command | does |\n|---|---|"
    for name, command in group.commands.items():
        anchor = "-".join([*context.command_path.split()[1:], name])
        yield f"| [`{name}`](#{anchor}) | {_paragraphs_and_examples(command)[0][0]} |"
    yield ""


def _options(context: click.Context) -> list[click.Option]:
    options = [each for each in context.command.get_params(context) if isinstance(each, click.Option)]
    # --help is told once, of `pigment-sync` itself.
    return [each for each in options if context.parent is None or "--help" not in each.opts]


def _option_row(param: click.Option, context: click.Context) -> str:
    extra = param.get_help_extra(context)
    help_text, told = param.help or "", DEFAULT_IN_HELP.search(param.help or "")
    if told:
        help_text = help_text[: told.start()]
    default = told[1] if told else extra.get("default", "")
    names = ", ".join(f"`{each}`" for each in [*param.opts, *param.secondary_opts])
    shown = "**required**" if "required" in extra else _format_code(default)
    return f"| {names} | {_option_value(param)} | {shown} | {_escape_markdown(help_text)} |"


def _option_value(param: click.Option) -> str:
    if param.is_flag:
        return ""
    if param.metavar:
        return " or ".join(map(_format_code, param.metavar.split("|")))
    if isinstance(param.type, click.Choice):
        return ", ".join(map(_format_code, param.type.choices))
    if isinstance(param.type, click.IntRange):
        return f"whole number, {param.type.min} to {param.type.max}"
    return "whole number"


def _format_code(text: str) -> str:
    # A default in words stands in parentheses.
    return f"`{text}`" if text and not text.startswith("(") else text.strip("()")


def _exit_code_section() -> Iterator[str]:
    yield "## Exit codes\n"
    yield "| code | means |\n|---|---|"
    yield from (f"| {code} | {meaning} |" for code, meaning in _exit_code_meanings())
    order = ", ".join(str(int(each)) for each in WORST_FIRST)
    yield f"\nOf several workspaces the worst code wins, in the order {order}."


def _exit_code_meanings() -> Sequence[tuple[int, str]]:
    """Return every exit code with what it means, as `pigment-sync --help` says it."""
    blocks = inspect.cleandoc(app.help or "").split("\n\n")
    [told] = [" ".join(block.split()) for block in blocks if "\nExit codes:" in block]
    pairs = [each.strip().partition(" ") for each in told.partition("Exit codes:")[2].split("·")]
    found = [(int(code), _escape_markdown(meaning)) for code, _, meaning in pairs]
    if [code for code, _ in found] != sorted(ExitCode):
        raise ValueError("pigment-sync --help does not tell every exit code")
    return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(commands_page(), "utf-8")
