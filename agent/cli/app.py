"""The root command, and the translation of every error into a message and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from agent.cli.commands import (
    access,
    apply,
    check,
    completion,
    demo,
    explain,
    hash_token,
    history,
    init,
    links,
    members,
    pause,
    plan,
    report,
    resume,
    sandbox,
    serve,
    state,
    sync,
    undo,
    workspaces,
)
from agent.cli.runtime import Invocation
from agent.cli.version import version_option
from agent.errors import ExitCode, PigmentSyncError, exit_code_for_read_error
from agent.report.escape import escape_control
from connectors.base import ReadError

__all__ = ["app", "run_cli"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Configuration file; else $PIGMENT_SYNC_CONFIG, ./config.yaml or /etc/pigment-sync/config.yaml.",
)
@version_option
@click.pass_context
def app(context: click.Context, config: Path | None) -> None:
    """Keep the members of Pigment workspaces in sync with Okta, Microsoft Entra ID or OneLogin.

    Results go to stdout, everything else to stderr. `pigment-sync COMMAND --help` describes what each
    command reads and writes, with examples.

    \b
    pigment-sync demo                    # try it, without any setup
    pigment-sync init                    # create a configuration
    pigment-sync check                   # test the configuration, credentials and permissions
    pigment-sync plan                    # show what a sync would change, and why

    \b
    Exit codes: 0 done · 1 unexpected error · 2 usage error · 3 a sync would make changes (plan --exit-code) ·
    4 a guard holds changes or an approval is needed · 5 some changes failed · 6 a read was incomplete or
    credentials were refused · 7 busy · 8 the configuration is invalid · 9 the approval is stale
    """
    context.obj = Invocation(config, run_cli)


for command in (
    plan.plan,
    sync.sync,
    apply.apply,
    init.init,
    check.check,
    explain.explain,
    access.access,
    members.members,
    history.history,
    report.report,
    links.links,
    workspaces.workspaces,
    state.state,
    undo.undo,
    pause.pause,
    resume.resume,
    serve.serve,
    hash_token.hash_token,
    completion.completion,
    demo.demo,
    sandbox.sandbox,
):
    app.add_command(command)


def _print_error(message: str, hint: str = "") -> None:
    for number, line in enumerate([*message.splitlines(), *(f"  {line}" for line in hint.splitlines())]):
        click.echo(("" if number else "pigment-sync: ") + escape_control(line), err=True)


def run_cli(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Every error ends here, bugs included."""
    try:
        result = app.main(list(arguments), prog_name="pigment-sync", standalone_mode=False)
    except click.ClickException as error:
        error.show(sys.stderr)
        return ExitCode.USAGE
    except PigmentSyncError as error:
        _print_error(error.message, error.hint)
        return error.exit_code
    except ReadError as error:
        _print_error(error.message, error.hint)
        return exit_code_for_read_error(error.code)
    except (KeyboardInterrupt, click.Abort):
        _print_error("stopped.")
        return ExitCode.UNEXPECTED
    except BrokenPipeError:
        # The reader of our output is gone. Without this, Python reports the error again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.UNEXPECTED
    except Exception as error:  # noqa: BLE001  (the outermost handler: a bug ends here, as a message)
        _print_error(
            f"unexpected error: {type(error).__name__}: {error}",
            "This is a bug. Set PIGMENT_SYNC_TRACEBACK=1 to see the traceback.",
        )
        if os.environ.get("PIGMENT_SYNC_TRACEBACK"):
            traceback.print_exc()
        return ExitCode.UNEXPECTED
    return int(result or 0)
