"""`workspaces`: list the workspaces in the state, and record which workspace a key identifies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import click

from agent.cli.options import by_option, complete_workspace, format_option, reason_option
from agent.cli.output import print_json, print_table
from agent.cli.runtime import run_with_components
from agent.engine.request import RunRequest
from agent.errors import ExitCode
from agent.model.run import Trigger, WorkspaceRecord
from agent.report.escape import escape_control

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["workspaces"]

HEADINGS = ("workspace", "scim_url", "links", "last_run", "configuration")


@click.group()
def workspaces() -> None:
    """List and correct which workspace a key identifies.

    The state stores data by workspace, identified by its scim_url. If a key was renamed or has a new scim_url, a run
    holds all changes as wrong-target until `rename` or `reset` resolves it. Nothing is sent to Pigment.

    \b
    pigment-sync workspaces list
    pigment-sync workspaces rename pigment-latam brazil --reason "consistent names"
    pigment-sync workspaces reset pigment-latam --reason "replaced by a new workspace"
    """


@workspaces.command("list")
@format_option("text", "json")
@click.pass_context
def list_workspaces(context: click.Context, output_format: str) -> int:
    """List the workspace keys in the state.

    A table on a terminal, and tab-separated with a heading line in a pipe: key, scim_url in the state, number of
    links, newest run with its status, and whether the key is in the configuration. Reads the state; writes nothing.

    \b
    pigment-sync workspaces list
    pigment-sync workspaces list --format json
    """

    async def body(components: Components) -> list[tuple[WorkspaceRecord, str]]:
        return await components.workspace_keys.list_keys()

    listed = run_with_components(context, body, is_reading=True)
    if output_format == "json":
        print_json([_workspace_row(record, target) for record, target in listed])
    else:
        print_table(HEADINGS, [_workspace_cells(record, target) for record, target in listed])
    return ExitCode.DONE


def _workspace_row(record: WorkspaceRecord, target: str) -> dict[str, object]:
    last = record.last_run
    return {
        "name": record.name,
        "url": record.target or None,
        "configured_url": target or None,
        "in_configuration": bool(target),
        "links": record.link_count,
        "last_run": None if last is None else {"id": last.id, "status": last.status, "started_at": last.started_at},
    }


def _workspace_cells(record: WorkspaceRecord, target: str) -> tuple[str, ...]:
    last = (
        f"{record.last_run.started_at:%Y-%m-%d %H:%M} UTC {record.last_run.status}" if record.last_run else "(no run)"
    )
    if not target:
        configured = "not in the configuration"
    elif record.target in {"", target}:
        configured = "in the configuration"
    else:
        configured = f"in the configuration at {target}"
    return record.name, record.target or "(not recorded)", str(record.link_count), last, configured


def _print_lines(lines: Sequence[str]) -> int:
    first, *rest = lines
    click.echo(escape_control(first))
    for line in rest:
        click.echo(escape_control(line), err=True)
    return ExitCode.DONE


@workspaces.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW", shell_complete=complete_workspace)
@by_option
@reason_option
@click.pass_context
def rename(context: click.Context, old: str, new: str, by: str, reason: str) -> int:
    """Record that the key OLD is now called NEW.

    Moves all data of OLD in the state: links, counts of the last hour, group sizes, possible renames, a pause, runs and
    changes. If OLD and NEW are the same, records that the workspace has moved to the scim_url in the configuration.
    Writes the state; neither reads nor writes Pigment.

    Exits 2 if NEW has links of its own, 7 while a run holds either workspace.

    \b
    pigment-sync workspaces rename pigment-latam brazil --reason "consistent names"
    pigment-sync workspaces rename brazil brazil --reason "moved to another host"
    """
    return _print_lines(
        _run_workspace_edit(
            context, by, reason, lambda components, request: components.workspace_keys.rename(old, new, request)
        )
    )


@workspaces.command()
@click.argument("name", metavar="NAME", shell_complete=complete_workspace)
@by_option
@reason_option
@click.pass_context
def reset(context: click.Context, name: str, by: str, reason: str) -> int:
    """Record that NAME now identifies a new workspace.

    Deletes its links, possible renames and group sizes: the next run adopts members by email. Runs and changes stay in
    the journal, with the deleted links. A key that is no longer in the configuration is removed. Writes the state;
    neither reads nor writes Pigment.

    Exits 7 while a run holds the workspace.

    \b
    pigment-sync workspaces reset pigment-latam --reason "replaced by a new workspace"
    """
    return _print_lines(
        _run_workspace_edit(
            context, by, reason, lambda components, request: components.workspace_keys.reset(name, request)
        )
    )


def _run_workspace_edit(
    context: click.Context, by: str, reason: str, edit: Callable[[Components, RunRequest], Awaitable[list[str]]]
) -> list[str]:
    request = RunRequest(Trigger.WORKSPACES, by, reason)
    return run_with_components(context, lambda components: edit(components, request))
