"""Look at each source as a read would, with the first page of each list, and say what stands in the way of a run."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import Finding, ReadError, Source
from connectors.http import LookupFunction, check_lookup, escape_control
from connectors.onelogin import endpoints
from connectors.onelogin.client import OneLoginClient
from connectors.onelogin.directory import DirectoryReader
from connectors.onelogin.row import membership_from_json, user_from_json
from connectors.onelogin.selection import select_roles
from connectors.onelogin.snapshot import app_people, role_members

__all__ = ["check_sources"]


async def check_sources(
    name: str, account: OneLoginClient, directory: DirectoryReader, sources: Sequence[Source], lookup: LookupFunction
) -> list[Finding]:
    """Return a finding for the account, then one for each source unless the account itself is out of reach."""
    subject = f"connector {name}"
    try:
        await directory.require_visible()
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    reached = Finding("ok", subject, "OneLogin is within reach, takes the credentials and shows its users.")
    found = [reached]
    for source in sources:
        found += await _check_source(f"{subject}, app {source.app}", account, directory, source, lookup)
    return found


async def _check_source(
    subject: str, account: OneLoginClient, directory: DirectoryReader, source: Source, lookup: LookupFunction
) -> list[Finding]:
    try:
        app_name, granting = await directory.read_app(source.app)
        counted = select_roles(granting, source.groups, app_name)
        users = await account.read_first_page(endpoints.app_users(source.app))
        app_people(map(user_from_json, users), source.app)
        people: set[str] = set()
        for role in granting:
            rows = await account.read_first_page(endpoints.role_users(role))
            inside = role_members(map(membership_from_json, rows), role.name)
            people |= inside.people if role in counted else set()
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    app_name = escape_control(app_name)
    if not counted:
        remedy = "Give the application to a role; people who are assigned individually get no access here."
        return [Finding("warning", subject, f"{app_name} has no roles, so no one is entitled through it.", remedy)]
    names = escape_control(", ".join(role.name for role in counted))
    if not people:
        remedy = "Put people into its roles in OneLogin."
        return [Finding("warning", subject, f"{app_name} is granted by roles that have no users: {names}.", remedy)]
    well = Finding("ok", subject, f"{app_name} and its people and roles can be read: {names}.")
    return [well, *await check_lookup(subject, lookup, people, source)]
