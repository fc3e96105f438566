"""Answers to what people ask about people: who has access, and why one person is in or out. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.model import Kind
from connectors.base import PersonKey

__all__ = ["Access", "Explanation", "Grant", "MemberView", "PersonView"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one source shows of a person who has the account. *is_individual*: also, or only, without a group."""

    person: PersonKey
    groups: tuple[str, ...]
    is_individual: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One active member. *groups* give the access; *since* is when our runs gave it, None: before them, or by hand;
    *first_seen* is the first time that the journal knows the member. *status* is the person's at the source, empty:
    no source shows them. *grants* are all that give or may give the access: people of other sources have the same
    address. *target* is the fingerprint of the workspace.

    *exceptions* are words of the planning table: `unmanaged`, `individual-assignment`, `protected`, `inactive`,
    `not-assigned`, `not-linked`, `unknown-status`, `assignment-pending`, `source-changed`.
    """

    workspace: str
    email: str
    display_name: str
    scim_id: str
    person: PersonKey | None
    groups: tuple[str, ...]
    exceptions: tuple[str, ...]
    since: datetime | None = None
    first_seen: datetime | None = None
    last_change_at: datetime | None = None
    last_change_kind: Kind | None = None
    status: str = ""
    grants: tuple[Grant, ...] = ()
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonView:
    """One person as a source of the workspace shows them.

    *entitlement* is `entitled`, `unknown`, `pending`, `individual` or `inactive`. *is_individual*: also, or only,
    assigned without a group.
    """

    connector: str
    id: str
    email: str | None
    display_name: str
    status: str
    entitlement: str
    groups: tuple[str, ...]
    is_individual: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """One member that an explanation is about. *active* is None where the workspace does not show it.

    *matched_by* is `link`, `email` or `alias`; empty: no person has this account. *linked_person* is the id of
    a link's person at *linked_connector*.
    """

    scim_id: str
    email: str
    active: bool | None
    matched_by: str
    linked_connector: str = ""
    linked_person: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one address has or lacks access to one workspace: five steps, each of one sentence or more.

    *people* and *members* are the same as values. *verdict* is the decision in words that follow the address; empty: no
    access, now and at the next sync. *near* are similar people and members. *found* is False if no person, member or
    earlier action has the address.
    """

    workspace: str
    source: tuple[str, ...]
    scope: tuple[str, ...]
    match: tuple[str, ...]
    decision: tuple[str, ...]
    actions: tuple[str, ...]
    near: tuple[str, ...] = ()
    found: bool = True
    people: tuple[PersonView, ...] = ()
    members: tuple[MemberView, ...] = ()
    verdict: str = ""
