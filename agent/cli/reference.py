"""Write docs/commands.md: every command, from what the command line says of itself."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from agent.cli.group import app
from agent.errors import WORST_FIRST, Exit

__all__ = ["page", "root", "walked"]

NAME = "pigment-sync"
INTRODUCTION = """\
# Commands

Written by `scripts/command-docs` from the command line itself; `pigment-sync COMMAND --help` tells the same.
"""
HEAD = "| option | value | default | what it does |\n|---|---|---|---|"
# How `init` tells the default of what it asks for.
TOLD = re.compile(r"\s*\[default: (.*)\]$")


def page() -> str:
    """Return the whole page, as Markdown."""
    sections = ["\n".join(_section(context)) for context in walked(root())]
    return "\n".join([INTRODUCTION, *sections, "\n".join(_exit_codes())])


def root() -> click.Context:
    """Return the context of `pigment-sync` itself, with nothing parsed."""
    return click.Context(app, info_name=NAME, **app.context_settings)


def walked(context: click.Context) -> Iterator[click.Context]:
    """Yield *context* and those of all commands below it, in the order in which they were added."""
    yield context
    if isinstance(context.command, click.Group):
        for name, command in context.command.commands.items():
            yield from walked(click.Context(command, parent=context, info_name=name))


def _section(context: click.Context) -> Iterator[str]:
    words = context.command_path.removeprefix(NAME).split()
    yield f"{'#' * (len(words) + 1 if words else 2)} `{' '.join(words) or NAME}`\n"
    texts, examples = _help(context.command)
    yield from (f"{text}\n" for text in texts)
    yield f"```text\n{_usage(context)}\n```\n"
    if isinstance(context.command, click.Group):
        yield "\n".join(_commands(context, context.command))
    yield from (f"Examples:\n\n```text\n{each}\n```\n" for each in examples)
    rows = [_row(each, context) for each in _options(context)]
    if rows:
        yield "\n".join([HEAD, *rows, ""])


def _help(command: click.Command) -> tuple[list[str], list[str]]:
    """Return the paragraphs of a command's text, and its examples; the exit codes have a section of their own."""
    texts, examples = [], []
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        if not block.startswith("\b"):
            texts.append(_plain(" ".join(block.split())))
        elif not block.startswith("\b\nExit codes:"):
            examples.append(block.removeprefix("\b\n"))
    return texts, examples


def _plain(text: str) -> str:
    """Return *text* so that Markdown shows it as it is, but for what stands between backticks."""
    return re.sub(r"[<*|]", r"\\\g<0>", text)


def _usage(context: click.Context) -> str:
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def _commands(context: click.Context, group: click.Group) -> Iterator[str]:
    yield "| command | does |\n|---|---|"
    for name, command in group.commands.items():
        anchor = "-".join([*context.command_path.split()[1:], name])
        yield f"| [`{name}`](#{anchor}) | {_help(command)[0][0]} |"
    yield ""


def _options(context: click.Context) -> list[click.Option]:
    options = [each for each in context.command.get_params(context) if isinstance(each, click.Option)]
    # --help is told once, of `pigment-sync` itself.
    return [each for each in options if context.parent is None or "--help" not in each.opts]


def _row(param: click.Option, context: click.Context) -> str:
    extra = param.get_help_extra(context)
    help_text, told = param.help or "", TOLD.search(param.help or "")
    if told:
        help_text = help_text[: told.start()]
    default = told[1] if told else extra.get("default", "")
    names = ", ".join(f"`{each}`" for each in [*param.opts, *param.secondary_opts])
    shown = "**required**" if "required" in extra else _code(default)
    return f"| {names} | {_value(param)} | {shown} | {_plain(help_text)} |"


def _value(param: click.Option) -> str:
    if param.is_flag:
        return ""
    if param.metavar:
        return " or ".join(map(_code, param.metavar.split("|")))
    if isinstance(param.type, click.Choice):
        return ", ".join(map(_code, param.type.choices))
    if isinstance(param.type, click.IntRange):
        return f"whole number, {param.type.min} to {param.type.max}"
    return "whole number"


def _code(text: str) -> str:
    # A default in words stands in parentheses.
    return f"`{text}`" if text and not text.startswith("(") else text.strip("()")


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n"
    yield "| code | means |\n|---|---|"
    yield from (f"| {code} | {meaning} |" for code, meaning in _meanings())
    order = ", ".join(str(int(each)) for each in WORST_FIRST)
    yield f"\nOf several workspaces the worst code wins, in the order {order}."


def _meanings() -> Sequence[tuple[int, str]]:
    """Return every exit code with what it means, as `pigment-sync --help` says it."""
    blocks = inspect.cleandoc(app.help or "").split("\n\n")
    [told] = [" ".join(block.split()) for block in blocks if "\nExit codes:" in block]
    pairs = [each.strip().partition(" ") for each in told.partition("Exit codes:")[2].split("·")]
    found = [(int(code), _plain(meaning)) for code, _, meaning in pairs]
    if [code for code, _ in found] != sorted(Exit):
        raise ValueError("pigment-sync --help does not tell every exit code")
    return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), "utf-8")
