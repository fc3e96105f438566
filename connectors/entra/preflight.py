"""Look at each source as a read would, with the first page of each group, and say what stands in the way of a run."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import Finding, ReadError, Source
from connectors.entra import endpoints
from connectors.entra.client import Endpoint, GraphClient
from connectors.entra.directory import DirectoryReader
from connectors.entra.row import App, group_member_from_json
from connectors.entra.selection import select_groups
from connectors.entra.snapshot import group_members
from connectors.http import LookupFunction, check_lookup, escape_control

__all__ = ["check_sources"]

SAMPLE_ROWS = 50
"""Rows looked at: enough to tell a missing permission from one odd row."""

OPEN_REMEDY = "Set Properties > Assignment required to Yes; else who may sign in is not who is assigned."


async def check_sources(
    name: str,
    graph: GraphClient,
    directory: DirectoryReader,
    knock: Endpoint,
    sources: Sequence[Source],
    lookup: LookupFunction,
) -> list[Finding]:
    """Return a finding for the tenant, then one or more for each source unless the tenant itself is out of reach.

    *knock* is the request that tries the credentials.
    """
    subject = f"connector {name}"
    try:
        await graph.probe(knock)
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    found = [Finding("ok", subject, "Microsoft Graph is within reach and takes the credentials.")]
    for source in sources:
        found += await _check_source(f"{subject}, app {source.app}", graph, directory, source, lookup)
    return found


async def _check_source(
    subject: str, graph: GraphClient, directory: DirectoryReader, source: Source, lookup: LookupFunction
) -> list[Finding]:
    try:
        app = await directory.read_app(source.app)
        everything = await directory.read_assignments(source.app)
        counted = select_groups(everything.groups, source.groups, app.name)
        shown = {}
        for group in counted:
            ask = endpoints.group_members(group, nested=source.nested, top=SAMPLE_ROWS)
            shown[group] = group_members(await graph.read_first_page(ask, group_member_from_json), group.name)
        await directory.require_visible_members(shown, nested=source.nested)
        individuals = () if source.ignores_individuals else sorted(everything.individual_names)[:1]
        for key in individuals:
            await directory.read_user(key)
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    names = escape_control(", ".join(group.name for group in counted))
    # Individually assigned people were looked up by id already, as in each run.
    people = {key for each in shown.values() for key in each.people} if not individuals else set()
    looked_up = await check_lookup(subject, lookup, people, source)
    return [_source_finding(subject, app, names), *_open_app_findings(subject, app), *looked_up]


def _source_finding(subject: str, app: App, names: str) -> Finding:
    shown = escape_control(app.name)
    if not names:
        remedy = "Assign a group to the enterprise application; people assigned individually get no access here."
        return Finding("warning", subject, f"{shown} has no groups, so no one is entitled through it.", remedy)
    return Finding("ok", subject, f"{shown} is enabled, and its people and groups can be read: {names}.")


def _open_app_findings(subject: str, app: App) -> list[Finding]:
    if not app.is_open:
        return []
    message = f"Anyone in the tenant may sign in to {escape_control(app.name)} without being assigned."
    return [Finding("warning", subject, message, OPEN_REMEDY)]
