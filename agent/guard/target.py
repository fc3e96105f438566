"""The guard `wrong-target`: a key, a workspace or a connector of the file stands for something else than before.

    what was found                                          holds               released by
    ──────────────────────────────────────────────────────  ──────────────────  ──────────────────────────────────────
    the key's `scim_url` is another than the state knows     everything          `workspaces rename` or `reset` only
    the state knows the `scim_url` by another key            everything          `workspaces rename` or `reset` only
    more than half of 4 or more linked members are missing   everything          an approval
    a connector reads another tenant or base URL             all deactivations   an approval

A connector that shows the same people under its new tenant or base URL is accepted without an approval. Which sources,
applications and groups a workspace has is not compared: those are ordinary changes. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from agent.guard.results import GuardResult, is_deactivation, make_guard
from agent.model import Change, Inputs, KnownTarget, Link, MovedTenant, Plan, Policy, TargetCheck
from agent.model.codes import GuardCode

__all__ = ["check_workspace_target", "compare_targets", "target_guard_results", "uncounted"]

NOT_RELEASED_BY_APPROVAL = "An approval does not release it."
WORKSPACE_ITSELF = ""
"""The connector of a record that is about the workspace itself."""


def check_workspace_target(policy: Policy, known: Sequence[KnownTarget]) -> TargetCheck:
    """Return whether the key of *policy* stands for another workspace than the state knows it by."""
    name, now = policy.workspace, policy.target
    if not now:
        return TargetCheck()
    own = next((each for each in known if each.workspace == name and each.connector == WORKSPACE_ITSELF), None)
    owners = [each for each in known if each.connector == WORKSPACE_ITSELF and each.fingerprint == now]
    owner = max(owners, key=lambda each: (each.recorded_at, each.workspace), default=None)
    other = owner.workspace if owner is not None and owner.workspace != name else ""
    reset = f"`pigment-sync workspaces reset {name}`"
    if own is not None and own.fingerprint != now:
        cause = f"The state knows {name} at {own.fingerprint}, and its scim_url is now {now}"
        if other:
            cause, remedy = (
                f"{cause}, which the state knows as {other}.",
                f"or, if {name} is that workspace now: {reset}",
            )
        else:
            same = f"`pigment-sync workspaces rename {name} {name}`"
            cause, remedy = f"{cause}.", f"or, if it is the same workspace: {same}; or, if it is another one: {reset}"
        return TargetCheck(cause, f"Correct the scim_url of {name}; {remedy}. {NOT_RELEASED_BY_APPROVAL}")
    if other:
        cause = f"The state knows {now}, the scim_url of {name}, as {other}."
        rename = (
            ""
            if own is not None
            else f"If {other} is now called {name}: `pigment-sync workspaces rename {other} {name}`; "
        )
        begin = f"if {name} is to start without what the state knows about {other}: {reset}"
        return TargetCheck(cause, f"{rename}{begin}. {NOT_RELEASED_BY_APPROVAL}")
    return TargetCheck(accepted_targets=() if own is not None else ((WORKSPACE_ITSELF, now),))


def compare_targets(policy: Policy, known: Sequence[KnownTarget], inputs: Inputs, plan: Plan) -> TargetCheck:
    """Return what the guard holds by, and what a run may record once nothing of it is held any more.

    *plan* is the plan of all *inputs*, before any guard.
    """
    found = check_workspace_target(policy, known)
    if found.mismatch:
        return found
    listed = inputs.listing.by_id
    links = inputs.memory.links
    found = replace(
        found, fingerprint=policy.target, linked=len(links), missing=sum(link.scim_id not in listed for link in links)
    )
    records = {each.connector: each.fingerprint for each in known if each.workspace == policy.workspace}
    accepted, pending, moved = list(found.accepted_targets), [], []
    for connector, now in policy.tenants:
        was = records.get(connector)
        if was is None or (was != now and _is_harmless(connector, inputs, plan)):
            accepted.append((connector, now))
        elif was != now:
            moved.append(MovedTenant(connector, was, now))
            pending.append((connector, now))
    found = replace(found, moved_tenants=tuple(moved), accepted_targets=tuple(accepted), pending_targets=tuple(pending))
    if found.is_mostly_missing:
        return replace(found, accepted_targets=(), pending_targets=found.accepted_targets + found.pending_targets)
    return found


def _is_harmless(connector: str, inputs: Inputs, plan: Plan) -> bool:
    """Return whether no one loses access because of what *connector* reads now: it still shows everyone at risk.

    Most likely it is then the same directory under another address. Links do not prove that: while deactivations are
    held, people of the other tenant get members and links.
    """
    shown = {person.id for snapshot in inputs.snapshots for person in snapshot.people if person.connector == connector}
    is_clear = not any(is_deactivation(each) and _rests_on(connector, each) for each in plan.changes)
    return is_clear and _people_at_risk(connector, inputs) <= shown


def _people_at_risk(connector: str, inputs: Inputs) -> set[str]:
    """Return the ids of the people of *connector* who have a member, or may have one, and are not known to have left.

    Acceptance lasts, so the present listing does not decide: a member that is inactive or not listed now may be active
    at the next run. An unconfirmed create may have made a member that has no link yet.
    """
    active = {member.scim_id for member in inputs.listing.members if member.active is not False}
    linked = {link.person for link in inputs.memory.links if link.scim_id in active or not link.missed_reads}
    lost = {create.person for create in inputs.memory.unconfirmed_creates}
    return {person.id for person in linked | lost if person.connector == connector}


def _rests_on(connector: str, change: Change) -> bool:
    """Return whether *change* follows from what *connector* shows; an unmanaged member is one that no source shows."""
    return change.person is None or change.person.connector == connector


def uncounted(seen: Sequence[Link], found: TargetCheck) -> tuple[Link, ...]:
    """Return the links to remember, *seen*, without the missed reads of connectors that read something else now.

    Whom another tenant does not show has not left: counted, they would not be at risk any more at the next run.
    """
    moved = {each.connector for each in found.moved_tenants}
    return tuple(link for link in seen if not link.missed_reads or link.person.connector not in moved)


def target_guard_results(plan: Plan, found: TargetCheck) -> Iterator[GuardResult]:
    """Yield the verdicts that trip on *plan*. The guard also trips with nothing to hold: a person must check."""
    if found.mismatch:
        guard = make_guard(
            GuardCode.WRONG_TARGET, plan.changes, _is_any_change, 0, "the workspace that the state knows", ""
        )
        message = f"{found.mismatch} Everything is held, and nothing is recorded. {found.remedy}"
        yield GuardResult(
            guard=replace(guard, message=message),
            affects=_is_any_change,
            cause=found.mismatch,
            remedy=found.remedy,
            is_final=True,
        )
        return
    if found.is_mostly_missing:
        listing = f"the listing of {plan.workspace}" + (f" ({found.fingerprint})" if found.fingerprint else "")
        cause = f"{found.missing} of {found.linked} linked members are not in {listing}."
        why = "Either its scim_url belongs to another workspace, or its members were recreated."
        message = f"{cause} {why} Everything is held until the plan is approved."
        guard = make_guard(
            GuardCode.WRONG_TARGET, plan.changes, _is_any_change, 0, "half of the linked members, of 4 or more", message
        )
        yield GuardResult(
            guard=guard,
            affects=_is_any_change,
            cause=cause,
            remedy="Check the scim_url; if it is right, approve this plan by its digest.",
        )
    for each in found.moved_tenants:
        cause = f"The connector {each.connector} read {each.previous} before, and now reads {each.current}."
        message = f"{cause} All deactivations are held until the plan is approved."
        guard = make_guard(
            GuardCode.WRONG_TARGET, plan.changes, is_deactivation, 0, "the tenant that was read before", message
        )
        remedy = f"Check what {each.connector} should read; if that is right, approve this plan by its digest."
        yield GuardResult(guard=guard, affects=is_deactivation, cause=cause, remedy=remedy)


def _is_any_change(_: Change) -> bool:
    return True
