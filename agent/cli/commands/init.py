"""`init`: create a first configuration from options and answers."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from agent.cli.invocation import config_path
from agent.cli.output import print_text
from agent.errors import ConfigError, ExitCode, UsageError
from agent.report.escape import escape_control
from agent.settings.template import (
    PROVIDERS_BY_TYPE,
    parse_secret_reference,
    questions_for,
    render_config,
    validate_answer,
)
from connectors.provider import Question
from connectors.registry import PROVIDERS

__all__ = ["init"]

OWN_QUESTIONS = {each.key: each for provider in PROVIDERS for each in provider.questions if each.option_help}
"""Questions of a single provider, by key; the other keys are shared by all and have an option below."""


def _option_name(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _provider_options(command: Callable[..., int]) -> Callable[..., int]:
    for question in reversed(OWN_QUESTIONS.values()):
        option = click.option(_option_name(question.key), metavar=question.metavar, help=question.option_help)
        command = option(command)
    return command


@click.command()
@click.option("--provider", type=click.Choice(list(PROVIDERS_BY_TYPE)), help="The identity provider.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to create; else the value of --config, else config.yaml.",
)
@_provider_options
@click.option(
    "--client-id", metavar="ID", help="Client id of the service app, the app registration or the API credential."
)
@click.option("--secret", metavar="env:NAME|file:PATH", help="Location of its private key or client secret.")
@click.option(
    "--app", metavar="ID", help="Id of Pigment's application; in Entra, the object id of its service principal."
)
@click.option("--workspace", metavar="NAME", help="Name for the Pigment workspace.  [default: pigment]")
@click.option("--scim-url", metavar="URL", help="SCIM URL of the workspace, exactly as Pigment generated it.")
@click.option("--token", metavar="env:NAME|file:PATH", help="Location of its API token.  [default: env:PIGMENT_TOKEN]")
@click.pass_context
def init(context: click.Context, /, provider: str | None, out: Path | None, **options: str | None) -> int:
    """Create a configuration in dry-run mode.

    Covers one identity provider and one Pigment workspace. On a terminal, prompts for values that no option gives.
    Secrets are never prompted for, only their locations. Writes one file that only its owner can read (mode 0600). An
    existing file is left unchanged (exit code 8).

    \b
    pigment-sync init
    pigment-sync init --provider entra --out /etc/pigment-sync/config.yaml
    pigment-sync init --provider okta --org-url https://acme.okta.com --client-id 0oa1 --app 0oa2 \\
        --secret file:okta-key.pem --scim-url https://eu.example.com/scim/v2 --token env:PIGMENT_TOKEN
    """
    file = out or config_path(context) or Path("config.yaml")
    if os.path.lexists(file):
        raise _already_exists_error(file)
    try:
        provider = provider or _prompt_for_provider()
        _refuse_unrelated_options(provider, options)
        answers = _collect_answers(provider, options)
    except click.Abort:
        click.echo("\nNothing was written.", err=True)
        raise
    _create_file(file, render_config(provider, answers))
    print_text(_next_steps(file, provider, answers))
    return ExitCode.DONE


def _already_exists_error(file: Path) -> ConfigError:
    return ConfigError(
        f"{file} already exists and is left unchanged.",
        "Name another file with --out, or move this one away. docs/configuration.md describes every key.",
    )


def _is_interactive() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _prompt_for_provider() -> str:
    if not _is_interactive():
        raise UsageError(
            "--provider is required when stdin is not a terminal.",
            f"Choose one of: {', '.join(PROVIDERS_BY_TYPE)}.",
        )
    chosen: str = click.prompt("Identity provider", type=click.Choice(list(PROVIDERS_BY_TYPE)), err=True)
    return chosen


def _refuse_unrelated_options(provider: str, options: Mapping[str, str | None]) -> None:
    known = {question.key for question in questions_for(provider)}
    unrelated = [_option_name(key) for key, value in options.items() if value is not None and key not in known]
    if unrelated:
        raise UsageError(
            f"{', '.join(unrelated)}: not for {PROVIDERS_BY_TYPE[provider].title}.",
            "Remove it, or choose another provider.",
        )


def _collect_answers(provider: str, options: Mapping[str, str | None]) -> dict[str, str]:
    """Return an answer to each question, from the options or a prompt. Raises `UsageError` if one is missing."""
    answers = {}
    missing = []
    for question in questions_for(provider):
        value = options[question.key]
        if value is None and not _is_interactive():
            value = question.default or None
            if value is None:
                missing.append(_option_name(question.key))
        elif value is None:
            value = click.prompt(
                question.prompt,
                default=question.default or None,
                value_proc=_answer_validator(provider, question),
                err=True,
            )
        if value is not None:
            answers[question.key] = _validate_option(provider, question, value)
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UsageError(
            f"{', '.join(missing)} {verb} required when stdin is not a terminal.",
            "Pass the missing options, or run pigment-sync init in a terminal.",
        )
    return answers


def _answer_validator(provider: str, question: Question) -> Callable[[str], str]:
    """Return a validator for a prompt: click shows its error and prompts again."""

    def validate(typed: str) -> str:
        try:
            return validate_answer(provider, question, typed)
        except ValueError as error:
            raise click.UsageError(f"that {error}") from None

    return validate


def _validate_option(provider: str, question: Question, value: str) -> str:
    try:
        return validate_answer(provider, question, value)
    except ValueError as error:
        raise UsageError(f"{_option_name(question.key)}: {error}.", f"Expected: {question.prompt}.") from None


def _create_file(file: Path, content: str) -> None:
    """Create *file*, readable by its owner only. A failed write leaves no file."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise _already_exists_error(file) from None
    except OSError as error:
        raise _write_error(file, error) from None
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content.encode())
            os.fsync(out.fileno())
    except OSError as error:
        file.unlink(missing_ok=True)
        raise _write_error(file, error) from None


def _write_error(file: Path, error: OSError) -> UsageError:
    return UsageError(f"{file} can't be written ({error.strerror}).", "Name a file in a writable folder with --out.")


def _next_steps(file: Path, provider: str, answers: Mapping[str, str]) -> str:
    """Return the next steps, as shell commands."""
    command = "pigment-sync" if file == Path("config.yaml") else f"pigment-sync --config {shlex.quote(str(file))}"
    lines = [f"Created {file}. Nothing is written to Pigment until its mode is enforce.", "", "Next:"]
    for question in questions_for(provider):
        if question.is_secret:
            ((kind, place),) = parse_secret_reference(answers[question.key]).items()
            label = "the API token" if question.key == "token" else "the key or secret"
            lines.append(
                f"  export {place}=…    # {label}" if kind == "env" else f"  # save {label} to {file.parent / place}"
            )
    lines += [
        f"  {command} check    # test the configuration, credentials and permissions",
        f"  {command} plan     # show what a sync would change, and why",
    ]
    return "".join(f"{escape_control(line)}\n" for line in lines)
