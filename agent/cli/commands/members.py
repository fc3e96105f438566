"""`members`: list the accounts in workspaces."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from agent.cli.options import format_option, workspace_option
from agent.cli.output import print_json, print_table, print_text
from agent.cli.runtime import run_with_components
from agent.engine.planner import select_workspaces
from agent.errors import ExitCode, exit_code_for_read_error, worst_exit_code
from agent.model import Member
from agent.report.csv import escape_cell
from agent.report.escape import escape_control
from connectors.base import ReadError

if TYPE_CHECKING:
    from agent.bootstrap import Components

__all__ = ["members"]


HEADINGS = ("workspace", "email", "display_name", "status", "scim_id")
ACTIVE_LABELS = {True: "active", False: "inactive", None: "unreadable"}


@click.command()
@workspace_option
@click.option("--email", metavar="EMAIL", help="Only the member with this email: one request per workspace.")
@format_option("text", "json", "csv")
@click.pass_context
def members(context: click.Context, names: Sequence[str], email: str | None, output_format: str) -> int:
    """List the members of workspaces, active and inactive.

    Text is a table on a terminal, and tab-separated with a heading line in a pipe. Reads only the workspaces; writes
    nothing. Exits 6 if a workspace could not be read; the others are shown.

    \b
    pigment-sync members
    pigment-sync members --email ana.souza@acme.com
    pigment-sync members -w pigment-latam --format csv > members.csv
    """
    found, failures = run_with_components(
        context, lambda components: _read_members(components, names, email), is_reading=True
    )
    rows = _member_rows(found)
    if output_format == "json":
        print_json(rows)
    elif output_format == "csv":
        print_text(_members_csv(rows))
    else:
        print_table(HEADINGS, [_member_cells(name, member) for name, member in found])
    for failure in failures:
        click.echo(f"pigment-sync: {escape_control(failure)}", err=True)
    return worst_exit_code(failures.values())


async def _read_members(
    components: Components, names: Sequence[str], email: str | None
) -> tuple[list[tuple[str, Member]], dict[str, ExitCode]]:
    """Return the members, and the exit code of each failure by its message."""
    found: list[tuple[str, Member]] = []
    failures = {}
    for name, site in select_workspaces(components.read_only_workspaces, names).items():
        try:
            if email is not None:
                listed = await site.reader.find(email)
            else:
                listed = (await site.reader.list_members(components.planner.progress)).members
        except ReadError as error:
            failures[f"{name}: {error.message} {error.hint}"] = exit_code_for_read_error(error.code)
            continue
        found.extend((name, member) for member in listed)
    return found, failures


def _member_rows(found: Sequence[tuple[str, Member]]) -> list[dict[str, object]]:
    return [
        {
            "workspace": name,
            "email": member.email,
            "display_name": member.display_name,
            "active": member.active,
            "scim_id": member.scim_id,
        }
        for name, member in found
    ]


def _member_cells(workspace: str, member: Member) -> tuple[str, ...]:
    return workspace, member.email, member.display_name, ACTIVE_LABELS[member.active], member.scim_id


def _members_csv(rows: Sequence[dict[str, object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["workspace", "email", "display_name", "active", "scim_id"])
    for row in rows:
        writer.writerow([escape_cell(str(value)) for value in row.values()])
    return out.getvalue()
