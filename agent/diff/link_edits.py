"""Compute the edits of links that an operator asks for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.model import GroupRef, Link, Listing, Member, Memory
from agent.model.email import normalize
from agent.model.run import LinkEdit
from connectors.base import Person, PersonKey, Snapshot

__all__ = ["RebindPlan", "assignment_edits", "rebind_plan"]


@dataclass(frozen=True, slots=True)
class RebindPlan:
    """What `links move` would do: *edits* with their emails, and the emails of links without a match."""

    edits: tuple[tuple[str, LinkEdit], ...]
    unmatched: tuple[str, ...]


def _group_refs(person: Person, snapshots: Sequence[Snapshot]) -> tuple[GroupRef, ...]:
    names = {group.id: group.name for snapshot in snapshots for group in snapshot.groups}
    return tuple(sorted(GroupRef(each, names.get(each, each)) for each in set(person.groups)))


def rebind_plan(memory: Memory, listing: Listing, snapshots: Sequence[Snapshot], old: str, new: str) -> RebindPlan:
    """Re-bind every link of connector *old* to the one person of *new* who has the member's email.

    A link stays as it is where no person of *new* has the email, several have it, or that person is already linked.
    """
    people: dict[str, dict[PersonKey, Person]] = {}
    for snapshot in snapshots:
        if snapshot.source.connector == new:
            for person in snapshot.people:
                people.setdefault(normalize(person.email or ""), {})[person.key] = person
    members = listing.by_id
    linked = {link.person for link in memory.links}
    edits, unmatched = [], []
    for link in sorted((link for link in memory.links if link.person.connector == old), key=lambda link: link.person):
        member = members.get(link.scim_id)
        found = [] if member is None or not member.email else list(people.get(normalize(member.email), {}).values())
        if member is not None and len(found) == 1 and found[0].key not in linked:
            edit = LinkEdit(Link(found[0].key, link.scim_id, _group_refs(found[0], snapshots)), link)
            edits.append((member.email, edit))
        else:
            unmatched.append(member.email if member else link.scim_id)
    return RebindPlan(tuple(edits), tuple(unmatched))


def assignment_edits(memory: Memory, member: Member, person: PersonKey) -> tuple[LinkEdit, ...]:
    """Return the edits after which *member* and *person* are linked to each other only."""
    previous = [link for link in memory.links if link.scim_id == member.scim_id or link.person == person]
    if any(link.scim_id == member.scim_id and link.person == person for link in previous):
        return ()
    released = [LinkEdit(None, link) for link in previous if link.scim_id != member.scim_id]
    replaced = next((link for link in previous if link.scim_id == member.scim_id), None)
    return (*released, LinkEdit(Link(person, member.scim_id), replaced))
