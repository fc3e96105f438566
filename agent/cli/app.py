"""The root command, and the translation of every error into a message and an exit code."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from agent.cli.invocation import Invocation
from agent.cli.lazy_command import LazyCommand
from agent.cli.trace import trace_option
from agent.cli.version import version_option
from agent.errors import ExitCode, PigmentSyncError, exit_code_for_read_error
from agent.report.commands import with_config
from agent.report.escape import escape_control
from connectors.base import ReadError

__all__ = ["app", "run_cli"]

# The first sentence of the help of each command, in the order of docs/commands.md.
COMMANDS = {
    "plan": "Show what a sync would change, and why (dry run).",
    "sync": "Sync workspaces, within the limits of the guards.",
    "apply": "Apply a saved plan, if it is still current.",
    "init": "Create a configuration in dry-run mode.",
    "check": "Test everything that a run needs, and show what to fix.",
    "compare": "Compare what a run reads with another reader.",
    "probe": "Prove what is assumed of a workspace, on a canary.",
    "explain": "Show why a person has access to each workspace or not.",
    "access": "List who has access, through which group and since when.",
    "members": "List the members of workspaces, active and inactive.",
    "history": "List past runs, newest first.",
    "report": "Show a past run or a saved plan, in any format.",
    "links": "List and correct which member belongs to which person.",
    "workspaces": "List and correct which workspace a key identifies.",
    "state": "Maintain the state: links, leases and the journal.",
    "undo": "Revert the changes of a run, and pause its workspace.",
    "pause": "Stop writing to a workspace until it is resumed.",
    "resume": "Resume writing to a paused workspace.",
    "serve": "Run the daemon: schedules, page, API and metrics.",
    "okta-key": "Create the key pair of an Okta service app.",
    "hash-token": "Create a token for the page and the API of the daemon.",
    "completion": "Print the completion script of a shell.",
    "demo": "Show the product on this machine, in seconds.",
    "record": "Record what a plan reads, with made-up names, for support.",
    "sandbox": "Simulate Okta, Entra, OneLogin and Pigment locally.",
}


@trace_option
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
    Exit codes: 0 done · 1 unexpected error · 2 usage error · 3 a sync would make changes (plan --exit-code) or
    made some (sync --exit-code) · 4 a guard holds changes or an approval is needed · 5 some changes failed ·
    6 a read was incomplete or credentials were refused · 7 busy · 8 the configuration is invalid ·
    9 the approval is stale
    """
    # The caller of the command line passes one to know the configuration when a command fails.
    context.obj = context.obj or Invocation(run_cli)
    context.obj.config = config


for name, summary in COMMANDS.items():
    app.add_command(LazyCommand(name, summary))


def _print_error(message: str, hint: str = "", config: Path | None = None) -> None:
    # A command at the end of a hint is alone on its line, to be copied.
    hint = with_config(re.sub(r": (pigment-sync [^`]*)$", r":\n  \1", hint), config)
    for number, line in enumerate([*message.splitlines(), *(f"  {line}" for line in hint.splitlines())]):
        click.echo(("" if number else "pigment-sync: ") + escape_control(line), err=True)


def run_cli(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Every error ends here, bugs included."""
    invocation = Invocation(run_cli)
    try:
        result = app.main(list(arguments), prog_name="pigment-sync", standalone_mode=False, obj=invocation)
    except click.ClickException as error:
        error.show(sys.stderr)
        return ExitCode.USAGE
    except PigmentSyncError as error:
        _print_error(error.message, error.hint, invocation.config)
        return error.exit_code
    except ReadError as error:
        _print_error(error.message, error.hint, invocation.config)
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
