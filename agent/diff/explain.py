"""Explain one address: why this person has or lacks access to a workspace, in five steps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from difflib import SequenceMatcher

from agent.diff import messages
from agent.diff.assignments import AssignedPerson, Entitlement, collect_assignments
from agent.diff.verdict import workspace_verdict
from agent.model import Change, Hold, Inputs, Member, Mode, Plan, Policy
from agent.model.access import Explanation, MemberView, PersonView
from agent.model.email import normalize, normalize_name
from agent.model.run import ChangeRecord, Pause
from connectors.base import Person, PersonKey

__all__ = ["email_matches", "explain", "similar_entries"]

MIN_SIMILARITY = 0.85
MAX_SIMILAR_ENTRIES = 5
SCOPE_SENTENCES: Mapping[str, str] = {
    Entitlement.ENTITLED.value: "In scope: assigned through a group, and active.",
    Entitlement.UNKNOWN.value: "Not judged: the source's status is unknown, so nothing is changed.",
    Entitlement.PENDING.value: "Not judged: in the group, but the application does not show the assignment yet.",
    Entitlement.INDIVIDUAL.value: "Not in scope: assigned individually, not through a group.",
    Entitlement.INACTIVE.value: "Not in scope: not active at the source.",
}


@dataclass(frozen=True, slots=True)
class EmailMatches:
    """The people who have or had an address, and their members."""

    people: tuple[AssignedPerson, ...]
    members: tuple[Member, ...]


def email_matches(email: str, inputs: Inputs, policy: Policy, actions: Sequence[ChangeRecord] = ()) -> EmailMatches:
    """Return the people and members that have *email*, or had it in one of *actions*."""
    people = collect_assignments(inputs.snapshots, policy)
    wanted = normalize(email)
    links = {link.scim_id: link.person for link in inputs.memory.links}
    members = [member for member in inputs.listing.members if normalize(member.email) == wanted]
    keys = {links[member.scim_id] for member in members if member.scim_id in links}
    keys |= {record.change.person for record in actions if record.change.person is not None}
    found = [each for each in people.by_key.values() if _has_email(each, wanted) or each.key in keys]
    found.sort(key=lambda each: (each.source_rank, each.key))
    ids = {link.scim_id for link in inputs.memory.links if link.person in {each.key for each in found}}
    members += [each for each in inputs.listing.members if each.scim_id in ids and each not in members]
    return EmailMatches(tuple(found), tuple(members))


def explain(
    email: str, inputs: Inputs, policy: Policy, plan: Plan, actions: Sequence[ChangeRecord], pause: Pause | None = None
) -> Explanation:
    """Explain the person or member who has *email*, or had it in one of *actions*. A *pause* is mentioned."""
    matches = email_matches(email, inputs, policy, actions)
    found, members = matches.people, matches.members
    links = {link.scim_id: link.person for link in inputs.memory.links}
    views = tuple(map(_person_view, found))
    member_views = tuple(_member_view(member, links, found) for member in members)
    keys, ids = {each.key for each in found}, {member.scim_id for member in members}
    entries: list[Change | Hold] = [*plan.changes, *plan.holds]
    own_entries = [entry for entry in entries if _is_about(entry, keys, ids, normalize(email))]
    similar = () if found or members else similar_entries(email, inputs)
    return Explanation(
        workspace=policy.workspace,
        source=tuple(map(_source_sentence, views)) or (f"No source of {policy.workspace} assigns {email}.",),
        scope=tuple(f"{_label(each)}: {SCOPE_SENTENCES[each.entitlement]}" for each in views)
        or ("Not in scope: not assigned.",),
        match=tuple(map(_match_sentence, member_views)) or (f"No member has {email} or is linked to this person.",),
        decision=(*_decision_sentences(plan, found, members, normalize(email)), *_no_write_sentences(policy, pause)),
        actions=tuple(map(_record_sentence, actions)) or ("No changes yet.",),
        near=similar,
        found=bool(found or members or actions),
        people=views,
        members=member_views,
        verdict=workspace_verdict(own_entries, members, policy, pause),
    )


def _has_email(assigned: AssignedPerson, wanted: str) -> bool:
    return assigned.email == wanted or wanted in map(normalize, assigned.person.aliases)


def _person_view(assigned: AssignedPerson) -> PersonView:
    person = assigned.person
    return PersonView(
        connector=assigned.key.connector,
        id=assigned.key.id,
        email=person.email,
        display_name=person.display_name,
        status=person.source_status,
        entitlement=assigned.entitlement.value,
        groups=tuple(sorted({group.name for group in assigned.groups})),
        is_individual=person.individual,
    )


def _member_view(member: Member, links: Mapping[str, PersonKey], found: Sequence[AssignedPerson]) -> MemberView:
    linked = links.get(member.scim_id)
    matched_by = "link" if linked else ""
    if found and not linked:
        matched_by = "email" if any(each.email == normalize(member.email) for each in found) else "alias"
    return MemberView(
        scim_id=member.scim_id,
        email=member.email,
        active=member.active,
        matched_by=matched_by,
        linked_connector=linked.connector if linked else "",
        linked_person=linked.id if linked else "",
    )


def _label(view: PersonView) -> str:
    return view.display_name or view.email or f"person {view.id} of {view.connector}"


def _source_sentence(view: PersonView) -> str:
    groups = messages.format_list(view.groups) if view.groups else "no group"
    status = f" ({view.status})" if view.status else ""
    also = ", and individually" if view.is_individual and view.groups else ""
    how = "individually" if view.is_individual and not view.groups else f"through {groups}{also}"
    return f"{_label(view)} <{view.email or 'no email'}> is {view.connector}:{view.id}{status}, assigned {how}."


def _match_sentence(view: MemberView) -> str:
    state = {True: "active", False: "inactive", None: "in an unreadable state"}[view.active]
    member = f"Member {view.scim_id} <{view.email}> is {state}"
    match view.matched_by:
        case "":
            return f"{member}; no assigned person has this account (unmanaged)."
        case "link":
            return f"{member}, matched by link to {view.linked_connector}:{view.linked_person}."
        case how:
            return f"{member}, matched by {how}."


def _decision_sentences(
    plan: Plan, found: Sequence[AssignedPerson], members: Sequence[Member], wanted: str
) -> Iterator[str]:
    keys, ids = {each.key for each in found}, {member.scim_id for member in members}
    emails = {wanted, *(normalize(member.email) for member in members), *(each.email for each in found)} - {""}
    entries: list[Change | Hold] = [*plan.changes, *plan.holds]
    others = [entry for entry in entries if not _is_about(entry, keys, ids, wanted)]
    sentences = [_entry_sentence(entry) for entry in entries if _is_about(entry, keys, ids, wanted)]
    sentences += [
        f"Part of a hold for another person: {_entry_sentence(entry)}"
        for entry in others
        if isinstance(entry, Hold) and _is_involved(entry, emails, ids, plan)
    ]
    sentences += [f"Note {note.code}: {note.reason}" for note in plan.notes if normalize(note.email) in emails]
    yield from sentences or ["No change: in sync." if members else "No change."]


def _is_about(entry: Change | Hold, keys: Set[PersonKey], ids: Set[str], wanted: str) -> bool:
    return entry.person in keys or entry.scim_id in ids or normalize(entry.email) == wanted


def _is_involved(hold: Hold, emails: Set[str], ids: Set[str], plan: Plan) -> bool:
    """Return whether a hold for another person involves one of *emails* or a member that may be theirs."""
    is_rename = any((hold.person, scim_id) in plan.possible_renames for scim_id in ids)
    return is_rename or bool({normalize(hold.email), normalize(hold.wanted or "")} & emails)


def _no_write_sentences(policy: Policy, pause: Pause | None) -> Iterator[str]:
    if policy.mode is Mode.DRY_RUN:
        yield "The workspace is in mode dry-run: nothing is written to it."
    if pause is not None:
        yield f"The workspace is paused by {pause.by}: nothing is written to it until it is resumed."


def _entry_sentence(entry: Change | Hold) -> str:
    if isinstance(entry, Hold):
        return f"Held, {entry.kind} ({entry.code}): {entry.reason} {entry.remedy}"
    return f"A sync would {entry.kind} ({entry.code}): {entry.reason}"


def _record_sentence(record: ChangeRecord) -> str:
    when = record.sent_at.strftime("%Y-%m-%d %H:%M UTC")
    detail = f": {record.detail}" if record.detail else ""
    return f"{when} {record.change.kind} {record.outcome} (run {record.run_id}){detail} {record.change.reason}"


def similar_entries(email: str, inputs: Inputs) -> tuple[str, ...]:
    """Return people and members with a similar address or name, the most similar first."""
    local = normalize(email).partition("@")[0]
    scored: list[tuple[float, str]] = []
    for snapshot in inputs.snapshots:
        for person in snapshot.people:
            score = _similarity(email, local, person.email or "", _person_name(person))
            scored.append((score, f"{_person_name(person)} <{person.email or 'no email'}> in {person.connector}"))
    for member in inputs.listing.members:
        score = _similarity(email, local, member.email, member.display_name)
        scored.append((score, f"{member.display_name} <{member.email}>, a member"))
    close = sorted({each for each in scored if each[0] >= MIN_SIMILARITY}, key=lambda each: (-each[0], each[1]))
    return tuple(sentence for _, sentence in close[:MAX_SIMILAR_ENTRIES])


def _person_name(person: Person) -> str:
    return person.display_name or person.id


def _similarity(email: str, local: str, other: str, name: str) -> float:
    """Return the similarity, from 0 to 1, of an address to another or to the name that it is made of."""
    dotted_name = ".".join(normalize_name(name).split())
    pairs = [(normalize(email), normalize(other)), (local, dotted_name), (local, normalize(other).partition("@")[0])]
    best = 0.0
    for one, two in pairs:
        matcher = SequenceMatcher(None, one, two)
        # The quick bounds keep this from taking minutes for a hundred thousand people.
        if one and two and matcher.real_quick_ratio() >= MIN_SIMILARITY and matcher.quick_ratio() >= MIN_SIMILARITY:
            best = max(best, matcher.ratio())
    return best
