"""Properties of every plan, for any people, members, links and policy."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from agent.diff.assignments import collect_assignments
from agent.diff.builder import new_plan_builder
from agent.diff.match import is_spelled_alike, reconcile_member
from agent.diff.plan import compute_plan
from agent.diff.single_user import restrict_to_user
from agent.guard.hold import apply_guards, next_baselines, release_approved
from agent.guard.results import GuardHistory
from agent.model import (
    Change,
    IndividualAction,
    Inputs,
    Kind,
    LastSeen,
    Link,
    Listing,
    Member,
    Memory,
    Plan,
    Policy,
    Toggles,
    UnconfirmedCreate,
    UnmanagedAction,
    Written,
)
from agent.model.codes import GuardCode
from agent.model.email import normalize
from agent.report.document import encode_workspace, workspace_object
from connectors.base import Group, Person, PersonKey, Snapshot, Source, Status
from tests.factories import approved_by, recent_changes, some_limits

OKTA, OKTA_TOO, ENTRA = Source("okta", "a"), Source("okta", "b"), Source("entra", "c")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
T = TypeVar("T")
EMAILS = [f"{letter}@{domain}" for letter in "abcde" for domain in ("acme.com", "other.example")]
SPELLED = [*EMAILS, *(email.upper() for email in EMAILS), "Ä@bücher.example", "ä@bücher.example"]
NAMES = ["Ann Lee", "ann  lee", "Bea Ray", ""]
GROUPS = ("g1", "g2")

emails = st.sampled_from(SPELLED)
names = st.sampled_from(NAMES)


@st.composite
def people(draw: st.DrawFn, connector: str) -> tuple[Person, ...]:
    found = []
    for name in draw(st.lists(st.sampled_from("123456"), unique=True, max_size=6)):
        groups = tuple(draw(st.lists(st.sampled_from(GROUPS), unique=True)))
        status = draw(st.sampled_from([Status.ACTIVE, Status.ACTIVE, Status.ACTIVE, Status.SUSPENDED, Status.UNKNOWN]))
        pending = bool(groups) and status is Status.ACTIVE and draw(st.integers(0, 9)) == 0
        email = draw(st.one_of(emails, emails, emails, st.sampled_from([None, "nonsense"])))
        aliases = tuple(draw(st.lists(emails, max_size=2)))
        person = Person(connector, name, email, draw(names), status, "", groups, not groups, pending, aliases)
        found.append(person)
    return tuple(found)


@st.composite
def snapshots(draw: st.DrawFn, source: Source) -> Snapshot:
    found = draw(people(source.connector))
    groups = tuple(Group(each, each.upper(), sum(each in person.groups for person in found)) for each in GROUPS)
    unidentified = tuple(draw(st.lists(st.sampled_from(["", *EMAILS]), max_size=1)))
    return Snapshot(source, "Pigment", groups, found, unidentified=unidentified)


@st.composite
def listings(draw: st.DrawFn) -> Listing:
    taken = draw(st.lists(emails, unique_by=normalize, max_size=7))
    active = st.sampled_from([True, True, False, None])
    return Listing(tuple(Member(f"m{at}", email, draw(names), draw(active)) for at, email in enumerate(taken)))


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    keys = [PersonKey(connector, name) for connector in ("okta", "entra", "onelogin") for name in "1234567"]
    pairs = draw(st.lists(st.tuples(st.sampled_from(keys), st.integers(0, 8)), max_size=8))
    links: dict[PersonKey, Link] = {}
    for key, number in pairs:
        if f"m{number}" not in {link.scim_id for link in links.values()}:
            links.setdefault(key, Link(key, f"m{number}", (), draw(st.integers(0, 2))))
    states = st.sampled_from([True, True, False, None])
    left = tuple(
        LastSeen(scim_id=f"m{at}", email=draw(emails), display_name=draw(names), active=draw(states))
        for at in draw(st.sets(st.integers(0, 7)))
    )
    unconfirmed = tuple(
        UnconfirmedCreate(person=key, email=draw(emails), display_name=draw(names))
        for key in draw(st.lists(st.sampled_from(keys), max_size=1))
    )
    return Memory(
        tuple(links.values()),
        unconfirmed_creates=unconfirmed,
        last_seen=draw(st.sampled_from([None, left, left])),
        written=tuple(draw(sent(seq)) for seq in range(draw(st.integers(0, 6)))),
    )


@st.composite
def sent(draw: st.DrawFn, seq: int) -> Written:
    """Draw a write of ours; few members have several, and those of one second differ in their *seq*."""
    return Written(
        scim_id=f"m{draw(st.integers(0, 7))}",
        email=draw(st.none() | emails),
        display_name=draw(st.none() | names),
        active=draw(st.sampled_from([None, True, False])),
        sent_at=datetime(2026, 3, 1, draw(st.integers(0, 1)), tzinfo=UTC),
        seq=seq,
        is_sure=draw(st.booleans()),
        is_recent=draw(st.booleans()),
        is_after_left=draw(st.booleans()),
    )


mostly_on = st.sampled_from([True, True, False])


@st.composite
def policies(draw: st.DrawFn, sources: tuple[Source, ...]) -> Policy:
    return Policy(
        "latam",
        sources,
        allowed_domains=draw(st.sampled_from([frozenset(), frozenset({"acme.com"})])),
        protect=draw(st.sampled_from([(), ("a@*",), ("?@other.example",)])),
        unmanaged=draw(st.sampled_from(UnmanagedAction)),
        individual_assignments=draw(st.sampled_from(IndividualAction)),
        grace_reads=draw(st.integers(1, 3)),
        limits=some_limits(
            max_deactivations=draw(st.integers(0, 4)),
            max_deactivations_percent=100,
            max_creates=draw(st.sampled_from([None, 0, 2])),
            max_email_changes=draw(st.integers(0, 4)),
        ),
        require_approval=draw(st.frozensets(st.sampled_from(Kind), max_size=2)),
        toggles=Toggles(create=draw(mostly_on), update=draw(mostly_on), deactivate=draw(mostly_on)),
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Inputs, Policy]:
    sources = draw(st.sampled_from([(OKTA,), (OKTA, ENTRA), (ENTRA, OKTA, OKTA_TOO)]))
    shown = tuple(draw(snapshots(source)) for source in sources)
    return Inputs(shown, draw(listings()), draw(memories())), draw(policies(sources))


def shuffled(reads: Inputs, seed: int) -> Inputs:
    chance = random.Random(seed)

    def mixed(items: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(chance.sample(items, len(items)))

    shown = []
    for each in reads.snapshots:
        found = mixed(tuple(replace(person, groups=mixed(person.groups)) for person in each.people))
        shown.append(replace(each, people=found, groups=mixed(each.groups)))
    left = reads.memory.last_seen
    memory = replace(
        reads.memory,
        links=mixed(reads.memory.links),
        last_seen=None if left is None else mixed(left),
        written=mixed(reads.memory.written),
    )
    return Inputs(mixed(tuple(shown)), Listing(mixed(reads.listing.members)), memory)


def after(reads: Inputs, plan: Plan, changes: tuple[Change, ...]) -> Inputs:
    """Apply *changes* one by one to the listing and the links, as the workspace would let them be applied."""
    members = {member.scim_id: member for member in reads.listing.members}
    links = {link.person: link for link in reads.memory.links}
    for change in changes:
        scim_id = change.scim_id or f"new-{len(members)}"
        member = members.get(scim_id) or Member(scim_id, change.email, change.display_name, True)
        if change.after.email is not None:
            others = {normalize(other.email) for other in members.values() if other.scim_id != scim_id}
            assert normalize(change.after.email) not in others, "the address is not free yet"
        members[scim_id] = replace(
            member,
            email=change.after.email or member.email,
            display_name=member.display_name if change.after.display_name is None else change.after.display_name,
            active=member.active if change.after.active is None else change.after.active,
        )
        if change.kind in {Kind.ADOPT, Kind.CREATE}:
            assert change.person is not None
            links = {key: link for key, link in links.items() if link.scim_id != scim_id}
            links[change.person] = Link(change.person, scim_id, change.group_refs)
    made = {change.person for change in changes if change.kind in {Kind.ADOPT, Kind.CREATE}}
    memory = Memory(
        tuple(links.values()),
        possible_renames=plan.possible_renames,
        # A create that may yet have been made keeps its person on hold.
        unconfirmed_creates=tuple(each for each in reads.memory.unconfirmed_creates if each.person not in made),
    )
    return Inputs(reads.snapshots, Listing(tuple(members.values())), memory)


@given(worlds(), st.integers())
def test_order_of_inputs_changes_no_byte(world: tuple[Inputs, Policy], seed: int) -> None:
    reads, policy = world
    one, other = compute_plan(reads, policy), compute_plan(shuffled(reads, seed), policy)

    assert one == other
    assert encode_workspace(workspace_object(one)) == encode_workspace(workspace_object(other))


@given(worlds())
def test_applied_plan_leaves_nothing_but_holds(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    plan = compute_plan(reads, policy)
    again = compute_plan(after(reads, plan, plan.changes), policy)

    assert again.changes == ()


@given(worlds())
def test_guarded_plan_can_be_applied_in_its_order(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    unguarded = compute_plan(reads, policy)
    plan = apply_guards(unguarded, policy, GuardHistory())

    after(reads, plan, plan.changes)
    after(reads, plan, release_approved(plan, unguarded, approved_by("ops")).changes)


@given(worlds())
def test_protected_members_get_no_change(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    plan = compute_plan(reads, replace(policy, protect=("a@*",)))
    protected = {member.scim_id for member in reads.listing.members if normalize(member.email).startswith("a@")}

    assert not protected & {change.scim_id for change in plan.changes}


@given(worlds())
def test_unmanaged_members_get_no_change_unasked(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    plan = compute_plan(reads, replace(policy, unmanaged=UnmanagedAction.REPORT))
    linked = {link.scim_id for link in reads.memory.links}
    adopted = {change.scim_id for change in plan.changes if change.kind is Kind.ADOPT}
    touched = {change.scim_id for change in plan.changes if change.scim_id is not None}

    assert touched <= linked | adopted


@given(worlds())
def test_member_gets_one_change_in_addition_to_adopt(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    plan = compute_plan(reads, policy)
    members = Counter(change.scim_id for change in plan.changes if change.kind is not Kind.ADOPT and change.scim_id)
    people = Counter(change.person for change in plan.changes if change.kind is not Kind.ADOPT and change.person)

    assert all(count == 1 for count in [*members.values(), *people.values()])


@given(worlds())
def test_person_never_gets_a_second_member(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    plan = compute_plan(reads, policy)
    listed = {member.scim_id for member in reads.listing.members}
    has_member = {link.person for link in reads.memory.links if link.scim_id in listed}
    made = [change.person for change in plan.changes if change.kind is Kind.CREATE]

    assert len(made) == len(set(made))
    assert not has_member & set(made)


ids = st.frozensets(st.sampled_from([f"m{number}" for number in range(9)]), max_size=3)
keys = st.frozensets(st.sampled_from([PersonKey("okta", name) for name in "123456"]), max_size=3)


@given(worlds(), ids, keys, ids, ids)
def test_no_change_passes_a_guard(
    world: tuple[Inputs, Policy],
    departed: frozenset[str],
    made: frozenset[PersonKey],
    moved: frozenset[str],
    contested: frozenset[str],
) -> None:
    reads, policy = world
    history = GuardHistory(
        recent_changes=recent_changes(max_deactivations=departed, max_creates=made, max_email_changes=moved),
        contested_members={scim_id: [NOW, NOW] for scim_id in contested},
    )
    plan = apply_guards(compute_plan(reads, policy), policy, history)
    of_kind = {kind: [change for change in plan.changes if change.kind is kind] for kind in Kind}
    kinds = Counter(change.kind for change in plan.changes)
    limits, toggles = policy.limits.counts, policy.toggles

    leavers = {change.scim_id for change in of_kind[Kind.DEACTIVATE]}
    assert not leavers or len(leavers | departed) <= (limits[GuardCode.MAX_DEACTIVATIONS] or 0)
    assert not leavers & contested
    joiners = {change.person for change in of_kind[Kind.CREATE]}
    most = limits[GuardCode.MAX_CREATES]
    assert not joiners or most is None or len(joiners | made) <= most
    changes = {change.scim_id for change in plan.changes if change.changes_email}
    assert not changes or len(changes | moved) <= (limits[GuardCode.MAX_EMAIL_CHANGES] or 0)
    assert not kinds[Kind.DEACTIVATE] or (toggles.deactivate and all(source.entitled for source in plan.sources))
    assert toggles.create or not kinds[Kind.CREATE] + kinds[Kind.REACTIVATE]
    assert toggles.update or not (kinds[Kind.UPDATE_NAME] or changes)
    assert not set(kinds) & policy.require_approval


@given(worlds())
def test_guards_lose_nothing(world: tuple[Inputs, Policy]) -> None:
    """Every change is either still there or held, and an approval brings back all but what toggles hold."""
    reads, policy = world
    unguarded = compute_plan(reads, policy)
    plan = apply_guards(unguarded, policy, GuardHistory())
    approved = release_approved(plan, unguarded, approved_by("ops"))

    assert len(plan.changes) + len(plan.holds) == len(unguarded.changes) + len(unguarded.holds)
    if policy.toggles == Toggles():
        assert approved.changes == unguarded.changes
        assert approved.holds == unguarded.holds


@given(worlds())
def test_entitled_people_are_never_deactivated(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    plan = compute_plan(reads, policy)
    entitled = {
        person.key
        for snapshot in reads.snapshots
        for person in snapshot.people
        if person.groups and person.status is Status.ACTIVE
    }

    assert not entitled & {change.person for change in plan.changes if change.kind is Kind.DEACTIVATE}


@given(worlds())
def test_leaver_stays_while_a_new_person_has_the_address(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    plan = compute_plan(reads, policy)
    linked = {link.person for link in reads.memory.links}
    claims = collect_assignments(reads.snapshots, policy).entitled_by_email
    new = {email for email, several in claims.items() if any(each.key not in linked for each in several)}
    departed = [change for change in plan.changes if change.kind is Kind.DEACTIVATE and change.person in linked]

    assert not new & {normalize(change.email) for change in departed}


@given(worlds(), emails)
def test_one_persons_plan_is_part_of_the_whole_and_can_be_applied(world: tuple[Inputs, Policy], email: str) -> None:
    reads, policy = world
    whole = compute_plan(reads, policy)
    part = restrict_to_user(whole, email)

    assert set(part.changes) <= set(whole.changes)
    assert set(part.holds) <= set(whole.holds)
    after(reads, part, part.changes)


@given(worlds())
def test_baseline_stands_while_its_leavers_are_held(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    unguarded = compute_plan(reads, policy)
    plan = apply_guards(unguarded, policy, GuardHistory())
    baselines = {("okta", group): (group, 50) for group in GROUPS}
    moved = next_baselines(unguarded, plan, baselines, policy.grace_reads)
    held = {
        (change.person.connector, group.id)
        for change in set(unguarded.changes) - set(plan.changes)
        if change.kind is Kind.DEACTIVATE and change.person
        for group in change.group_refs
    }

    assert not held & set(moved) & set(baselines)


@given(worlds())
def test_member_spelled_like_its_person_is_in_sync_by_the_table_too(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    people = collect_assignments(reads.snapshots, policy)
    for assigned in people.by_key.values():
        for member in reads.listing.members:
            twin = replace(assigned, person=replace(assigned.person, email=member.email))
            if is_spelled_alike(twin.person, member):
                short, whole = (new_plan_builder(reads, policy, people) for _ in range(2))
                short.add_in_sync(twin, member)
                reconcile_member(whole, twin, member)
                assert replace(short, email_index=whole.email_index) == whole


@given(worlds(), st.sets(st.integers(0, 7)))
def test_members_that_are_as_they_were_left_may_be_left_out(world: tuple[Inputs, Policy], numbers: set[int]) -> None:
    reads, policy = world
    unchanged = {
        each.scim_id: LastSeen(each.scim_id, each.email, each.display_name, each.active)
        for each in reads.listing.members
        if each.scim_id in {f"m{number}" for number in numbers}
    }
    others = tuple(each for each in reads.memory.last_seen or () if each.scim_id not in unchanged)
    whole = replace(reads.memory, last_seen=(*others, *unchanged.values()))
    new = {each.scim_id for each in reads.listing.members} - {each.scim_id for each in whole.last_seen or ()}
    short = replace(whole, last_seen=others, new_ids=frozenset(new))

    assert compute_plan(replace(reads, memory=short), policy) == compute_plan(replace(reads, memory=whole), policy)


@given(worlds())
def test_plan_does_not_depend_on_how_the_workspace_spells_addresses(world: tuple[Inputs, Policy]) -> None:
    reads, policy = world
    memory = replace(reads.memory, last_seen=None)
    members = tuple(replace(each, email=normalize(each.email)) for each in reads.listing.members)
    spelled = tuple(replace(each, email=each.email.upper()) for each in members)
    plain, other = (compute_plan(Inputs(reads.snapshots, Listing(each), memory), policy) for each in (members, spelled))
    assert (plain.in_sync, plain.members) == (other.in_sync, other.members)
    assert [_deed(each) for each in plain.changes] == [_deed(each) for each in other.changes]
    assert [(each.kind, each.code, each.scim_id, each.person) for each in plain.holds] == [
        (each.kind, each.code, each.scim_id, each.person) for each in other.holds
    ]


def _deed(change: Change) -> tuple[object, ...]:
    return change.kind, change.code, change.scim_id, change.person, change.display_name, change.after
