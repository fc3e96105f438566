"""Look at each source as a read would, with the first page of each list, and say what stands in the way of a run."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import Finding, ReadError, Source
from connectors.okta import endpoint
from connectors.okta.assembly import app_people, members
from connectors.okta.directory import Directory
from connectors.okta.org import Org
from connectors.okta.row import app_user_from_json, user_from_json
from connectors.okta.selection import counted_groups
from connectors.rest import Lookup, legible, lookup_findings

__all__ = ["findings"]

LOOK = 50
"""Rows looked at: enough to tell a missing permission from one odd row."""


async def findings(
    name: str, org: Org, directory: Directory, sources: Sequence[Source], lookup: Lookup
) -> list[Finding]:
    """Return a finding for the org, then one or more for each source unless the org itself is out of reach."""
    subject = f"connector {name}"
    try:
        await org.reach(endpoint.apps())
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    found = [Finding("ok", subject, "Okta is within reach and takes the credentials.")]
    for source in sources:
        found += await _source_findings(f"{subject}, app {source.app}", org, directory, source, lookup)
    return found


async def _source_findings(
    subject: str, org: Org, directory: Directory, source: Source, lookup: Lookup
) -> list[Finding]:
    try:
        app_name = legible(await directory.app_name(source.app))
        people = await org.first_rows(endpoint.app_users(source.app, LOOK), app_user_from_json)
        known, _ = app_people(people, source.app)
        shown = set(known)
        assigned = await directory.assigned_groups(source.app)
        counted = counted_groups(assigned, source.groups, app_name)
        for group in counted:
            inside = members(await org.first_rows(endpoint.members(group, LOOK), user_from_json), group.name)
            shown |= inside.people.keys()
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    if not counted:
        remedy = "Assign a group to the application in Okta; people who are assigned individually get no access here."
        return [Finding("warning", subject, f"{app_name} has no groups, so no one is entitled through it.", remedy)]
    if not people:
        remedy = "Put people into its groups, or wait: Okta assigns the members of a group in the background."
        return [Finding("warning", subject, f"{app_name} is assigned to nobody.", remedy)]
    names = legible(", ".join(group.name for group in counted))
    well = Finding("ok", subject, f"{app_name} is active, and its people and groups can be read: {names}.")
    return [well, *await lookup_findings(subject, lookup, shown, source)]
