"""Answers to what people ask about people: who has access, and why one person is in or out. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.model import Kind
from connectors.base import PersonKey

__all__ = ["Access", "Explanation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One active member. *groups* give the access; *since* is when our runs gave it, None: before them, or by hand;
    *first_seen* is the first time that the journal knows the member.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The five steps of one workspace; each holds one sentence or more.

    *near* are people and members that resemble; *found* is False when neither a person nor a member, nor anything that
    was done, has to do with the address.
    """

    workspace: str
    source: tuple[str, ...]
    scope: tuple[str, ...]
    match: tuple[str, ...]
    decision: tuple[str, ...]
    actions: tuple[str, ...]
    near: tuple[str, ...] = ()
    found: bool = True
