"""A plan under construction: the inputs, indexed once, and the decisions so far."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from agent.diff.assignments import AssignedPerson, Assignments
from agent.model import Change, Hold, Inputs, Kind, Link, Member, Note, Policy, UnconfirmedCreate
from agent.model.codes import HoldCode, NoteCode
from agent.model.email import normalize
from agent.model.policy import protected_pattern
from connectors.base import PersonKey

__all__ = ["EmailClaim", "PlanBuilder", "new_plan_builder"]


@dataclass(slots=True)
class EmailClaim:
    """A change that needs an unused address. Whether it gets it is decided once all claims are known.

    *same_name_members* are members that may be the same human as a create's person, under an old address (row 12).
    """

    change: Change
    assigned: AssignedPerson
    email: str
    member: Member | None
    same_name_members: list[Member] = field(default_factory=list)


class MembersByEmail:
    """The members by normalized email, computed when it is first needed: a plan without strangers needs none."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self._members = members

    @cached_property
    def found(self) -> dict[str, Sequence[Member]]:
        """The first of several members with one email is the one with the smallest id."""
        holders: dict[str, Sequence[Member]] = {}
        rivals: dict[str, list[Member]] = {}
        for member in self._members.values():
            # Nearly all addresses are unique: only shared ones cost a list.
            email = normalize(member.email)
            if email and holders.setdefault(email, one := (member,)) is not one:
                rivals.setdefault(email, list(holders[email])).append(member)
        for email, several in rivals.items():
            holders[email] = sorted(several, key=lambda member: member.scim_id)
        return holders


@dataclass(slots=True, kw_only=True)
class PlanBuilder:
    """Indexes of the inputs, and the decisions so far.

    *members_by_email* maps a normalized email to the members that have it: one, unless the workspace distinguishes
    what we do not. *matched_ids* are SCIM ids that a decision is
    about and that are therefore not unmanaged. *relinked_people* are persons who lost their member to another person
    of the same human. *recovered_links* are links of members that an unconfirmed create made, *duplicates* second
    members of a person that one made. *awaited_creates* are creates that were accepted and have no listed
    member; *checked_creates* are all of them, with what was found. *in_sync_people* maps SCIM ids to the entitled
    people of members, linked or adopted, that need no change.
    """

    policy: Policy
    inputs: Inputs
    assignments: Assignments
    protected_pattern: re.Pattern[str]
    connectors: frozenset[str]
    members: dict[str, Member]
    email_index: MembersByEmail
    link_by_person: dict[PersonKey, Link]
    person_by_scim_id: dict[str, PersonKey]
    changes: list[Change] = field(default_factory=list)
    email_claims: list[EmailClaim] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    updated_links: list[Link] = field(default_factory=list)
    possible_renames: set[tuple[PersonKey, str]] = field(default_factory=set)
    matched_ids: set[str] = field(default_factory=set)
    relinked_people: set[PersonKey] = field(default_factory=set)
    recovered_links: list[Link] = field(default_factory=list)
    duplicates: list[tuple[UnconfirmedCreate, Member]] = field(default_factory=list)
    awaited_creates: dict[PersonKey, UnconfirmedCreate] = field(default_factory=dict)
    checked_creates: list[UnconfirmedCreate] = field(default_factory=list)
    in_sync: int = 0
    in_sync_people: dict[str, AssignedPerson] = field(default_factory=dict)

    @property
    def members_by_email(self) -> dict[str, Sequence[Member]]:
        return self.email_index.found

    def add_in_sync(self, assigned: AssignedPerson, member: Member) -> None:
        self.in_sync += 1
        self.in_sync_people[member.scim_id] = assigned

    def is_protected(self, member: Member) -> bool:
        return self.protected_pattern.match(normalize(member.email)) is not None

    def add_note(self, code: NoteCode, email: str | None, reason: str) -> None:
        self.notes.append(Note(code, email or "", reason))

    def add_hold(
        self, kind: Kind, code: HoldCode, assigned: AssignedPerson, member: Member | None, message: tuple[str, str]
    ) -> None:
        """Hold a change for a person; *message* is the reason and the remedy."""
        wanted = assigned.person.email or ""
        self.holds.append(
            Hold(
                kind=kind,
                code=code,
                email=member.email if member else wanted,
                reason=message[0],
                remedy=message[1],
                wanted=wanted if member and normalize(member.email) != assigned.email else None,
                scim_id=member.scim_id if member else None,
                person=assigned.key,
            )
        )


def new_plan_builder(inputs: Inputs, policy: Policy, people: Assignments) -> PlanBuilder:
    members = inputs.listing.by_id
    links = inputs.memory.links
    return PlanBuilder(
        policy=policy,
        inputs=inputs,
        assignments=people,
        protected_pattern=protected_pattern(policy.protect),
        connectors=frozenset(source.connector for source in policy.sources),
        members=members,
        email_index=MembersByEmail(members),
        link_by_person={link.person: link for link in links},
        person_by_scim_id={link.scim_id: link.person for link in links},
    )
