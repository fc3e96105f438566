"""Run the body of a command with the components that it needs, and shut down gracefully on a signal."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

import agent.cli.lean_imports  # noqa: F401  (before all that imports httpx or structlog)
from agent import logs
from agent.cli.invocation import config_path
from agent.cli.output import add_config, document_from_results, outcomes_by_workspace, print_document
from agent.cli.progress import show_progress
from agent.engine.records import outcome_summary, prune_old_runs
from agent.engine.request import RunRequest, RunResult, detailed_exit_code, wrong_target_message
from agent.engine.shutdown import GracefulShutdown
from agent.engine.state_checks import STATE_REMEDY, empty_state_warning, new_state_warning
from agent.errors import ExitCode, worst_exit_code
from agent.model import Mode, Plan, Unplanned
from agent.model.codes import waits_for_person
from agent.model.run import Outcome
from agent.report.commands import split_commands
from agent.report.escape import escape_control
from agent.report.render import Format
from agent.settings.load import load
from agent.settings.root import Settings
from agent.settings.variables import refuse_invalid_variables

__all__ = [
    "configure_logs",
    "load_settings",
    "print_command",
    "print_why_not_written",
    "run_sync",
    "run_with_components",
    "run_with_settings",
    "warn",
    "warn_about_state",
]

T = TypeVar("T")

# Imported when a command runs: its help and the completion of its options are fast without.
if TYPE_CHECKING:
    from agent.bootstrap import Components

    CommandBody = Callable[[Components], Awaitable[T]]


def load_settings(context: click.Context) -> Settings:
    """Load the configuration and set up logging accordingly."""
    settings = load(config_path(context), os.environ)
    configure_logs(settings)
    return settings


def configure_logs(settings: Settings) -> None:
    logs.configure(settings.log.level, settings.log.format, settings.log.emails, sys.stderr)


def warn(message: str) -> None:
    """Write a warning to stderr, at any log level."""
    click.echo(escape_control(f"pigment-sync: warning: {message}"), err=True)


def run_with_components(
    context: click.Context, body: CommandBody[T], *, is_reading: bool = False, warns: bool = True
) -> T:
    """Run *body* with the components that the configuration describes.

    With *is_reading*, an older state is not migrated. Without *warns*, a new state is not reported.

    The first SIGINT or SIGTERM cancels a command that has only read. Once something may have been written, it lets the
    change in flight finish and skips the rest. The second ends the process at once.
    """
    settings = load_settings(context)
    refuse_invalid_variables(os.environ, settings)
    return run_with_settings(settings, body, is_reading=is_reading, warns=warns)


def run_with_settings(settings: Settings, body: CommandBody[T], *, is_reading: bool, warns: bool) -> T:
    """Run *body* with the components that *settings* describe, as `run_with_components` does."""
    from agent.bootstrap import open_components

    shutdown = GracefulShutdown()

    async def work() -> T:
        with show_progress() as progress:
            async with open_components(settings, progress, shutdown, is_reading=is_reading) as components:
                if components.shared.is_new and warns:
                    warn(f"{new_state_warning(components.shared.location)}. {STATE_REMEDY}")
                progress.budget = components.budget_left
                return await body(components)

    async def within() -> T:
        task = asyncio.create_task(work())
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, shutdown.request, task)
        return await task

    try:
        return asyncio.run(within())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error


def run_sync(
    context: click.Context,
    names: Sequence[str],
    request: RunRequest,
    output_format: Format,
    *,
    verbose: bool,
    exit_code: bool,
) -> int:
    """Run *request*, print its report, and return the exit code: with *exit_code* 3 and 4 as its help describes."""

    async def body(components: Components) -> list[RunResult]:
        results = await components.sync.run(names, request)
        # A run for one person does not show that the whole workspace has recovered.
        if request.is_for_everyone:
            await components.notify(results)
            await prune_old_runs(components.state, components.clock)
        return results

    results = run_with_components(context, body)
    warn_about_state(results)
    print_document(
        document_from_results(results, request.user), output_format, outcomes_by_workspace(results), verbose=verbose
    )
    for result in results:
        if result.approved:
            click.echo(escape_control(f"{result.workspace}: {result.approved}"), err=True)
        print_why_not_written(result)
        if exit_code and result.exit_code is ExitCode.DONE and detailed_exit_code(result) is ExitCode.HELD:
            _print_holds_of_table(result)
    return worst_exit_code(detailed_exit_code(each) if exit_code else each.exit_code for each in results)


def warn_about_state(results: Sequence[RunResult]) -> None:
    for result in results:
        if reason := empty_state_warning(result.planned):
            warn(reason)


def _hold_summary(planned: Plan | Unplanned) -> str:
    """Return the number of changes that an approval would release, by code."""
    holds = planned.holds if isinstance(planned, Plan) else ()
    return _count_phrase(Counter(hold.code for hold in holds if hold.change is not None))


def _count_phrase(codes: Counter[str]) -> str:
    total = codes.total()
    verb = "change is" if total == 1 else "changes are"
    return f"{total:,} {verb} on hold: {', '.join(f'{code} {count:,}' for code, count in codes.most_common())}"


def _print_holds_of_table(result: RunResult) -> None:
    """Write to stderr which holds of the planning table wait for a person."""
    codes = Counter(hold.code for hold in result.holds or () if waits_for_person(hold.code))
    codes.update(record.change.code for record in result.records if record.outcome is Outcome.HELD)
    click.echo(f"{result.workspace}: {_count_phrase(codes)}.", err=True)
    print_command("To see what clears each:", f"pigment-sync plan --workspace {shlex.quote(result.workspace)}")


def print_command(purpose: str, command: str) -> None:
    """Write to stderr a command that can be copied: alone on its line, with the configuration in use."""
    click.echo(f"  {purpose}\n    {escape_control(add_config(command))}", err=True)


def _print_prose(words: str) -> None:
    """Write *words* to stderr, with each command alone on its line."""
    for part, is_command in split_commands(escape_control(words)):
        click.echo(f"    {add_config(part)}" if is_command else part, err=True)


def print_why_not_written(result: RunResult) -> None:
    """Write to stderr why nothing, or not everything, was written."""
    name = result.workspace
    if result.waiting:
        click.echo(escape_control(f"{name}: {result.waiting}"), err=True)
        if result.exit_code is ExitCode.HELD:
            click.echo("  The second person runs the same command, with --by and --reason of their own.", err=True)
    elif result.error:
        click.echo(escape_control(f"{name}: {result.error}"), err=True)
    elif result.pause is not None:
        since = result.pause.since.strftime("%Y-%m-%d %H:%M UTC")
        why = f": {result.pause.reason}" if result.pause.reason else ""
        outcomes = outcome_summary(result.records) or "Nothing was written."
        click.echo(escape_control(f"{name}: paused by {result.pause.by} since {since}{why}. {outcomes}"), err=True)
        print_command("To resume:", f"pigment-sync resume {shlex.quote(name)}")
    elif isinstance(result.planned, Plan) and result.planned.mode is Mode.DRY_RUN:
        click.echo(f"{name}: mode is dry-run. Nothing was written.", err=True)
        click.echo(f"  To apply changes: set workspaces.{name}.mode to enforce.", err=True)
    elif result.exit_code is ExitCode.HELD and (message := wrong_target_message(result.planned)):
        _print_prose(f"{name}: {message}")
    elif result.exit_code is ExitCode.HELD:
        click.echo(f"{name}: {_hold_summary(result.planned)}.", err=True)
        print_command("To review and approve them:", f"pigment-sync plan --workspace {shlex.quote(name)}")
