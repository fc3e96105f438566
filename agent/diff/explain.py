"""Explain one address: why this person is in or out of a workspace, in five steps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from difflib import SequenceMatcher

from agent.address import folded, folded_name
from agent.answer import Explanation
from agent.diff import words
from agent.diff.roster import Assigned, Standing, roster
from agent.model import Change, Hold, Member, Mode, Plan, Policy, Reads
from agent.ports import ChangeRecord, Pause
from connectors.base import Person, PersonKey

__all__ = ["explain", "resembling", "subject"]

CLOSE = 0.85
MOST = 5
SCOPE = {
    Standing.ENTITLED: "In scope: assigned through a group, and active.",
    Standing.UNKNOWN: "Not judged: the source's status is unknown, so nothing is changed.",
    Standing.PENDING: "Not judged: the group holds them, and the application does not show the assignment yet.",
    Standing.INDIVIDUAL: "Not in scope: assigned individually, not through a group.",
    Standing.INACTIVE: "Not in scope: not active at the source.",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom an address is about: the people who have it or had it, and their members."""

    found: tuple[Assigned, ...]
    members: tuple[Member, ...]


def subject(email: str, reads: Reads, policy: Policy, actions: Sequence[ChangeRecord] = ()) -> Subject:
    """Return the people and members that *email* means, or meant in one of *actions*."""
    people = roster(reads.snapshots, policy)
    wanted = folded(email)
    links = {link.scim_id: link.person for link in reads.memory.links}
    members = [member for member in reads.listing.members if folded(member.email) == wanted]
    keys = {links[member.scim_id] for member in members if member.scim_id in links}
    keys |= {record.change.person for record in actions if record.change.person is not None}
    found = [each for each in people.by_key.values() if _is_meant(each, wanted) or each.key in keys]
    found.sort(key=lambda each: (each.rank, each.key))
    ids = {link.scim_id for link in reads.memory.links if link.person in {each.key for each in found}}
    members += [each for each in reads.listing.members if each.scim_id in ids and each not in members]
    return Subject(tuple(found), tuple(members))


def explain(
    email: str, reads: Reads, policy: Policy, plan: Plan, actions: Sequence[ChangeRecord], pause: Pause | None = None
) -> Explanation:
    """Explain the person or member who has *email*, or had it in one of *actions*. With *pause* nothing is written."""
    meant = subject(email, reads, policy, actions)
    found, members = meant.found, meant.members
    links = {link.scim_id: link.person for link in reads.memory.links}
    near = () if found or members else resembling(email, reads)
    return Explanation(
        policy.workspace,
        tuple(map(_source, found)) or (f"No source of {policy.workspace} shows anybody assigned with {email}.",),
        tuple(f"{words.title(each)}: {SCOPE[each.standing]}" for each in found) or ("Not in scope: not assigned.",),
        tuple(_match(member, links, found) for member in members) or (f"No member has {email}, and none is linked.",),
        (*_decision(plan, found, members, folded(email)), *_unwritten(policy, pause)),
        tuple(map(_action, actions)) or ("Nothing was done yet.",),
        near,
        bool(found or members or actions),
    )


def _is_meant(assigned: Assigned, wanted: str) -> bool:
    return assigned.email == wanted or wanted in map(folded, assigned.person.aliases)


def _source(assigned: Assigned) -> str:
    person = assigned.person
    groups = words.groups(assigned.groups) if assigned.groups else "no group"
    status = f" ({person.source_status})" if person.source_status else ""
    also = ", and individually" if person.individual and assigned.groups else ""
    alone = "individually" if person.individual and not assigned.groups else f"through {groups}{also}"
    key = f"{assigned.key.connector}:{assigned.key.id}"
    return f"{words.title(assigned)} <{person.email or 'no email'}> is {key}{status}, assigned {alone}."


def _match(member: Member, links: Mapping[str, PersonKey], found: Sequence[Assigned]) -> str:
    state = {True: "active", False: "inactive", None: "in an unreadable state"}[member.active]
    who = f"Member {member.scim_id} <{member.email}> is {state}"
    if member.scim_id in links:
        return f"{who}, matched by link to {':'.join(links[member.scim_id])}."
    by_email = any(each.email == folded(member.email) for each in found)
    return f"{who}, matched by {'email' if by_email else 'alias'}." if found else f"{who}, matched by nobody."


