"""What `check` tries at one OneLogin account: each permission that a run needs, by requests like those of a run."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import CheckName, Finding, ReadError, Source
from connectors.checks import (
    LookupFunction,
    check_groups,
    check_lookup,
    choose_groups,
    error_finding,
    page_size_finding,
    size_label,
)
from connectors.directory import AppGroup
from connectors.onelogin.client import (
    PAGE_SIZE,
    OneLoginClient,
    app_users_endpoint,
    role_users_endpoint,
    users_with_status_endpoint,
)
from connectors.onelogin.mapping import NAMING, SUSPENDED, membership_from_json, user_from_json
from connectors.onelogin.snapshot import app_people, role_members

__all__ = ["check_application", "find_suspended_person"]

NO_ROLES_REMEDY = "Give the application to a role; people who are assigned individually get no access here."
NO_PEOPLE_REMEDY = "Put people into its roles in OneLogin."


async def find_suspended_person(account: OneLoginClient) -> str | None:
    """Return the id of a suspended person, None where OneLogin shows none."""
    page = await account.read_first_page(users_with_status_endpoint(SUSPENDED), 1)
    users = map(user_from_json, page.rows)
    return next((user.id for user in users if user.id is not None and user.status == SUSPENDED), None)


async def check_application(
    subject: str,
    account: OneLoginClient,
    source: Source,
    app_name: str,
    granting_roles: Sequence[AppGroup],
    lookup: LookupFunction,
) -> list[Finding]:
    """Return the findings on an application with *app_name*, which *granting_roles* grant.

    Each list is read up to the end of its first page. Roles that do not count are read too: without them no individual
    assignment is certain.
    """
    counted, chosen = choose_groups(subject, granting_roles, source, app_name, NAMING, NO_ROLES_REMEDY)
    people: set[str] = set()
    sizes: list[int] = []
    listed = await _check_people(subject, account, source, app_name, sizes)

    async def count(role: AppGroup) -> str:
        page = await account.read_first_page(role_users_endpoint(role), PAGE_SIZE)
        members = role_members(map(membership_from_json, page.rows), role.name).people
        people.update(members if role in counted else ())
        sizes.extend([len(page.rows)] if page.next_link else [])
        size = size_label(len(members), has_more=page.next_link is not None)
        return size if role in counted or not counted else f"{size}; it does not count"

    roles = await check_groups(subject, granting_roles, count, NAMING.noun)
    return [
        Finding("ok", subject, f"{app_name} can be read", name=CheckName.APPLICATION),
        listed,
        chosen,
        *roles,
        *_empty_role_findings(subject, app_name, counted, people, roles),
        page_size_finding(subject, PAGE_SIZE, sizes),
        *await check_lookup(subject, lookup, people, source),
    ]


async def _check_people(
    subject: str, account: OneLoginClient, source: Source, app_name: str, sizes: list[int]
) -> Finding:
    name = CheckName.ASSIGNED_PEOPLE
    try:
        page = await account.read_first_page(app_users_endpoint(source.app), PAGE_SIZE)
        people, _ = app_people(map(user_from_json, page.rows), source.app)
    except ReadError as error:
        return error_finding(subject, error, name)
    sizes.extend([len(page.rows)] if page.next_link else [])
    message = f"assigned to {app_name}: {size_label(len(people), has_more=page.next_link is not None)}"
    return Finding("ok", subject, message, name=name)


def _empty_role_findings(
    subject: str, app_name: str, counted: Sequence[AppGroup], people: set[str], roles: Sequence[Finding]
) -> list[Finding]:
    if not counted or people or any(finding.level == "error" for finding in roles):
        return []
    names = ", ".join(sorted(role.name for role in counted))
    message = f"{app_name} is granted by roles that have no users: {names}."
    return [Finding("warning", subject, message, NO_PEOPLE_REMEDY, name=CheckName.GROUP_MEMBERS)]
