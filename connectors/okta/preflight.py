"""Look at each source as a read would, with the first page of each list, and say what stands in the way of a run."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import Finding, ReadError, Source
from connectors.http import LookupFunction, check_lookup, escape_control
from connectors.okta import endpoints
from connectors.okta.client import OktaClient
from connectors.okta.directory import DirectoryReader
from connectors.okta.row import app_user_from_json, user_from_json
from connectors.okta.selection import select_groups
from connectors.okta.snapshot import app_people, group_members

__all__ = ["check_sources"]

SAMPLE_ROWS = 50
"""Rows looked at: enough to tell a missing permission from one odd row."""


async def check_sources(
    name: str, org: OktaClient, directory: DirectoryReader, sources: Sequence[Source], lookup: LookupFunction
) -> list[Finding]:
    """Return a finding for the org, then one or more for each source unless the org itself is out of reach."""
    subject = f"connector {name}"
    try:
        await org.probe(endpoints.apps())
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    found = [Finding("ok", subject, "Okta is within reach and takes the credentials.")]
    for source in sources:
        found += await _check_source(f"{subject}, app {source.app}", org, directory, source, lookup)
    return found


async def _check_source(
    subject: str, org: OktaClient, directory: DirectoryReader, source: Source, lookup: LookupFunction
) -> list[Finding]:
    try:
        app_name = escape_control(await directory.read_app_name(source.app))
        people = await org.read_first_page(endpoints.app_users(source.app, SAMPLE_ROWS), app_user_from_json)
        known, _ = app_people(people, source.app)
        shown = set(known)
        assigned = await directory.read_assigned_groups(source.app)
        counted = select_groups(assigned, source.groups, app_name)
        for group in counted:
            inside = group_members(
                await org.read_first_page(endpoints.group_members(group, SAMPLE_ROWS), user_from_json), group.name
            )
            shown |= inside.people.keys()
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    if not counted:
        remedy = "Assign a group to the application in Okta; people who are assigned individually get no access here."
        return [Finding("warning", subject, f"{app_name} has no groups, so no one is entitled through it.", remedy)]
    if not people:
        remedy = "Put people into its groups, or wait: Okta assigns the members of a group in the background."
        return [Finding("warning", subject, f"{app_name} is assigned to nobody.", remedy)]
    names = escape_control(", ".join(group.name for group in counted))
    well = Finding("ok", subject, f"{app_name} is active, and its people and groups can be read: {names}.")
    return [well, *await check_lookup(subject, lookup, shown, source)]
