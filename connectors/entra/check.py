"""What `check` tries at one Entra tenant: each permission that a run needs, by requests like those of a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

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
from connectors.entra.client import (
    HIDDEN_ROLE,
    MAX_PAGE_SIZE,
    GraphClient,
    disabled_users_endpoint,
    group_members_endpoint,
)
from connectors.entra.mapping import NAMING, App, group_member_from_json, user_from_json
from connectors.entra.snapshot import AppAssignments, GroupMembers, group_members
from connectors.http import escape_control

__all__ = ["NEEDED_ROLES", "check_application", "find_disabled_person", "with_narrower_roles"]

NEEDED_ROLES = ("Application.Read.All", "GroupMember.Read.All", "User.Read.All")
WIDER_ROLES = {"Directory.Read.All": NEEDED_ROLES, "Group.Read.All": ("GroupMember.Read.All",)}
"""Permissions that contain narrower ones."""
OPEN_REMEDY = "Set Properties > Assignment required to Yes; else who may sign in is not who is assigned."
NO_GROUPS_REMEDY = "Assign a group to the enterprise application; people assigned individually get no access here."

CheckVisible = Callable[[Mapping[AppGroup, GroupMembers]], Awaitable[None]]


def with_narrower_roles(roles: frozenset[str] | None) -> frozenset[str] | None:
    """Return *roles* with the needed ones that they contain."""
    if roles is None:
        return None
    return roles.union(*(WIDER_ROLES.get(role, ()) for role in roles))


async def find_disabled_person(graph: GraphClient) -> str | None:
    """Return the id of a person who may not sign in, None where Graph shows none."""
    users = (await graph.read_first_page(disabled_users_endpoint(), user_from_json)).rows
    return next((user.id for user in users if user.id), None)


async def check_application(  # noqa: PLR0913  (what the connector knows)
    subject: str,
    graph: GraphClient,
    root: str,
    source: Source,
    app: App,
    assignments: AppAssignments,
    require_visible: CheckVisible,
    lookup: LookupFunction,
    read_user: Callable[[str], Awaitable[object]],
) -> list[Finding]:
    """Return the findings on *app*, whose lists are read up to the end of their first page.

    *require_visible* raises for a group that hides its members. A run reads each person who is assigned individually by
    *read_user*: there a refusal is an error.
    """
    app_name = escape_control(app.name)
    counted, chosen = choose_groups(subject, assignments.groups, source, app_name, NAMING, NO_GROUPS_REMEDY)
    shown: dict[AppGroup, GroupMembers] = {}
    sizes: list[int] = []

    async def count(group: AppGroup) -> str:
        page = await graph.read_first_page(group_members_endpoint(group, nested=source.nested), group_member_from_json)
        shown[group] = group_members(page.rows, group.name)
        sizes.extend([len(page.rows)] if page.next_link else [])
        return size_label(len(shown[group].people), has_more=page.next_link is not None)

    groups = await check_groups(subject, counted, count)
    known = {person for each in shown.values() for person in each.people}
    individuals = () if source.ignores_individuals else sorted(assignments.individual_names)[:1]
    return [
        Finding("ok", subject, f"{app_name} is enabled", name=CheckName.APPLICATION),
        *_open_app_findings(subject, app),
        Finding("ok", subject, _assignments_message(app_name, assignments), name=CheckName.ASSIGNED_PEOPLE),
        chosen,
        *groups,
        *(await _check_hidden_members(subject, shown, require_visible)),
        *(await _check_next_link(subject, graph, root, source, shown)),
        page_size_finding(subject, MAX_PAGE_SIZE, sizes),
        *(await _check_people(subject, source, individuals, known, lookup, read_user)),
    ]


async def _check_people(
    subject: str,
    source: Source,
    individuals: Iterable[str],
    known: set[str],
    lookup: LookupFunction,
    read_user: Callable[[str], Awaitable[object]],
) -> list[Finding]:
    try:
        for person in individuals:
            await read_user(person)
    except ReadError as error:
        return [error_finding(subject, error, CheckName.ONE_PERSON)]
    return await check_lookup(subject, lookup, known.union(individuals), source)


def _assignments_message(app_name: str, assignments: AppAssignments) -> str:
    people = size_label(len(assignments.individual_names), has_more=False)
    return f"assigned to {app_name}: {len(assignments.groups):,} groups, and {people} individually"


def _open_app_findings(subject: str, app: App) -> list[Finding]:
    if not app.is_open:
        return []
    message = f"Anyone in the tenant may sign in to {escape_control(app.name)} without being assigned."
    return [Finding("warning", subject, message, OPEN_REMEDY, name=CheckName.OPEN_APPLICATION)]


async def _check_hidden_members(
    subject: str, shown: Mapping[AppGroup, GroupMembers], require_visible: CheckVisible
) -> list[Finding]:
    if not shown:
        return []
    try:
        await require_visible(shown)
    except ReadError as error:
        return [error_finding(subject, error, CheckName.HIDDEN_MEMBERS)]
    message = f"no group that counts hides its members, or the token has {HIDDEN_ROLE}"
    return [Finding("ok", subject, message, name=CheckName.HIDDEN_MEMBERS)]


async def _check_next_link(
    subject: str, graph: GraphClient, root: str, source: Source, shown: Mapping[AppGroup, GroupMembers]
) -> list[Finding]:
    """Ask for a page of one row of the largest group, which has a next page unless it is the only one."""
    largest = max(sorted(shown), key=lambda group: len(shown[group].people), default=None)
    if largest is None:
        return []
    endpoint = group_members_endpoint(largest, nested=source.nested, top=1)
    try:
        page = await graph.read_first_page(endpoint, group_member_from_json)
    except ReadError as error:
        return [error_finding(subject, error, CheckName.NEXT_LINK)]
    return [next_link_finding(subject, page.next_link, root, "graph_url")]