def _decision(plan: Plan, found: Sequence[Assigned], members: Sequence[Member], wanted: str) -> Iterator[str]:
    keys, ids = {each.key for each in found}, {member.scim_id for member in members}
    emails = {wanted, *(folded(member.email) for member in members), *(each.email for each in found)} - {""}
    entries: list[Change | Hold] = [*plan.changes, *plan.holds]
    others = [entry for entry in entries if not _is_about(entry, keys, ids, wanted)]
    sentences = [_entry(entry) for entry in entries if _is_about(entry, keys, ids, wanted)]
    sentences += [
        f"Part of a hold for another person: {_entry(entry)}"
        for entry in others
        if isinstance(entry, Hold) and _takes_part(entry, emails, ids, plan)
    ]
    sentences += [f"Note {note.code}: {note.reason}" for note in plan.notes if folded(note.email) in emails]
    yield from sentences or ["Nothing would happen: in step." if members else "Nothing would happen."]


def _is_about(entry: Change | Hold, keys: Set[PersonKey], ids: Set[str], wanted: str) -> bool:
    return entry.person in keys or entry.scim_id in ids or folded(entry.email) == wanted


def _takes_part(hold: Hold, emails: Set[str], ids: Set[str], plan: Plan) -> bool:
    """Return whether a hold for another person is about an address that these have, or a member that may be theirs."""
    is_rename = any((hold.person, scim_id) in plan.possible_renames for scim_id in ids)
    return is_rename or bool({folded(hold.email), folded(hold.wanted or "")} & emails)


def _unwritten(policy: Policy, pause: Pause | None) -> Iterator[str]:
    if policy.mode is Mode.DRY_RUN:
        yield "The workspace is in mode dry-run: nothing is written to it."
    if pause is not None:
        yield f"The workspace is paused by {pause.by}: nothing is written to it until it is resumed."


def _entry(entry: Change | Hold) -> str:
    if isinstance(entry, Hold):
        return f"Held, {entry.kind} ({entry.code}): {entry.reason} {entry.remedy}"
    return f"A sync would {entry.kind} ({entry.code}): {entry.reason}"


def _action(record: ChangeRecord) -> str:
    when = record.sent_at.strftime("%Y-%m-%d %H:%M UTC")
    detail = f": {record.detail}" if record.detail else ""
    return f"{when} {record.change.kind} {record.outcome} (run {record.run_id}){detail} {record.change.reason}"


def resembling(email: str, reads: Reads) -> tuple[str, ...]:
    """Return people and members whose address or name resembles, the closest first."""
    local = folded(email).partition("@")[0]
    scored: list[tuple[float, str]] = []
    for snapshot in reads.snapshots:
        for person in snapshot.people:
            score = _likeness(email, local, person.email or "", _name(person))
            scored.append((score, f"{_name(person)} <{person.email or 'no email'}> in {person.connector}"))
    for member in reads.listing.members:
        score = _likeness(email, local, member.email, member.display_name)
        scored.append((score, f"{member.display_name} <{member.email}>, a member"))
    close = sorted({each for each in scored if each[0] >= CLOSE}, key=lambda each: (-each[0], each[1]))
    return tuple(sentence for _, sentence in close[:MOST])


def _name(person: Person) -> str:
    return person.display_name or person.id


def _likeness(email: str, local: str, other: str, name: str) -> float:
    """Return how much an address resembles another, or the name it is made of: from 0 to 1."""
    spelled = ".".join(folded_name(name).split())
    pairs = [(folded(email), folded(other)), (local, spelled), (local, folded(other).partition("@")[0])]
    best = 0.0
    for one, two in pairs:
        matcher = SequenceMatcher(None, one, two)
        # The quick bounds keep this from taking minutes for a hundred thousand people.
        if one and two and matcher.real_quick_ratio() >= CLOSE and matcher.quick_ratio() >= CLOSE:
            best = max(best, matcher.ratio())
    return best
