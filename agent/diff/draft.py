"""The plan in the making: what was read, indexed once, and what has been decided so far."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate

from agent.address import folded
from agent.diff.roster import Assigned, Roster
from agent.model import Change, Hold, Kind, Link, Member, Note, Policy, Reads, Unsettled
from connectors.base import PersonKey

__all__ = ["SUPPORT", "Draft", "Want", "draft", "protects"]

# Pigment's own support address by-passes its domain restriction; its published page spells it both ways.
SUPPORT = ("support@pigment.com", "support@gopigment.com")


@dataclass(slots=True)
class Want:
    """A change that needs an address nobody else has: whether it may have it is decided when all wants are known.

    *namesakes* are members that the person of a create may be under a former address (row 12).
    """

    change: Change
    assigned: Assigned
    target: str
    member: Member | None
    namesakes: list[Member] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """Indexes of the reads, and the decisions so far.

    *folds* maps a SCIM id to its folded email, *holders* a folded email to the members that have it (one, unless the
    workspace tells apart what we do not). *matched* are SCIM ids that belong to somebody's decision and therefore are
    not unmanaged; *moved* are persons whose member was given to another person of the same human; *settled* are links
    of members that a lost create made, *duplicates* members that one made beside its person's own. *awaited* are the
    creates that were accepted and whose members are not listed; *looked_for* are all of them, with what was found.
    *in_step* maps SCIM ids to people who are entitled and whose members, linked or adopted, are as they should be.
    """

    policy: Policy
    reads: Reads
    roster: Roster
    protected: re.Pattern[str]
    connectors: frozenset[str]
    members: dict[str, Member]
    folds: dict[str, str]
    holders: dict[str, list[Member]]
    link_of: dict[PersonKey, Link]
    owner_of: dict[str, PersonKey]
    changes: list[Change] = field(default_factory=list)
    wants: list[Want] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    seen: list[Link] = field(default_factory=list)
    renames: set[tuple[PersonKey, str]] = field(default_factory=set)
    matched: set[str] = field(default_factory=set)
    moved: set[PersonKey] = field(default_factory=set)
    settled: list[Link] = field(default_factory=list)
    duplicates: list[tuple[Unsettled, Member]] = field(default_factory=list)
    awaited: dict[PersonKey, Unsettled] = field(default_factory=dict)
    looked_for: list[Unsettled] = field(default_factory=list)
    in_sync: int = 0
    in_step: dict[str, Assigned] = field(default_factory=dict)

    def is_protected(self, member: Member) -> bool:
        return self.protected.match(self.folds[member.scim_id]) is not None

    def note(self, code: str, email: str | None, reason: str) -> None:
        self.notes.append(Note(code, email or "", reason))

    def hold(self, kind: Kind, code: str, assigned: Assigned, member: Member | None, words: tuple[str, str]) -> None:
        """Hold what a person would get; *words* are the reason and the remedy."""
        wanted = assigned.person.email or ""
        self.holds.append(
            Hold(
                kind,
                code,
                member.email if member else wanted,
                words[0],
                words[1],
                wanted if member and self.folds[member.scim_id] != assigned.email else None,
                member.scim_id if member else None,
                assigned.key,
            )
        )


def protects(globs: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of folded addresses that get no change: *globs* and, always, Pigment's support."""
    return re.compile("|".join(translate(folded(glob)) for glob in (*SUPPORT, *globs)))


def draft(reads: Reads, policy: Policy, people: Roster) -> Draft:
    """Index what was read. The first of several members with one email is the one with the smallest id."""
    members = {member.scim_id: member for member in reads.listing.members}
    folds = {scim_id: folded(member.email) for scim_id, member in members.items()}
    holders: dict[str, list[Member]] = {}
    for scim_id, email in folds.items():
        holders.setdefault(email, []).append(members[scim_id])
    holders.pop("", None)
    for several in holders.values():
        if len(several) > 1:
            several.sort(key=lambda member: member.scim_id)
    links = reads.memory.links
    return Draft(
        policy,
        reads,
        people,
        protects(policy.protect),
        frozenset(source.connector for source in policy.sources),
        members,
        folds,
        holders,
        {link.person: link for link in links},
        {link.scim_id: link.person for link in links},
    )
