"""Look at each source as a read would, with the first page of each group, and say what stands in the way of a run."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import Finding, ReadError, Source
from connectors.entra import endpoint
from connectors.entra.assembly import members
from connectors.entra.directory import Directory
from connectors.entra.graph import Ask, Graph
from connectors.entra.row import App, member_from_json
from connectors.entra.selection import counted_groups
from connectors.rest import Lookup, legible, lookup_findings

__all__ = ["findings"]

LOOK = 50
"""Rows looked at: enough to tell a missing permission from one odd row."""

OPEN_REMEDY = "Set Properties > Assignment required to Yes; else who may sign in is not who is assigned."


async def findings(
    name: str, graph: Graph, directory: Directory, knock: Ask, sources: Sequence[Source], lookup: Lookup
) -> list[Finding]:
    """Return a finding for the tenant, then one or more for each source unless the tenant itself is out of reach.

    *knock* is the request that tries the credentials.
    """
    subject = f"connector {name}"
    try:
        await graph.reach(knock)
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    found = [Finding("ok", subject, "Microsoft Graph is within reach and takes the credentials.")]
    for source in sources:
        found += await _source_findings(f"{subject}, app {source.app}", graph, directory, source, lookup)
    return found


async def _source_findings(
    subject: str, graph: Graph, directory: Directory, source: Source, lookup: Lookup
) -> list[Finding]:
    try:
        app = await directory.app(source.app)
        everything = await directory.assigned(source.app)
        counted = counted_groups(everything.groups, source.groups, app.name)
        shown = {}
        for group in counted:
            ask = endpoint.members(group, nested=source.nested, top=LOOK)
            shown[group] = members(await graph.first_rows(ask, member_from_json), group.name)
        await directory.require_shown(shown, nested=source.nested)
        individuals = () if source.ignores_individuals else sorted(everything.individuals)[:1]
        for key in individuals:
            await directory.user(key)
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    names = legible(", ".join(group.name for group in counted))
    # Individually assigned people were looked up by id already, as in each run.
    people = {key for each in shown.values() for key in each.people} if not individuals else set()
    looked_up = await lookup_findings(subject, lookup, people, source)
    return [_verdict(subject, app, names), *_openness(subject, app), *looked_up]


def _verdict(subject: str, app: App, names: str) -> Finding:
    shown = legible(app.name)
    if not names:
        remedy = "Assign a group to the enterprise application; people assigned individually get no access here."
        return Finding("warning", subject, f"{shown} has no groups, so no one is entitled through it.", remedy)
    return Finding("ok", subject, f"{shown} is enabled, and its people and groups can be read: {names}.")


def _openness(subject: str, app: App) -> list[Finding]:
    if not app.is_open:
        return []
    message = f"Anyone in the tenant may sign in to {legible(app.name)} without being assigned."
    return [Finding("warning", subject, message, OPEN_REMEDY)]
