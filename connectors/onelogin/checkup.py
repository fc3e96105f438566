"""Look at each source as a read would, with the first page of each list, and say what stands in the way of a run."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import Finding, ReadError, Source
from connectors.onelogin import endpoint
from connectors.onelogin.account import Account
from connectors.onelogin.assembly import app_people, members
from connectors.onelogin.directory import Directory
from connectors.onelogin.row import membership_from_json, user_from_json
from connectors.onelogin.selection import counted_roles
from connectors.rest import Lookup, legible, lookup_findings

__all__ = ["findings"]


async def findings(
    name: str, account: Account, directory: Directory, sources: Sequence[Source], lookup: Lookup
) -> list[Finding]:
    """Return a finding for the account, then one for each source unless the account itself is out of reach."""
    subject = f"connector {name}"
    try:
        await directory.require_sight()
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    reached = Finding("ok", subject, "OneLogin is within reach, takes the credentials and shows its users.")
    found = [reached]
    for source in sources:
        found += await _source_findings(f"{subject}, app {source.app}", account, directory, source, lookup)
    return found


async def _source_findings(
    subject: str, account: Account, directory: Directory, source: Source, lookup: Lookup
) -> list[Finding]:
    try:
        app_name, granting = await directory.app(source.app)
        counted = counted_roles(granting, source.groups, app_name)
        users = await account.first_rows(endpoint.app_users(source.app))
        app_people(map(user_from_json, users), source.app)
        people: set[str] = set()
        for role in granting:
            rows = await account.first_rows(endpoint.role_users(role))
            inside = members(map(membership_from_json, rows), role.name)
            people |= inside.people if role in counted else set()
    except ReadError as error:
        return [Finding("error", subject, error.message, error.hint)]
    app_name = legible(app_name)
    if not counted:
        remedy = "Give the application to a role; people who are assigned individually get no access here."
        return [Finding("warning", subject, f"{app_name} has no roles, so no one is entitled through it.", remedy)]
    names = legible(", ".join(role.name for role in counted))
    if not people:
        remedy = "Put people into its roles in OneLogin."
        return [Finding("warning", subject, f"{app_name} is granted by roles that have no users: {names}.", remedy)]
    well = Finding("ok", subject, f"{app_name} and its people and roles can be read: {names}.")
    return [well, *await lookup_findings(subject, lookup, people, source)]
