"""What `check` tries at one Okta org: each permission that a run needs, by requests like those of a run."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import CheckName, Finding, ReadError, Source
from connectors.checks import (
    LookupFunction,
    check_groups,
    check_lookup,
    choose_groups,
    error_finding,
    next_link_finding,
    page_size_finding,
    size_label,
)
from connectors.directory import AppGroup
from connectors.okta.client import (
    OktaClient,
    app_users_endpoint,
    group_members_endpoint,
    users_with_status_endpoint,
)
from connectors.okta.mapping import NAMING
from connectors.okta.rows import RowReader
from connectors.okta.snapshot import app_people, group_members

__all__ = ["check_application", "find_suspended_person"]

NO_GROUPS_REMEDY = "Assign a group to the application in Okta; people who are assigned individually get no access here."
NO_PEOPLE_REMEDY = "Put people into its groups, or wait: Okta assigns the members of a group in the background."
MEMBERS_PER_PAGE = 200


async def find_suspended_person(org: OktaClient) -> str | None:
    """Return the id of a person who is suspended or deactivated, None where Okta shows none."""
    for status in ("SUSPENDED", "DEPROVISIONED"):
        users = (await org.read_first_page(users_with_status_endpoint(status), RowReader().users)).rows
        if person := next((user.id for user in users if user.id and user.status == status), None):
            return person
    return None


async def check_application(  # noqa: PLR0913  (what the connector knows)
    subject: str,
    org: OktaClient,
    org_url: str,
    source: Source,
    app_name: str,
    assigned: Sequence[AppGroup],
    lookup: LookupFunction,
) -> list[Finding]:
    """Return the findings on an active application with *app_name* and the groups *assigned* to it.

    Each list is read up to the end of its first page.
    """
    people, known = await _check_people(subject, org, source, app_name)
    counted, chosen = choose_groups(subject, assigned, source, app_name, NAMING, NO_GROUPS_REMEDY)
    sizes: list[int] = []

    async def count(group: AppGroup) -> str:
        page = await org.read_first_page(group_members_endpoint(group, MEMBERS_PER_PAGE), RowReader().users)
        members = group_members(page.rows, group.name).people
        known.update(members)
        sizes.extend([len(page.rows)] if page.next_link else [])
        return size_label(len(members), has_more=page.next_link is not None)

    groups = await check_groups(subject, counted, count)
    return [
        Finding("ok", subject, f"{app_name} is active", name=CheckName.APPLICATION),
        people,
        chosen,
        *groups,
        await _check_next_link(subject, org, org_url, source),
        page_size_finding(subject, MEMBERS_PER_PAGE, sizes),
        *await check_lookup(subject, lookup, known, source),
    ]


async def _check_people(subject: str, org: OktaClient, source: Source, app_name: str) -> tuple[Finding, set[str]]:
    """Return the finding on the application's people, and the ids that were seen."""
    name = CheckName.ASSIGNED_PEOPLE
    try:
        page = await org.read_first_page(app_users_endpoint(source.app), RowReader().app_users)
        people, _ = app_people(page.rows, source.app)
    except ReadError as error:
        return error_finding(subject, error, name), set()
    if not page.rows:
        message = f"{app_name} has no assigned people."
        return Finding("warning", subject, message, NO_PEOPLE_REMEDY, name=name), set()
    message = f"assigned to {app_name}: {size_label(len(people), has_more=page.next_link is not None)}"
    return Finding("ok", subject, message, name=name), set(people)


async def _check_next_link(subject: str, org: OktaClient, org_url: str, source: Source) -> Finding:
    """Ask for a page of one row, which has a next page as soon as two people are assigned."""
    try:
        page = await org.read_first_page(app_users_endpoint(source.app, 1), RowReader().app_users)
    except ReadError as error:
        return error_finding(subject, error, CheckName.NEXT_LINK)
    return next_link_finding(subject, page.next_link, org_url, "org_url")
