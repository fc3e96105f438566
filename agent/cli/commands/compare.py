"""`compare`: the same people or members, as another reader reads them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.options import complete_workspace, format_option, os_user
from agent.cli.output import print_json, print_text, terminal_width
from agent.cli.runtime import run_with_components, warn
from agent.compare.export_parser import Export, open_export
from agent.compare.export_reader import ExportReader
from agent.compare.exports import KINDS, kind_named
from agent.compare.readers import (
    OKTA_SDK,
    SCIM2_CLIENT,
    Bounds,
    OtherReading,
    read_with_okta_sdk,
    read_with_scim2_client,
)
from agent.engine.compare import (
    Identity,
    compare_export,
    compare_live,
    member_entries,
    person_entries,
    read_people,
    record,
)
from agent.engine.planner import ReadOnlyWorkspace, select_workspaces
from agent.errors import ExitCode, UsageError
from agent.model.comparison import Comparison, Entry
from agent.report.compare import compare_document, compare_text
from agent.version import installed_version
from connectors.base import Person, Snapshot, Source
from connectors.okta import OktaSettings

if TYPE_CHECKING:
    from agent.bootstrap import Components

    Compare = Callable[[Components, ReadOnlyWorkspace, Identity], Awaitable[Comparison]]

__all__ = ["compare"]


@click.command()
@click.option(
    "-w",
    "--workspace",
    "name",
    required=True,
    metavar="NAME",
    help="The workspace whose people or members are compared.",
    shell_complete=complete_workspace,
)
@click.option(
    "--with",
    "other",
    required=True,
    metavar="READER",
    help="okta-sdk, scim2-client, or the path of an exported CSV file.",
)
@click.option(
    "--kind",
    type=click.Choice([kind.name for kind in KINDS]),
    help="Kind of the file, where its columns are not to decide.",
)
@click.option("--group", default="", metavar="GROUP", help="The group (name or id) whose members the file has.")
@format_option("text", "json")
@click.pass_context
def compare(context: click.Context, name: str, other: str, kind: str | None, group: str, output_format: str) -> int:
    """Compare what a run reads with another reader.

    The other reader is the SDK of Okta, an independent SCIM client, or an export from a console. Reads only; the result
    is kept in the state, for `check`, the page and /metrics. Exits 0 if both are equal, 3 if they differ, 6 if one of
    them could not be read to its end, 2 if the file is no export that can be compared.

    \b
    pigment-sync compare -w pigment-latam --with okta-sdk
    pigment-sync compare -w pigment-latam --with scim2-client --format json
    pigment-sync compare -w pigment-latam --with members.csv
    """
    is_file = other not in (OKTA_SDK, SCIM2_CLIENT)
    if (kind or group) and not is_file:
        raise UsageError(f"--kind and --group are for files, not for {other}.", "Leave them out.")
    export = open_export(_existing_file(other), kind_named(kind) if kind else None) if is_file else None
    reader = export.kind.name if export else other

    async def body(components: Components) -> Comparison:
        workspace = next(iter(select_workspaces(components.read_only_workspaces, [name]).values()))
        sources = () if reader == SCIM2_CLIENT else _sources(components, workspace, export)
        noun = "members" if reader == SCIM2_CLIENT or (export and not export.kind.provider) else "people"
        now: datetime = components.clock.now()
        identity = Identity(name, reader, noun, now, os_user(), installed_version())

        async def run() -> Comparison:
            if export is not None:
                return await _compare_export(components, workspace, identity, export, sources, group)
            if reader == OKTA_SDK:
                return await _compare_okta(components, identity, sources)
            return await _compare_members(components, workspace, identity)

        return await record(components.state, identity, run, components.clock)

    comparison = run_with_components(context, body)
    if output_format == "json":
        for note in comparison.notes:
            click.echo(f"pigment-sync: {note}", err=True)
        print_json(compare_document(comparison))
    else:
        print_text(compare_text(comparison, terminal_width()))
    return ExitCode.WOULD_CHANGE if comparison.count else ExitCode.DONE


def _existing_file(path: str) -> Path:
    file = Path(path)
    if not file.is_file():
        raise UsageError(
            f"{path} is neither a reader nor a file.", f"Write {OKTA_SDK}, {SCIM2_CLIENT}, or the path of an export."
        )
    return file


def _sources(components: Components, workspace: ReadOnlyWorkspace, export: Export | None) -> tuple[Source, ...]:
    """Return the sources whose people the other reader shows. Raises `UsageError` without one."""
    provider = "okta" if export is None else export.kind.provider
    connectors = components.settings.connectors
    found = tuple(each for each in workspace.policy.sources if connectors[each.connector].type == provider)
    if provider and not found:
        what = "the Okta SDK reads Okta" if export is None else f"the file is of {export.kind.title}"
        raise UsageError(
            f"Workspace {workspace.policy.workspace} has no source of type {provider}, and {what}.",
            "Name another workspace, or an export of its own identity provider.",
        )
    if len(found) < len(workspace.policy.sources) and provider:
        warn(f"{workspace.policy.workspace} has sources of other providers too, which are not compared.")
    return found


def _bounds(components: Components) -> Bounds:
    http = components.settings.http
    return Bounds(http.timeout_seconds, http.retries, http.max_wait_seconds, components.settings.ca_bundle, os.environ)


async def _compare_okta(components: Components, identity: Identity, sources: Sequence[Source]) -> Comparison:
    async def read_ours(fresh: bool) -> tuple[Entry, ...]:
        return person_entries(_people(await read_people(components.planner.connectors, sources, fresh=fresh)))

    async def read_theirs() -> OtherReading:
        entries: dict[str, Entry] = {}
        notes: list[str] = []
        for connector in dict.fromkeys(each.connector for each in sources):
            settings = components.settings.connectors[connector]
            if not isinstance(settings, OktaSettings):
                raise TypeError(f"{connector} is of type okta")
            of_it = [each for each in sources if each.connector == connector]
            reading = await read_with_okta_sdk(settings, of_it, _bounds(components), components.planner.progress)
            entries |= {entry.id: entry for entry in reading.entries}
            notes += reading.notes
        return OtherReading(tuple(entries.values()), tuple(notes))

    return await compare_live(identity, read_ours, read_theirs)


async def _compare_members(components: Components, workspace: ReadOnlyWorkspace, identity: Identity) -> Comparison:
    settings = components.settings.workspaces[identity.workspace]

    async def read_ours(_fresh: bool) -> tuple[Entry, ...]:
        return member_entries((await workspace.reader.list_members(components.planner.progress)).members)

    async def read_theirs() -> OtherReading:
        return await read_with_scim2_client(
            settings.scim_url,
            [token.reveal_token() for token in settings.tokens],
            _bounds(components),
            components.planner.progress,
            ignores_total=settings.total_results == "ignore",
        )

    return await compare_live(identity, read_ours, read_theirs)


async def _compare_export(
    components: Components,
    workspace: ReadOnlyWorkspace,
    identity: Identity,
    export: Export,
    sources: Sequence[Source],
    group: str,
) -> Comparison:
    kind = export.kind
    if not kind.provider:
        members = (await workspace.reader.list_members(components.planner.progress)).members
        reader = ExportReader(export, frozenset())
        return await asyncio.to_thread(
            compare_export, identity, member_entries(members), reader, by_email=not export.has_ids
        )
    snapshots = await read_people(components.planner.connectors, sources)
    people = [each for each in _people(snapshots) if kind.is_whole_directory or kind.expects(each)]
    if group or kind.is_of_one_group:
        key = _group_id(snapshots, group, export)
        people = [each for each in people if key in each.groups]
    reader = ExportReader(
        export,
        frozenset(each.app_name for each in snapshots),
        email=sources[0].email,
        counts_guests=any(each.guests for each in sources),
    )
    return await asyncio.to_thread(
        compare_export,
        identity,
        person_entries(people),
        reader,
        by_email=not export.has_ids,
        is_whole_directory=kind.is_whole_directory,
    )


def _people(snapshots: Sequence[Snapshot]) -> list[Person]:
    return [person for snapshot in snapshots for person in snapshot.people]


def _group_id(snapshots: Sequence[Snapshot], wanted: str, export: Export) -> str:
    """Return the id of the group that the file is about: the one that *wanted* names, or the only one."""
    groups = {group.id: group.name for snapshot in snapshots for group in snapshot.groups}
    found = [key for key, group_name in groups.items() if not wanted or wanted in (key, group_name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(groups.values())) or "none"
    raise UsageError(
        f"{export.name} has the members of one group, and it is not known which: the groups are {names}."
        if not wanted
        else f"{len(found)} groups of the workspace's sources are called {wanted}; the groups are {names}.",
        "Name it with --group NAME.",
    )
