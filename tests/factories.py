"""People, members and policies for tests, one line each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from agent.diff.drift import Difference
from agent.engine.request import RunResult
from agent.guard.count_table import COUNT_GUARDS
from agent.guard.release import Release
from agent.model import (
    ChangeSubject,
    GroupRef,
    Inputs,
    Limits,
    Link,
    Listing,
    Member,
    Memory,
    Mode,
    Plan,
    Policy,
    RecentChanges,
)
from agent.model.approval import Approval
from agent.model.codes import GuardCode
from agent.settings.workspace import LimitSettings
from connectors.base import Group, LookupResult, Person, PersonKey, Snapshot, Source

OKTA = Source("okta-main", "0oapigment")
ENTRA = Source("entra-eu", "sp-pigment")
PLANNERS = ("planners",)


def key(name: str, connector: str = OKTA.connector) -> PersonKey:
    return PersonKey(connector, name)


def person(name: str, email: str | None = "", **more: Any) -> Person:
    """Return an active person of the planners in Okta with the id *name*: `person("ann")` is ann@acme.com."""
    connector = more.pop("connector", OKTA.connector)
    more.setdefault("groups", PLANNERS)
    display_name = more.pop("display_name", name.title())
    return Person(connector, name, f"{name}@acme.com" if email == "" else email, display_name, **more)


def member(name: str, email: str = "", *, active: bool | None = True, display_name: str | None = None) -> Member:
    """Return the member `m-ann` of ann@acme.com."""
    return Member(
        f"m-{name}", email or f"{name}@acme.com", name.title() if display_name is None else display_name, active
    )


def link(name: str, scim_id: str = "", connector: str = OKTA.connector, missed_reads: int = 0) -> Link:
    return Link(key(name, connector), scim_id or f"m-{name}", (GroupRef("planners", "Planners"),), missed_reads)


def snapshot(people: Iterable[Person] = (), source: Source = OKTA, unidentified: tuple[str, ...] = ()) -> Snapshot:
    people = tuple(people)
    ids = sorted({group for each in people for group in each.groups} | {"planners"})
    groups = tuple(Group(each, each.title(), sum(each in who.groups for who in people)) for each in ids)
    return Snapshot(source, "Pigment", groups, people, unidentified=unidentified)


def some_limits(**more: Any) -> Limits:
    """Return the limits of a configuration that names only those of *more*."""
    return LimitSettings(**more).limits()


def recent_changes(**changed: Iterable[ChangeSubject]) -> RecentChanges:
    """Return who was changed lately by guard, no one for others: `recent_changes(max_creates=[key("ann")])`."""
    by_guard = {GuardCode(name.replace("_", "-")): frozenset(who) for name, who in changed.items()}
    found = {guard.code: by_guard.pop(guard.code, frozenset()) for guard in COUNT_GUARDS}
    assert not by_guard
    return found


def a_policy(*sources: Source, **more: Any) -> Policy:
    return Policy(
        more.pop("workspace", "latam"), sources or (OKTA,), **{"mode": Mode.ENFORCE, "limits": some_limits(), **more}
    )


def approved_by(*people: str, guards: Iterable[str] = (), needed: int = 1) -> Release:
    """Return what the approvals of *people* for *guards* (empty: all) release."""
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    given = [
        Approval(workspace="latam", digest="sha256:", by=each, at=at, reason="", guards=tuple(guards))
        for each in people
    ]
    return Release(tuple(given), needed)


def plan_of(result: RunResult) -> Plan:
    """Return the plan of a run that must have one."""
    assert isinstance(result.planned, Plan)
    return result.planned


def reads(
    people: Iterable[Person] = (),
    members: Sequence[Member] = (),
    links: Sequence[Link] = (),
    *others: Snapshot,
    **more: Any,
) -> Inputs:
    renames = more.pop("possible_renames", frozenset())
    snapshots = (snapshot(people, unidentified=more.pop("unidentified", ())), *others)
    leaver_status: dict[PersonKey, LookupResult] = more.pop("leaver_status", {})
    assert not more
    return Inputs(snapshots, Listing(tuple(members)), Memory(tuple(links), possible_renames=renames), leaver_status)


class Nothing:
    """Sources that call for nothing: implements `agent.diff.drift.Expectation`."""

    def call_for(self, _difference: Difference, _member: Member, /) -> bool:
        return False
