"""List who has access to a workspace now, through which group, and with which exceptions. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agent.diff.assignments import AssignedPerson, Entitlement, collect_assignments
from agent.diff.builder import PlanBuilder, new_plan_builder
from agent.model import Inputs, LastSeen, Member, Policy
from agent.model.access import Access, Grant
from agent.model.email import normalize
from agent.model.run import MemberHistory
from connectors.base import PersonKey

__all__ = ["current_access", "past_access"]


EXCEPTION_WORDS = {
    Entitlement.INACTIVE: "inactive",
    Entitlement.INDIVIDUAL: "individual-assignment",
    Entitlement.UNKNOWN: "unknown-status",
    Entitlement.PENDING: "assignment-pending",
}


def current_access(inputs: Inputs, policy: Policy, history: Mapping[str, MemberHistory]) -> tuple[Access, ...]:
    """Return every member that is or may be active, sorted by email."""
    people = collect_assignments(inputs.snapshots, policy)
    builder = new_plan_builder(inputs, policy, people)
    rows = [
        _access_row(builder, member, history.get(member.scim_id))
        for member in inputs.listing.members
        if member.active is not False
    ]
    return tuple(sorted(rows, key=lambda row: (row.email.casefold(), row.scim_id)))


def _access_row(builder: PlanBuilder, member: Member, history: MemberHistory | None) -> Access:
    key = builder.person_by_scim_id.get(member.scim_id)
    assigned = _assigned_person(builder, member, key)
    exceptions = sorted(
        {*_exceptions(builder, key, assigned), *(["protected"] if builder.is_protected(member) else [])}
    )
    return Access(
        workspace=builder.policy.workspace,
        email=member.email,
        display_name=member.display_name,
        scim_id=member.scim_id,
        person=assigned.key if assigned else key,
        groups=tuple(sorted({group.name for group in assigned.groups})) if assigned else (),
        exceptions=tuple(exceptions),
        since=history.since if history else None,
        first_seen=history.first_seen if history else None,
        last_change_at=history.last_change_at if history else None,
        last_change_kind=history.last_change_kind if history else None,
        status=assigned.person.status.value if assigned else "",
        grants=_grants(builder, member, assigned),
        target=builder.policy.target,
    )


def _grants(builder: PlanBuilder, member: Member, assigned: AssignedPerson | None) -> tuple[Grant, ...]:
    """Return what each source shows of the member's person, and of anyone else with the member's address."""
    email = normalize(member.email)
    found = [
        *([assigned] if assigned else []),
        *builder.assignments.entitled_by_email.get(email, ()),
        *builder.assignments.not_entitled_by_email.get(email, ()),
    ]
    return tuple(
        Grant(
            person=key,
            groups=tuple(sorted({group.name for group in each.groups})),
            is_individual=each.person.individual,
        )
        for key, each in {each.key: each for each in found}.items()
    )


def _assigned_person(builder: PlanBuilder, member: Member, key: PersonKey | None) -> AssignedPerson | None:
    if key is not None:
        return builder.assignments.by_key.get(key)
    email = normalize(member.email)
    found = (
        builder.assignments.entitled_by_email.get(email) or builder.assignments.not_entitled_by_email.get(email) or ()
    )
    return found[0] if len(found) == 1 else None


def _exceptions(builder: PlanBuilder, key: PersonKey | None, assigned: AssignedPerson | None) -> list[str]:
    if key is not None and key.connector not in builder.connectors:
        return ["source-changed"]
    if assigned is None:
        return ["unmanaged"] if key is None else ["not-assigned"]
    words = [EXCEPTION_WORDS[assigned.entitlement]] if assigned.entitlement in EXCEPTION_WORDS else []
    if assigned.entitlement is Entitlement.ENTITLED and not assigned.groups:
        words.append("individual-assignment")
    return [*words, *(["not-linked"] if key is None else [])]


def past_access(workspace: str, left: tuple[LastSeen, ...], target: str = "") -> tuple[Access, ...]:
    """Return who had access when a past run ended, according to the journal, without anything from the sources."""
    return tuple(
        Access(
            workspace=workspace,
            email=each.email,
            display_name=each.display_name,
            scim_id=each.scim_id,
            person=each.person,
            groups=each.groups,
            exceptions=() if each.person else ("unmanaged",),
            target=target,
        )
        for each in sorted(left, key=lambda each: (each.email.casefold(), each.scim_id))
        if each.active is not False
    )
